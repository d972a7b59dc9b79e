# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Dokku in memory, at the command boundary, with the habits that bite."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any, Dict, List, Optional

from ansible_collections.multiregion.paas.plugins.module_utils._dokku.command import Command, Result, Runner
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.errors import CommandFailed


def ok(text: str = "") -> Result:
    return Result(0, text, "")


def bad(text: str, rc: int = 1) -> Result:
    return Result(rc, "", f" !     {text}\n")


class App:
    def __init__(self, name: str) -> None:
        self.config: Dict[str, str] = {}
        self.domains: List[str] = [f"{name}.example.test"]
        self.vhosts = True
        self.proxy: Dict[str, str] = {}
        self.ports: List[str] = []
        self.scale = {"web": 1}
        self.disabled: List[str] = []
        self.skipped: List[str] = []
        self.wait = ""
        self.nginx: Dict[str, str] = {}
        self.crt: Optional[str] = None
        self.key: Optional[str] = None
        self.mounts: List[str] = []
        self.named: Dict[str, str] = {}
        self.options: Dict[str, List[str]] = {"build": [], "deploy": [], "run": []}
        self.network: Dict[str, str] = {}
        self.resources: Dict[str, str] = {}
        self.ps: Dict[str, str] = {}
        self.builder: Dict[str, str] = {}
        self.buildpacks: List[str] = []
        self.logs: Dict[str, str] = {}
        self.metadata = ""
        self.source = ""
        self.git_image = ""
        self.source_image = ""  # named last, whether its deploy went well or not
        self.latest = ""
        self.running = ""  # image of the running containers
        self.up = True
        self.env_running: Dict[str, str] = {}
        self.deploys = 0
        self.nginx_built: Any = None  # names, ports and certificate that nginx knows


class FakeDokku(Runner):
    """`images` that fail their checks are named in `broken`. `die_at` kills before the nth writing command."""

    def __init__(self, version: str = "0.38.27") -> None:
        super().__init__()
        self.version = version
        self.apps: Dict[str, App] = {}
        self.known = ["bridge", "host", "none"]
        self.broken: set = set()
        self.restart_fails = False
        self.fails_early = False  # in the release task, when no container was stopped yet
        self.hangs = False  # a deploy does not end within its time
        self.dies_in_deploy = False
        self.log: List[str] = []
        self.commands: List[Command] = []
        self.rebuilds = 0
        self.die_at: Optional[int] = None
        self.locked: List[str] = []  # images that somebody else deploys; each command that deploys sees one of them end
        self.writes = 0

    READS = (":report", ":export", ":list", ":show")

    def run(self, command: Command) -> Result:
        with self._lock:
            self.count += 1
        if command.words == ("version",):
            return ok(f"dokku version {self.version}\n")
        if command.program == "openssl":
            self.commands.append(command)
            text = (command.stdin or b"").decode()
            if "-serial" in command.words:
                return ok("serial=0A1B\nnotAfter=Dec 21 02:58:30 2026 GMT\n")
            return ok("PUBLIC " + text.split("#")[1]) if "#" in text else bad("unable to load")
        if command.program == "docker":
            return self.docker(command)
        words = [word for word in command.words if word not in ("--quiet", "--force")]
        if not any(words[0].endswith(read) for read in self.READS) and not (words[0] == "ps:scale" and "json" in words):
            self.writes += 1
            if self.die_at is not None and self.writes > self.die_at:
                raise KeyboardInterrupt
            self.log.append(" ".join(words))
        self.commands.append(command)
        method = getattr(self, words[0].replace(":", "_").replace("-", "_"), None)
        if method is None:
            return bad(f"`{' '.join(words)}` is not a dokku command.")
        return method(words[1:], command.stdin)

    # helpers

    def app(self, words: List[str]) -> Optional[App]:
        return next((self.apps[word] for word in words if word in self.apps), None)

    def rebuild(self, app: App, times: int = 1) -> None:
        if not app.proxy.get("type"):
            self.rebuilds += times
            app.nginx_built = (list(app.domains), list(app.ports), app.crt)

    def missing(self, words: List[str]) -> Result:
        return Result(20, "", " !     App nope does not exist\n")

    def docker(self, command: Command) -> Result:
        words = command.words
        name = next((app for app in self.apps if any(app in word for word in words)), "")
        if words[:2] == ("container", "ls"):
            return ok(f"id-of-{name}\n" if self.apps[name].running and self.apps[name].up else "")
        if words[:2] == ("container", "inspect"):
            names = (f"/{name}.run.7", "not this"), (f"/{name}.web.1.upcoming-5", "nor this"), (f"/{name}.web.1", self.apps[name].running)
            return ok(json.dumps([{"Name": key, "Image": image} for key, image in names]))
        if words[:2] == ("image", "tag"):
            self.apps[name].latest = words[2]
            self.log.append("docker " + " ".join(words))
            return ok()
        return bad("unknown")

    def release(self, app: App, image: str) -> Result:
        """Build tags latest before anything is checked."""
        if self.locked:
            app.latest = app.running = app.metadata = self.locked.pop()
            return bad("todo currently has a deploy lock in place. Exiting...")
        app.latest = image
        app.deploys += 1
        if self.dies_in_deploy:
            raise KeyboardInterrupt
        if self.hangs:
            raise CommandFailed("`dokku git:from-image` did not end within 900 s.", rc=124)
        if image in self.broken:
            app.up = app.up and (self.fails_early or not app.disabled)
            return Result(1, " !     Could not start due to 1 failed checks (web.1)\nlast words of the app\n", "")
        self.rebuild(app, 2 if app.running else 1)
        app.running, app.up = image, True
        app.env_running = dict(app.config)
        return ok()

    # commands

    def apps_create(self, words: List[str], stdin: Any) -> Result:
        if words[0] in self.apps:
            return bad("Name is already taken")
        self.apps[words[0]] = App(words[0])
        self.rebuild(self.apps[words[0]])
        return ok()

    def apps_destroy(self, words: List[str], stdin: Any) -> Result:
        return ok() if self.apps.pop(words[0], None) else self.missing(words)

    def apps_report(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        return ok(json.dumps({"deploy-source": app.source, "deploy-source-metadata": app.metadata})) if app else self.missing(words)

    def ps_report(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        if not app:
            return self.missing(words)
        if "--deployed" in words or "--running" in words:
            return ok("true\n" if app.running and (app.up or "--deployed" in words) else "false\n")
        return ok(app.ps.get("restart-policy", "") + "\n")

    def config_export(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        return ok(json.dumps(app.config)) if app else self.missing(words)

    def config_import(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        if not app:
            return self.missing(words)
        app.config.update(json.loads(stdin))
        app.vhosts = app.config.get("NO_VHOST", "0" if app.vhosts else "1") != "1"
        if "--no-restart" not in words:
            raise AssertionError("config:import restarts, even when nothing changed")
        return ok()

    def config_unset(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        if "--no-restart" not in words:
            raise AssertionError("config:unset restarts")
        for key in words[2:]:
            app.config.pop(key, None)
        return ok()

    def domains_report(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        return ok(json.dumps({"app-enabled": str(app.vhosts).lower(), "app-vhosts": " ".join(app.domains)})) if app else self.missing(words)

    def domains_set(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        app.domains = words[1:]
        if not app.vhosts:  # written, then overwritten with the default, rc 0
            app.vhosts, app.domains = True, [f"{words[0]}.example.test"]
        self.rebuild(app)
        return ok()

    def domains_clear(self, words: List[str], stdin: Any) -> Result:
        self.app(words).domains = []
        self.rebuild(self.app(words))
        return ok()

    def ports_report(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        return ok(" ".join(sorted(app.ports)) + "\n") if app else self.missing(words)

    def ports_set(self, words: List[str], stdin: Any) -> Result:
        self.app(words).ports = words[1:]
        self.rebuild(self.app(words))
        return ok()

    def ports_clear(self, words: List[str], stdin: Any) -> Result:
        self.app(words).ports = []
        self.rebuild(self.app(words))
        return ok()

    def certs_show(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        if not app:
            return self.missing(words)
        text = app.crt if words[1] == "crt" else app.key
        return ok(text) if text else bad("An app-specific SSL endpoint is not defined")

    def certs_add(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        archive = tarfile.open(fileobj=io.BytesIO(stdin))
        app.crt, app.key = (archive.extractfile(name).read().decode() for name in ("server.crt", "server.key"))
        present = {":".join(port.split(":")[:2]) for port in app.ports}
        if "https:443" not in present:
            app.ports += ["https:443:" + port.split(":")[2] for port in app.ports if port.startswith("http:80:")]
        self.rebuild(app)
        if app.crt.split("#")[1] != app.key.split("#")[1]:
            return bad("key values mismatch")
        return ok()

    def certs_remove(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        app.crt = app.key = None
        app.ports = [port for port in app.ports if not port.startswith("https:443:")]
        self.rebuild(app)
        return ok()

    def ps_scale(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        if not app:
            return self.missing(words)
        if "json" in words:
            return ok(json.dumps([{"process_type": key, "quantity": value} for key, value in app.scale.items()]))
        before = dict(app.scale)
        app.scale.update({key: int(value) for key, _eq, value in (word.partition("=") for word in words if "=" in word)})
        if "--skip-deploy" in words or not app.running or app.scale == before:
            return ok()
        return self.release(app, app.latest)  # rc 1 when it fails; the scale stays stored

    def checks_report(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        if not app:
            return self.missing(words)
        return ok(json.dumps({"disabled-list": ",".join(app.disabled) or "none", "skipped-list": ",".join(app.skipped) or "none", "wait-to-retire": app.wait}))

    def checks_enable(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        if len(words) == 1:
            app.disabled, app.skipped = [], []
        else:  # `_all_` stays
            app.disabled = [name for name in app.disabled if name not in words[1].split(",")]
        return ok()

    def checks_disable(self, words: List[str], stdin: Any) -> Result:
        self.app(words).disabled = words[1].split(",") if len(words) > 1 else ["_all_"]
        return ok()

    def checks_skip(self, words: List[str], stdin: Any) -> Result:
        self.app(words).skipped = words[1].split(",") if len(words) > 1 else ["_all_"]
        return ok()

    def checks_set(self, words: List[str], stdin: Any) -> Result:
        self.app(words).wait = words[2] if len(words) > 2 else ""
        return ok()

    def nginx_report(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        return ok(json.dumps({**app.nginx, "computed-hsts": "true", "global-hsts": ""})) if app else self.missing(words)

    def nginx_set(self, words: List[str], stdin: Any) -> Result:
        if words[0] in self.apps:
            self.apps[words[0]].nginx[words[1]] = words[2] if len(words) > 2 else ""
        return ok()  # on a missing app too

    def proxy_build_config(self, words: List[str], stdin: Any) -> Result:
        self.rebuild(self.app(words))
        return ok()

    def proxy_report(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        return ok(app.proxy.get("type", "") + "\n") if app else self.missing(words)

    def proxy_set(self, words: List[str], stdin: Any) -> Result:
        return self._properties("proxy", words)

    def storage_list(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        if not app:
            return self.missing(words)
        rows = []
        for text in app.mounts:
            host, inside, *options = text.split(":")
            row = {"entry_name": "legacy-1", "host_path": host, "container_path": inside}
            rows.append({**row, "volume_options": options[0]} if options else row)
        rows += [{"entry_name": key, "host_path": f"/var/lib/dokku/data/storage/{key}", "container_path": value} for key, value in app.named.items()]
        return ok(json.dumps(rows))

    def storage_create(self, words: List[str], stdin: Any) -> Result:
        return ok()

    def storage_mount(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        if "--container-dir" in words:
            app.named[words[1]] = words[3]
            return ok()
        if words[1] in app.mounts:
            return bad("Mount path already exists.")
        app.mounts.append(words[1])
        return ok()

    def storage_unmount(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        if app.named.pop(words[1], None):
            return ok()
        if words[1] not in app.mounts:
            return bad("Mount path does not exist.")
        app.mounts.remove(words[1])
        return ok()

    def docker_options_report(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        if not app:
            return self.missing(words)
        return ok(json.dumps({**{f"{key}-list": value for key, value in app.options.items()}, **{key: " ".join(value) for key, value in app.options.items()}}))

    @staticmethod
    def _option_words(words: List[str]) -> List[str]:
        if words[0] == "--process":
            return [words[2], f"{words[3]}.{words[1]}", words[4]]
        return words

    def docker_options_add(self, words: List[str], stdin: Any) -> Result:
        name, phase, option = self._option_words(words)
        self.apps[name].options.setdefault(phase, []).append(option)  # again and again
        return ok()

    def docker_options_remove(self, words: List[str], stdin: Any) -> Result:
        name, phase, option = self._option_words(words)
        if option in self.apps[name].options[phase]:
            self.apps[name].options[phase].remove(option)
        return ok()

    def network_report(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        return ok(json.dumps(app.network)) if app else self.missing(words)

    def network_list(self, words: List[str], stdin: Any) -> Result:
        return ok(json.dumps([{"Name": name} for name in self.known]))

    def network_create(self, words: List[str], stdin: Any) -> Result:
        if words[0] in self.known:
            return bad(f"Unable to create network: network with name {words[0]} already exists")
        self.known.append(words[0])
        return ok()

    def network_set(self, words: List[str], stdin: Any) -> Result:
        app, value = self.app(words), ",".join(words[2:])
        if value and value in [other for key, other in app.network.items() if key != words[1]]:
            return bad(f"Network name already associated with this app: {value}")
        app.network[words[1]] = value
        return ok()

    def resource_report(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        return ok(json.dumps(app.resources)) if app else self.missing(words)

    def _resource(self, kind: str, words: List[str]) -> Result:
        process, rest = ("_default_", list(words[:-1]))
        if rest[:1] == ["--process-type"]:
            process, rest = rest[1], rest[2:]
        for flag, value in zip(rest[::2], rest[1::2]):
            key = f"{process}.{kind}.{flag[2:]}"
            if value == "clear":
                self.app(words).resources.pop(key, None)
            else:
                self.app(words).resources[key] = value
        return ok()

    def resource_limit(self, words: List[str], stdin: Any) -> Result:
        return self._resource("limit", words)

    def resource_reserve(self, words: List[str], stdin: Any) -> Result:
        return self._resource("reserve", words)

    def resource_limit_clear(self, words: List[str], stdin: Any) -> Result:
        self.app(words).resources.clear()  # reservations too
        return ok()

    def _properties(self, attribute: str, words: List[str]) -> Result:
        getattr(self.app(words), attribute)[words[1]] = words[2] if len(words) > 2 else ""
        return ok()

    def ps_set(self, words: List[str], stdin: Any) -> Result:
        return self._properties("ps", words)

    def builder_set(self, words: List[str], stdin: Any) -> Result:
        return self._properties("builder", words)

    def builder_dockerfile_set(self, words: List[str], stdin: Any) -> Result:
        return self._properties("builder", words)

    def logs_set(self, words: List[str], stdin: Any) -> Result:
        return self._properties("logs", words)

    def builder_report(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        return ok(json.dumps(app.builder)) if app else self.missing(words)

    builder_dockerfile_report = builder_report

    def logs_report(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        return ok(json.dumps(app.logs)) if app else self.missing(words)

    def buildpacks_report(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        return ok(",".join(app.buildpacks) + "\n") if app else self.missing(words)

    def buildpacks_set(self, words: List[str], stdin: Any) -> Result:
        prefix = "https://github.com/heroku/heroku-buildpack-"
        self.app(words).buildpacks = [word.replace("heroku/", prefix) + (".git" if "heroku/" in word else "") for word in words[2:]]
        return ok()

    def buildpacks_clear(self, words: List[str], stdin: Any) -> Result:
        self.app(words).buildpacks = []
        return ok()

    def git_from_image(self, words: List[str], stdin: Any) -> Result:
        return self.from_content(words[0], words[1], "docker-image")

    def git_from_archive(self, words: List[str], stdin: Any) -> Result:
        return self.from_content(words[2], words[3], words[1])

    def from_content(self, name: str, content: str, origin: str) -> Result:
        app = self.apps[name]
        app.source_image = content
        if app.git_image == content:
            return bad("No changes detected, skipping git commit")
        before, app.git_image = app.git_image, content
        app.config["GIT_REV"] = content
        result = self.release(app, content)
        if result.rc:
            app.git_image = before  # the branch is rolled back
        else:
            app.source, app.metadata = origin, content
        return result

    def git_sync(self, words: List[str], stdin: Any) -> Result:
        name, remote, revision = (word for word in words if not word.startswith("--"))
        app = self.apps[name]
        app.git_image = app.source_image = f"{remote}#{revision}"  # nothing rolls it back
        if "--build" not in words:
            return ok()
        result = self.release(app, app.git_image)
        if not result.rc:
            app.source, app.metadata = "git-sync", app.git_image
        return result

    def ps_rebuild(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        if app.source_image in self.broken:  # its checks are taken
            return Result(1, " !     Could not start due to 1 failed checks (web.1)\n", "")
        return self.release(app, app.git_image)  # and notes no origin

    def plugin_trigger(self, words: List[str], stdin: Any) -> Result:
        trigger, name, origin, metadata = words
        if trigger != "deploy-source-set" or self.ssh is not None:
            return bad("sudo: a password is required")
        self.apps[name].source, self.apps[name].metadata = origin, metadata
        return ok()

    def ps_restart(self, words: List[str], stdin: Any) -> Result:
        app = self.app(words)
        if self.restart_fails:
            return Result(1, " !     Could not start due to 1 failed checks (web.1)\n", "")
        return self.release(app, app.latest)
