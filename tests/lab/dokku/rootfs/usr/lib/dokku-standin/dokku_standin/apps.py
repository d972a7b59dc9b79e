# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""apps:* — an app is a folder with a bare repository's outline below /home/dokku."""

from __future__ import annotations

import os
import shutil
import sys
import time

from .core import (APP_NAME, GLOBAL, LIB, Fail, State, app_dir, apps, flags, info1, info2, out, prop, report, set_prop, verify_app,
                   warn, write)

# Plugins that keep properties of an app below config/PLUGIN/APP.
PLUGINS = ("app-json", "apps", "builder", "builder-dockerfile", "buildpacks", "checks", "cron", "docker-options", "git", "logs",
           "network", "nginx", "ports", "proxy", "ps", "registry", "resource", "scheduler", "scheduler-docker-local", "storage")


def lock_path(app: str):
    return LIB / "data" / "apps" / app / ".deploy.lock"


def need_name(app: str | None) -> str:
    if not app:
        raise Fail("Please specify an app to run the command on")
    if not APP_NAME.match(app):
        raise Fail("App name must begin with lowercase alphanumeric character, and may only contain lowercase alphanumerics, dots, and hyphens")
    return app


def create(app: str) -> None:
    from . import domains, nginx

    if app_dir(app).exists():
        raise Fail("Name is already taken")
    info1(f"Creating {app}...")
    (app_dir(app) / "nginx.conf.d").mkdir(parents=True)
    for folder in ("branches", "hooks", "info", "objects", "refs/heads"):
        (app_dir(app) / folder).mkdir(parents=True)
    write(app_dir(app) / "HEAD", "ref: refs/heads/master\n")
    write(LIB / "config" / app / "ENV", "\n", 0o600)
    set_prop("apps", app, "created-at", str(int(time.time())))
    domains.setup(app)
    nginx.build(app)


def cmd_create(args: list[str]) -> None:
    _options, rest = flags("apps:create", args)
    create(need_name(rest[0] if rest else None))


def cmd_exists(args: list[str]) -> None:
    verify_app(args[0] if args else None)


def cmd_list(args: list[str]) -> None:
    options, _rest = flags("apps:list", args, (), ("format",))
    if options.get("format") == "json":
        import json

        out(json.dumps(apps(), separators=(",", ":")))
        return
    info2("My Apps")
    if not apps():
        warn("You haven't deployed any applications yet")
    for app in apps():
        out(app)


def confirm(app: str) -> None:
    warn("WARNING: Potentially Destructive Action")
    warn(f"This command will destroy app {app}.")
    warn(f'To proceed, type "{app}"')
    sys.stdout.write("> ")
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer:
        out()
        raise Fail("EOF")
    if answer.strip() != app:
        out()
        raise Fail("Confirmation did not match test. Aborted.", raw=True)


def destroy(app: str) -> None:
    from . import nginx, scheduler, settings

    info1(f"Destroying {app} (including all add-ons)")
    info1("Updated schedule file")
    info1("Updated schedule file" if any(settings.cron_tasks(other) for other in apps() if other != app) else "Removed")
    info1("Cleaning up...")
    info1("Retiring old containers and images")
    scheduler.remove_all(app)
    was_served = nginx.conf_path(app).exists()
    for plugin in PLUGINS:
        shutil.rmtree(LIB / "config" / plugin / app, ignore_errors=True)
    for folder in (LIB / "config" / app, *(LIB / "data").glob(f"*/{app}")):
        if folder.parent.name != "storage":
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(app_dir(app))
    if was_served:
        nginx.reload_nginx()


def cmd_destroy(args: list[str]) -> None:
    options, rest = flags("apps:destroy", args, ("force",))
    app = verify_app(rest[0] if rest else None)
    State.force = State.force or bool(options.get("force"))
    if not State.force:
        confirm(app)
    destroy(app)


def copy_state(old: str, new: str, rename: bool) -> None:
    """What clone and rename take along: config, properties, git; certificates and custom domains stay behind."""
    from . import config, ports

    for plugin in PLUGINS:
        source = LIB / "config" / plugin / old
        if source.is_dir():
            shutil.rmtree(LIB / "config" / plugin / new, ignore_errors=True)
            shutil.copytree(source, LIB / "config" / plugin / new)
    for kind in ("app-json", "ps"):
        if (LIB / "data" / kind / old).is_dir():
            shutil.copytree(LIB / "data" / kind / old, LIB / "data" / kind / new, dirs_exist_ok=True)
    config.save(new, config.load(old))
    shutil.copytree(app_dir(old) / "refs", app_dir(new) / "refs", dirs_exist_ok=True)
    set_prop("proxy", new, "proxy-port", "")
    set_prop("proxy", new, "proxy-ssl-port", "")
    ports.after_certs_remove(new)
    if rename:
        for kind in ("CONTAINER", "IP", "PORT"):
            for path in app_dir(old).glob(f"{kind}.*"):
                shutil.copy2(path, app_dir(new) / path.name)
        for path in app_dir(new).glob("IP.*"):
            path.unlink()


def cmd_clone(args: list[str]) -> None:
    options, rest = flags("apps:clone", args, ("skip-deploy", "ignore-existing"))
    old = verify_app(rest[0] if rest else None)
    new = need_name(rest[1] if rest[1:] else None)
    if app_dir(new).exists():
        if options.get("ignore-existing"):
            warn("Name is already taken")
            return
        raise Fail("Name is already taken")
    info1(f"Cloning {old} to {new}")
    create(new)
    copy_state(old, new, rename=False)
    after_copy(new, bool(options.get("skip-deploy")))


def cmd_rename(args: list[str]) -> None:
    options, rest = flags("apps:rename", args, ("skip-deploy",))
    old = verify_app(rest[0] if rest else None)
    new = need_name(rest[1] if rest[1:] else None)
    if app_dir(new).exists():
        raise Fail("Name is already taken")
    info1(f"Renaming {old} to {new}")
    create(new)
    copy_state(old, new, rename=True)
    destroy(old)
    after_copy(new, bool(options.get("skip-deploy")))


def after_copy(app: str, skip_deploy: bool) -> None:
    from . import git, ps

    if not skip_deploy and git.sha(app) != "HEAD":
        ps.rebuild(app)


# --- the deploy lock: the real one is flock(2) on the file, so that a bare file does not stop a deploy

def cmd_lock(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    lock_path(app).parent.mkdir(parents=True, exist_ok=True)
    lock_path(app).touch()
    info1("Deploy lock created")


def cmd_unlock(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    if not lock_path(app).exists():
        raise Fail("Unable to remove deploy lock")
    warn("A deploy may be in progress.")
    warn("Removing the app lock will not stop in progress deploys.")
    lock_path(app).unlink()
    info1("Deploy lock removed")


def cmd_locked(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    if not lock_path(app).exists():
        raise Fail("Deploy lock does not exist")
    out("Deploy lock exists")


class DeployLock:
    """Held during a deploy; the file goes away with it."""

    def __init__(self, app: str) -> None:
        self.app, self.path = app, lock_path(app)

    def __enter__(self) -> DeployLock:
        import fcntl

        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.handle)
            warn(f"{self.app} currently has a deploy lock in place. Exiting...")
            raise Fail("Run 'apps:unlock' to release the existing deploy lock") from error
        return self

    def __exit__(self, *_failure) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self.handle)


def collect(app: str) -> dict[str, str]:
    if app == GLOBAL:
        return {"app-global-disable-autocreation": prop("apps", GLOBAL, "disable-autocreation")}
    return {
        "app-created-at": prop("apps", app, "created-at"), "app-deploy-source": prop("apps", app, "deploy-source"),
        "app-deploy-source-metadata": prop("apps", app, "deploy-source-metadata"), "app-dir": str(app_dir(app)),
        "app-global-disable-autocreation": prop("apps", GLOBAL, "disable-autocreation"),
        "app-locked": "true" if lock_path(app).exists() else "false",
    }


def cmd_report(args: list[str]) -> None:
    report("app", "app", args, collect)


COMMANDS = {
    "apps": cmd_list, "apps:list": cmd_list, "apps:create": cmd_create, "apps:exists": cmd_exists, "apps:destroy": cmd_destroy,
    "apps:clone": cmd_clone, "apps:rename": cmd_rename, "apps:lock": cmd_lock, "apps:unlock": cmd_unlock, "apps:locked": cmd_locked,
    "apps:report": cmd_report,
}
