#!/bin/busybox sh
printf 'Content-Type: text/plain\r\n\r\n'
/bin/busybox env | /bin/busybox sort
