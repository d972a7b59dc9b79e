# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge beside the same nginx with a static upstream and HAProxy with Consul's DNS, and how long a killed app is still asked.

It starts the machines of the Molecule scenario `edge` and removes them at the end (--keep leaves them). The load comes from edge-3, the edge
is edge-1, and edge-4 has four instances that answer at once, each at an address of its own, by which the hash tells them apart. The requests
go round 64 URIs, so that all four work with the hash, too. The static sites are the role's own text with other servers. Nobody writes an
access log meanwhile: neither the edge, nor the static sites, nor HAProxy. Short rounds in alternating order; gaps are of the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
EDGE, CLIENT, BACKEND = "edge-1", "edge-3", "edge-4"
APPS = ("edge-1", "edge-2", "edge-3", "edge-4")
ADDRESSES = {"edge-1": "198.18.1.111", "edge-3": "198.18.1.113", "edge-4": "198.18.1.114"}
# The instances that are compared with; no machine of the lab has these addresses.
INSTANCES = ("198.18.1.115", "198.18.1.116", "198.18.1.117", "198.18.1.118")
PORT, APP_PORT = 9001, 8001
URIS = 64
KINDS = {
    "edge, resolve": ("even.paas.test", 443),
    "nginx, static": ("static.paas.test", 443),
    "edge, resolve and hash": ("todo.paas.test", 443),
    "nginx, static with hash": ("static-hash.paas.test", 443),
    "HAProxy, Consul DNS": ("haproxy.paas.test", 8443),
}
PAIRS = {"without hash": ("edge, resolve", "nginx, static"), "with hash": ("edge, resolve and hash", "nginx, static with hash")}
# Site of the role -> its static twin.
TWINS = {"even": "static", "todo": "static-hash"}
# Who forgets a killed app: the role's upstream, and one in which nginx itself counts no failure, so that Consul, DNS and nginx have to.
FORGETTING = {"passive": "nginx's own check", "chain": "Consul, DNS and nginx"}
WANTED = 0.02

INSTANCE = "server { listen 9001; access_log off; keepalive_requests 1000000; location / { return 200 $server_addr; } }"
LOGGED = """
server {
  listen 443 ssl; http2 on; server_name %(name)s.paas.test;
  ssl_certificate /etc/paas-edge.crt; ssl_certificate_key /etc/paas-edge.key;
  access_log /var/log/nginx/bench-%(name)s.log bench;
  proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_next_upstream error timeout http_502 http_504; proxy_next_upstream_tries 2;
  location / { proxy_pass http://%(upstream)s; }
}
"""
HAPROXY = """
global
  maxconn 400
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout connect 3s
  timeout client 60s
  timeout server 60s
  retries 1
  option redispatch
resolvers consul
  nameserver local 127.0.0.1:8600
  accepted_payload_size 8192
  hold valid 1s
frontend bench
  bind :8443 ssl crt /etc/haproxy/bench.pem alpn h2,http/1.1
  default_backend instances
backend instances
  balance roundrobin
  http-reuse always
  server-template app 8 _app-todo._tcp.service.consul resolvers consul init-addr none
"""


# Writes the machine's instances of the app, each as the role has written the one that is there; an empty address is the machine's own.
REGISTER = """
import json, sys
path = "/etc/paas/consul/services.json"
with open(path) as file:
    text = json.dumps(json.load(file)["services"][0])
services = []
for instance in sys.argv[1:]:
    address, port = instance.rsplit(":", 1)
    service = json.loads(text)
    service.pop("address", None)
    service.update(id=f"app-todo-{port}", port=int(port))
    if address:
        service.update(id=f"app-todo-{address}", address=address)
    service["checks"][0]["args"][-1] = f"http://127.0.0.1:{port}/health"
    services.append(service)
with open(path, "w") as file:
    json.dump({"services": services}, file)
"""


def molecule(action: str) -> None:
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(PROJECT / ".collections"), **os.environ}
    subprocess.run([str(Path(sys.executable).parent / "molecule"), action, "-s", "edge"], cwd=PROJECT, env=environment, check=True)


def shell(name: str, script: str, data: str | None = None) -> str:
    command = ["docker", "exec", "-i", f"paas-lab-{name}", "sh", "-c", script]
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {script}: {done.stdout}")
    return done.stdout.strip()


def register(instances: list) -> None:
    """Let Consul know these instances of edge-4, as the role would write them."""
    shell(BACKEND, f"python3 - {' '.join(instances)} && systemctl reload consul", REGISTER)


def apps(action: str) -> None:
    """Stop or start the scenario's own instances, which are slower than what is compared."""
    for name in APPS:
        shell(name, f"systemctl {action} app@{APP_PORT}")


def logging(on: bool) -> None:
    """The access log of all that the edge's nginx serves."""
    off, json_log = "  access_log off;", "  access_log /var/log/nginx/access.log paas_json;"
    old, new = (off, json_log) if on else (json_log, off)
    shell(EDGE, f"sed -i 's|^{old}$|{new}|' /etc/nginx/nginx.conf && grep -qx '{new}' /etc/nginx/nginx.conf")


def addresses(action: str) -> None:
    """Add or delete the instances' addresses."""
    interface = shell(BACKEND, f"ip -o -4 address show | awk '$4 ~ \"^{ADDRESSES[BACKEND]}/\" {{print $2; exit}}'")
    for address in INSTANCES:
        there = bool(shell(BACKEND, f"ip -o -4 address show to {address}/32"))
        if there != (action == "add"):
            shell(BACKEND, f"ip address {action} {address}/32 dev {interface}")


def twins(configuration: str) -> str:
    """What the role says of its sites, with static servers instead of Consul's; and the sites whose log says who was asked when."""
    blocks = re.findall(r"^  (?:upstream|server) .*?^  }$", configuration, re.MULTILINE | re.DOTALL)
    text, resolving = [], r"^ *server consul service=\S+ resolve (.*);$"
    for site, twin in TWINS.items():
        own = [block for block in blocks if re.search(rf"\bpaas-edge-{site}\b", block)]
        if len(own) != 2 or not re.search(resolving, own[0], re.MULTILINE):
            raise RuntimeError(f"the edge's configuration has no upstream with `resolve` and one server for {site}")
        upstream = re.sub(r"^ *resolver(_timeout)? .*\n", "", own[0], flags=re.MULTILINE)
        upstream = re.sub(resolving, lambda found: "\n".join(f"    server {address}:{PORT} {found.group(1)};" for address in INSTANCES), upstream, flags=re.M)
        server = own[1].replace(f"server_name {site}.paas.test;", f"server_name {twin}.paas.test;")
        text += [block.replace(f"paas-edge-{site}", f"bench-{twin}") for block in (upstream, server)]
        if site == "even":
            chain = re.sub(r"max_fails=\d+ fail_timeout=\w+", "max_fails=0", own[0]).replace("paas-edge-even", "bench-chain")
            if "max_fails=0" not in chain:
                raise RuntimeError("the edge's upstream does not say max_fails any more")
            text += [chain, "  log_format bench '$msec $status $upstream_addr';"]
    text += [LOGGED % {"name": name, "upstream": {"passive": "paas-edge-even", "chain": "bench-chain"}[name]} for name in FORGETTING]
    return "\n".join(text)


def prepare() -> None:
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends {} >/dev/null"
    addresses("add")
    shell(BACKEND, install.format("nginx-light"))
    shell(BACKEND, "rm -f /etc/nginx/sites-enabled/default; cat > /etc/nginx/conf.d/bench.conf; systemctl restart nginx", INSTANCE)
    shell(EDGE, install.format("haproxy"))
    shell(EDGE, "cat /etc/paas-edge.crt /etc/paas-edge.key > /etc/haproxy/bench.pem; cat > /etc/haproxy/haproxy.cfg; systemctl restart haproxy", HAPROXY)
    logging(on=False)
    shell(EDGE, "cat > /etc/nginx/conf.d/bench.conf; nginx -t -q && systemctl reload nginx", twins(shell(EDGE, "cat /etc/nginx/nginx.conf")))
    for name, _port in KINDS.values():
        shell(CLIENT, f"for n in $(seq {URIS}); do echo https://{name}/$n; done > /tmp/{name}")


def leave() -> None:
    """The machines as they were, but for packages."""
    register([f":{APP_PORT}"])
    apps("start")
    logging(on=True)
    shell(EDGE, "systemctl stop haproxy; rm -f /etc/nginx/conf.d/bench.conf /var/log/nginx/bench-*; nginx -t -q && systemctl reload nginx")
    shell(BACKEND, "rm -f /etc/nginx/conf.d/bench.conf; systemctl stop nginx || true")
    addresses("delete")


def until(wanted: Callable[[], bool], what: str, seconds: int = 60) -> None:
    deadline = time.monotonic() + seconds
    while not wanted():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds} s: {what}")
        time.sleep(0.5)


def answers(name: str, port: int, count: int) -> list[str]:
    """The words that come back for so many URIs, one a URI where all is well."""
    return shell(CLIENT, f"curl -sk -m 10 --connect-to ::{ADDRESSES[EDGE]}:{port} -w '\\n' 'https://{name}/[1-{count}]' || true").split()


def works(kind: str) -> bool:
    found = answers(*KINDS[kind], URIS)
    return set(found) == set(INSTANCES) and len(found) == URIS


def all_work() -> None:
    """Every kind gets answers of all four instances, and of nobody else."""
    for kind in KINDS:
        until(lambda: works(kind), f"{kind}: all instances answer, and nobody else")
        found = answers(*KINDS[kind], URIS)
        print(f"{kind}: of {URIS} URIs", ", ".join(f"{found.count(address)} at {address}" for address in INSTANCES), flush=True)


def measured(kind: str, seconds: int) -> tuple[float, float]:
    """Requests per second and the 99th percentile in milliseconds."""
    name, port = KINDS[kind]
    command = f"rm -f /tmp/load; h2load -D {seconds} --warm-up-time=1 -c 20 -m 5 --log-file=/tmp/load --connect-to={ADDRESSES[EDGE]}:{port} -i /tmp/{name}"
    output = shell(CLIENT, command)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
    if not counts or int(counts[1]) == 0 or any(int(count) for count in counts.groups()[1:]) or "0 3xx, 0 4xx, 0 5xx" not in output:
        raise RuntimeError(f"{kind}: {output}")
    rate = next(float(line.split(",")[1].split()[0]) for line in output.splitlines() if line.startswith("finished in"))
    return rate, float(shell(CLIENT, "cut -f3 /tmp/load | sort -n | awk '{a[NR]=$1} END {print a[int(NR*0.99)]/1000}'"))


def spread(values: list, form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}..{max(values):{form}})"


def side_by_side(rounds: int, seconds: int) -> dict:
    found: dict[str, list] = {kind: [] for kind in KINDS}
    for number in range(rounds):
        # Whoever comes first has no advantage over all rounds.
        for kind in list(KINDS)[:: 1 if number % 2 == 0 else -1]:
            found[kind].append(measured(kind, seconds))
    rates = {kind: [rate for rate, _p99 in results] for kind, results in found.items()}
    p99s = {kind: [p99 for _rate, p99 in results] for kind, results in found.items()}
    print(f"median (smallest..largest) of {rounds} rounds of {seconds} s")
    for kind in KINDS:
        print(f"{kind:26}{spread(rates[kind], '.0f'):>26} requests/s{spread(p99s[kind], '.1f'):>26} ms p99", flush=True)
    gaps = {}
    for name, (edge, static) in PAIRS.items():
        more = [one / other - 1 for one, other in zip(rates[edge], rates[static], strict=True)]
        longer = [one - other for one, other in zip(p99s[edge], p99s[static], strict=True)]
        gaps[name] = {"rate": more, "p99_ms": longer}
        within = "yes" if statistics.median(more) >= -WANTED else "no"
        print(f"{name}, the edge does within {WANTED:.0%} of the static upstream's requests or more: {within}, {spread(more, '+.1%')}", flush=True)
        print(f"{name}, the edge's p99 against the static upstream's: {spread(longer, '+.1f')} ms", flush=True)
    rows = [{"kind": kind, "rate": statistics.median(rates[kind]), "p99_ms": statistics.median(p99s[kind]), "rates": rates[kind], "p99s_ms": p99s[kind]}
            for kind in KINDS]  # fmt: skip
    return {"rows": rows, "gaps": gaps}


def killed(times: int) -> dict[str, list[float]]:
    """Seconds from the kill -9 of an app to the last request that was sent to it, by who has to forget it."""
    found: dict[str, list[float]] = {name: [] for name in FORGETTING}
    app = f"{ADDRESSES[BACKEND]}:{APP_PORT}"
    for number in range(1, times + 1):
        shell(BACKEND, f"systemctl start app@{APP_PORT}")
        until(lambda: all(f"{BACKEND}:{APP_PORT}" in answers(f"{name}.paas.test", 443, 20) for name in FORGETTING), "the app that is to be killed is asked")
        time.sleep(3)
        shell(EDGE, "for log in /var/log/nginx/bench-*.log; do : > $log; done")
        loads = {}
        for name in FORGETTING:
            # Few at a time: Consul's check needs the processor, too.
            command = f"h2load -D 13 -c 2 -m 1 --connect-to={ADDRESSES[EDGE]} https://{name}.paas.test/"
            arguments = ["docker", "exec", f"paas-lab-{CLIENT}", "sh", "-c", command]
            loads[name] = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(3)
        # All machines have this computer's clock.
        at = float(shell(BACKEND, f"systemctl kill --signal=KILL app@{APP_PORT}; date +%s.%N"))
        for name, load in loads.items():
            output = load.communicate(timeout=60)[0]
            entries = [line.split(" ", 2) for line in shell(EDGE, f"cat /var/log/nginx/bench-{name}.log").splitlines()]
            asked = [float(when) - at for when, _status, upstream in entries if app in upstream]
            if not any(delay < 0 for delay in asked):
                raise RuntimeError(f"{name}: {app} was not asked before it was killed: {output}")
            late = [delay for delay in asked if delay > 0]
            found[name].append(max(late, default=0.0))
            bad = next((line for line in output.splitlines() if line.startswith("status codes")), "")
            told = f"{len(late)} more requests were sent to it, the last one {found[name][-1]:.2f} s later; {bad}"
            print(f"kill {number}, {FORGETTING[name]}: {told}", flush=True)
    for name, delays in found.items():
        print(f"from kill -9 to the last request, {FORGETTING[name]}: {spread(delays, '.2f')} s", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--standing", action="store_true", help="take the machines as they stand, and leave them so")
    parser.add_argument("--keep", action="store_true", help="leave the machines running")
    options = parser.parse_args()
    if not options.standing:
        molecule("converge")
    try:
        prepare()
        register([f"{address}:{PORT}" for address in INSTANCES])
        apps("stop")
        # Until nobody knows the stopped ones any more.
        time.sleep(10)
        all_work()
        result = side_by_side(options.rounds, options.seconds)
        apps("start")
        register([f":{APP_PORT}"])
        delays = killed(options.kills)
    finally:
        if options.keep or options.standing:
            leave()
        else:
            molecule("cleanup")
    folder = PROJECT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nginx.json").write_text(json.dumps({"at": time.time(), **result, "kill_to_last_s": delays}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
