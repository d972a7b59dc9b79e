# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundle on the disk: versioned folders behind one symbolic link.

`dest` is a symbolic link to `.<name>.versions/<version>` beside it. A version is written whole, synced and renamed into
its place before the link moves, so `dest` always names a complete set of files that belong together. A reader that wants
to be sure over several opens resolves the link once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import json
import os
import pwd
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Optional

from .errors import AcmeError, DeadlineError, InputError
from .plan import timestamp

KEPT_VERSIONS = 3
PRIVATE_KEY = "privkey.pem"
FILES = ("cert.pem", "chain.pem", "fullchain.pem", PRIVATE_KEY)
STATE = "state.json"


@dataclass(frozen=True)
class Ownership:
    """Numbers, so that nothing has to be looked up after the first change. None: leave as it is."""

    uid: Optional[int] = None
    gid: Optional[int] = None
    mode: int = 0o600


def ownership(owner, group, mode) -> Ownership:
    """Raises InputError for a user, a group or a mode that does not exist."""
    uid = gid = None
    if owner is not None:
        try:
            uid = int(owner) if str(owner).isdigit() else pwd.getpwnam(owner).pw_uid
        except KeyError as error:
            raise InputError("owner is %s: there is no such user here" % owner) from error
    if group is not None:
        try:
            gid = int(group) if str(group).isdigit() else grp.getgrnam(group).gr_gid
        except KeyError as error:
            raise InputError("group is %s: there is no such group here" % group) from error
    try:
        bits = int(str(mode), 8)
    except ValueError as error:
        raise InputError("mode is %r: give an octal number in quotes, such as '0600'" % mode) from error
    if bits & ~0o640:
        raise InputError("mode is %r: a private key may be read by its owner and its group only (0600, 0640, 0400, 0440)" % mode)
    return Ownership(uid, gid, bits)


class Store:
    """One `dest`."""

    def __init__(self, dest: str, owner: Ownership):
        if not os.path.isabs(dest):
            raise InputError("dest is %r: give an absolute path" % dest)
        self.dest = os.path.normpath(dest)
        self.parent, name = os.path.split(self.dest)
        if not name:
            raise InputError("dest is %r: give a folder below the root" % dest)
        self.versions = os.path.join(self.parent, ".%s.versions" % name)
        self.owner = owner

    # -- read

    def paths(self) -> dict:
        """What readers open."""
        names = {"privkey": PRIVATE_KEY, "cert": "cert.pem", "chain": "chain.pem", "fullchain": "fullchain.pem"}
        return dict({key: os.path.join(self.dest, name) for key, name in names.items()}, dest=self.dest)

    def read(self) -> dict:
        """The bytes of the bundle's files, all of one version; what is not there is missing."""
        folder = os.path.realpath(self.dest)
        content = {}
        for name in FILES + (STATE,):
            try:
                with open(os.path.join(folder, name), "rb") as handle:
                    content[name] = handle.read()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise InputError("dest cannot be read: %s" % error) from error
        return content

    def read_json(self, name: str) -> dict:
        """A file of ours in the folder of versions; empty when there is none or it is broken."""
        try:
            with open(os.path.join(self.versions, name), encoding="utf-8") as handle:
                content = json.load(handle)
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def check_writable(self) -> None:
        """Raises InputError where a bundle cannot be put."""
        folder = self.parent
        while not os.path.lexists(folder):
            folder = os.path.dirname(folder)
        if not os.path.isdir(folder):
            raise InputError("dest %s cannot be written: %s is no folder" % (self.dest, folder))
        for path in [folder] + ([self.versions] if os.path.lexists(self.versions) else []):
            if not os.access(path, os.W_OK | os.X_OK) or _read_only(path):
                raise InputError("dest %s cannot be written: no permission to write into %s" % (self.dest, path))
        if os.path.islink(self.dest):
            if os.path.dirname(os.path.realpath(self.dest)) != os.path.realpath(self.versions):
                raise InputError(
                    "dest %s is a symbolic link to %s, which is not ours: move it away, or give another dest" % (self.dest, os.path.realpath(self.dest))
                )
        elif os.path.isdir(self.dest):
            foreign = sorted(set(os.listdir(self.dest)) - set(FILES))
            if foreign:
                raise InputError(
                    "dest %s is a folder that holds other things (%s): the whole folder is switched at once, give one of its own"
                    % (self.dest, ", ".join(foreign[:5]))
                )
        elif os.path.lexists(self.dest):
            raise InputError("dest %s is a file: give a folder" % self.dest)

    def drift(self) -> list:
        """Files of the version in place whose owner, group or mode is not what was asked."""
        folder = os.path.realpath(self.dest)
        wrong = []
        for name in FILES:
            try:
                status = os.stat(os.path.join(folder, name))
            except OSError:
                continue
            if self._differs(status, self._mode(name)):
                wrong.append(name)
        return wrong

    def _mode(self, name: str) -> int:
        return self.owner.mode if name == PRIVATE_KEY else 0o644

    def _differs(self, status, mode: int) -> bool:
        if stat.S_IMODE(status.st_mode) != mode:
            return True
        return (self.owner.uid is not None and status.st_uid != self.owner.uid) or (self.owner.gid is not None and status.st_gid != self.owner.gid)

    # -- write

    @contextlib.contextmanager
    def lock(self, timeout: float):
        """One run at a time on this dest, whatever process; ends with the process, so nothing can be left locked."""
        path = os.path.join(self.versions, "lock")
        deadline = time.monotonic() + timeout
        descriptor = None
        try:
            while descriptor is None:
                self._make_folders()
                descriptor = _try_lock(path)
                if descriptor is None:
                    if time.monotonic() > deadline:
                        raise DeadlineError("Another run has worked on %s for more than %d s" % (self.dest, timeout))
                    time.sleep(0.1)
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _make_folders(self) -> None:
        try:
            os.makedirs(self.parent, mode=0o755, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.versions, 0o755)
        except OSError as error:
            raise InputError("dest %s cannot be written: %s" % (self.dest, error)) from error

    def write_json(self, name: str, content: dict) -> None:
        """Whole or not at all."""
        data = (json.dumps(content, indent=1, sort_keys=True) + "\n").encode("utf-8")
        temporary = os.path.join(self.versions, ".%s.%d" % (name, os.getpid()))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        _write_new(temporary, data, 0o600)
        os.replace(temporary, os.path.join(self.versions, name))
        _sync_folder(self.versions)

    def forget(self, name: str) -> None:
        """Remove a file of ours."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.versions, name))

    def switch(self, content: dict, serial: str, now: Optional[datetime] = None) -> str:
        """Put a new version in place, in one step for readers. -> its path. A kill leaves the former or this one."""
        self._make_folders()
        try:
            return self._switch(content, serial, now)
        except OSError as error:
            raise AcmeError("The new certificate could not be put into %s, the former one stays: %s" % (self.dest, error)) from error

    def _switch(self, content: dict, serial: str, now: Optional[datetime]) -> str:
        for name in os.listdir(self.versions):
            if name.startswith(".new-"):
                shutil.rmtree(os.path.join(self.versions, name), ignore_errors=True)
        folder = tempfile.mkdtemp(prefix=".new-", dir=self.versions)
        for name, data in content.items():
            mode = 0o600 if name == STATE else self._mode(name)
            # The key's bytes come into a file that only root can open; then it is handed over.
            descriptor = _write_new(os.path.join(folder, name), data, 0o600, keep=True)
            try:
                if name != STATE and (self.owner.uid is not None or self.owner.gid is not None):
                    os.fchown(descriptor, -1 if self.owner.uid is None else self.owner.uid, -1 if self.owner.gid is None else self.owner.gid)
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.chmod(folder, 0o755)
        _sync_folder(folder)
        base = "%s-%s" % ((now or datetime.now(timezone.utc)).strftime("%Y%m%dT%H%M%SZ"), serial[-16:].lower())
        version, count = os.path.join(self.versions, base), 1
        while os.path.lexists(version):
            count += 1
            version = os.path.join(self.versions, "%s-%d" % (base, count))
        os.rename(folder, version)
        _sync_folder(self.versions)
        self._point(version)
        self._prune(version)
        return version

    def _point(self, version: str) -> None:
        link = os.path.join(self.versions, ".link-%d" % os.getpid())
        with contextlib.suppress(FileNotFoundError):
            os.unlink(link)
        os.symlink(os.path.join(os.path.basename(self.versions), os.path.basename(version)), link)
        if os.path.isdir(self.dest) and not os.path.islink(self.dest):
            # A folder that somebody else made: kept beside as the oldest version.
            os.rename(self.dest, os.path.join(self.versions, "0-found-%s" % timestamp(datetime.now(timezone.utc)).replace(":", "")))
        os.replace(link, self.dest)
        _sync_folder(self.parent)

    def _prune(self, current: str) -> None:
        """Older versions go; some stay for readers that resolved the link a moment ago, and for people."""
        folders = [name for name in os.listdir(self.versions) if not name.startswith(".") and os.path.isdir(os.path.join(self.versions, name))]
        folders.sort(key=lambda name: os.stat(os.path.join(self.versions, name)).st_mtime)
        folders = [name for name in folders if name != os.path.basename(current)]
        for name in folders[: max(0, len(folders) - (KEPT_VERSIONS - 1))]:
            shutil.rmtree(os.path.join(self.versions, name), ignore_errors=True)

    def repair(self) -> None:
        """Give the version in place the owner, group and mode that were asked."""
        folder = os.path.realpath(self.dest)
        for name in self.drift():
            path = os.path.join(folder, name)
            os.chown(path, -1 if self.owner.uid is None else self.owner.uid, -1 if self.owner.gid is None else self.owner.gid)
            os.chmod(path, self._mode(name))

    def rewrite_state(self, state: dict) -> None:
        """Change what we know of the version in place."""
        path = os.path.join(os.path.realpath(self.dest), STATE)
        temporary = path + ".new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        _write_new(temporary, encode_state(state), 0o600)
        os.replace(temporary, path)

    def exists(self) -> bool:
        """Whether anything of ours is there."""
        return os.path.lexists(self.dest) or os.path.lexists(self.versions)

    def remove(self) -> None:
        """The link first: readers see all or nothing."""
        if os.path.islink(self.dest):
            os.unlink(self.dest)
        elif os.path.isdir(self.dest):
            shutil.rmtree(self.dest)
        shutil.rmtree(self.versions, ignore_errors=True)
        if os.path.lexists(self.versions):
            raise AcmeError("%s could not be removed" % self.versions)


def encode_state(state: dict) -> bytes:
    """The form of state.json."""
    return (json.dumps(state, indent=1, sort_keys=True) + "\n").encode("utf-8")


def decode_state(data: Optional[bytes]) -> dict:
    """Empty where it is missing or broken: then nothing is known of the version but its files."""
    try:
        state = json.loads((data or b"{}").decode("utf-8"))
    except ValueError:
        return {}
    return state if isinstance(state, dict) else {}


def create_once(path: str, data: bytes) -> bytes:
    """Make a 0600 file unless it is there. Of two runs at once the first wins. -> what the file holds."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
    finally:
        os.unlink(temporary)
    _sync_folder(folder)
    with open(path, "rb") as handle:
        return handle.read()


def _try_lock(path: str) -> Optional[int]:
    """-> a descriptor that holds the lock, or None. A file that was removed meanwhile (state absent) is no lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            os.close(descriptor)
            raise
    os.close(descriptor)
    return None


def _write_new(path: str, data: bytes, mode: int, keep: bool = False) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    if not keep:
        os.close(descriptor)
    return descriptor


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_only(path: str) -> bool:
    """A file system mounted read-only says yes to root in access()."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
