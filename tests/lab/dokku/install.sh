#!/bin/sh
# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Install the stand-in on this machine, as root; nginx, docker.io, openssl and sudo must be there. install.yml does the same over Ansible.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tar --owner=0 --group=0 --mode=u+rwX,go+rX,go-w --exclude=__pycache__ -C "$here/rootfs" -cf - . | tar -C / --no-overwrite-dir -xf -
exec /usr/lib/dokku-standin/setup
