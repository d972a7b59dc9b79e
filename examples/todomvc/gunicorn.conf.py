# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How gunicorn serves the app: threads, as a request mostly waits for a database; a process more for each WEB_CONCURRENCY."""

import os

bind = f"0.0.0.0:{os.environ.get('PORT', '5000')}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
threads = int(os.environ.get("WEB_THREADS", "16"))
# Longer than nginx keeps an idle connection to us (60 s), so that it is always nginx that ends one.
keepalive = 75
# Dokku sends SIGTERM and, 30 s later, SIGKILL.
graceful_timeout = 25
timeout = 60
worker_tmp_dir = "/dev/shm"
accesslog = "-" if os.environ.get("WEB_ACCESS_LOG", "1") == "1" else None
access_log_format = '%({x-forwarded-for}i)s "%(r)s" %(s)s %(B)sB %(M)sms'
# The runtime control interface has no user here, and its socket no place that the app's user may write to.
control_socket_disable = True
# Only the host's nginx reaches the container.
forwarded_allow_ips = "*"


def worker_exit(server, worker):
    """Write what still waits to be written after answers (audit rows) before the process ends."""
    app = getattr(worker.app, "callable", None)
    services = getattr(app, "extensions", {}).get("todomvc")
    if services is not None:
        services.close()
