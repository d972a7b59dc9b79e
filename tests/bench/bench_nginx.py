# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge beside the same nginx with a static upstream and HAProxy with Consul's DNS, and how long a killed app is still asked.

It starts the machines of the Molecule scenario `edge` and removes them at the end (--keep leaves them). The load comes from edge-3, the edge
is edge-1, and edge-4 has four instances that answer at once. The kinds take turns; the median of the rounds is told.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
EDGE, CLIENT, BACKEND = "edge-1", "edge-3", "edge-4"
APPS = ("edge-1", "edge-2", "edge-3", "edge-4")
ADDRESSES = {"edge-1": "198.18.1.111", "edge-3": "198.18.1.113", "edge-4": "198.18.1.114"}
PORTS = (9001, 9002, 9003, 9004)
KINDS = {"edge, resolve": ("even.paas.test", 443), "nginx, static": ("static.paas.test", 443), "HAProxy, Consul DNS": ("haproxy.paas.test", 8443)}
WANTED = 0.02

INSTANCES = "server { listen 9001; listen 9002; listen 9003; listen 9004; access_log off; keepalive_requests 1000000; location / { return 200 'hello'; } }"
# What the role says of a site, but for where the instances come from; and a site of the role's own upstream that logs who was asked when.
STATIC = """
upstream bench-static { zone bench-static 512k; %s keepalive 64; }
log_format bench '$msec $status $upstream_addr';
server {
  listen 443 ssl; http2 on; server_name static.paas.test;
  ssl_certificate /etc/paas-edge.crt; ssl_certificate_key /etc/paas-edge.key;
  include /etc/nginx/snippets/paas-app.conf;
  proxy_http_version 1.1; proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $paas_edge_connection;
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id;
  proxy_buffering off; proxy_next_upstream error timeout http_502 http_504; proxy_next_upstream_tries 2;
  location / { if ($scheme = http) { return 308 https://$host$request_uri; } proxy_pass http://bench-static; }
}
server {
  listen 443 ssl; http2 on; server_name logged.paas.test;
  ssl_certificate /etc/paas-edge.crt; ssl_certificate_key /etc/paas-edge.key;
  access_log /var/log/nginx/bench.log bench;
  proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_next_upstream error timeout http_502 http_504; proxy_next_upstream_tries 2;
  location / { proxy_pass http://paas-edge-even; }
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


REGISTER = """
import json, sys
path = "/etc/paas/consul/services.json"
with open(path) as file:
    text = json.dumps(json.load(file)["services"][0])
services = []
for port in map(int, sys.argv[1:]):
    service = json.loads(text)
    service.update(id=f"app-todo-{port}", port=port)
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


def instances(ports: tuple) -> None:
    """Let Consul know the instances on these ports of edge-4, as the role would write them."""
    shell(BACKEND, f"python3 - {' '.join(map(str, ports))} && systemctl reload consul", REGISTER)


def apps(action: str) -> None:
    """Stop or start the scenario's own instances, which are slower than what is compared."""
    for name in APPS:
        shell(name, f"systemctl {action} app@8001")


def prepare() -> None:
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends {} >/dev/null"
    shell(BACKEND, install.format("nginx-light"))
    shell(BACKEND, "rm -f /etc/nginx/sites-enabled/default; cat > /etc/nginx/conf.d/bench.conf; systemctl restart nginx", INSTANCES)
    shell(EDGE, install.format("haproxy"))
    shell(EDGE, "cat /etc/paas-edge.crt /etc/paas-edge.key > /etc/haproxy/bench.pem; cat > /etc/haproxy/haproxy.cfg; systemctl restart haproxy", HAPROXY)
    servers = " ".join(f"server {ADDRESSES[BACKEND]}:{port} max_fails=3 fail_timeout=5s;" for port in PORTS)
    shell(EDGE, "cat > /etc/nginx/conf.d/bench.conf; nginx -t -q && systemctl reload nginx", STATIC % servers)


def measured(kind: str, seconds: int) -> tuple[float, float]:
    """Requests per second and the 99th percentile in milliseconds."""
    name, port = KINDS[kind]
    command = f"rm -f /tmp/load; h2load -D {seconds} --warm-up-time=2 -c 20 -m 5 --log-file=/tmp/load --connect-to={ADDRESSES[EDGE]}:{port} https://{name}/"
    output = shell(CLIENT, command)
    if "0 3xx, 0 4xx, 0 5xx" not in output:
        raise RuntimeError(f"{kind}: {output}")
    rate = next(float(line.split(",")[1].split()[0]) for line in output.splitlines() if line.startswith("finished in"))
    return rate, float(shell(CLIENT, "cut -f3 /tmp/load | sort -n | awk '{a[NR]=$1} END {print a[int(NR*0.99)]/1000}'"))


def side_by_side(rounds: int, seconds: int) -> list[dict]:
    found: dict[str, list] = {kind: [] for kind in KINDS}
    for _round in range(rounds):
        for kind in KINDS:
            found[kind].append(measured(kind, seconds))
    rows = []
    for kind, results in found.items():
        rows.append({"kind": kind, "rate": statistics.median(rate for rate, _p99 in results), "p99_ms": statistics.median(p99 for _rate, p99 in results)})
        print(f"{kind:22}{rows[-1]['rate']:10.0f} requests/s{rows[-1]['p99_ms']:10.2f} ms p99", flush=True)
    gap = 1 - rows[0]["rate"] / rows[1]["rate"]
    print(f"the edge is within {WANTED:.0%} of the static upstream: {'yes' if gap <= WANTED else 'no'}, {gap:+.1%}", flush=True)
    return rows


def killed(times: int) -> list[float]:
    """Seconds from the kill -9 of an app to the last request that was sent to it."""
    found = []
    for number in range(1, times + 1):
        shell(BACKEND, "systemctl start app@8001")
        time.sleep(12)
        command = f"h2load -D 15 -c 4 -m 2 --connect-to={ADDRESSES[EDGE]} https://logged.paas.test/"
        load = subprocess.Popen(["docker", "exec", f"paas-lab-{CLIENT}", "sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(3)
        # All machines have this computer's clock.
        at = float(shell(BACKEND, "systemctl kill --signal=KILL app@8001; date +%s.%N"))
        output = load.communicate()[0]
        entries = [line.split(" ", 2) for line in shell(EDGE, "cat /var/log/nginx/bench.log; : > /var/log/nginx/bench.log").splitlines()]
        asked = [float(when) - at for when, _status, upstream in entries if f"{ADDRESSES[BACKEND]}:8001" in upstream and float(when) > at]
        found.append(max(asked, default=0.0))
        bad = next((line for line in output.splitlines() if line.startswith("status codes")), "")
        print(f"kill {number}: {len(asked)} more requests were sent to it, the last one {found[-1]:.2f} s later; {bad}", flush=True)
    print(f"from kill -9 to the last request: median {statistics.median(found):.2f} s, longest {max(found):.2f} s", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--standing", action="store_true", help="take the machines as they stand, and leave them so")
    parser.add_argument("--keep", action="store_true", help="leave the machines running")
    options = parser.parse_args()
    if not options.standing:
        molecule("converge")
    try:
        prepare()
        instances(PORTS)
        apps("stop")
        time.sleep(10)
        rows = side_by_side(options.rounds, options.seconds)
        apps("start")
        instances((8001,))
        delays = killed(options.kills)
    finally:
        if not options.keep and not options.standing:
            molecule("cleanup")
    folder = PROJECT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nginx.json").write_text(json.dumps({"at": time.time(), "rows": rows, "kill_to_last_s": delays}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
