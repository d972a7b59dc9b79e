# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""20 names over two zones, with a wildcard each, by RFC 2136: this module, certbot and lego, same Pebble, same knot.

Certbot and lego are Debian's packages. Certbot pauses for 60 s by default, lego for 60 s between two names, which is 20 minutes here. Both get
the shortest pause that is safe here, so what is compared is the way of working and not a default. Lego asks the authoritative servers by
name whether they have the values, so the container knows these names. Each is measured in several rounds, one after the other, and its best one
counts, for a machine is rarely quiet. Prints a table, and JSON with --json FILE.

The lower bound in seconds is measured: the same conversation with the same servers and libraries, but without a check beforehand, a proof of
propagation or a file, and with the order's state asked for every 10 ms. What the servers need for that, nobody can avoid.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))
sys.path.insert(0, str(REPOSITORY / "tests" / "integration"))

import acme_servers
import conftest
from acme_servers import ADDRESS, CONTAINER, TSIG_NAME, TSIG_SECRET, docker

NAMES = [name for zone in ("one.test", "two.test") for name in ["*." + zone] + ["n%d.host.%s" % (number, zone) for number in range(9)]]
DIRECTORY = "https://%s:14200/dir" % ADDRESS
CREDENTIALS = """dns_rfc2136_server = {address}
dns_rfc2136_port = 53
dns_rfc2136_name = {name}.
dns_rfc2136_secret = {secret}
dns_rfc2136_algorithm = HMAC-SHA256
"""


def counts(servers):
    """-> (DNS updates, ACME requests) since the servers started, by their own logs."""
    logs = acme_servers.docker_logs(CONTAINER)
    return logs.count("DDNS, processing"), servers.pebble_log("bench").count("-> calling handler()")


def measure(servers, name, action, pauses):
    """One way to the certificate. -> a row."""
    updates, requests = counts(servers)
    begun = time.monotonic()
    action()
    seconds = time.monotonic() - begun
    after = counts(servers)
    return {"who": name, "seconds": round(seconds, 2), "pauses": pauses, "dns_updates": after[0] - updates, "acme_requests": after[1] - requests}


def ours(ca_file, folder):
    """The module's options, with an account and a bundle of their own."""
    return {
        "names": NAMES,
        "directory": DIRECTORY,
        "ca_certificates": str(ca_file),
        "account_key_path": str(folder / "account.pem"),
        "terms_agreed": True,
        "dest": str(folder / "bundle"),
        "dns_provider": "rfc2136",
        "server": ADDRESS,
        "key_name": TSIG_NAME,
        "key_secret": TSIG_SECRET,
        "nameservers": [ADDRESS],
    }


def module(options):
    """In a process of its own, as Ansible runs it."""
    result = acme_servers.finish(acme_servers.spawn(options))
    assert not result.get("failed"), result["msg"]
    return result


def certbot(number):
    """In the container, beside Pebble."""
    ini = CREDENTIALS.format(address=ADDRESS, name=TSIG_NAME, secret=TSIG_SECRET)
    docker("exec", "-i", CONTAINER, "sh", "-c", "umask 077; cat > /tmp/rfc2136.ini", input=ini)
    domains = [part for name in NAMES for part in ("-d", name)]
    docker(
        "exec", "-e", "REQUESTS_CA_BUNDLE=/test/ca.pem", CONTAINER, "certbot", "certonly", "-n", "--agree-tos", "-m", "a@one.test", "--server", DIRECTORY,
        "--dns-rfc2136", "--dns-rfc2136-credentials", "/tmp/rfc2136.ini", "--dns-rfc2136-propagation-seconds", "1",
        *[part for kind in ("config", "work", "logs") for part in ("--%s-dir" % kind, "/tmp/certbot-%d/%s" % (number, kind))], *domains,
    )  # fmt: skip


def lego(number):
    """In the container, too. It knows zones and servers by the same knot."""
    settings = {
        "LEGO_CA_CERTIFICATES": "/test/ca.pem",
        "RFC2136_NAMESERVER": "%s:53" % ADDRESS,
        "RFC2136_TSIG_KEY": TSIG_NAME + ".",
        "RFC2136_TSIG_ALGORITHM": "hmac-sha256.",
        "RFC2136_TSIG_SECRET": TSIG_SECRET,
        "RFC2136_SEQUENCE_INTERVAL": "0",
        "RFC2136_POLLING_INTERVAL": "1",
    }
    docker(
        "exec", *[part for item in settings.items() for part in ("-e", "%s=%s" % item)], CONTAINER, "timeout", "300", "lego", "--path", "/tmp/lego-%d" % number,
        "--server", DIRECTORY, "--accept-tos", "--email", "a@one.test", "--dns", "rfc2136", "--dns.resolvers", "%s:53" % ADDRESS,
        *[part for name in NAMES for part in ("--domains", name)], "run",
    )  # fmt: skip


def bare(ca_file):
    """The conversation and nothing else. -> seconds by part."""
    from ansible_collections.multiregion.paas.plugins.module_utils._acme import ca as authority
    from ansible_collections.multiregion.paas.plugins.module_utils._acme import crypto, plan, resolve, rfc2136, runner

    ca = authority.Ca(DIRECTORY, ca_file, 60)
    # The CA's advice how long to wait is for the polite; this asks at once.
    authority.seconds_to_wait = lambda value, default, now=None: 0.01
    ca.use_key(crypto.key_pem(crypto.generate_key("ec256")), "the account's key")
    provider = rfc2136.Rfc2136(resolve.Dns([ADDRESS]), ADDRESS, 53, TSIG_NAME, TSIG_SECRET, "hmac-sha256", "tcp")
    csr = crypto.make_csr(crypto.generate_key("ec256"), NAMES)
    clock = runner.Clock()
    with clock.phase("account"):
        ca.register(None, True, None)
    with clock.phase("order"):
        values = ca.order(NAMES, csr, None, None)
    zones = {}
    for name, value in values:
        fqdn = plan.challenge_name(name)
        zones.setdefault(".".join(fqdn.split(".")[-2:]), {}).setdefault(fqdn, []).append(value)
    with clock.phase("dns in"):
        together(provider.add, zones)
    with clock.phase("validation"):
        ca.validate()
    with clock.phase("finalize"):
        ca.finalize(None, None)
    with clock.phase("dns out"):
        together(provider.remove, zones)
    return clock.result()


def together(change, zones):
    """Both zones at the same time."""
    with ThreadPoolExecutor(max_workers=len(zones)) as pool:
        list(pool.map(change, zones, zones.values()))


def one_round(servers, options, number):
    """Each once, and what the module says of itself."""
    results = []
    rows = [
        measure(servers, "this module", lambda: results.append(module(options)), "none"),
        measure(servers, "this module, no-op", lambda: module(options), "none"),
        measure(servers, "certbot 4.0, rfc2136 plugin", lambda: certbot(number), "1 s; by default 60 s"),
        measure(servers, "lego 4", lambda: lego(number), "0 s between names; by default 60 s"),
    ]
    return {"rows": rows, "phases": results[0]["timings"], "noop": acme_servers.run(options), "floor": bare(servers.ca_file)}


def main():
    """Start, measure, print, stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    conftest.pytest_configure()
    servers = acme_servers.Servers()
    try:
        servers.start()
        # Certbot ends at the second refused nonce, so this Pebble refuses none.
        servers.pebble("bench", 14200, PEBBLE_WFE_NONCEREJECT="0")
        with tempfile.TemporaryDirectory() as here:
            rounds = [one_round(servers, ours(servers.ca_file, Path(here, str(number))), number) for number in range(arguments.rounds)]
    finally:
        servers.close()
    rows = [min(one, key=lambda row: row["seconds"]) for one in zip(*[one["rows"] for one in rounds])]
    phases, floor = (min((one[part] for one in rounds), key=lambda timings: timings["total"]) for part in ("phases", "floor"))
    quiet = min((one["noop"] for one in rounds), key=lambda result: result["timings"]["total"])
    for row in rows:
        print("{who:28} {seconds:7.2f} s  {dns_updates:3} DNS updates  {acme_requests:4} ACME requests  pauses: {pauses}".format(**row))
    # The rest of its seconds is the start of Python, as the no-op shows.
    print("within the module, by phase: %s" % ", ".join("%s %.2f s" % item for item in phases.items()))
    print("no-op within the module: %.0f ms, %d requests" % (quiet["timings"]["total"] * 1000, quiet["acme_requests"]))
    names = len(NAMES)
    # Directory, nonce, account, order, an authorization and an answer a name, the order's state, finalize, its state, download.
    print("lower bound: 4 DNS updates (2 zones, in and out), %d ACME requests" % (2 * names + 8))
    print("lower bound: %.2f s, by part: %s" % (floor["total"], ", ".join("%s %.2f s" % item for item in floor.items() if item[0] != "total")))
    if arguments.json:
        noop = round(quiet["timings"]["total"] * 1000)
        arguments.json.write_text(json.dumps({"rows": rows, "noop_ms": noop, "lower_bound_requests": 2 * names + 8, "lower_bound_seconds": floor}, indent=1))


if __name__ == "__main__":
    main()
