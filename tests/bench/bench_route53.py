# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""route53_latency beside amazon.aws.route53 and route53_health_check: calls, seconds and memory, in one run, against moto.

AWS takes five requests a second of an account, so calls are what costs. Ours runs under that limit; the peers are counted without
it, and their time is what the limit makes it at least (--throttle-peers waits for it really). The peers have no multivalue records,
so they make five checks and five plain latency records; ours is measured doing that, and doing the regional names as well.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "lab" / "dns"))
sys.path.insert(0, str(HERE.parents[1]))

RATE = 5.0
REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-2", "eu-central-1", "us-west-2")
ZONE = "bench.test"
NAME = f"app.{ZONE}"
OURS = "ansible_collections.multiregion.paas.plugins.modules.route53_latency"
PEER_RECORD = "ansible_collections.amazon.aws.plugins.modules.route53"
PEER_CHECK = "ansible_collections.amazon.aws.plugins.modules.route53_health_check"
CHECK = {"type": "HTTPS", "host": NAME, "path": "/health", "interval": 10}


def work(path: str) -> None:
    """In a process of its own: the modules of a list of tasks, one after the other, as Ansible would run them."""
    import conftest

    conftest.pytest_configure()
    from ansible.module_utils.testing import patch_module_args

    tasks = json.loads(Path(path).read_text(encoding="utf-8"))
    modules = {name: importlib.import_module(name) for name in {task["module"] for task in tasks}}
    results, facts = [], {}
    began = time.monotonic()
    for task in tasks:
        arguments = {key: facts.get(value, value) if isinstance(value, str) else value for key, value in task["arguments"].items()}
        output = io.StringIO()
        with patch_module_args(arguments), contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            modules[task["module"]].main()
        result = json.loads(output.getvalue())
        if result.get("failed"):
            raise SystemExit(f"{task['module']}: {result['msg']}")
        if task.get("register"):
            facts[task["register"]] = result["health_check"]["id"]
        results.append(bool(result["changed"]))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.monotonic() - began, "megabytes": memory, "changed": sum(results)}))


class Bench:
    def __init__(self, server) -> None:
        self.server = server
        self.connection = {"access_key": "bench", "secret_key": "0123456789", "endpoint_url": server.url}
        self.rows: list[dict] = []

    def measure(self, what: str, who: str, tasks: list[dict], rate: float | None) -> dict:
        for task in tasks:
            task["arguments"] = {**self.connection, **task["arguments"]}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(tasks, file)
            file.flush()
            self.server.control.requests.clear()
            self.server.control.rate = rate
            done = subprocess.run([sys.executable, str(HERE), "--work", file.name], capture_output=True, text=True, check=False)
            self.server.control.rate = None
        if done.returncode:
            raise SystemExit(done.stderr)
        calls = len(self.server.control.requests)
        row = {"what": what, "who": who, "calls": calls, "throttled": rate is not None, **json.loads(done.stdout)}
        row["limit_seconds"] = max(0.0, (calls - RATE) / RATE)
        self.rows.append(row)
        shown = row["seconds"] if row["throttled"] else max(row["seconds"], row["limit_seconds"])
        print(
            f"{what:34} {who:28} {calls:6} calls  {shown:8.1f} s{'' if row['throttled'] else ' at least':9}"
            f" {row['megabytes']:6.0f} MB  {row['changed']} changed",
            flush=True,
        )
        return row

    def fill(self, records: int, checks: int) -> None:
        """A zone with other people's records, and other people's checks."""
        client = self.server.client()
        zone = client.create_hosted_zone(Name=ZONE, CallerReference="bench")["HostedZone"]["Id"]
        for start in range(0, records, 1000):
            changes = [
                {"Name": f"host{number:05d}.{ZONE}", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "198.18.9.9"}]}
                for number in range(start, min(start + 1000, records))
            ]
            batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": change} for change in changes]}
            client.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
        for number in range(checks):
            config = {"Type": "TCP", "IPAddress": "198.18.9.9", "Port": number + 1, "RequestInterval": 30, "FailureThreshold": 3}
            client.create_health_check(CallerReference=f"theirs-{number}", HealthCheckConfig=config)


def endpoints() -> list[dict]:
    return [{"region": region, "addresses": [f"198.18.{number}.11"]} for number, region in enumerate(REGIONS, start=1)]


def ours(**more) -> list[dict]:
    arguments = {
        "zone": ZONE,
        "names": [NAME],
        "endpoints": endpoints(),
        "health_check": CHECK,
        "wait_timeout": 3600,
        "region": "us-east-1",
    }
    return [{"module": OURS, "arguments": {**arguments, **more}}]


def peers() -> list[dict]:
    tasks = []
    for endpoint in endpoints():
        region, (address,) = endpoint["region"], endpoint["addresses"]
        check = {"ip_address": address, "port": 443, "type": "HTTPS", "fqdn": NAME, "resource_path": "/health", "request_interval": 10}
        unique = {"health_check_name": f"peer {region}", "use_unique_names": True, "region": "us-east-1"}
        tasks.append({"module": PEER_CHECK, "arguments": {**check, **unique}, "register": f"id of {region}"})
        record = {
            "zone": ZONE,
            "record": f"peer.{ZONE}",
            "type": "A",
            "ttl": 60,
            "value": [address],
            "identifier": region,
            "region": region,
        }
        more = {"state": "present", "overwrite": True, "health_check": f"id of {region}", "wait": False}
        tasks.append({"module": PEER_RECORD, "arguments": {**record, **more}})
    return tasks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--records", type=int, default=3000)
    parser.add_argument("--checks", type=int, default=200)
    parser.add_argument("--names", type=int, default=1000)
    parser.add_argument("--throttle-peers", action="store_true")
    parser.add_argument("--output", type=Path, default=HERE.parents[2] / "build" / "bench" / "route53.json")
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work)
        return 0

    import logging
    import warnings

    warnings.filterwarnings("ignore", message=".*with code Throttling.*")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    from moto_route53 import Route53Server

    peer_rate = RATE if arguments.throttle_peers else None
    with Route53Server() as server:
        bench = Bench(server)
        bench.fill(arguments.records, arguments.checks)
        print(f"One name, {len(REGIONS)} regions, beside {arguments.records} record sets and {arguments.checks} health checks of others")
        made = bench.measure("plain latency records, from nothing", "route53_latency", ours(regional_names=False), RATE)
        noop = bench.measure("plain latency records, no-op", "route53_latency", ours(regional_names=False), RATE)
        bench.measure("all away", "route53_latency", ours(state="absent", endpoints=[]), RATE)
        regional = bench.measure("with regional names, from nothing", "route53_latency", ours(), RATE)
        again = bench.measure("with regional names, no-op", "route53_latency", ours(), RATE)
        peer_made = bench.measure("plain latency records, from nothing", "amazon.aws, 10 tasks", peers(), peer_rate)
        peer_noop = bench.measure("plain latency records, no-op", "amazon.aws, 10 tasks", peers(), peer_rate)
        print(
            f"Ratios of calls, amazon.aws to ours: from nothing {peer_made['calls'] / made['calls']:.0f}, no-op {peer_noop['calls'] / noop['calls']:.0f}"
        )

        server.reset()
        bench.fill(0, 0)
        names = [f"app{number:05d}.{ZONE}" for number in range(arguments.names)]
        print(f"{arguments.names} names, {len(REGIONS)} regions, {arguments.names * len(REGIONS) * 2} record sets")
        large = bench.measure("all names, from nothing", "route53_latency", ours(names=names), RATE)
        large_noop = bench.measure("all names, no-op", "route53_latency", ours(names=names), RATE)

    # Every set is an element, twice in an UPSERT; 300 sets a page; an empty zone is one page; checks are made and tagged.
    sets = arguments.names * len(REGIONS) * 2
    bound = -(-sets * 2 // 1000) + 1 + -(-sets // 300) + 2 * len(REGIONS) + 3
    print(
        f"Lower bound of the API's limits for that: {bound} calls, {bound / RATE:.0f} s; ours {large['calls']} calls, {large['seconds']:.0f} s"
    )
    verdicts = {
        "a no-op takes at most 4 calls": max(noop["calls"], again["calls"]) <= 4,
        "from nothing takes at most 30 calls": max(made["calls"], regional["calls"]) <= 30,
        "a second run changes nothing": not noop["changed"] + again["changed"] + large_noop["changed"],
    }
    for verdict, holds in verdicts.items():
        print(f"{'yes' if holds else 'NO':4}{verdict}")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(
        json.dumps({"rows": bench.rows, "verdicts": verdicts, "lower_bound_calls": bound}, indent=1) + "\n", encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
