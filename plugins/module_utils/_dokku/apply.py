# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out a plan. A deploy that fails leaves the app on the release that it had, for the next restart too."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import Optional

from .command import Command, Result, Runner, dokku, slowly
from .errors import BadDeclaration, CommandFailed, DeployFailed
from .model import Certificate, Current, Desired
from .plan import Plan, Step, deploy_origin, release_command

NO_CHANGES = "No changes detected"
# Another deploy of the app is on its way; Dokku does not wait for it.
LOCKED = "currently has a deploy lock in place"
LOCK_PAUSE = 2.0


def _openssl(*words: str, stdin: bytes) -> Command:
    return Command(words=tuple(words), program="openssl", stdin=stdin, secret=True)


def check_pair(runner: Runner, pair: Certificate) -> None:
    """Dokku installs any pair and then no nginx on the host reloads any more, so the pair is proved before."""
    of_certificate, of_key = runner.run_all(
        [
            _openssl("x509", "-noout", "-pubkey", stdin=pair.certificate.encode()),
            _openssl("pkey", "-pubout", stdin=pair.key.encode()),
        ]
    )
    if of_certificate.rc != 0:
        raise BadDeclaration("The certificate is no PEM certificate that openssl can read.")
    if of_key.rc != 0:
        raise BadDeclaration("The certificate's key is no PEM private key that openssl can read without a passphrase.")
    if of_certificate.stdout.strip() != of_key.stdout.strip():
        raise BadDeclaration("The key does not belong to the certificate, so nothing was installed.")


def running_image(runner: Runner, current: Current, desired: Desired) -> Optional[str]:
    """The image that the app's containers run: what C(latest) must name again when a deploy fails.

    Over SSH there is no way to ask for it.
    """
    if runner.ssh is not None or not current.deployed:
        return None
    label = f"--filter=label=com.dokku.app-name={desired.name}"
    listed = runner.run(Command(("container", "ls", "--quiet", "--no-trunc", label), program="docker"))
    ids = listed.stdout.split()
    if listed.rc != 0 or not ids:
        return None
    inspected = runner.run(Command(("container", "inspect", *ids), program="docker", secret=True))
    try:
        found = {str(entry["Name"]).lstrip("/"): str(entry["Image"]) for entry in json.loads(inspected.stdout or "[]")}
    except (ValueError, KeyError, TypeError):
        return None
    # Dokku names a container APP.TYPE.N; one-off and upcoming ones, and those that retire, have another name.
    named = re.compile(r"\A" + re.escape(desired.name) + r"\.(?!run\.)[A-Za-z0-9_-]+\.[0-9]+\Z")
    web_first = sorted((name for name in found if named.match(name)), key=lambda name: (".web." not in name, name))
    return found[web_first[0]] if web_first else None


def _is_there(runner: Runner, step: Step, desired: Desired) -> bool:
    """Whether the deploy that was waited for has brought what this one would."""
    if step.kind != "deploy":
        return False
    report = runner.must(dokku("apps:report", desired.name, "--format", "json"), f"Reading the app {desired.name}")
    found = json.loads(report.stdout)
    return (found.get("deploy-source", ""), found.get("deploy-source-metadata", "")) == deploy_origin(desired)


def _deploy(runner: Runner, step: Step, desired: Desired, timeout: int) -> Result:
    deadline = time.monotonic() + timeout
    result = runner.run(slowly(step.command, timeout))
    while result.rc != 0 and LOCKED in result.stdout + result.stderr and time.monotonic() < deadline:
        time.sleep(LOCK_PAUSE)
        if _is_there(runner, step, desired):
            return Result(0, "", "")
        result = runner.run(slowly(step.command, timeout))
    if result.rc != 0 and NO_CHANGES in result.stdout + result.stderr:
        # A run before this one was stopped between the commit and the release: the code is there, only not running.
        result = runner.run(dokku("ps:rebuild", desired.name, timeout=timeout))
    return result


def _failed(runner: Runner, step: Step, desired: Desired, result: Result, image: Optional[str], plan: Plan) -> DeployFailed:
    healed = []
    if image is not None and LOCKED not in result.stdout + result.stderr:
        # A failed deploy leaves `latest` on the image that failed, and the next restart would roll that one out.
        tagged = runner.run(Command(("image", "tag", image, f"dokku/{desired.name}:latest"), program="docker"))
        if tagged.rc == 0:
            healed.append(f"dokku/{desired.name}:latest names the running image again")
    if plan.old_scale:
        if runner.run(dokku("ps:scale", "--skip-deploy", desired.name, *plan.old_scale)).rc == 0:
            healed.append("the scale is " + " ".join(plan.old_scale) + " again")
    state = "The app runs what it ran before" + ("; " + ", ".join(healed) if healed else "") + "."
    text = f"The {step.kind} of the app {desired.name} failed with exit status {result.rc}: {runner.mask(result.complaint())}. {state}"
    return DeployFailed(text, rc=result.rc, tail=runner.mask(result.tail()))


def apply(runner: Runner, current: Current, desired: Desired, plan: Plan, timeout: int) -> None:
    """In the plan's order. A killed run is healed by the next one: see the note in the app's config."""
    image: Optional[str] = None
    held = False
    for step in plan.steps:
        if step.kind not in ("deploy", "restart", "scale"):
            held = step.kind == "hold" or (held and step.kind != "release")
            try:
                runner.must(step.command, f"{desired.name}: to {step.what}")
            except CommandFailed:
                if held:
                    # Somebody else's deploy must find nginx willing. The next run finds the note that it has to be rebuilt.
                    runner.run(release_command(desired.name))
                raise
            continue
        image = running_image(runner, current, desired)
        try:
            result = _deploy(runner, step, desired, timeout)
        except CommandFailed as exc:
            result = Result(exc.rc, "", str(exc))
        if result.rc != 0:
            raise _failed(runner, step, desired, result, image, plan)


def apply_absent(runner: Runner, desired: Desired, plan: Plan, timeout: int) -> None:
    for step in plan.steps:
        runner.must(replace(step.command, timeout=timeout), f"{desired.name}: to {step.what}")
