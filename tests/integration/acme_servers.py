# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers for the tests of letsencrypt_dns01, in containers on a network of their own.

Pebble as the CA, with its habit of refusing good nonces; knot as the RFC 2136 server, unbound as the CA's resolver; for Route 53 moto on this machine
and the lab's DNS server over it. Needs Docker.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

REPOSITORY = Path(__file__).resolve().parents[2]
NETWORK, SUBNET, GATEWAY = "paas-test-acme", "198.18.202.0/24", "198.18.202.1"
ADDRESS = "198.18.202.10"
IMAGE = "paas-test/acme:4"
CONTAINER = "paas-test-acme"
# The servers of a zone that is delegated: it is reached by the names and addresses that the zone above gives, and by nothing else.
CHILD_ZONE = "child.one.test"
CHILD_SERVERS = {"paas-test-acme-ns1": "198.18.202.11", "paas-test-acme-ns2": "198.18.202.12"}
TSIG_NAME, TSIG_SECRET = "acme", "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYw=="
MOTO_PORT, ROUTE53_DNS_PORT = 15053, 15054
ZONES = ("one.test", "two.test")
RESOLVER_PORT = 5300

DOCKERFILE = """
FROM {base}
RUN printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \\
 && apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \\
    pebble knot unbound certbot python3-certbot-dns-rfc2136 lego \\
 && apt-get clean
"""
KNOT = """
server:
    listen: [ 0.0.0.0@53 ]
    rundir: /tmp/knot
database:
    storage: /tmp/knot
key:
  - id: {name}
    algorithm: hmac-sha256
    secret: {secret}
  - id: {name}-sha512
    algorithm: hmac-sha512
    secret: {secret}
acl:
  - id: acme
    key: [{name}, {name}-sha512]
    action: [update, query]
template:
  - id: default
    storage: /tmp/knot
    file: "%s.zone"
    acl: acme
    zonefile-sync: -1
    journal-content: changes
log:
  - target: stderr
    any: info
"""
# A resolver as a CA has it: it follows CNAMEs into other zones, and forgets at once.
UNBOUND = """
server:
    interface: {address}@{port}
    access-control: 0.0.0.0/0 allow
    username: ""
    chroot: ""
    directory: "/tmp"
    pidfile: ""
    use-syslog: no
    do-not-query-localhost: no
    do-daemonize: no
    module-config: "iterator"
    cache-max-ttl: 0
    cache-max-negative-ttl: 0
    local-zone: "test." nodefault
"""
ZONE = """$ORIGIN {zone}.
$TTL 60
@ SOA ns1 hostmaster 1 3600 900 86400 1
@ NS ns1
ns1 A {address}
_acme-challenge.alias CNAME target.delegated
_acme-challenge.away CNAME elsewhere.two.test.
_acme-challenge.loop CNAME _acme-challenge.loop
_acme-challenge.handed CNAME handed.child
child NS ns1.child
child NS ns2.child
ns1.child A {ns1}
ns2.child A {ns2}
xn--bcher-kva A 192.0.2.1
"""
CHILD = """$ORIGIN {zone}.
$TTL 60
@ SOA ns1 hostmaster 1 3600 900 86400 1
@ NS ns1
@ NS ns2
ns1 A {ns1}
ns2 A {ns2}
"""
# The first one takes updates and tells the second one, which fetches the zone from it.
CHILD_FIRST = """
remote:
  - id: second
    address: {ns2}@53
acl:
  - id: fetch
    address: {ns2}
    action: transfer
zone:
  - domain: {zone}
    acl: [acme, fetch]
    notify: second
"""
CHILD_SECOND = """
remote:
  - id: first
    address: {ns1}@53
acl:
  - id: told
    address: {ns1}
    action: notify
zone:
  - domain: {zone}
    master: first
    acl: told
"""


def docker(*arguments, check=True, **kwargs):
    """One docker command. -> its standard output."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, **kwargs)
    if check and done.returncode != 0:
        raise RuntimeError("docker %s: %s" % (" ".join(arguments), done.stderr.strip()))
    return done.stdout.strip()


def docker_logs(container):
    """What a container has written so far, on both ways."""
    done = subprocess.run(["docker", "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return done.stdout


def wait_for(what, probe, seconds=30):
    """Until probe() is true; exceptions are a no."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(Exception):
            if probe():
                return
        if time.monotonic() > deadline:
            raise TimeoutError("%s was not there after %d s" % (what, seconds))
        time.sleep(0.1)


def _connects(address, port):
    with socket.create_connection((address, port), timeout=1):
        return True


def build_image():
    """With the CA, the DNS servers and what the benchmark compares with, on the lab's machine image or on plain Debian."""
    if docker("images", "-q", IMAGE):
        return
    base = "paas-lab/machine:trixie"
    if not docker("images", "-q", base):
        # The lab knows how to come by it where no Docker registry answers.
        sys.path.insert(0, str(REPOSITORY / "tests" / "lab"))
        from paaslab.images import ensure_base

        base = ensure_base("trixie", print)
    docker("build", "-t", IMAGE, "-", input=DOCKERFILE.format(base=base))


class Servers:
    """Started once per test session; `close` removes everything."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="paas-test-acme-"))
        self.folder.chmod(0o755)
        self.processes = []
        self.moto_url = "http://127.0.0.1:%d" % MOTO_PORT

    def start(self):
        """Containers and processes."""
        build_image()
        self._remove()
        docker("network", "create", "--subnet", SUBNET, "--gateway", GATEWAY, NETWORK)
        self._files()
        docker(
            "run", "-d", "--name", CONTAINER, "--network", NETWORK, "--ip", ADDRESS, "-v", "%s:/test:ro" % self.folder,
            # Lego asks a zone's servers by their names.
            *[part for zone in ZONES for part in ("--add-host", "ns1.%s:%s" % (zone, ADDRESS))], IMAGE, "sh", "-c",
            "mkdir -p /tmp/knot && cp /test/*.zone /tmp/knot/ && { unbound -c /test/unbound.conf & exec knotd -c /test/knot.conf; }",
        )  # fmt: skip
        wait_for("knot", lambda: _connects(ADDRESS, 53))
        wait_for("unbound", lambda: _connects(ADDRESS, RESOLVER_PORT))
        for name, address in CHILD_SERVERS.items():
            docker(
                "run", "-d", "--name", name, "--network", NETWORK, "--ip", address, "-v", "%s:/test:ro" % self.folder, IMAGE,
                "sh", "-c", "mkdir -p /tmp/knot && cp /test/%s/*.zone /tmp/knot/; exec knotd -c /test/%s.conf" % (name, name),
            )  # fmt: skip
            # The second one fetches the zone when it starts, so the first one has to have it.
            wait_for("the zone %s on %s" % (CHILD_ZONE, address), lambda address=address: has_zone(CHILD_ZONE, address))
        self.pebble("default", 14000)
        return self

    def _files(self):
        ns1, ns2 = CHILD_SERVERS.values()
        for zone in ZONES:
            (self.folder / ("%s.zone" % zone)).write_text(ZONE.format(zone=zone, address=ADDRESS, ns1=ns1, ns2=ns2))
        first = self.folder / next(iter(CHILD_SERVERS))
        first.mkdir(exist_ok=True)
        (first / ("%s.zone" % CHILD_ZONE)).write_text(CHILD.format(zone=CHILD_ZONE, ns1=ns1, ns2=ns2))
        knot = KNOT.format(name=TSIG_NAME, secret=TSIG_SECRET)
        for name, block in zip(CHILD_SERVERS, (CHILD_FIRST, CHILD_SECOND)):
            (self.folder / ("%s.conf" % name)).write_text(knot + block.format(zone=CHILD_ZONE, ns1=ns1, ns2=ns2))
        (self.folder / "knot.conf").write_text(knot + "zone:\n" + "".join("  - domain: %s\n" % zone for zone in ZONES))
        stubs = "".join('stub-zone:\n    name: "%s."\n    stub-addr: %s\n' % (zone, ADDRESS) for zone in ZONES)
        (self.folder / "unbound.conf").write_text(UNBOUND.format(address=ADDRESS, port=RESOLVER_PORT) + stubs)
        _certificates(self.folder)
        self.ca_file = str(self.folder / "ca.pem")

    def pebble(self, name, port, dns="%s:5300" % ADDRESS, config=None, **environment):
        """One more CA in the container. -> the URL of its directory."""
        settings = {
            "listenAddress": "0.0.0.0:%d" % port,
            "managementListenAddress": "0.0.0.0:%d" % (port + 1),
            "certificate": "/test/server.pem",
            "privateKey": "/test/server.key",
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            **(config or {}),
        }
        (self.folder / ("%s.json" % name)).write_text(json.dumps({"pebble": settings}))
        values = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0", **environment}
        docker(
            "exec", "-d", *[part for item in values.items() for part in ("-e", "%s=%s" % item)], CONTAINER,
            "sh", "-c", "exec pebble -strict -config /test/%s.json -dnsserver %s >/tmp/pebble-%s.log 2>&1" % (name, dns, name),
        )  # fmt: skip
        wait_for("pebble", lambda: _connects(ADDRESS, port))
        return "https://%s:%d/dir" % (ADDRESS, port)

    def ensure_pebble(self):
        """Pebble's store has been seen to lock itself up, after requests that were cut off on a busy machine: then it makes no account any more,
        and every test after that would fail for it. Started anew it is well."""
        context = ssl.create_default_context(cafile=self.ca_file)
        try:
            urllib.request.urlopen("https://%s:14001/cert-status-by-serial/1" % ADDRESS, context=context, timeout=20).close()
            return
        except urllib.error.HTTPError:
            # It knows no such certificate; to say so it has to read its store.
            return
        except OSError as error:
            print("Pebble does not answer (%s), starting it anew. It said last: %s" % (error, self.pebble_log()[-2000:]))
        docker("exec", CONTAINER, "pkill", "-KILL", "-f", "^pebble .*/test/default.json", check=False)
        wait_for("the end of Pebble", lambda: not docker("exec", CONTAINER, "pgrep", "-f", "^pebble .*/test/default.json", check=False))
        self.pebble("default", 14000)

    def pebble_log(self, name="default"):
        """What the CA said."""
        return docker("exec", CONTAINER, "cat", "/tmp/pebble-%s.log" % name)

    def root(self, port=14000):
        """Pebble's own root certificate, from its management port."""
        context = ssl.create_default_context(cafile=self.ca_file)
        with urllib.request.urlopen("https://%s:%d/roots/0" % (ADDRESS, port + 1), context=context) as answer:
            return answer.read()

    def route53(self):
        """moto and the lab's DNS server over it, both on this machine. -> a boto3 client."""
        import boto3

        self._process([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(MOTO_PORT)], "moto")
        wait_for("moto", lambda: _connects("127.0.0.1", MOTO_PORT), 60)
        client = boto3.client("route53", endpoint_url=self.moto_url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        self._process(
            [sys.executable, str(REPOSITORY / "tests/lab/dns/server.py"), "--api", self.moto_url, "--config", str(REPOSITORY / "tests/lab/lab.yml"),
             "--listen", GATEWAY, "--port", str(ROUTE53_DNS_PORT), "--poll", "0.3", "--status-port", "0", "--upstream", "none"],
            "dns",
        )  # fmt: skip
        wait_for("the DNS server", lambda: _connects(GATEWAY, ROUTE53_DNS_PORT), 30)
        return client

    def _process(self, command, name):
        environment = dict(os.environ, AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")
        with open(self.folder / ("%s.log" % name), "wb") as log:
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))

    def close(self):
        """Everything that start() made."""
        for process in self.processes:
            process.terminate()
            process.wait(10)
        self._remove()

    @staticmethod
    def _remove():
        docker("rm", "-f", CONTAINER, *CHILD_SERVERS, check=False)
        docker("network", "rm", NETWORK, check=False)


def txt(name, server=ADDRESS, port=53):
    """The TXT values at a name, asked directly."""
    import dns.message
    import dns.query

    answer = dns.query.udp(dns.message.make_query(name, "TXT"), server, port=port, timeout=3)
    return sorted(b"".join(rdata.strings).decode() for rrset in answer.answer if rrset.rdtype == 16 for rdata in rrset)


def addresses(name, server=ADDRESS, port=53):
    """The IPv4 addresses at a name, asked directly."""
    import dns.message
    import dns.query

    answer = dns.query.udp(dns.message.make_query(name, "A"), server, port=port, timeout=3)
    return sorted(rdata.address for rrset in answer.answer if rrset.rdtype == 1 for rdata in rrset)


def has_zone(zone, server=ADDRESS, port=53):
    """Whether the server answers for it with authority."""
    import dns.message
    import dns.query

    answer = dns.query.udp(dns.message.make_query(zone, "SOA"), server, port=port, timeout=3)
    return any(rrset.name.to_text(omit_final_dot=True) == zone for rrset in answer.answer)


def update(zone, name, value, add=True):
    """What another client does to a TXT set."""
    import dns.query
    import dns.tsigkeyring
    import dns.update

    message = dns.update.Update(zone, keyring=dns.tsigkeyring.from_text({TSIG_NAME: TSIG_SECRET}), keyalgorithm="hmac-sha256")
    if add:
        message.add(name + ".", 60, "TXT", '"%s"' % value)
    else:
        message.delete(name + ".", "TXT", '"%s"' % value)
    assert dns.query.tcp(message, ADDRESS, timeout=5).rcode() == 0


# The module in a process of its own, as Ansible runs it.
DRIVER = """
import json, os, sys
sys.path.insert(0, {tests!r})
import conftest
conftest.pytest_configure()
from ansible.module_utils.testing import patch_module_args
from ansible_collections.multiregion.paas.plugins.modules import letsencrypt_dns01
print("begun", file=sys.stderr, flush=True)
with patch_module_args(json.loads(sys.stdin.read())):
    letsencrypt_dns01.main()
"""


def spawn(parameters, check=False, diff=True):
    """The running module. It says so on stderr when it begins, after all imports."""
    arguments = dict(parameters, _ansible_check_mode=check, _ansible_diff=diff)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER.format(tests=str(REPOSITORY / "tests"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True,
    )  # fmt: skip
    process.stdin.write(json.dumps(arguments))
    process.stdin.close()
    process.stdin = None
    return process


def finish(process, timeout=120):
    """-> the module's result."""
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    return _result(output or errors)


def run(parameters, check=False, diff=True):
    """The module in this process, start to end: fast. -> its result."""
    from ansible.module_utils.testing import patch_module_args
    from ansible_collections.multiregion.paas.plugins.modules import letsencrypt_dns01

    output = io.StringIO()
    arguments = dict(parameters, _ansible_check_mode=check, _ansible_diff=diff)
    with patch_module_args(arguments), contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        letsencrypt_dns01.main()
    return _result(output.getvalue())


def _result(output):
    lines = [line for line in output.splitlines() if line.startswith("{")]
    assert lines, "the module gave no result: %s" % output
    result = json.loads(lines[-1])
    # Kept apart from the many options, so that a test that fails shows it.
    result.pop("invocation", None)
    return dict({"changed": False, "msg": ""}, **result)


def _certificates(folder):
    """A CA of ours for Pebble's own HTTPS."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def build(name, key, issuer, issuer_key, extension):
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=30)).add_extension(extension, critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = build("test CA", ca_key, None, ca_key, x509.BasicConstraints(ca=True, path_length=None))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))])
    certificate = build("pebble", key, authority.subject, ca_key, names)
    (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(private)
    (folder / "server.key").chmod(0o644)
