# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`lab.py lab`: from machines to a running estate, with the same playbook as in production."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import docker, images, machines
from .model import Lab, LabError

REPOSITORY = machines.TOP.parent.parent
INVENTORY = REPOSITORY / "inventories" / "lab"
APP = REPOSITORY / "examples" / "todomvc"
APP_TAG = "todomvc:1"


def app_files() -> dict[str, tuple[bytes, int]]:
    """The sample app's build context, with this machine's own certificates."""
    left_out = {"__pycache__", "tests", ".pytest_cache"}
    files = {
        str(path.relative_to(APP)): (path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644)
        for path in sorted(APP.rglob("*"))
        if path.is_file() and not left_out & set(path.relative_to(APP).parts)
    }
    for name, content in images.handed_on("trixie").items():
        if name.startswith("handed-on/certificates/") and name.endswith(".crt"):
            files[name.removeprefix("handed-on/")] = (content, 0o644)
    return files


def ensure_app_image(say: machines.Say) -> Path:
    """The sample app's image as `docker save` writes it, in the lab's state folder."""
    target = machines.state_folder() / "images" / "todomvc.tar"
    mark = target.with_suffix(".digest")
    files = app_files()
    base = images.ensure_base("trixie", say)
    digest = hashlib.sha256(repr((base, sorted(files.items()))).encode()).hexdigest()
    if target.exists() and mark.exists() and mark.read_text(encoding="utf-8") == digest:
        return target
    started = time.monotonic()
    say("the sample app's image: building")
    command = ["build", "-q", "-t", APP_TAG]
    for name in ("PIP_INDEX_URL", "http_proxy", "https_proxy", "no_proxy"):
        if os.environ.get(name):
            command += ["--build-arg", name]
    done = docker.run([*command, "-"], check=False, input=machines.archive(files))
    if done.returncode != 0:
        raise LabError(f"The sample app's image cannot be built: {done.stderr.strip()[-2000:]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(".todomvc.tar")
    docker.run(["save", "-o", str(temporary), APP_TAG])
    temporary.replace(target)
    mark.write_text(digest, encoding="utf-8")
    say(f"the sample app's image: built in {time.monotonic() - started:.0f} s")
    return target


def environment() -> dict[str, str]:
    """What ansible-playbook needs to run against the lab; tests that call it use the same."""
    password = machines.state_folder() / "vault-password"
    if not password.exists():
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(32) + "\n", encoding="utf-8")
    return {
        **os.environ,
        "PAAS_LAB_STATE": str(machines.state_folder()),
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_VAULT_PASSWORD_FILE": os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE") or str(password),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def playbook(name: str, *arguments: str, inventory: Path = INVENTORY) -> None:
    if not shutil.which("ansible-playbook", path=environment()["PATH"]):
        raise LabError("ansible-playbook is missing; make it with: make setup")
    command = ["ansible-playbook", name, "-i", str(inventory), *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(), check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)} failed; what it says stands above. The same command again continues.")


def run(lab: Lab, up, say: machines.Say) -> None:
    (REPOSITORY / ".collections" / "ansible_collections" / "multiregion").mkdir(parents=True, exist_ok=True)
    machines.ensure_images(lab, {"machine"}, say)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        image = pool.submit(ensure_app_image, say)
        up()
        image.result()
    say("playbook: secrets")
    playbook("playbooks/init_secrets.yml")
    say("playbook: what only the lab needs")
    playbook("tests/lab/prepare.yml")
    say("playbook: site.yml, the same as in production")
    started = time.monotonic()
    playbook("playbooks/site.yml")
    say(f"site.yml took {time.monotonic() - started:.0f} s")
    print(table(lab))


def table(lab: Lab) -> str:
    running = machines.running_names()
    rows = []
    for region in lab.regions:
        for machine in lab.in_region(region):
            if machines.container(machine) in running:
                kind = {"dokku": "app (Dokku, nginx, Valkey)", "client": "a user's computer"}.get(machine.image)
                kind = kind or ("PostgreSQL" if "-pg-" in machine.name else "certificates, image registry")
                rows.append(f"  {region:16}{machine.name:26}{machine.address:14}{kind}")
    state = machines.state_folder()
    client = next((m.name for m in lab.machines.values() if m.is_client and machines.container(m) in running), "CLIENT")
    dokku = next((m for m in lab.machines.values() if m.image == "dokku" and machines.container(m) in running), None)
    shown = os.path.relpath(state)
    programs = os.path.relpath(Path(sys.executable).parent)
    command = f"{programs}/{Path(sys.executable).name} {os.path.relpath(machines.TOP / 'lab.py')}"
    lines = ["", "The estate runs: https://todo.paas.test/", "", *rows, "",
             f"  services        DNS, AWS (moto), CA (Pebble), package cache: {lab.services.address}", ""]  # fmt: skip
    lines.append(f"  as a user       {command} exec {client} -- curl -s https://todo.paas.test/whoami")
    if dokku:
        lines.append(
            f"  from here       curl --cacert {shown}/pebble/root.pem --resolve todo.paas.test:443:{dokku.address} https://todo.paas.test/"
        )
        lines.append(
            f"  in a browser    chromium --ignore-certificate-errors --host-resolver-rules='MAP todo.paas.test {dokku.address}' "
            "https://todo.paas.test/"
        )
    lines += [
        f"  log in          ssh -F {shown}/ssh/config {rows[0].split()[1] if rows else 'MACHINE'}",
        f"  break it        {command} cut eu-west-1   (and: heal, kill, start, status, ping)",
        f"  again           ANSIBLE_VAULT_PASSWORD_FILE={shown}/vault-password {programs}/ansible-playbook playbooks/site.yml -i inventories/lab",
        "  take it down    make clean",
        "",
    ]
    return "\n".join(lines)
