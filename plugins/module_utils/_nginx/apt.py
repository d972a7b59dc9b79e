# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""apt: reading what it knows through python3-apt, changing through apt-get with a wait for its locks."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import struct
import time
import typing as t

from .errors import AptFailed
from .machine import Paths, Runner, read_text, remove, write_text
from .plan import Package, PackageVersion

APT_IMPORT_ERROR: Exception | None
try:
    import apt_pkg
except ImportError as error:
    APT_IMPORT_ERROR = error
else:
    APT_IMPORT_ERROR = None

LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock")
_LISTS = "/var/lib/apt/lists"
_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "LC_ALL": "C.UTF-8", "APT_LISTCHANGES_FRONTEND": "none"}


def _release(file: t.Any) -> str:
    """A place packages come from, as people name it: Debian trixie-security."""
    suite = file.codename or file.archive or file.site or file.filename
    return " ".join(part for part in (file.origin or file.site, suite) if part)


def read_packages(names: t.Iterable[str]) -> dict[str, Package]:
    """What apt knows about some packages. Costs one opening of its cache, some 20 ms when nothing changed."""
    try:
        apt_pkg.init()
        cache = apt_pkg.Cache(None)
        depcache = apt_pkg.DepCache(cache)
    except (apt_pkg.Error, SystemError) as error:
        raise AptFailed(f"apt's sources, preferences or lists cannot be read: {error}") from error
    found = {}
    for name in names:
        if name not in cache:
            found[name] = Package(name)
            continue
        package = cache[name]
        candidate = depcache.get_candidate_ver(package)
        installed = package.current_ver
        versions = tuple(
            PackageVersion(version.ver_str, tuple(dict.fromkeys(_release(file) for file, _index in version.file_list if not file.not_source)))
            for version in package.version_list
        )
        found[name] = Package(
            name=name,
            installed=installed.ver_str if installed else None,
            # A version that is neither installed nor in a source is what dpkg remembers of a removed package's configuration.
            versions=tuple(entry for entry in versions if entry.releases or (installed and entry.version == installed.ver_str)),
            candidate=candidate.ver_str if candidate else None,
        )
    return found


def installed_modules(run: Runner) -> list[str]:
    """The installed libnginx-mod-* packages."""
    code, out, _err = run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\\n", "libnginx-mod-*"])
    if code != 0:
        return []
    return sorted(line.split()[1] for line in out.splitlines() if line.startswith("installed "))


def lists_age() -> float | None:
    """Seconds since the package lists were refreshed, None when there are none."""
    if not glob.glob(os.path.join(_LISTS, "*_Packages*")):
        return None
    try:
        return max(0.0, time.time() - os.stat("/var/lib/apt/periodic/update-success-stamp").st_mtime)
    except OSError:
        return max(0.0, time.time() - os.stat(_LISTS).st_mtime)


def _lock_holder(path: str) -> int | None:
    """The process that holds a lock file, 0 when it cannot be told, None when the lock is free."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        return 0
    try:
        # struct flock of 64-bit Linux: type, whence, start, length, pid.
        layout = "hhqqi4x"
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(layout, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        kind, _whence, _start, _length, pid = struct.unpack(layout, answer)
        return None if kind == fcntl.F_UNLCK else max(pid, 0)
    finally:
        os.close(descriptor)


def wait_for_locks(timeout: float, locks: t.Sequence[str] = LOCKS) -> float:
    """Wait until nobody holds apt's and dpkg's locks; return the seconds that are left. Raises AptFailed at the deadline."""
    deadline = time.monotonic() + timeout
    while True:
        held = next(((path, pid) for path, pid in ((path, _lock_holder(path)) for path in locks) if pid is not None), None)
        left = deadline - time.monotonic()
        if held is None:
            return max(left, 1.0)
        if left <= 0:
            path, pid = held
            name = (read_text(f"/proc/{pid}/comm") or "").strip() if pid else ""
            who = f"process {pid} ({name})" if name else f"process {pid}" if pid else "another process"
            raise AptFailed(f"apt is locked: {who} has held {path} for longer than {timeout:g} seconds. Wait for it to end or raise lock_timeout.")
        time.sleep(min(0.5, max(left, 0.05)))


def _apt_get(run: Runner, arguments: t.Sequence[str], lock_timeout: float, **kwargs: t.Any) -> tuple[int, str, str]:
    left = wait_for_locks(lock_timeout)
    return run(["apt-get", "--yes", "-o", f"DPkg::Lock::Timeout={int(left)}", *arguments], environ_update=_ENVIRONMENT, **kwargs)


def _errors(out: str, err: str) -> str:
    lines = [line for line in (err + "\n" + out).splitlines() if line.startswith(("E:", "Err:", "W: Failed", "dpkg: error"))]
    return "\n".join(dict.fromkeys(lines)) or err.strip() or out.strip()[-2000:]


def refresh(run: Runner, lock_timeout: float) -> None:
    """`apt-get update`, where a source that does not answer is an error."""
    code, out, err = _apt_get(run, ["-o", "APT::Update::Error-Mode=any", "update"], lock_timeout)
    if code != 0:
        raise AptFailed(f"apt's package lists cannot be refreshed, a source is unreachable or wrong:\n{_errors(out, err)}")


def download(run: Runner, versions: t.Mapping[str, str], folder: str) -> list[str]:
    """Fetch packages into a folder; return the files. Those that no source has any more are left out."""
    files: list[str] = []
    for name, version in versions.items():
        code, _out, _err = run(["apt-get", "-o", "APT::Sandbox::User=root", "download", f"{name}={version}"], cwd=folder, environ_update=_ENVIRONMENT)
        if code == 0:
            files += [path for path in glob.glob(os.path.join(folder, f"{name}_*.deb")) if path not in files]
    return files


def install(run: Runner, what: t.Sequence[str], lock_timeout: float, downgrade: bool = False) -> None:
    """Install `name=version` words or files. Configuration files stay as they are; nothing may be removed for it."""
    arguments = ["--no-install-recommends", "--no-remove"]
    for option in ("Dpkg::Options::=--force-confdef", "Dpkg::Options::=--force-confold"):
        arguments += ["-o", option]
    if downgrade:
        arguments.append("--allow-downgrades")
    code, out, err = _apt_get(run, [*arguments, "install", *what], lock_timeout)
    if code != 0:
        raise AptFailed(f"apt-get install {' '.join(what)} failed:\n{_errors(out, err)}")


def purge(run: Runner, names: t.Sequence[str], lock_timeout: float) -> None:
    code, out, err = _apt_get(run, ["purge", *names], lock_timeout)
    if code != 0:
        raise AptFailed(f"apt-get purge {' '.join(names)} failed:\n{_errors(out, err)}")


_POLICY_MARK = "# multiregion.paas.nginx_http2_pin"


@contextlib.contextmanager
def services_left_alone(paths: Paths) -> t.Iterator[None]:
    """Keep the packages' scripts from restarting a running nginx.

    nginx-common of Debian 12 and 13 restarts the service when it is upgraded, which ends every connection. A policy-rc.d that
    denies actions on nginx prevents it; it only counts while this process lives, so that a kill does not leave a trap.
    """
    path, aside = paths.policy_rc_d, paths.policy_rc_d + ".before-nginx-http2-pin"
    before = read_text(path)
    if before is not None and _POLICY_MARK in before:
        before = None
    elif before is not None:
        os.rename(path, aside)
    script = f'#!/bin/sh\n{_POLICY_MARK}\ncase "$1" in nginx|nginx.service) kill -0 {os.getpid()} 2>/dev/null && exit 101 ;; esac\n'
    script += f'[ -x {aside} ] && exec {aside} "$@"\nexit 0\n'
    write_text(path, script, 0o755)
    try:
        yield
    finally:
        if os.path.exists(aside):
            os.rename(aside, path)
        else:
            remove(path)
