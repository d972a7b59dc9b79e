# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real PostgreSQL servers for tests: containers with systemd and Debian's packages, and the modules run inside them."""

from __future__ import annotations

import json
import time

from containers import SYSTEMD, archive, docker, modules, need_image

NETWORK = "paas-test-postgres"
SUBNET = "198.18.203.0/24"
# The suite that has the packages, and the one of the machine.
SUITES = {15: ("bookworm", "bookworm"), 17: ("trixie", "trixie"), 18: ("forky", "trixie")}

DOCKERFILE = """
FROM paas-lab/machine:{machine}
RUN set -eu; export DEBIAN_FRONTEND=noninteractive; \
    mkdir -p /etc/postgresql-common/createcluster.d; \
    echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/paas.conf; \
    rm -f /etc/apt/apt.conf.d/*paas-lab-cache* /etc/apt/apt.conf.d/*proxy*; \
    if [ {suite} != {machine} ]; then sed -n 's/ {machine} main/ {suite} main/p' /etc/apt/sources.list > /etc/apt/sources.list.d/newer.list; fi; \
    apt-get update -q; apt-get install -qy --no-install-recommends postgresql-{version}; apt-get clean; \
    install -d -o postgres -g postgres /etc/postgresql/{version}/main /var/lib/postgresql/{version}; \
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=test \
      -keyout /etc/postgresql/server.key -out /etc/postgresql/server.crt; \
    chown postgres:postgres /etc/postgresql/server.key /etc/postgresql/server.crt; chmod 600 /etc/postgresql/server.key; \
    runuser -u postgres -- /usr/lib/postgresql/{version}/bin/initdb --no-sync -D /var/lib/postgresql/template --data-checksums --auth-host=scram-sha-256; \
    runuser -u postgres -- /usr/lib/postgresql/{version}/bin/initdb --no-sync -D /var/lib/postgresql/foreign {without_checksums} --auth-host=scram-sha-256
COPY main/ /etc/postgresql/{version}/main/
RUN chown -R postgres:postgres /etc/postgresql/{version}/main
"""

CONFIG = """
data_directory = '/var/lib/postgresql/{version}/main'
hba_file = '/etc/postgresql/{version}/main/pg_hba.conf'
ident_file = '/etc/postgresql/{version}/main/pg_ident.conf'
external_pid_file = '/var/run/postgresql/{version}-main.pid'
unix_socket_directories = '/var/run/postgresql'
listen_addresses = '*'
ssl = on
ssl_cert_file = '/etc/postgresql/server.crt'
ssl_key_file = '/etc/postgresql/server.key'
shared_buffers = 32MB
wal_log_hints = on
max_slot_wal_keep_size = 64MB
min_wal_size = 32MB
wal_keep_size = 48MB
fsync = off
wal_sender_timeout = 5s
wal_retrieve_retry_interval = 500ms
"""

HBA = """
local all postgres peer
hostssl replication replicator 198.18.203.0/24 scram-sha-256
hostssl postgres replicator 198.18.203.0/24 scram-sha-256
"""

PASSWORD = "se:cret-pa\\ss"
ROLES = f"""
CREATE ROLE replicator LOGIN REPLICATION PASSWORD '{PASSWORD}';
GRANT pg_checkpoint TO replicator;
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text),
  pg_read_binary_file(text, bigint, bigint, boolean) TO replicator;
CREATE TABLE rows (id int PRIMARY KEY);
"""


def build_image(version: int) -> str:
    tag = f"paas-test/postgres:{version}"
    suite, machine = SUITES[version]
    need_image(f"paas-lab/machine:{machine}")
    without_checksums = "--no-data-checksums" if version >= 18 else ""
    files = {
        "Dockerfile": DOCKERFILE.format(version=version, suite=suite, machine=machine, without_checksums=without_checksums).encode(),
        "main/postgresql.conf": CONFIG.format(version=version).encode(),
        "main/pg_hba.conf": HBA.encode(),
        "main/pg_ident.conf": b"",
    }
    docker("build", "-q", "-t", tag, "-", stdin=archive(files), timeout=900)
    return tag


class Failed(Exception):
    """The module failed, with this message."""


class Server:
    """One machine with PostgreSQL."""

    def __init__(self, name: str, address: str, version: int) -> None:
        self.name, self.address, self.version = name, address, version
        self.container = f"paas-test-{name}"
        self.data = f"/var/lib/postgresql/{version}/main"
        self.unit = f"postgresql@{version}-main"

    def create(self, image: str) -> None:
        docker("rm", "-f", "-v", self.container, check=False)
        # Base backups are synced to disk; in memory that is quick. The first server is restarted by a test, and stays on disk.
        memory = [] if self.name.endswith("-1") else ["--tmpfs", f"/var/lib/postgresql/{self.version}"]
        docker(
            "run", "-d", "--name", self.container, "--hostname", self.name, "--network", NETWORK, "--ip", self.address, *SYSTEMD, *memory,
            image, "/sbin/init",
        )
        docker("exec", self.container, "chown", "postgres:postgres", f"/var/lib/postgresql/{self.version}")
        docker("cp", "-", f"{self.container}:/", stdin=modules())

    def remove(self) -> None:
        docker("rm", "-f", "-v", self.container, check=False)

    def shell(self, script: str, check: bool = True) -> str:
        return docker("exec", "-i", self.container, "sh", "-c", script, check=check).strip()

    def sql(self, text: str, database: str = "postgres") -> str:
        command = ["exec", "-i", self.container, "runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database]
        return docker(*command, stdin=text, timeout=60).strip()

    def wipe(self) -> None:
        """Back to a machine that has the packages and the configuration, and no cluster."""
        base = f"/var/lib/postgresql/{self.version}"
        self.shell(
            f"pkill -CONT -x postgres; pkill -KILL -x postgres; systemctl stop {self.unit}; systemctl reset-failed {self.unit} 2>/dev/null;"
            f" while pgrep -x postgres >/dev/null; do sleep 0.05; done;"
            f" rm -rf {base}/* /var/lib/postgresql/.paas /etc/postgresql/{self.version}/main/start.conf /var/log/postgresql/*", check=False,
        )

    def become_primary(self, template: str = "template", settings: str = "") -> None:
        self.shell(f"cp -a /var/lib/postgresql/{template} {self.data}")
        if settings:
            self.shell(f"printf '%s\\n' \"{settings}\" >> {self.data}/postgresql.auto.conf")
        self.start()

    def start(self) -> None:
        self.shell(f"systemctl start {self.unit}")
        self.wait("SELECT 1", "1")

    def wait(self, query: str, answer: str, timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        seen = ""
        while time.monotonic() < deadline:
            try:
                seen = self.sql(query)
            except RuntimeError as error:
                seen = str(error)
            if seen == answer:
                return
            time.sleep(0.1)
        raise AssertionError(f"{self.name}: {query} gives {seen!r} and not {answer!r}")

    def rows(self, count: int) -> None:
        self.wait("SELECT count(*) FROM rows", str(count))

    def start_time(self) -> str:
        return self.sql("SELECT pg_postmaster_start_time()")

    def module(self, name: str, check: bool = False, **arguments: object) -> dict:
        data = {"_module": name, "cluster": f"{self.version}/main", **arguments}
        if check:
            data["_ansible_check_mode"] = True
        output = docker("exec", "-i", self.container, "python3", "/opt/paas-test/run.py", stdin=json.dumps(data), check=False, timeout=300)
        result = json.loads(output.strip().splitlines()[-1]) if output.strip() else {"failed": True, "msg": "no output"}
        if result.get("failed"):
            raise Failed(result["msg"])
        return result

    def info(self) -> dict:
        return self.module("pg_follower_info")

    def follow(self, primary: Server, **arguments: object) -> dict:
        upstream = {"host": primary.address, "password": PASSWORD, "sslmode": "require"}
        return self.module("pg_follower", state="following", primary=upstream, **{"timeout": 20, **arguments})

    def state(self, state: str, **arguments: object) -> dict:
        return self.module("pg_follower", state=state, **{"timeout": 20, **arguments})
