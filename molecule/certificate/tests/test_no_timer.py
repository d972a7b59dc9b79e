# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`certificate_timer: false` takes away all of the renewal, and the certificates stay. The last of the tests: after it nothing renews."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import testinfra

testinfra_hosts = ["certificate-1"]
PROJECT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", ".")).resolve()
KEPT = "/var/lib/paas/certificates"


def test_nothing_of_the_renewal_is_left(host, request):
    other = testinfra.get_host("ssh://certificate-2", ssh_config=request.config.option.ssh_config)
    # What is looked for further down has to be there before.
    assert host.file("/etc/systemd/system/paas-certificate-renewal.timer").exists and host.file(KEPT + "/access_ed25519").exists
    assert other.user("paas-certificate").exists and other.file("/etc/sudoers.d/paas-certificate").exists
    command = ["ansible-playbook", str(PROJECT / "molecule/certificate/no_timer.yml"), "-i", str(PROJECT / "molecule/inventory/hosts.yml")]
    # Lines that begin with a colour do not begin with "changed".
    environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "0"}
    for expected in (True, False):
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert any(line.startswith("changed:") for line in done.stdout.splitlines()) == expected, done.stdout
    assert "paas-certificate-renewal" not in host.check_output("systemctl list-units --all --no-legend 'paas-certificate*'")
    for path in ("/etc/paas/certificate-renewal.json", KEPT + "/access_ed25519", KEPT + "/known_hosts", "/opt/paas-certificate/renewal.py"):
        assert not host.file(path).exists, path
    for one in (host, other):
        assert not one.user("paas-certificate").exists
        assert not one.file("/etc/sudoers.d/paas-certificate").exists and not one.file("/var/lib/paas-certificate").exists
        assert one.file("/etc/paas/certificates/www/fullchain.pem").exists
