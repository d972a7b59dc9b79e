# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""read, plan, apply for nginx_http2_pin."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import typing as t
from dataclasses import dataclass

from . import apt, http2, server
from .errors import AptFailed, BrokenOff, ForeignPreferences, InvalidInput, NginxError, ProofFailed
from .machine import Paths, Runner, read_text, remove, write_text
from .plan import MAIN_PACKAGE, Current, Desired, Plan, plan_absent, plan_present
from .tables import known_bad_table
from .version import parse_constraint, upstream_of


@dataclass(frozen=True)
class Verify:
    """A running site to be asked after the change."""

    address: str
    port: int
    server_names: tuple[str, ...]
    path: str
    post: bool


def verify_from(options: t.Mapping[str, t.Any] | None) -> Verify | None:
    if not options:
        return None
    names = tuple(options["server_names"] or ())
    if not names:
        raise InvalidInput("verify needs at least one of server_names to ask for.")
    return Verify(options["address"], options["port"], names, options["path"], options["post"])


def desired_from(params: t.Mapping[str, t.Any], packages: t.Sequence[str]) -> Desired:
    """The options, understood. Raises InvalidInput."""
    verify = verify_from(params["verify"])
    features = tuple(dict.fromkeys(params["features"]))
    if MAIN_PACKAGE not in packages:
        raise InvalidInput(f"packages has to contain {MAIN_PACKAGE}, as the others are pinned to go with it.")
    return Desired(
        constraint=parse_constraint(params["version"]),
        features=features,
        packages=tuple(dict.fromkeys(packages)),
        known_bad=known_bad_table(params["known_bad"] or ()),
        allow_downgrade=params["allow_downgrade"],
        pin_priority=params["pin_priority"],
        pin_to=params["pin_to"],
        verify_key=hashlib.sha256(repr(verify).encode()).hexdigest()[:16] if verify else "",
    )


def package_names(params: t.Mapping[str, t.Any], run: Runner) -> list[str]:
    """The set that is pinned together."""
    return list(params["packages"] or [MAIN_PACKAGE, "nginx-common", *apt.installed_modules(run)])


def read(names: t.Sequence[str], paths: Paths) -> Current:
    """What is on the machine now."""
    try:
        proven = json.loads(read_text(paths.state) or "{}").get("proven")
    except (ValueError, AttributeError):
        # A state file that is damaged costs one more proof.
        proven = None
    master = server.running_master(paths.pid_file)
    return Current(
        packages=apt.read_packages(dict.fromkeys([MAIN_PACKAGE, *names])),
        preferences=read_text(paths.preferences),
        proven=proven,
        stale_process=master is not None and server.is_stale(master),
    )


def make_plan(current: Current, desired: Desired | None, paths: Paths) -> Plan:
    """The plan for present, or for absent when nothing is desired."""
    try:
        return plan_absent(current) if desired is None else plan_present(current, desired)
    except ForeignPreferences as error:
        raise ForeignPreferences(f"{paths.preferences}: {error} Remove or rename it, if its pin is not wanted any more.") from None


class Applier:
    """Carries a plan out, and back when the proof fails."""

    def __init__(self, run: Runner, paths: Paths, desired: Desired | None, verify: Verify | None, lock_timeout: float) -> None:
        self.run = run
        self.paths = paths
        self.desired = desired
        self.verify = verify
        self.lock_timeout = lock_timeout

    def apply(self, plan: Plan) -> dict[str, t.Any] | None:
        """Returns what the proof saw, None when there was nothing to prove. Raises NginxError; the old state is back then."""
        if self.desired is None:
            remove(self.paths.preferences)
            remove(self.paths.state)
            return None
        proof = None
        master = server.running_master(self.paths.pid_file)
        installed_before = plan.before.get(MAIN_PACKAGE) if MAIN_PACKAGE in plan.before else plan.version
        if plan.prove and installed_before is not None:
            # Otherwise a mistake that is there already would be blamed on the new version.
            try:
                server.test_configuration(self.run, self.paths.binary)
            except NginxError as error:
                error.add("Before anything was changed: ", before=True)
                raise
        with self._old_packages(plan) as old_files:
            swap: server.Swap | None = None
            try:
                write_text(self.paths.preferences, t.cast(str, plan.preferences_after))
                self._check_preferences(plan)
                if plan.install:
                    self._install(plan, master)
                if plan.prove:
                    proof = self._prove_binary(plan)
                master = server.running_master(self.paths.pid_file)
                if master is not None and server.is_stale(master):
                    swap = server.Swap(self.paths.pid_file)
                    swap.begin()
                if plan.prove and proof is not None and self.verify is not None:
                    proof["sites"] = [self._prove_site(name) for name in self.verify.server_names]
                if swap is not None:
                    swap.finish()
            except BaseException as error:
                # Whatever ended it: an nginx that was not proven does not stay.
                said = self._roll_back(plan, swap, old_files)
                if isinstance(error, NginxError):
                    error.add(said)
                    raise
                if not isinstance(error, Exception):
                    raise
                raise BrokenOff(f"{type(error).__name__}: {error}\n{said}", getattr(error, "errno", None)) from error
        if plan.prove:
            try:
                write_text(self.paths.state, json.dumps({"proven": plan.proof_key}) + "\n")
            except OSError as error:
                kept = f"but {self.paths.state} cannot be written, so the next run proves it again: {error}"
                raise BrokenOff(f"{MAIN_PACKAGE} {plan.version} is proven and in use, {kept}", error.errno) from error
        return proof

    @contextlib.contextmanager
    def _old_packages(self, plan: Plan) -> t.Iterator[list[str]]:
        """The packages that are replaced, kept until the proof is through: a source may only have the newest."""
        old = {name: version for name, version in plan.before.items() if version is not None}
        if not old:
            yield []
            return
        folder = tempfile.mkdtemp(prefix="nginx-http2-pin-")
        try:
            yield apt.download(self.run, old, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _check_preferences(self, plan: Plan) -> None:
        """apt itself has to come to the planned version; other preferences may be in its way."""
        main = apt.read_packages([MAIN_PACKAGE])[MAIN_PACKAGE]
        if main.candidate == plan.version or (main.candidate is None and main.installed == plan.version):
            return
        others = []
        for folder, _folders, files in os.walk("/etc/apt"):
            for name in sorted(files):
                path = os.path.join(folder, name)
                if "preferences" in path and path != self.paths.preferences and MAIN_PACKAGE in (read_text(path) or ""):
                    others.append(path)
        raise ForeignPreferences(
            f"With the pin written, apt would still take {MAIN_PACKAGE} {main.candidate} instead of {plan.version}: "
            + (f"{', '.join(others)} pins it too. Remove that pin." if others else "see `apt-cache policy nginx`.")
        )

    def _install(self, plan: Plan, master: int | None) -> None:
        words = [f"{name}={version}" for name, version in plan.install.items()]
        # On a first installation the packages may start their service as they always do.
        with apt.services_left_alone(self.paths) if master is not None else contextlib.nullcontext():
            apt.install(self.run, words, self.lock_timeout, plan.downgrade)

    def _prove_binary(self, plan: Plan) -> dict[str, t.Any]:
        desired = t.cast(Desired, self.desired)
        upstream = upstream_of(t.cast(str, plan.version))
        information = server.build_information(self.run, self.paths.binary)
        server.prove_build(information, desired.features, upstream)
        server.test_configuration(self.run, self.paths.binary)
        with server.private_server(self.run, self.paths.binary, upstream, desired.features) as socket_path:
            seen = http2.prove_echo(socket_path, server.SERVER_NAME)
        return {"version": information["version"], "tls": f"{information['tls_library']} {information['tls_version'] or ''}".strip(), **seen}

    def _prove_site(self, name: str) -> dict[str, t.Any]:
        verify = t.cast(Verify, self.verify)
        return http2.prove_site(verify.address, verify.port, name, verify.path, verify.post)

    def _roll_back(self, plan: Plan, swap: server.Swap | None, old_files: t.Sequence[str]) -> str:
        """Preferences, running process and packages as they were. Returns a sentence on how it went; never raises."""
        said = []
        if swap is not None:
            try:
                swap.undo()
            except Exception as error:  # pylint: disable=broad-except
                said.append(f"{error}")
        try:
            if plan.preferences_before is None:
                remove(self.paths.preferences)
            else:
                write_text(self.paths.preferences, plan.preferences_before)
            said.append("The preferences are as before.")
        except Exception as error:  # pylint: disable=broad-except
            said.append(f"The preferences cannot be put back: {error}.")
        try:
            now = apt.read_packages(plan.before)
            replaced = {name: version for name, version in plan.before.items() if now[name].installed != version}
            fresh = [name for name, version in replaced.items() if version is None]
            old = {name: version for name, version in replaced.items() if version is not None}
            if old:
                missing = [name for name in old if not any(os.path.basename(path).startswith(f"{name}_") for path in old_files)]
                if missing:
                    raise AptFailed(f"No source has {', '.join(f'{name} {old[name]}' for name in missing)} any more, so it cannot be brought back.")
                master = server.running_master(self.paths.pid_file)
                with apt.services_left_alone(self.paths) if master is not None else contextlib.nullcontext():
                    apt.install(self.run, list(old_files), self.lock_timeout, downgrade=True)
                said.append(f"{', '.join(f'{name} {version}' for name, version in old.items())} is installed again.")
            if fresh:
                apt.purge(self.run, fresh, self.lock_timeout)
                said.append(f"{', '.join(fresh)}, which had not been there, was removed again.")
            master = server.running_master(self.paths.pid_file)
            if old and master is not None and server.is_stale(master):
                said.append("The nginx that was running was not touched and goes on.")
        except Exception as error:  # pylint: disable=broad-except
            # What went wrong first is to be told, too.
            said.append(f"The way back failed: {error}")
        return " ".join(said)


def _diff(plan: Plan, current: Current, preferences: str) -> list[dict[str, str]]:
    names = [name for name, package in current.packages.items() if package.installed or name in plan.install]
    before = "".join(f"{name} {current.packages[name].installed or 'not installed'}\n" for name in names)
    after = "".join(f"{name} {plan.install.get(name, current.packages[name].installed)}\n" for name in names)
    return [
        {"before_header": "packages", "after_header": "packages", "before": before, "after": after},
        {
            "before_header": preferences,
            "after_header": preferences,
            "before": plan.preferences_before or "",
            "after": plan.preferences_after or "",
        },
    ]


def run(params: t.Mapping[str, t.Any], paths: Paths, command: Runner, check_mode: bool) -> dict[str, t.Any]:
    """The whole of the module; returns its result with the warnings under `warnings`. Raises NginxError."""
    present = params["state"] == "present"
    names = package_names(params, command) if present else [MAIN_PACKAGE]
    desired = desired_from(params, names) if present else None
    verify = verify_from(params["verify"])
    current = read(names, paths)
    if present and not current.packages[MAIN_PACKAGE].versions and check_mode:
        # A machine that has never refreshed its lists; check mode does not do that either.
        warning = "apt has no package nginx in its lists, and check mode does not refresh them: the version cannot be named."
        return dict(
            changed=True, version=None, package_version=None, previous_version=None, installed=[], candidates=[],
            preferences=paths.preferences, proof={}, warnings=[warning],
        )
    if present and params["update_cache"] and not check_mode:
        age = apt.lists_age()
        if age is None or age > params["cache_valid_time"] or not all(current.packages[name].versions for name in names):
            apt.refresh(command, params["lock_timeout"])
            current = read(names, paths)
    plan = make_plan(current, desired, paths)
    result: dict[str, t.Any] = dict(
        changed=plan.changed,
        version=upstream_of(plan.version) if plan.version else None,
        package_version=plan.version,
        previous_version=current.packages[MAIN_PACKAGE].installed,
        preferences=paths.preferences,
        # Known since the version was taken; said again only when something happens.
        warnings=list(plan.notes) if plan.changed else [],
        diff=_diff(plan, current, paths.preferences),
    )
    if desired is not None:
        result.update(
            installed=[dict(name=name, before=plan.before[name], after=version) for name, version in plan.install.items()],
            candidates=[
                dict(version=verdict.version, releases=list(verdict.releases), reasons=list(verdict.reasons), notes=list(verdict.notes))
                for verdict in plan.verdicts
            ],
            proof={},
        )
    if plan.changed and not check_mode:
        if plan.prove and http2.H2_IMPORT_ERROR is not None:
            raise ProofFailed(f"HTTP/2 cannot be proven without the Python library h2, Debian's python3-h2: {http2.H2_IMPORT_ERROR}. Nothing was changed.")
        proof = Applier(command, paths, desired, verify, params["lock_timeout"]).apply(plan)
        if desired is not None:
            result["proof"] = proof or {}
    return result
