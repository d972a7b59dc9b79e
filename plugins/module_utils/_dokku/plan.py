# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is to what shall be, without any input or output.

The order is chosen so that the app ends in at most one deploy or restart, and nginx in at most two rebuilds: everything is
stored first, with C(--no-restart) and C(--skip-deploy) where Dokku has them, then what rebuilds nginx (held back where
that would be too often), then the one step that replaces containers. Config is never given to a command that restarts, since
Dokku restarts there even when nothing changed and answers 0 when that restart failed.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .command import Command, dokku
from .errors import BadDeclaration
from .model import (
    ALL_TYPES,
    HELD_PROXY,
    PENDING_KEY,
    Certificate,
    Checks,
    Current,
    Deploy,
    Desired,
    Mount,
)

HIDDEN = "(hidden)"
HIDDEN_NEW = "(hidden, changed)"
# What Dokku and its plugins keep among an app's own config.
_OWNED = re.compile(r"\A(?:GIT_REV|NO_VHOST|DOKKU_.*)\Z")
_SERVICE_URL = re.compile(r"[@/]dokku-[a-z0-9]+-[^/]+")
# Options that Dokku's plugins add by themselves: links of services, and what ps:set stores on older hosts.
_OWNED_OPTION = re.compile(r"\A--(?:link[ =]dokku|restart=)")
_NEEDS_CONTAINERS = "restart"
# What new containers were owed with a deploy that did not end well. A restart would roll out whatever that deploy has built.
_NEEDS_RELEASE = "deploy"
_NEEDS_PROXY = "proxy"


@dataclass(frozen=True)
class Step:
    """One command, and what it is good for. C(kind): store, hold, proxy, release, deploy, restart, scale or
    settle."""

    command: Command
    what: str
    kind: str = "store"


# What Dokku notes as a release's origin, beside "docker-image".
ARCHIVE_TYPES = ("tar", "tar.gz", "zip")
GIT_SYNC = "git-sync"
# Names, ports and certificate each rebuild nginx, a deploy does it twice. More than this is held back until all is stored.
REBUILDS = 2


@dataclass(frozen=True)
class Plan:
    steps: Tuple[Step, ...] = ()
    changes: Tuple[str, ...] = ()
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    # The scale to put back when the step that scales fails: Dokku keeps the new one.
    old_scale: Tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.steps)

    @property
    def replaces_containers(self) -> bool:
        return any(step.kind in ("deploy", "restart", "scale") for step in self.steps)


def owned_by_dokku(key: str, value: str) -> bool:
    """Never pruned: Dokku's own keys and the URLs that service plugins put there."""
    return bool(_OWNED.match(key)) or (key.endswith("_URL") and bool(_SERVICE_URL.search(value)))


def certificate_archive(pair: Certificate) -> bytes:
    """What certs:add takes on stdin. Read by Dokku itself, so the files need not be readable by its user."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in (("server.crt", pair.certificate), ("server.key", pair.key)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o600
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def ports_after_certificate(ports: Sequence[str]) -> Tuple[str, ...]:
    """certs:add appends https:443:C for each http:80:C of an explicit map."""
    extra = ["https:443:" + port.split(":")[2] for port in ports if port.startswith("http:80:")]
    present = {":".join(port.split(":")[:2]) for port in ports}
    return tuple(ports) + tuple(port for port in extra if "https:443" not in present)


def ports_after_removal(ports: Sequence[str]) -> Tuple[str, ...]:
    """certs:remove takes https:443 out of the map."""
    return tuple(port for port in ports if not port.startswith("https:443:"))


class _Builder:
    """Collects steps, changes and both sides of the diff while the facets are compared."""

    def __init__(self, current: Current, desired: Desired) -> None:
        self.current, self.desired, self.app = current, desired, desired.name
        self.stores: List[Step] = []
        self.proxies: List[Step] = []
        self.changes: List[str] = []
        self.before: Dict[str, Any] = {}
        self.after: Dict[str, Any] = {}
        self.stale_containers = False
        self.stale_proxy = False
        self.imports: Dict[str, str] = {}
        self.unsets: List[str] = []

    def differs(self, facet: str, before: Any, after: Any, change: str) -> None:
        self.before[facet], self.after[facet] = before, after
        self.changes.append(change)

    def store(self, what: str, *words: str) -> None:
        self.stores.append(Step(dokku(*words), what))

    def proxy(self, what: str, command: Command) -> None:
        self.proxies.append(Step(command, what, "proxy"))

    # One method a facet. Each is silent when nothing differs.

    def config(self, with_deploy: bool) -> None:
        wanted: Dict[str, Optional[str]] = dict(self.desired.config or {})
        release = dict(self.desired.deploy.config) if self.desired.deploy else {}
        if with_deploy or runs_already(self.current, self.desired):
            wanted.update(release)
        have = {key: value for key, value in self.current.config.items() if key != PENDING_KEY}
        sets = {key: value for key, value in wanted.items() if value is not None and have.get(key) != value}
        gone = [key for key, value in wanted.items() if value is None and key in have]
        if self.desired.config is not None and self.desired.config_exact:
            gone += [key for key, value in have.items() if key not in wanted and key not in release and not owned_by_dokku(key, value)]
        if not sets and not gone:
            return
        self.imports.update(sorted(sets.items()))
        self.unsets = sorted(set(gone))
        names = sorted({*sets, *gone})
        self.differs(
            "config",
            {key: HIDDEN for key in names if key in have},
            {key: HIDDEN_NEW for key in names if key in sets},
            "config: " + ", ".join([*(f"set {key}" for key in sorted(sets)), *(f"unset {key}" for key in self.unsets)]),
        )
        self.stale_containers = True

    def checks(self) -> None:
        wanted = self.desired.checks or Checks()
        if self.desired.strategy == "stop_first":
            wanted = Checks((ALL_TYPES,), (), wanted.wait_to_retire)
        elif self.desired.strategy == "zero_downtime" and wanted.disabled is None and ALL_TYPES in (self.current.checks.disabled or ()):
            wanted = Checks((), wanted.skipped, wanted.wait_to_retire)
        have = self.current.checks
        disabled = have.disabled if wanted.disabled is None else tuple(sorted(wanted.disabled))
        skipped = have.skipped if wanted.skipped is None else tuple(sorted(wanted.skipped))
        if (disabled, skipped) != (have.disabled, have.skipped):
            # checks:enable with types leaves `_all_` alone; without types it clears both lists.
            if have.disabled or have.skipped:
                self.store("enable checks", "checks:enable", self.app)
            for verb, types in (("disable", disabled), ("skip", skipped)):
                if types:
                    self.store(f"{verb} checks", f"checks:{verb}", self.app, *([] if ALL_TYPES in types else [",".join(types)]))
            self.differs(
                "checks",
                {"disabled": list(have.disabled or ()), "skipped": list(have.skipped or ())},
                {"disabled": list(disabled or ()), "skipped": list(skipped or ())},
                "checks: disabled " + (", ".join(disabled or ()) or "none") + ", skipped " + (", ".join(skipped or ()) or "none"),
            )
        if wanted.wait_to_retire is not None and wanted.wait_to_retire != have.wait_to_retire:
            self.store("set wait-to-retire", "checks:set", self.app, "wait-to-retire", wanted.wait_to_retire)
            self.differs("wait_to_retire", have.wait_to_retire, wanted.wait_to_retire, f"checks: wait-to-retire {wanted.wait_to_retire or 'default'}")

    def properties(self, facet: str, have: Mapping[str, str], wanted: Mapping[str, str], plugins: Mapping[str, str], plugin: str) -> bool:
        changed = {key: value for key, value in sorted(wanted.items()) if have.get(key, "") != value}
        for key, value in changed.items():
            self.store(f"set {facet} {key}", f"{plugins.get(key, plugin)}:set", self.app, key, *([value] if value else []))
        if changed:
            self.differs(
                facet,
                {key: have.get(key, "") for key in changed},
                changed,
                f"{facet}: " + ", ".join(f"{key}={value}" if value else f"{key} unset" for key, value in changed.items()),
            )
        return bool(changed)

    def storage(self) -> None:
        wanted, have = self.desired.storage or (), self.current.storage
        if set(wanted) == set(have):
            return
        for mount in have:
            if mount not in wanted:
                self.store(f"unmount {mount.text()}", "storage:unmount", self.app, mount.source if mount.named else mount.text())
        for mount in wanted:
            if mount not in have:
                self._mount(mount)
        self.differs(
            "storage", sorted(m.text() for m in have), sorted(m.text() for m in wanted), "storage: " + (", ".join(sorted(m.text() for m in wanted)) or "none")
        )
        self.stale_containers = True

    def _mount(self, mount: Mount) -> None:
        if mount.named:
            self.store(f"create storage {mount.source}", "storage:create", mount.source)
            self.store(f"mount {mount.text()}", "storage:mount", self.app, mount.source, "--container-dir", mount.target)
        else:
            self.store(f"mount {mount.text()}", "storage:mount", self.app, mount.text())

    def docker_options(self) -> None:
        before: Dict[str, List[str]] = {}
        after: Dict[str, List[str]] = {}
        words: List[str] = []
        if self.desired.docker_options is None:
            return
        for slot, wanted in sorted((self.desired.docker_options or dict.fromkeys(self.current.docker_options, ())).items()):
            have = [option for option in self.current.docker_options.get(slot, ()) if not _OWNED_OPTION.match(option)]
            phase, _dot, process = slot.partition(".")
            types = ["--process", process] if process else []
            # Adding twice would give the option twice to `docker run`; removing takes one or all, so as often as it is there.
            gone = [option for option in have if option not in wanted]
            new = [option for option in dict.fromkeys(wanted) if option not in have]
            for option in gone:
                self.store(f"remove docker option {option}", "docker-options:remove", *types, self.app, phase, option)
            for option in new:
                self.store(f"add docker option {option}", "docker-options:add", *types, self.app, phase, option)
            if gone or new:
                before[slot], after[slot] = sorted(set(have)), sorted(set(wanted))
                words += [*(f"-{option}" for option in dict.fromkeys(gone)), *(f"+{option}" for option in new)]
        if words:
            self.differs("docker_options", before, after, "docker options: " + ", ".join(words))
            self.stale_containers = True

    def networks(self) -> None:
        wanted = {key: ",".join(values) for key, values in (self.desired.networks or {}).items()}
        have = {key: self.current.networks.get(key, "") for key in wanted}
        changed = {key: value for key, value in sorted(wanted.items()) if have[key] != value}
        if not changed:
            return
        for network in sorted({name for key, value in changed.items() if key != "bind-all-interfaces" for name in value.split(",") if name}):
            if network not in (*self.current.known_networks, "bridge", "host", "none"):
                self.store(f"create network {network}", "network:create", network)
        # A name may be associated in one place only, so all that goes away goes first.
        for key in changed:
            if have[key]:
                self.store(f"unset network {key}", "network:set", self.app, key)
        for key, value in changed.items():
            if value:
                self.store(f"set network {key}", "network:set", self.app, key, *value.split(","))
        words = ", ".join(f"{key}={value or '(unset)'}" for key, value in changed.items())
        self.differs("networks", {key: have[key] for key in changed}, changed, f"networks: {words}")
        self.stale_containers = True

    def resources(self) -> None:
        wanted, have = self.desired.resources, self.current.resources
        if wanted is None:
            return
        named = {tuple(key.split(".")[:2]) for key in wanted or have}
        # A type and kind that is declared is declared whole. Never limit-clear: without a type it wipes reservations too.
        goal = {**{key: "" for key in have if tuple(key.split(".")[:2]) in named}, **{key: value for key, value in wanted.items() if not key.endswith(".")}}
        changed = {key: value for key, value in sorted(goal.items()) if have.get(key, "") != value}
        groups: Dict[Tuple[str, str], List[str]] = {}
        for key, value in changed.items():
            process, kind, resource = key.split(".", 2)
            groups.setdefault((process, kind), []).extend([f"--{resource}", value or "clear"])
        for (process, kind), flags in sorted(groups.items()):
            types = [] if process == "_default_" else ["--process-type", process]
            self.store(f"set resources of {process}", f"resource:{kind}", *types, *flags, self.app)
        if changed:
            self.differs(
                "resources", {key: have.get(key, "") for key in changed}, changed, "resources: " + ", ".join(f"{k}={v or 'clear'}" for k, v in changed.items())
            )
            self.stale_containers = True

    def buildpacks(self) -> None:
        wanted, have = self.desired.buildpacks or (), self.current.buildpacks
        long = tuple(buildpack_url(name) for name in wanted)
        if long == tuple(buildpack_url(name) for name in have):
            return
        if long:
            self.store("set buildpacks", "buildpacks:set", "--replace", self.app, *wanted)
        else:
            self.store("clear buildpacks", "buildpacks:clear", self.app)
        self.differs("buildpacks", list(have), list(wanted), "buildpacks: " + (", ".join(wanted) or "none"))

    def certificate(self) -> Tuple[str, ...]:
        """Returns the port map as it will be after Dokku changed it by itself."""
        have, wanted = self.current.certificate, self.desired.certificate
        if self.desired.no_certificate and have is not None:
            self.proxy("remove the certificate", dokku("certs:remove", self.app))
            self.differs("certificate", describe_pair(have), "none", "certificate: removed")
            return ports_after_removal(self.current.ports)
        if wanted is None or wanted == have:
            return self.current.ports
        self.proxy("install the certificate", dokku("certs:add", self.app, stdin=certificate_archive(wanted)))
        self.differs("certificate", describe_pair(have), describe_pair(wanted), "certificate: " + ("replaced" if have else "installed"))
        return ports_after_certificate(self.current.ports)

    def ports(self, drifted: Tuple[str, ...]) -> None:
        if self.desired.ports is None:
            return
        wanted = set(self.desired.ports)
        if set(drifted) != wanted:
            command = dokku("ports:set", self.app, *sorted(wanted)) if wanted else dokku("ports:clear", self.app)
            self.proxy("set the port map", command)
        if set(self.current.ports) != wanted:
            self.differs("ports", sorted(self.current.ports), sorted(wanted), "ports: " + (" ".join(sorted(wanted)) or "as detected"))

    def domains(self) -> None:
        wanted = self.desired.domains
        if wanted is None:
            return
        off = not self.current.vhosts_enabled
        if set(wanted) == set(self.current.domains) and not (off and wanted):
            return
        if off and wanted:
            # What domains:enable does, without its restart, and without the default name that it writes over what is set before.
            self.imports["NO_VHOST"] = "0"
            self.store("unset the port of an app without names", "proxy:set", self.app, "proxy-port")
            self.store("unset the TLS port of an app without names", "proxy:set", self.app, "proxy-ssl-port")
        self.proxy("set the domains", dokku("domains:set", self.app, *wanted) if wanted else dokku("domains:clear", self.app))
        self.differs("domains", sorted(self.current.domains), sorted(wanted), "domains: " + (" ".join(wanted) or "none"))


def describe_pair(pair: Optional[Certificate]) -> str:
    """A certificate is public; its text is long and says nothing to a reader, so a fingerprint of the leaf stands for it."""
    if pair is None:
        return "none"
    import base64
    import binascii
    import hashlib

    body = pair.certificate.split("-----END CERTIFICATE-----")[0].split("-----BEGIN CERTIFICATE-----")[-1]
    try:
        return "sha256:" + hashlib.sha256(base64.b64decode("".join(body.split()))).hexdigest()
    except binascii.Error:
        return "unreadable"


def buildpack_url(name: str) -> str:
    """Dokku stores owner/name as the address of a repository."""
    match = re.match(r"\Aheroku/([a-z0-9-]+)\Z", name)
    return f"https://github.com/heroku/heroku-buildpack-{match.group(1)}.git" if match else name


def wants_deploy(current: Current, desired: Desired) -> bool:
    """Dokku writes the origin of a release only after a successful deploy, so it tells what really runs."""
    deploy = desired.deploy
    if deploy is None:
        return False
    if not current.deployed:
        return True
    if runs_already(current, desired):
        return _NEEDS_RELEASE in current.pending and desired.restart != "never"
    return deploy.replace


def runs_already(current: Current, desired: Desired) -> bool:
    return current.deployed and (current.deploy_source, current.deploy_metadata) == deploy_origin(desired)


def deploy_origin(desired: Desired) -> Tuple[str, str]:
    deploy = desired.deploy
    if deploy is None:
        return "", ""
    if deploy.kind == "image":
        return "docker-image", deploy.source
    if deploy.kind == "archive":
        return deploy.archive_type, deploy.source
    return GIT_SYNC, f"{deploy.source}#{deploy.version}"


def deploy_command(desired: Desired, deploy: Deploy) -> Command:
    if deploy.kind == "image":
        return dokku("git:from-image", desired.name, deploy.source)
    if deploy.kind == "archive":
        return dokku("git:from-archive", "--archive-type", deploy.archive_type, desired.name, deploy.source)
    return dokku("git:sync", "--build", desired.name, deploy.source, deploy.version)


def same_release_command(current: Current, app: str) -> Command:
    """Deploys once more what was deployed last, whatever C(latest) names and whatever a killed deploy left behind.

    A rebuild alone would take Procfile and app.json of the image that was named last, and the source that was fetched last, even when that
    one's deploy failed.
    """
    if current.deploy_source == "docker-image":
        return dokku("git:from-image", app, current.deploy_metadata)
    if current.deploy_source in ARCHIVE_TYPES:
        return dokku("git:from-archive", "--archive-type", current.deploy_source, app, current.deploy_metadata)
    if current.deploy_source == GIT_SYNC:
        return sync_command(current, app, "--build")
    return dokku("ps:rebuild", app)


def sync_command(current: Current, app: str, *flags: str) -> Command:
    """Has the app's branch name what was deployed last. Dokku moves it before a deploy, and leaves it there when that fails."""
    remote, _hash, revision = current.deploy_metadata.rpartition("#")
    return dokku("git:sync", *flags, app, remote, revision)


def release_command(app: str) -> Command:
    return dokku("proxy:set", app, "type")


def _rebuilds(build: _Builder, replacing: bool) -> int:
    """How often nginx is rebuilt when nothing is held back. A new app has its first one behind it."""
    of_containers = 2 if build.current.deployed else 1
    return (not build.current.exists) + len(build.proxies) + (of_containers if replacing else 0)


def _scale_words(scale: Mapping[str, int]) -> Tuple[str, ...]:
    return tuple(f"{name}={quantity}" for name, quantity in sorted(scale.items()))


def plan(current: Current, desired: Desired) -> Plan:
    """The steps from current to desired; none when nothing differs."""
    build = _Builder(current, desired)
    app, first = desired.name, []
    if not current.exists:
        first.append(Step(dokku("apps:create", app), "create the app"))
        build.differs("app", "absent", "present", "created")
    deploying = wants_deploy(current, desired)
    build.config(deploying)
    build.checks()
    if desired.nginx is not None and build.properties("nginx", current.nginx, desired.nginx, {}, "nginx"):
        build.stale_proxy = True
    if desired.storage is not None:
        build.storage()
    build.docker_options()
    build.networks()
    build.resources()
    if desired.restart_policy is not None:
        policies = {"restart-policy": current.restart_policy}, {"restart-policy": desired.restart_policy}
        build.stale_containers = build.properties("ps", *policies, {}, "ps") or build.stale_containers
    if desired.builder is not None:
        build.properties("builder", current.builder, desired.builder, {"dockerfile-path": "builder-dockerfile"}, "builder")
    if desired.buildpacks is not None:
        build.buildpacks()
    if desired.logs is not None and build.properties("logs", current.logs, desired.logs, {}, "logs"):
        build.stale_containers = build.stale_containers or current.logs.get("max-size", "") != desired.logs.get("max-size", current.logs.get("max-size", ""))
    build.ports(build.certificate())
    build.domains()

    scale, old_scale = _scale_change(current, desired)
    if scale:
        build.differs("processes", dict(current.scale), {**current.scale, **scale}, "processes: " + " ".join(_scale_words(scale)))

    pending = current.pending
    overdue = _NEEDS_CONTAINERS in pending or _NEEDS_RELEASE in pending
    restarting = current.deployed and not deploying and desired.restart != "never" and (build.stale_containers or overdue)
    scaling_alone = bool(scale) and current.deployed and not deploying and not restarting
    if scale and not scaling_alone:
        build.store("store the scale", "ps:scale", "--skip-deploy", app, *_scale_words(scale))
    replacing = deploying or restarting or scaling_alone
    held = current.proxy_type == HELD_PROXY
    holding = held or (not current.proxy_type and bool(build.proxies) and _rebuilds(build, replacing) > REBUILDS)
    rebuilds_anyway = replacing or (bool(build.proxies) and not holding)
    stale_proxy = (build.stale_proxy and current.deployed) or _NEEDS_PROXY in pending or holding
    rebuilding = stale_proxy and not rebuilds_anyway

    owed = {
        _NEEDS_CONTAINERS: restarting or scaling_alone,
        _NEEDS_RELEASE: deploying and current.deployed and desired.restart != "never" and (build.stale_containers or bool(scale) or overdue),
        _NEEDS_PROXY: rebuilding or holding or (build.stale_proxy and current.deployed),
    }
    marks = [word for word, on in owed.items() if on or word in pending]
    marking = set(marks) != set(pending)
    steps = [*first, *_config_steps(build, ",".join(marks) if marking else "")]
    steps += build.stores
    if holding and not held:
        steps.append(Step(dokku("proxy:set", app, "type", HELD_PROXY), "hold nginx's rebuilds back", "hold"))
    steps += build.proxies
    if holding:
        steps.append(Step(release_command(app), "let nginx be rebuilt", "release"))
    if rebuilding:
        steps.append(Step(dokku("proxy:build-config", app), "rebuild nginx", "proxy"))
        if not (build.proxies or build.stale_proxy):
            build.changes.append("rebuilt nginx, as a run before this one did not get to it")
    if deploying and desired.deploy is not None:
        steps.append(Step(deploy_command(desired, desired.deploy), "deploy", "deploy"))
        if runs_already(current, desired):
            build.changes.append("deployed again, as a run before this one did not get to it")
        else:
            build.differs(
                "release", current.deploy_metadata if current.deployed else "none", deploy_origin(desired)[1], f"release: {deploy_origin(desired)[1]}"
            )
    elif restarting:
        types = [] if desired.restart == "auto" else [desired.restart]
        command = same_release_command(current, app) if _NEEDS_RELEASE in pending else dokku("ps:restart", app, *types)
        steps.append(Step(command, "restart", "restart"))
        if not build.stale_containers:
            build.changes.append("restarted, as a run before this one did not get to it")
    elif scaling_alone:
        steps.append(Step(dokku("ps:scale", app, *_scale_words(scale)), "scale", "scale"))
    still_waiting = overdue and current.deployed and not (restarting or deploying)
    if (marking or pending) and not still_waiting:
        steps.append(Step(dokku("--quiet", "config:unset", "--no-restart", app, PENDING_KEY), "note that all is in effect", "settle"))
    return Plan(tuple(steps), tuple(build.changes), build.before, build.after, old_scale)


def _scale_change(current: Current, desired: Desired) -> Tuple[Dict[str, int], Tuple[str, ...]]:
    if desired.scale is None:
        return {}, ()
    have = dict(current.scale) if current.exists else {"web": 1}
    goal = {**{name: 0 for name in have}, **desired.scale}
    changed = {name: quantity for name, quantity in goal.items() if have.get(name, 0) != quantity}
    return changed, _scale_words({name: have.get(name, 0) for name in changed})


def _config_steps(build: _Builder, mark: str) -> List[Step]:
    """Config goes in as JSON on stdin, never followed by Dokku's own restart."""
    steps = []
    if build.unsets:
        steps.append(Step(dokku("--quiet", "config:unset", "--no-restart", build.app, *build.unsets), "unset config"))
    values = {**build.imports, **({PENDING_KEY: mark} if mark else {})}
    if values:
        text = json.dumps(values, sort_keys=True).encode()
        command = dokku("--quiet", "config:import", "--no-restart", "--format", "json", build.app, "-", stdin=text, secret=True)
        # The note goes first, so that an unset alone is not forgotten either.
        steps.insert(0, Step(command, "set config"))
    return steps


def plan_absent(current: Current, name: str, confirm: Optional[str]) -> Plan:
    if not current.exists:
        return Plan()
    if confirm != name:
        raise BadDeclaration(f"To destroy the app {name} with all its data, say so once more with confirm: {name}.")
    step = Step(dokku("--force", "apps:destroy", name), "destroy the app")
    return Plan((step,), ("destroyed",), {"app": "present"}, {"app": "absent"})
