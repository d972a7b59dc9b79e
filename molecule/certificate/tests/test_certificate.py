# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host has a certificate that Pebble signed, with its key, and a TLS server with them is believed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import testinfra

testinfra_hosts = ["certificate-1"]
PROGRAM = "/usr/bin/python3 -I /usr/local/lib/paas-certificate.py"
RENEW = "/opt/paas-certificate/bin/python /opt/paas-certificate/renewal.py"
REPOSITORY = Path(__file__).resolve().parents[3]
HANDED = "/etc/paas/certificates/www"
KEPT = "/var/lib/paas/certificates/www"


def test_the_certificate_covers_the_domain_and_its_regional_names(host):
    text = host.check_output("openssl x509 -in %s/fullchain.pem -noout -ext subjectAltName", HANDED)
    for name in ("www.certificate.test", "us-east-1.www.certificate.test", "eu-west-1.www.certificate.test"):
        assert "DNS:%s" % name in text


@pytest.mark.parametrize("folder", [HANDED, KEPT])
def test_key_and_certificate_belong_together(host, folder):
    certificate = host.check_output("openssl x509 -in %s/fullchain.pem -noout -pubkey", folder)
    assert host.check_output("openssl pkey -in %s/privkey.pem -pubout", folder) == certificate


def test_keys_are_private(host):
    assert host.file("/var/lib/paas/certificates/account.pem").mode == 0o600
    assert host.file(KEPT + "/privkey.pem").mode == 0o600
    handed = host.file(HANDED + "/privkey.pem")
    assert (handed.mode, handed.user, handed.group) == (0o640, "root", "root")
    assert host.check_output("stat -Lc %%a %s", HANDED) == "750"


def test_a_whole_folder_is_switched_at_once(host):
    assert host.file(HANDED).is_symlink
    assert host.file(KEPT).is_symlink
    serial = host.check_output("openssl x509 -in %s/fullchain.pem -noout -serial", HANDED).partition("=")[2]
    assert host.file(HANDED).linked_to.endswith(".www.versions/%s" % serial)


@pytest.fixture
def hosts(host, request):
    """The one that issues and serves by its own nginx, and the Dokku host in the other region."""
    return [host, testinfra.get_host("ssh://certificate-2", ssh_config=request.config.option.ssh_config)]


def kept(host):
    return host.check_output("openssl x509 -in %s/fullchain.pem -noout -serial", KEPT).partition("=")[2]


def presented(host):
    """The serial numbers under all names that the host serves."""
    return set(json.loads(host.check_output(PROGRAM + " show"))["certificates"]["www"]["presented"].values())


def renew_now(host):
    """What the timer starts, whether or not the renewal time has come. -> (exit status, what it said)."""
    host.run("sed 's/\"force\": false/\"force\": true/' /etc/paas/certificate-renewal.json > /run/due.json")
    done = host.run(RENEW + " /run/due.json")
    return done.rc, done.stdout + done.stderr


def test_the_timer_runs_and_its_service_does_nothing_when_nothing_is_due(host):
    before = kept(host)
    assert host.check_output("systemctl is-active paas-certificate-renewal.timer") == "active"
    assert host.run("systemctl start paas-certificate-renewal.service").rc == 0
    assert kept(host) == before


def test_a_renewal_reaches_every_host_and_is_presented(host, hosts):
    before = kept(host)
    status, said = renew_now(host)
    assert status == 0, said
    assert kept(host) != before
    for one in hosts:
        assert presented(one) == {kept(host)}


def test_a_host_that_cannot_serve_it_keeps_the_former_one_and_so_do_the_regions_after_it(host, hosts):
    before = kept(host)
    host.check_output("echo broken > /etc/nginx/conf.d/broken.conf")
    try:
        status, said = renew_now(host)
    finally:
        host.check_output("rm /etc/nginx/conf.d/broken.conf")
    assert status == 1 and "not taken" in said and "eu-west-1" in said, said
    assert kept(host) != before
    for one in hosts:
        assert presented(one) == {before}
        assert one.check_output("openssl x509 -in %s/fullchain.pem -noout -serial", HANDED).endswith(before)
    # And the next time they get it.
    assert host.run("systemctl start paas-certificate-renewal.service").rc == 0
    for one in hosts:
        assert presented(one) == {kept(host)}


def test_one_that_cannot_be_issued_does_not_keep_the_others_back(host, hosts):
    before = kept(host)
    command = ["ansible-playbook", str(REPOSITORY / "molecule/certificate/one_fails.yml")]
    for inventory in ("hosts.yml", "certificate.yml"):
        command += ["-i", str(REPOSITORY / "molecule/inventory" / inventory)]
    environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=600)
    # Ansible tells of a failure on the other stream.
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "Not issued" in said and "broken: " in said, said
    assert kept(host) != before
    for one in hosts:
        assert presented(one) == {kept(host)}


def test_the_renewals_key_is_good_for_nothing_else(host):
    done = host.run(
        "ssh -i /var/lib/paas/certificates/access_ed25519 -o UserKnownHostsFile=/var/lib/paas/certificates/known_hosts/certificate-2"
        " -o HostKeyAlias=certificate-2 -o BatchMode=yes paas-certificate@198.18.16.62 id </dev/null"
    )
    assert "uid=" not in done.stdout and "standard input is not what this takes" in done.stdout


def test_no_certificate_for_an_app_without_domains(host):
    assert not host.file("/etc/paas/certificates/quiet").exists


def test_a_tls_server_with_the_files_is_believed(host):
    root = (REPOSITORY / ".lab/pebble/root.pem").read_text(encoding="utf-8")
    script = (
        "cat > /tmp/root.pem && (openssl s_server -accept 8443 -cert %(d)s/fullchain.pem -cert_chain %(d)s/fullchain.pem -key %(d)s/privkey.pem"
        " -www >/dev/null 2>&1 & echo $! > /tmp/pid); for i in 1 2 3 4 5 6 7 8 9 10; do"
        " curl -fsS --cacert /tmp/root.pem --resolve eu-west-1.www.certificate.test:8443:127.0.0.1 -o /dev/null"
        " -w '%%{ssl_verify_result}' https://eu-west-1.www.certificate.test:8443/ && break; sleep 0.3; done; kill $(cat /tmp/pid)"
    ) % {"d": HANDED}
    done = host.run("printf '%%s' %s | sh -c %s", root, script)
    assert done.stdout.strip().endswith("0"), done.stderr
    assert done.rc == 0


def test_no_challenge_is_left_behind(host):
    answer = host.check_output("python3 -c %s", _QUESTION)
    assert answer.strip() == "0"


# A TXT question in plain sockets: the number of answers.
_QUESTION = """
import socket, struct
name = b"".join(bytes([len(part)]) + part.encode() for part in "_acme-challenge.www.certificate.test".split(".")) + bytes(1)
asked = struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 0) + name + struct.pack(">HH", 16, 1)
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.settimeout(3)
link.sendto(asked, ("198.18.0.10", 53))
print(struct.unpack(">H", link.recv(512)[6:8])[0])
"""
