# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand in for the pip bootstrap script that ansible-test downloads, where its host is out of reach.

Copy it to ~/.ansible/test/cache/get_pip_24_2.py. It takes the pip that Python ships, and lets pip in that virtual
environment trust the machine's own certificate store, which ansible-test's clean environment hides from it.
"""
import ensurepip
import os
import subprocess
import sys
import sysconfig

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
UNKNOWN_TO_PIP_INSTALL = ("--no-setuptools", "--no-wheel")

with open(os.path.join(sysconfig.get_path("purelib"), "sitecustomize.py"), "w") as site:
    site.write(f"import os\nos.environ.setdefault('PIP_CERT', {CERTIFICATES!r})\n")
os.environ.setdefault("PIP_CERT", CERTIFICATES)
ensurepip.bootstrap()
wanted = [argument for argument in sys.argv[1:] if argument not in UNKNOWN_TO_PIP_INSTALL]
subprocess.check_call([sys.executable, "-m", "pip", "install", *wanted])
