# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's Patroni with etcd on the database servers of the scenario `failover`, beside this collection's own cluster.

Port 5433, one etcd member and one database server a region. Patroni has its defaults (ttl 30 s, loop_wait 10 s); etcd has the heartbeat and
election times that its own guide asks for at these distances.
"""

from __future__ import annotations

import json
import subprocess
import time

import postgres_estate as estate

PORT = 5433
PASSWORD = "for-the-bench-only"
ROOT = "/etc/paas-bench"
URL = (
    f"postgresql://postgres:{PASSWORD}@{','.join(f'{address}:{PORT}' for address in estate.ADDRESSES.values())}/postgres"
    "?target_session_attrs=read-write&connect_timeout=2&tcp_user_timeout=5000"
)
# The packages' own services would start with configurations of nobody's.
INSTALL = (
    "systemctl mask --quiet etcd.service patroni.service && apt-get -qq update"
    " && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends patroni etcd-server python3-etcd python3-psycopg2"
)

UNITS = {
    "paas-bench-etcd.service": """[Service]
Type=notify
ExecStart=/usr/bin/etcd --name {name} --data-dir /var/lib/paas-bench-etcd --heartbeat-interval 300 --election-timeout 3000 \\
  --listen-peer-urls http://{address}:2380 --initial-advertise-peer-urls http://{address}:2380 \\
  --listen-client-urls http://{address}:2379 --advertise-client-urls http://{address}:2379 \\
  --initial-cluster {members} --initial-cluster-state new
Restart=always
[Install]
WantedBy=multi-user.target
""",
    "paas-bench-patroni.service": """[Unit]
After=paas-bench-etcd.service
[Service]
User=postgres
ExecStart=/usr/bin/patroni /etc/paas-bench/patroni.yml
KillMode=process
Restart=always
[Install]
WantedBy=multi-user.target
""",
}


def _configuration(name):
    address = estate.ADDRESSES[name]
    everybody = "198.18.0.0/15 scram-sha-256"
    return {
        "scope": "bench",
        "name": name,
        "etcd3": {"hosts": [f"{other}:2379" for other in estate.ADDRESSES.values()]},
        "restapi": {"listen": f"{address}:8008", "connect_address": f"{address}:8008"},
        "bootstrap": {
            "dcs": {"ttl": 30, "loop_wait": 10, "retry_timeout": 10, "postgresql": {"use_pg_rewind": True}},
            "initdb": [{"encoding": "UTF8"}, "data-checksums"],
        },
        "postgresql": {
            "listen": f"{address}:{PORT}",
            "connect_address": f"{address}:{PORT}",
            "data_dir": "/var/lib/postgresql/paas-bench",
            "bin_dir": "/usr/lib/postgresql/17/bin",
            "pgpass": "/var/lib/postgresql/.paas-bench-pgpass",
            "pg_hba": ["local all all peer", f"host replication replicator {everybody}", f"host all all {everybody}"],
            "authentication": {
                "superuser": {"username": "postgres", "password": PASSWORD},
                "replication": {"username": "replicator", "password": PASSWORD},
            },
        },
    }


def _put(name, path, text):
    estate.shell(name, f"cat > {path} <<'END'\n{text}\nEND", check=True)


def start():
    """Install and start it on all servers; it is ready when all three are members and two stream."""
    members = ",".join(f"{name}=http://{address}:2380" for name, address in estate.ADDRESSES.items())
    for name, address in estate.ADDRESSES.items():
        estate.shell(name, INSTALL, check=True)
        estate.shell(name, f"mkdir -p {ROOT}", check=True)
        for unit, text in UNITS.items():
            _put(name, f"/etc/systemd/system/{unit}", text.format(name=name, address=address, members=members))
        _put(name, f"{ROOT}/patroni.yml", json.dumps(_configuration(name)))
        estate.shell(name, f"chown -R postgres: {ROOT} && chmod -R go= {ROOT} && systemctl daemon-reload", check=True)
    # Not waited for one by one: etcd is up once most of them are.
    for name in estate.ADDRESSES:
        estate.shell(name, f"systemctl enable --now --no-block {' '.join(UNITS)}", check=True)
    level()


def stop():
    for name in estate.ADDRESSES:
        estate.shell(name, f"systemctl disable --now {' '.join(reversed(UNITS))}")
        # KillMode leaves the server itself, as Patroni's own unit does.
        estate.shell(name, "runuser -u postgres -- /usr/lib/postgresql/17/bin/pg_ctl -D /var/lib/postgresql/paas-bench -m fast stop")


def _patronictl(name, *arguments):
    return estate.shell(name, f"runuser -u postgres -- patronictl -c {ROOT}/patroni.yml {' '.join(arguments)}", check=True)


def members(asked):
    """Each member's role and state, as the server `asked` tells them."""
    # Beside a dead machine it warns of that one on its other output.
    text = _patronictl(asked, "list", "--format", "json", "2>/dev/null")
    return {entry["Member"]: (entry["Role"], entry["State"]) for entry in json.loads(text)}


def leader(asked="failover-1"):
    (name,) = [name for name, (role, _state) in members(asked).items() if role == "Leader"]
    return name


def level(timeout=300):
    def ready():
        try:
            states = members("failover-1")
        except (subprocess.CalledProcessError, ValueError):  # while nobody leads, patronictl fails or prints what is no JSON
            return False
        return len(states) == len(estate.ADDRESSES) and sorted(states.values()) == [("Leader", "running"), ("Replica", "streaming"), ("Replica", "streaming")]

    estate.until("that Patroni has a leader and two replicas that stream", ready, timeout)


def switchover(target):
    _patronictl(target, "switchover", "bench", "--leader", leader(target), "--candidate", target, "--force")


def writer():
    """The same writer, to Patroni's servers."""
    found = estate.Writer()
    found.url = URL
    return found


def sql(name, text):
    return estate.shell(name, f"runuser -u postgres -- psql -XAtq -h /var/run/postgresql -p {PORT} -d postgres <<'END'\n{text}\nEND")


def lost(writer_, name):
    present = {int(number) for number in sql(name, "SELECT id FROM acks").split()}
    return [number for number, _moment in writer_.acknowledged if number not in present]


def make_table():
    sql(leader(), "DROP TABLE IF EXISTS acks; CREATE TABLE acks (id int PRIMARY KEY);")


def machine_killed():
    """Seconds from the death of the leader's machine to the first row on another one, and the rows that are lost."""
    old = leader()
    with writer() as load:
        killed = time.time()
        estate.docker("kill", f"paas-lab-{old}")
        load.await_more(20, timeout=180)
    asked = next(name for name in estate.ADDRESSES if name != old)
    seconds, gone = load.first_after(killed + 0.5) - killed, len(lost(load, leader(asked)))
    estate.docker("start", f"paas-lab-{old}")
    level()
    return seconds, gone
