# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renews the certificates that are due, and hands all of them to every host, region by region.

    renewal.py /etc/paas/certificate-renewal.json

A systemd timer starts it on the issuing host. It is what the role certificate does, without Ansible: the same code issues (_acme,
bundled with it, bundle.py), the same program takes the certificates on the hosts (paas-certificate, behind an SSH key that is good for nothing
else). A host that does not answer is passed over and gets them the next time; one that cannot serve them ends the run before the next
region. The exit status is 1 when anything is left to do.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from _acme import resolve, rfc2136, route53, runner
from _acme.errors import AcmeError, Stopped

RFC2136 = ("server", "port", "key_name", "key_secret", "key_algorithm", "transport", "zone")
UNREACHABLE = 255  # ssh's own exit status
TIMEOUT = 600


def say(text):
    """One line for the journal."""
    print(text, flush=True)


def make_provider(options, aws, view):
    """Where TXT values are written."""
    if options["dns_provider"] == "rfc2136":
        return rfc2136.Rfc2136(view, **{name: options[name] for name in RFC2136})
    import boto3

    given = {name: value for name, value in aws.items() if value}
    client = boto3.client("route53", **{"region_name": "us-east-1", "config": route53.client_config(), **given})
    return route53.Route53(view, client, options["zone_id"])


def issue(name, options, aws):
    """Issue or renew one certificate where it is missing, different or due. -> whether all is well."""

    def warn(text):
        say("%s: %s" % (name, text))

    try:
        task = runner.from_options(options, resolve.Dns, lambda view: make_provider(options, aws, view), warn, False)
        result, _diff = task.run("present", "unspecified")
    except Stopped:
        raise
    except Exception as error:  # whatever it is, the other certificates and the hosts must not wait for it
        say("%s: not renewed: %s" % (name, error.message if isinstance(error, AcmeError) else "%s: %s" % (type(error).__name__, error)))
        return False
    done = "issued (%s)" % "; ".join(result["reasons"]) if result["changed"] else "is good"
    say("%s: %s, serial number %s, until %s, to be renewed at %s" % (name, done, result["serial"], result["not_after"], result["renew_at"]))
    return True


def ended(fullchain):
    """Whether a host would refuse it."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(fullchain.encode()).not_valid_after_utc <= datetime.datetime.now(datetime.timezone.utc)


def read(names, folder):
    """The certificates that lie here, as the hosts take them. One that has ended would keep the regions after the first from all others."""
    pairs = {}
    for name in names:
        # A renewal in between would switch the link: both files have to come from one version.
        version = (Path(folder) / name).resolve()
        with contextlib.suppress(OSError, ValueError):
            pair = {"fullchain": (version / "fullchain.pem").read_text(), "privkey": (version / "privkey.pem").read_text()}
            if ended(pair["fullchain"]):
                say("%s: not handed over, as it has ended" % name)
            else:
                pairs[name] = pair
    return pairs


def hand(host, settings, text):
    """To one host. -> (host, "done", "unreachable" or "refused")."""
    command = [
        "ssh", "-F", "/dev/null", "-i", settings["key"], "-p", str(host["port"]), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes",
        "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15", "-o", "StrictHostKeyChecking=yes", "-o", "HostKeyAlias=" + host["name"],
        "-o", "UserKnownHostsFile=%s/%s" % (settings["known_hosts"], host["name"]), "-o", "GlobalKnownHostsFile=/dev/null",
        "%s@%s" % (settings["user"], host["address"]),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        say("%s: no answer within %d s" % (host["name"], TIMEOUT))
        return host, "unreachable"
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        said = done.stderr.strip().splitlines()
        say("%s: %s" % (host["name"], said[-1] if said else "no answer"))
        return host, "unreachable" if done.returncode == UNREACHABLE else "refused"
    for name, one in answer["certificates"].items():
        shown = ", ".join("%s presents %s" % item for item in one["presented"].items()) or "nobody serves it"
        say("%s: %s: %s, serial number %s, until %s; %s" % (host["name"], name, "new" if one["changed"] else "there", one["serial"], one["not_after"], shown))
    for name, error in answer["errors"].items():
        say("%s: %s: not taken: %s" % (host["name"], name, error))
    return host, "refused" if answer["errors"] else "done"


def distribute(settings, pairs):
    """Region by region, the hosts of one at a time together. -> whether all have them."""
    text, good = json.dumps(pairs), True
    regions = list(dict.fromkeys(host["region"] for host in settings["hosts"]))
    for region in regions:
        hosts = [host for host in settings["hosts"] if host["region"] == region]
        with ThreadPoolExecutor(max_workers=min(8, len(hosts))) as pool:
            results = [result for _host, result in pool.map(lambda host: hand(host, settings, text), hosts)]
        good = good and set(results) == {"done"}
        if "refused" in results:
            left = regions[regions.index(region) + 1 :]
            if left:
                say("%s does not take the certificates, so %s keep what they have" % (region or "A host", ", ".join(left)))
            return False
    return good


def main(argv):
    """-> the exit status."""
    settings = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    good = [issue(name, {**settings["options"], **own}, settings["aws"]) for name, own in settings["certificates"].items()]
    pairs = read(settings["certificates"], settings["dir"])
    return 0 if distribute(settings, pairs) and all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
