# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a far user gains: first hit and write from each region's client, from the estate and from a single region.

It starts the lab's estate where it does not run, and removes it at the end then (--keep leaves it).
The first hit is what nobody can cache: DNS, TCP, TLS and the page. For the single region the primary region's own name is
asked. A write crosses to the primary either way; the estate saves the handshakes, not the distance.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import estate

PARTS = ("dns", "tcp", "tls", "page", "total")
FIELDS = "%{time_namelookup} %{time_connect} %{time_appconnect} %{time_starttransfer} %{time_total} %{response_code} %{http_version}"
# What the far regions must gain.
WANTED = 10.0


def first_hit(client: estate.Client, name: str) -> dict[str, float]:
    """Milliseconds of each part, with nothing kept from before."""
    client.forget()
    client.run("rm", "-f", "/tmp/jar")
    text = client.curl(f"https://{name}/", write_out=FIELDS)
    *times, status, version = text.split()
    if (status, version) != ("200", "2"):
        raise SystemExit(f"{client.machine}: status {status}, HTTP {version}")
    name, tcp, tls, first, total = (float(value) * 1000 for value in times)
    return {"dns": name, "tcp": tcp - name, "tls": tls - tcp, "page": first - tls, "total": total}


def write(client: estate.Client, name: str) -> float:
    """Milliseconds of a first write: a new connection, one todo."""
    body = ("--json", json.dumps({"title": "measured"}), "--cookie", "/tmp/jar", "--cookie-jar", "/tmp/jar")
    text = client.curl(*body, f"https://{name}/api/todos", write_out="%{time_total} %{response_code}")
    seconds, status = text.split()
    if status != "201":
        raise SystemExit(f"{client.machine}: a write was answered with {status}")
    return float(seconds) * 1000


def kept_write(client: estate.Client, name: str) -> float:
    """Milliseconds of a write over a connection that is there already: the second of two."""
    url = f"https://{name}/api/todos"
    one = ("--json", json.dumps({"title": "measured"}), "--cookie", "/tmp/jar", "--cookie-jar", "/tmp/jar")
    marked = "%{time_total} %{response_code}\\n"
    text = client.run(
        "curl", "--silent", "--show-error", "--max-time", "15", "--cacert", client.CA, "--http2", "--output", "/dev/null", "--write-out", marked,
        *one, url, "--next", "--silent", "--max-time", "15", "--cacert", client.CA, "--http2", "--output", "/dev/null", "--write-out", marked, *one, url,
    )  # fmt: skip
    seconds, status = text.split("\n")[1].split()
    if status != "201":
        raise SystemExit(f"{client.machine}: a write was answered with {status}")
    return float(seconds) * 1000


def serves(region: str) -> bool:
    """Whether a user there gets the page."""
    try:
        return estate.Client(region).curl(f"https://{estate.NAME}/", write_out="%{response_code}") == "200"
    except (AssertionError, OSError, subprocess.TimeoutExpired):
        return False


def lab(*arguments: str) -> None:
    subprocess.run([sys.executable, estate.LAB, *arguments], cwd=estate.REPOSITORY, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=7, help="measurements of each kind; the median is told")
    parser.add_argument("--keep", action="store_true", help="leave the lab running")
    options = parser.parse_args()
    # The inventory can only be read when the lab has made its secrets.
    regions = [file.stem for file in sorted(estate.INVENTORY.glob("*.yml"))]
    stood = all(serves(region) for region in regions)
    try:
        if not stood:
            lab("lab")
            for region in regions:
                estate.wait(lambda r=region: serves(r), 120, f"the users of {region} get the page")
        return measure(options.times)
    finally:
        if not stood and not options.keep:
            lab("down", "estate")


def measure(times: int) -> int:
    inventory = estate.Inventory(estate.INVENTORY)
    home = estate.primary(inventory).region
    rows, missed = [], []
    for region in inventory.regions:
        client = estate.Client(region)
        row: dict[str, object] = {"client": region}
        for kind, name in (("estate", estate.NAME), ("single", f"{home}.{estate.NAME}")):
            hits = [first_hit(client, name) for _unused in range(times)]
            row[kind] = {part: round(statistics.median(hit[part] for hit in hits), 1) for part in PARTS}
            row[f"{kind}_write"] = round(statistics.median(write(client, name) for _unused in range(times)), 1)
            row[f"{kind}_kept_write"] = round(statistics.median(kept_write(client, name) for _unused in range(times)), 1)
        row["gain"] = round(row["single"]["total"] / row["estate"]["total"], 1)
        rows.append(row)
        if region != home and row["gain"] < WANTED:
            missed.append(f"{region}: {row['gain']}")
    print(f"Median of {times}, in ms; single region: everything in {home}\n")
    print(f"{'client':16}{'':8}{'dns':>8}{'tcp':>8}{'tls':>8}{'page':>8}{'first hit':>11}{'gain':>7}{'write':>9}{'write on a kept connection':>28}")
    for row in rows:
        for kind in ("single", "estate"):
            parts = "".join(f"{row[kind][part]:8.1f}" for part in PARTS[:-1])
            gain = f"{row['gain']:6.1f}x" if kind == "estate" else f"{'':7}"
            print(
                f"{row['client'] if kind == 'single' else '':16}{kind:8}{parts}{row[kind]['total']:11.1f}{gain}"
                f"{row[f'{kind}_write']:9.1f}{row[f'{kind}_kept_write']:28.1f}"
            )
    folder = estate.BUILD / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latency.json").write_text(json.dumps({"at": time.time(), "single": home, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    print(f"\nfar regions' first hit gains at least {WANTED:g} times: {'no, ' + ', '.join(missed) if missed else 'yes'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
