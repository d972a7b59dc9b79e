# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out a plan. A deploy that fails leaves the app on the release that it had, for the next restart too.

Only one that has not ended in time is left alone, since Dokku may still be at it.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import Optional

from .command import TIMED_OUT, Command, Result, Runner, dokku, slowly
from .errors import BadDeclaration, CommandFailed, DeployFailed
from .model import Certificate, Current, Desired
from .plan import GIT_SYNC, Plan, Step, deploy_origin, release_command, runs_already, same_release_command, sync_command

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


def _deploy(runner: Runner, step: Step, current: Current, desired: Desired, timeout: int) -> Result:
    deadline = time.monotonic() + timeout
    command = step.command
    while True:
        result = runner.run(slowly(command, timeout))
        said = result.stdout + result.stderr
        if result.rc != 0 and LOCKED in said and time.monotonic() < deadline:
            time.sleep(LOCK_PAUSE)
            # What is deployed once more has had that origin all along.
            if not runs_already(current, desired) and _is_there(runner, step, desired):
                return Result(0, "", "")
        elif result.rc != 0 and NO_CHANGES in said and command is step.command:
            # The code is there, only not running: a run before this one was stopped in between, or its deploy failed.
            command = dokku("ps:rebuild", desired.name)
        else:
            if result.rc == 0 and command is not step.command and step.kind == "deploy":
                # A rebuild notes no origin, so that every later run would deploy once more. Over SSH it may be refused.
                _tried(runner, dokku("plugin:trigger", "deploy-source-set", desired.name, *deploy_origin(desired)))
            return result


def _tried(runner: Runner, command: Command) -> Result:
    """For what puts things back: that it fails must not hide what failed before."""
    try:
        return runner.run(command)
    except CommandFailed as exc:
        return Result(exc.rc, "", str(exc))


def _stopped_first(runner: Runner, app: str) -> bool:
    """Whether Dokku has stopped old containers, as it does without checks, and something is missing now."""
    report = _tried(runner, dokku("checks:report", app, "--format", "json"))
    try:
        disabled = json.loads(report.stdout or "{}").get("disabled-list", "")
    except ValueError:
        disabled = ""
    return disabled not in ("", "none") and _tried(runner, dokku("ps:report", app, "--running")).stdout.strip() != "true"


def _start_again(runner: Runner, current: Current, desired: Desired, plan: Plan, tagged: bool, timeout: int) -> str:
    """A restart takes the image that C(latest) names, which is the old one only where that was put back."""
    command = dokku("ps:restart", desired.name) if tagged else same_release_command(current, desired.name)
    told = f"Dokku had stopped the old containers first, and `{command.describe()}`"
    try:
        result = _deploy(runner, Step(command, "start again", "restart"), current, desired, timeout)
    except CommandFailed as exc:
        result = Result(exc.rc, "", str(exc))
    if result.rc != 0:
        ended = f"did not end within {timeout} s" if result.rc == TIMED_OUT else f"failed with exit status {result.rc}"
        return f"{told}, which starts the release from before, {ended}, so the app may be down: {runner.mask(result.complaint())}"
    for step in plan.steps:
        if step.kind == "settle":
            _tried(runner, step.command)
    return f"{told} has started the release from before"


def _put_back(runner: Runner, current: Current, desired: Desired, image: Optional[str], plan: Plan, locked: bool, timeout: int) -> str:
    """Returns what runs, and what was put back."""
    healed = []
    tagged = False
    if image is not None and not locked:
        # A failed deploy leaves `latest` on the image that failed, and the next restart would roll that one out.
        tagged = _tried(runner, Command(("image", "tag", image, f"dokku/{desired.name}:latest"), program="docker")).rc == 0
        if tagged:
            healed.append(f"dokku/{desired.name}:latest names the image from before again")
    if plan.old_scale and _tried(runner, dokku("ps:scale", "--skip-deploy", desired.name, *plan.old_scale)).rc == 0:
        healed.append("the scale is " + " ".join(plan.old_scale) + " again")
    if not locked and current.deploy_source == GIT_SYNC and desired.deploy is not None and desired.deploy.kind == "git":
        if _tried(runner, sync_command(current, desired.name)).rc == 0:
            healed.append("the branch is at the commit from before again")
    if locked:
        state = "Another deploy of the app is on its way, so this one did not begin"
    elif not current.deployed:
        state = "The app has no release yet"
    elif not _stopped_first(runner, desired.name):
        state = "The app runs what it ran before"
    elif image is None and runner.ssh is None:
        state = "The app did not run before either"
    else:
        state = _start_again(runner, current, desired, plan, tagged, timeout)
    return "; ".join([state, ", ".join(healed)] if healed else [state]) + "."


def _failed(
    runner: Runner, step: Step, current: Current, desired: Desired, result: Result, image: Optional[str], plan: Plan, timeout: int
) -> DeployFailed:
    complaint = runner.mask(result.complaint())
    if result.rc == TIMED_OUT:
        text = (
            f"How the {step.kind} of the app {desired.name} ends is not known: {complaint} "
            "It may still be running, so nothing was put back. Run the task again once it has ended."
        )
    else:
        locked = LOCKED in result.stdout + result.stderr
        state = _put_back(runner, current, desired, image, plan, locked, timeout)
        text = f"The {step.kind} of the app {desired.name} failed with exit status {result.rc}: {complaint}. {state}"
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
            result = _deploy(runner, step, current, desired, timeout)
        except CommandFailed as exc:
            result = Result(exc.rc, "", str(exc))
        if result.rc != 0:
            raise _failed(runner, step, current, desired, result, image, plan, timeout)


def apply_absent(runner: Runner, desired: Desired, plan: Plan, timeout: int) -> None:
    for step in plan.steps:
        runner.must(replace(step.command, timeout=timeout), f"{desired.name}: to {step.what}")
