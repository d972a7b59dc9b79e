FROM scratch
ARG version
COPY busybox /bin/busybox
COPY index.cgi /www/cgi-bin/index
RUN ["/bin/busybox", "sh", "-c", "echo $version > /www/version; /bin/busybox --install -s /bin"]
EXPOSE 5000
CMD ["/bin/busybox", "httpd", "-f", "-p", "5000", "-h", "/www"]
