# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""git:* — the source of an app. Of git itself only what shows: revisions, the branch, and that a failed deploy is rolled back."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import time

from . import ps, scheduler, source
from .core import (GLOBAL, Fail, State, app_dir, computed, docker, info1, merged, out, prop, read, report, set_prop, set_prop_list,
                   set_property, triple, verbose, verify_app, warn, write,
                   write_bytes)

KEYS = ["archive-max-files", "archive-max-size", "deploy-branch", "keep-git-dir", "rev-env-var", "source-image"]


# --- revisions

def branch(app: str) -> str:
    return computed("git", app, "deploy-branch", "master")


def ref_path(app: str):
    return app_dir(app) / "refs" / "heads" / branch(app)


def sha(app: str) -> str:
    return read(ref_path(app)).strip() or "HEAD"


def content(app: str, revision: str) -> bytes:
    """What Docker builds: the text of a Dockerfile for an image, a tar for a source."""
    return (app_dir(app) / "objects" / revision).read_bytes()


def keep(app: str, revision: str, context: bytes) -> None:
    write_bytes(app_dir(app) / "objects" / revision, context)


def commit(app: str, context: bytes) -> str:
    revision = hashlib.sha1(f"{sha(app)} {time.time_ns()} ".encode() + context).hexdigest()
    keep(app, revision, context)
    return revision


# --- build

def image_files(image: str, *names: str) -> list[str]:
    """Files from the image's WORKDIR, empty where there is none."""
    import tarfile

    found = docker("image", "inspect", "--format={{.Config.WorkingDir}}", image, check=False)
    if found.returncode:
        return [""] * len(names)
    directory = found.stdout.strip().rstrip("/")
    cid = docker("container", "create", image, "true").stdout.strip()
    texts = []
    try:
        for name in names:
            result = docker("container", "cp", f"{cid}:{directory}/{name}", "-", check=False, text=False)
            texts.append("")
            if not result.returncode:
                with tarfile.open(fileobj=io.BytesIO(result.stdout)) as archive:
                    member = archive.next()
                    texts[-1] = archive.extractfile(member).read().decode() if member and member.isfile() else ""
    finally:
        docker("container", "rm", "--force", cid, check=False)
    return texts


def detect_ports(app: str, image: str) -> None:
    exposed = json.loads(docker("image", "inspect", "--format={{json .Config.ExposedPorts}}", image).stdout or "null") or {}
    numbers = sorted(int(port.partition("/")[0]) for port in exposed if not port.endswith("/udp"))
    set_prop_list("ports", app, "map-detected", [f"http:{number}:{number}" for number in numbers])


def build(app: str, revision: str) -> None:
    """Build and tag `latest`. It is tagged before anybody knows whether it works: that is the poisoned `latest`."""
    context = content(app, revision)
    paths = computed("app-json", app, "appjson-path", "app.json"), computed("ps", app, "procfile-path", "Procfile")
    found = source.files(context, *paths) if source.is_source(context) else image_files(prop("git", app, "source-image"), *paths)
    ps.PENDING[app, "app.json"], ps.PENDING[app, "Procfile"] = found
    info1("Cleaning up...")
    info1(f"Building {app} from Dockerfile")
    labels = [f"com.dokku.app-name={app}", "com.dokku.builder-type=dockerfile", "com.dokku.image-stage=build", "dokku=", "org.label-schema.vendor=dokku"]
    sys.stdout.flush()
    result = subprocess.run(["docker", "build", "--tag", scheduler.image(app), *(f"--label={label}" for label in labels), "-"], input=context,
                            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env={**os.environ, "DOCKER_BUILDKIT": "0"})
    out(result.stdout.decode(errors="replace").rstrip("\n"))
    if result.returncode:
        raise Fail("App build failed")
    detect_ports(app, scheduler.image(app))
    ps.follow_release(app)


def receive(app: str, revision: str) -> None:
    from . import config
    from .apps import DeployLock

    key = prop("git", app, "rev-env-var", "GIT_REV")
    first = not scheduler.is_deployed(app)
    with DeployLock(app), merged():
        if config.load(app).get(key) != revision:
            config.save(app, {**config.load(app), key: revision})
        try:
            build(app, revision)
            ps.release_locked(app, first)
            ps.keep_release_files(app)
        finally:
            ps.PENDING.clear()


def deploy(app: str, context: bytes, origin: str, metadata: str) -> None:
    previous = sha(app)
    info1("Updating git repository with specified build context")
    if previous == "HEAD":
        verbose(f"Detected branch, setting deploy-branch to {branch(app)}")
        set_prop("git", app, "deploy-branch", branch(app))
    elif content(app, previous) == context:
        warn("No changes detected, skipping git commit")
        warn("Call 'ps:rebuild' on app to rebuild the app from existing source")
        raise Fail()
    revision = commit(app, context)
    if previous != "HEAD":
        out("From /tmp/trigger-git-git-from-directory")
        out(f"   {previous[:7]}..{revision[:7]}  {branch(app)}     -> {branch(app)}")
    # Before anything is built: a deploy that is killed leaves it there.
    write(ref_path(app), f"{revision}\n")
    try:
        receive(app, revision)
    except Exception:
        if previous != "HEAD":
            write(ref_path(app), f"{previous}\n")
        else:
            ref_path(app).unlink()
        raise
    set_origin(app, origin, metadata)


def set_origin(app: str, origin: str, metadata: str) -> None:
    set_prop("apps", app, "deploy-source", origin)
    set_prop("apps", app, "deploy-source-metadata", metadata)
    if origin != "docker-image":
        set_prop("git", app, "source-image", "")


def build_current(app: str) -> None:
    """ps:rebuild: the branch's image, but app.json and Procfile of the image named last, also when that one's deploy failed."""
    if sha(app) == "HEAD":
        out(f"\x1b[1G\x1b[K-----> WARNING: Cannot build from '{branch(app)}' as there are no commits stored at that branch.")
        raise Fail()
    receive(app, sha(app))


# --- commands

def from_image(app: str, image: str, force: bool = False, build_dir: str = "") -> None:
    if build_dir:
        raise Fail("The stand-in does not implement --build-dir")
    with merged():
        try:
            info1("Generating build context")
            present = docker("image", "ls", "-q", image, check=False).stdout.strip()
            if present and not force:
                info1("Image exists on host, skipping pull")
            else:
                info1("Force pulling image" if present else "Pulling image")
                pulled = docker("image", "pull", image, check=False)
                out((pulled.stdout + pulled.stderr).rstrip("\n"))
                if pulled.returncode:
                    raise Fail(f"Failed to pull image: {image}")
            set_prop("git", app, "source-image", image)
            dockerfile = f'FROM {image}\nLABEL com.dokku.docker-image-labeler/alternate-tags=[\\"{image}\\"]\n'
            deploy(app, dockerfile.encode(), "docker-image", image)
        except Fail as failure:
            ps.print_failure(failure)
            raise Fail(rc=1) from failure


def cmd_from_image(args: list[str]) -> None:
    force, build_dir, rest, queue = False, "", [], list(args)
    while queue:
        arg = queue.pop(0)
        if arg == "--force":
            force = True
        elif arg == "--build-dir":
            build_dir = queue.pop(0) if queue else ""
        else:
            rest.append(arg)
    app = verify_app(rest[0] if rest else None)
    if not rest[1:]:
        raise Fail("Please specify a docker image")
    from_image(app, rest[1], force, build_dir)


def cmd_load_image(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    if not args[1:]:
        raise Fail("Please specify a docker image")
    from .core import stdin_bytes

    docker("image", "load", stdin=stdin_bytes())
    from_image(app, args[1])


def cmd_from_archive(args: list[str]) -> None:
    kind, rest, queue = "tar", [], list(args)
    while queue:
        arg = queue.pop(0)
        if arg == "--archive-type":
            kind = queue.pop(0) if queue else ""
        else:
            rest.append(arg)
    app = verify_app(rest[0] if rest else None)
    if not rest[1:]:
        raise Fail("Please specify an archive url or -- to fetch the archive from stdin")
    with merged():
        try:
            deploy(app, source.from_archive(rest[1], kind), kind, rest[1])
        except Fail as failure:
            ps.print_failure(failure)
            raise Fail(rc=1) from failure


def cmd_sync(args: list[str]) -> None:
    """The branch is moved before the deploy, and nothing moves it back when that fails."""
    words = [arg for arg in args if not arg.startswith("--")]
    app = verify_app(words[0] if words else None)
    if not words[1:]:
        raise Fail("Missing GIT_REMOTE parameter")
    remote, ref = words[1], words[2] if words[2:] else ""
    previous = sha(app)
    with merged():
        if previous == "HEAD":
            info1(f"Cloning {app} from {remote}#{ref}")
        else:
            verbose(f"Fetching remote code for {app} from {remote}#{ref}")
        revision, context = source.from_git(app_dir(app) / "source.git", remote, ref or branch(app))
        keep(app, revision, context)
        write(ref_path(app), f"{revision}\n")
        if "--build-if-changes" in args and revision == previous:
            verbose("Skipping build as no changes were detected")
        elif "--build" in args or "--build-if-changes" in args:
            try:
                receive(app, revision)
            except Fail as failure:
                ps.print_failure(failure)
                raise Fail(rc=1) from failure
            set_origin(app, "git-sync", f"{remote}#{revision}")


def cmd_set(args: list[str]) -> None:
    set_property("git", args, KEYS, bash=True)


def cmd_report(args: list[str]) -> None:
    def collect(app: str) -> dict[str, str]:
        values = {}
        for key, default in {"deploy-branch": "master", "keep-git-dir": "false", "archive-max-files": "10000", "archive-max-size": "1073741824"}.items():
            values.update(triple("git", app, key, default))
            if key.startswith("archive"):
                del values[f"git-{key}"]
        if app != GLOBAL:
            values["git-rev-env-var"] = prop("git", app, "rev-env-var", "GIT_REV")
            values["git-sha"] = sha(app)
            values["git-source-image"] = prop("git", app, "source-image")
            values["git-last-updated-at"] = str(int(ref_path(app).stat().st_mtime)) if ref_path(app).exists() else ""
        return values

    report("git", "git", args, collect, both=False)


def cmd_unlock(args: list[str]) -> None:
    from .apps import cmd_unlock as unlock

    if not State.force and "--force" not in args:
        raise Fail("Please use --force to unlock the git repository")
    unlock([arg for arg in args if arg != "--force"])


def cmd_auth(args: list[str]) -> None:
    """Keeps ~/.netrc, as `git:auth HOST [USER PASS]` does."""
    from .core import ROOT

    if not args:
        raise Fail("Please specify a host")
    path = ROOT / ".netrc"
    lines = [line for line in read(path).splitlines() if not line.startswith(f"machine {args[0]} ")]
    if len(args) > 2:
        lines.append(f"machine {args[0]} login {args[1]} password {args[2]}")
        info1(f"Setting netrc entry for host {args[0]}")
    else:
        info1(f"Removing netrc entry for host {args[0]}")
    write(path, "".join(f"{line}\n" for line in lines), 0o600)


COMMANDS = {
    "git": cmd_report, "git:report": cmd_report, "git:set": cmd_set, "git:from-image": cmd_from_image, "git:load-image": cmd_load_image,
    "git:from-archive": cmd_from_archive, "git:sync": cmd_sync, "git:unlock": cmd_unlock, "git:auth": cmd_auth,
}
