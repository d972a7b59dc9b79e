FROM scratch
ARG version
COPY busybox /bin/busybox
COPY index.cgi /srv/cgi-bin/index
RUN ["/bin/busybox", "sh", "-c", "echo other > /srv/version; /bin/busybox --install -s /bin"]
CMD ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/srv"]
