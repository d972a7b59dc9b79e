# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample app's own tests, beside a real PostgreSQL and a real Valkey, in a container with the app's locked libraries."""

from __future__ import annotations

from pathlib import Path

from containers import archive, docker, need_image

IMAGE = "paas-test/todomvc"
REPOSITORY = Path(__file__).resolve().parents[2]
APP = REPOSITORY / "examples" / "todomvc"
DOCKERFILE = """
FROM paas-lab/machine:trixie
RUN set -eu; export DEBIAN_FRONTEND=noninteractive; \
    mkdir -p /etc/postgresql-common/createcluster.d; \
    echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/paas.conf; \
    apt-get update -q; apt-get install -qy --no-install-recommends postgresql python3-venv valkey-server; apt-get clean
COPY requirements.txt constraints.txt /tmp/
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install -q --no-cache-dir -r /tmp/requirements.txt \
    && /opt/venv/bin/pip install -q --no-cache-dir -c /tmp/constraints.txt pytest
"""


def test_the_app() -> None:
    need_image("paas-lab/machine:trixie")
    files = {
        "Dockerfile": DOCKERFILE.encode(),
        "requirements.txt": Path(APP, "requirements.txt").read_bytes(),
        "constraints.txt": Path(REPOSITORY, "requirements.txt").read_bytes(),
    }
    docker("build", "-q", "-t", IMAGE, "-", stdin=archive(files), timeout=900)
    # Only loopback is there: what the app talks to runs beside it.
    said = docker(
        "run", "--rm", "--init", "--network", "none", "--volume", f"{APP}:/app:ro", "--workdir", "/app", IMAGE,
        "/opt/venv/bin/python", "-B", "-m", "pytest", "-v", "-p", "no:cacheprovider", "tests/test_app.py", timeout=900,
    )  # fmt: skip
    print(said)
    assert " passed" in said and " skipped" not in said
