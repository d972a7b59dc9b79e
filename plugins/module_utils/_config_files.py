# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a service: read what is there, plan the changes, write them, and have the service take them up.

What a run wrote and nobody has proven or taken up yet is noted under /run before the first change and forgotten after the last step, so a
run that is killed in between leaves a debt that the next run sees. A boot forgets the notes, and starts services with their new files.
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from typing import Optional

from ansible_collections.multiregion.paas.plugins.module_utils._atomic import write_atomically

NOTES = "/run/multiregion.paas"
# Of systemd: neither starts what does not run, which reads its files anyway when it is started.
TAKE_UP = {"reloaded": "try-reload-or-restart", "restarted": "try-restart"}
# systemctl's status for a unit that is not there, or not yet.
NO_SUCH_UNIT = 5
CHECK_TIMEOUT_S = 120
# A stop and a start may take systemd's 90 seconds each, and Docker's more.
SYSTEMCTL_TIMEOUT_S = 600


class ConfigFilesError(Exception):
    """What failed, on which path or service, and what to do."""


@dataclass(frozen=True)
class Entry:
    """A path as it is wanted. `mode` is a number, `uid` and `gid` too; None leaves them as they are, or to the system for a new path."""

    path: str
    state: str
    content: Optional[bytes] = None
    uid: Optional[int] = None
    gid: Optional[int] = None
    mode: Optional[int] = None
    replace: bool = True
    secret: bool = False


@dataclass(frozen=True)
class Found:
    """A path as it is. `kind` is file, directory, link, other or absent; `target` is where a link leads."""

    kind: str
    content: Optional[bytes] = None
    target: str = ""
    uid: Optional[int] = None
    gid: Optional[int] = None
    mode: Optional[int] = None


@dataclass(frozen=True)
class Change:
    """What will be done to a path: `write`, `make`, `attributes` or `remove`, and what it was before."""

    entry: Entry
    action: str
    before: Found


def entries_of(files, owner=None, group=None, check_mode=False):
    """Entries from the module's option `files`, which belong to `owner` and `group` where they do not say it themselves. Raises
    ConfigFilesError for what cannot be meant. In check mode a package that makes the user may be still to come."""
    entries = []
    for number, one in enumerate(files):
        where = "files[%d] (%s)" % (number, one["path"])
        if not os.path.isabs(one["path"]):
            raise ConfigFilesError("%s: the path is not absolute" % where)
        if one["state"] == "file" and one["content"] is None:
            raise ConfigFilesError("%s: a file needs content" % where)
        if one["state"] != "file" and one["content"] is not None:
            raise ConfigFilesError("%s: only a file has content" % where)
        entries.append(
            Entry(
                path=os.path.normpath(one["path"]),
                state=one["state"],
                content=None if one["content"] is None else one["content"].encode("utf-8"),
                uid=_id(one["owner"] or owner, pwd.getpwnam, "owner", where, check_mode),
                gid=_id(one["group"] or group, grp.getgrnam, "group", where, check_mode),
                mode=_mode(one["mode"], where),
                replace=one["replace"],
                secret=one["secret"],
            )
        )
    paths = [entry.path for entry in entries]
    for path in paths:
        if paths.count(path) > 1:
            raise ConfigFilesError("files: %s is there more than once" % path)
    return entries


def _id(name, lookup, what, where, check_mode):
    if name is None:
        return None
    try:
        return lookup(name)[2]
    except KeyError:
        if check_mode:
            return None
        raise ConfigFilesError("%s: the %s %s does not exist on this host" % (where, what, name)) from None


def _mode(text, where):
    if text is None:
        return None
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise ConfigFilesError("%s: the mode %r is not octal, such as '0644'" % (where, text))
    return mode


def read(entry):
    """What is at the entry's path. A link is not followed, but where a folder is wanted and it leads to one. Raises ConfigFilesError."""
    try:
        status = os.stat(entry.path) if entry.state == "directory" and os.path.isdir(entry.path) else os.lstat(entry.path)
        kinds = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "link"))
        kind = next((name for matches, name in kinds if matches(status.st_mode)), "other")
        content = None
        if kind == "file":
            with open(entry.path, "rb") as present:
                content = present.read()
        target = os.readlink(entry.path) if kind == "link" else ""
    except (FileNotFoundError, NotADirectoryError):
        return Found("absent")
    except OSError as error:
        raise ConfigFilesError("%s cannot be read: %s" % (entry.path, error.strerror)) from error
    return Found(kind, content, target, status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))


def plan(entry, found):
    """The change that the path needs, or None. Raises ConfigFilesError where something else is in the way."""
    if entry.state == "absent":
        if found.kind == "absent":
            return None
        if found.kind == "directory":
            raise ConfigFilesError("%s is a folder; only files and links are removed" % entry.path)
        return Change(entry, "remove", found)
    if found.kind == "absent":
        return Change(entry, "write" if entry.state == "file" else "make", found)
    if entry.state == "directory" and found.kind != "directory":
        raise ConfigFilesError("%s is to be a folder and is a %s: move it away" % (entry.path, found.kind))
    if entry.state == "file" and found.kind not in ("file", "link"):
        raise ConfigFilesError("%s is to be a file and is a %s: move it away" % (entry.path, found.kind))
    if not entry.replace:
        return None
    if entry.state == "file" and found.content != entry.content:
        return Change(entry, "write", found)
    wanted = ((entry.uid, found.uid), (entry.gid, found.gid), (entry.mode, found.mode))
    if any(asked is not None and asked != present for asked, present in wanted):
        return Change(entry, "attributes", found)
    return None


def diff(change):
    """A diff of Ansible's shape; a secret's content is not shown."""
    before, after = change.before, change.entry

    def shown(content):
        if content is None:
            return ""
        return "(secret)\n" if after.secret else content.decode("utf-8", "replace")

    def header(uid, gid, mode):
        known = (("owner", uid), ("group", gid), ("mode", None if mode is None else "%04o" % mode))
        return " ".join("%s=%s" % pair for pair in known if pair[1] is not None)

    result = {
        "before_header": ("%s %s" % (after.path, header(before.uid, before.gid, before.mode) or before.kind)).strip(),
        "after_header": ("%s %s" % (after.path, header(after.uid, after.gid, after.mode) if after.state != "absent" else "absent")).strip(),
        "before": shown(before.content),
        "after": shown(before.content if change.action == "attributes" else after.content),
    }
    if change.action == "write" and after.secret and before.content is not None:
        result["after"] = "(another secret)\n"
    return result


def apply(change):
    """Do it; a file is put in the place of the other at once, with its rights from its first byte."""
    entry = change.entry
    try:
        if change.action == "remove":
            os.unlink(entry.path)
        elif change.action == "make":
            _make(entry.path, entry.uid, entry.gid, 0o755 if entry.mode is None else entry.mode)
        elif change.action == "attributes":
            _own(entry.path, entry.uid, entry.gid, entry.mode)
        else:
            uid, gid, mode = _attributes(entry, change.before)
            write_atomically(entry.path, entry.content, mode, uid, gid)
    except OSError as error:
        raise ConfigFilesError("%s: %s" % (entry.path, error.strerror)) from error


def _attributes(entry, before):
    def first(*candidates):
        return next((one for one in candidates if one is not None), None)

    was = before if before.kind == "file" else Found("absent")
    return first(entry.uid, was.uid), first(entry.gid, was.gid), first(entry.mode, was.mode, 0o644)


def put_back(change):
    """Undo a change; a folder that was made stays."""
    before, path = change.before, change.entry.path
    if change.action == "attributes":
        _own(path, before.uid, before.gid, before.mode)
    elif before.kind == "file":
        write_atomically(path, before.content, before.mode, before.uid, before.gid)
    elif before.kind == "link":
        beside = "%s.paas-link" % path
        # A kill may have left one.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        os.symlink(before.target, beside)
        os.rename(beside, path)
    elif change.action == "write":
        os.unlink(path)


def _own(path, uid, gid, mode):
    if uid is not None or gid is not None:
        os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid)
    if mode is not None:
        os.chmod(path, mode)


def _make(path, uid, gid, mode):
    """The folder and those above it that are missing, all alike, as ansible.builtin.file makes them."""
    above = os.path.dirname(path)
    if not os.path.isdir(above):
        _make(above, uid, gid, mode)
    os.mkdir(path, 0o700)
    _own(path, uid, gid, mode)


class Debt:
    """What has been written and not been proven and taken up yet, over the death of a run."""

    def __init__(self, name, steps=(), notes=NOTES):
        self._note = os.path.join(notes, "%s.owed" % name)
        self._steps = steps

    def there(self):
        return os.path.exists(self._note)

    def steps(self):
        """What the service still has to do for this run and for those that were killed, a reload before a restart."""
        noted = ()
        if self.there():
            with open(self._note, encoding="utf-8") as note:
                noted = note.read().split()
        return [step for step in TAKE_UP if step in self._steps or step in noted]

    def note(self):
        steps = self.steps()
        try:
            os.makedirs(os.path.dirname(self._note), mode=0o755, exist_ok=True)
            write_atomically(self._note, "".join("%s\n" % step for step in steps))
        except OSError as error:
            raise ConfigFilesError("%s: %s" % (self._note, error.strerror)) from error

    def forget(self):
        if self.there():
            os.unlink(self._note)


def debt_of(service, take_up, check_argv, entries, notes=NOTES):
    """The debt of a service, or of files that are only checked; None where nothing can be owed."""
    if service:
        return Debt(service, take_up, notes)
    if check_argv:
        return Debt("check-" + hashlib.sha256("\n".join(entry.path for entry in entries).encode("utf-8")).hexdigest()[:16], (), notes)
    return None


def take_up(service, steps, run=subprocess.run):
    """Have systemd read the units and the service its files. Raises ConfigFilesError with what systemd and the service said."""

    def systemctl(*arguments):
        result = call(["systemctl", *arguments], run, SYSTEMCTL_TIMEOUT_S)
        if result.returncode not in (0, NO_SUCH_UNIT):
            said = call(["journalctl", "--unit", service, "--lines=10", "--no-pager", "--output=cat"], run).stdout
            raise ConfigFilesError(
                "systemctl %s failed: %s\nThe files are written, and the next run tries again. The last words of %s:\n%s"
                % (" ".join(arguments), result.stderr.strip(), service, said.strip())
            )

    systemctl("daemon-reload")
    # What the run before could not start with its files is not running, and is wanted all the same.
    if call(["systemctl", "is-failed", "--quiet", service], run).returncode == 0:
        systemctl("restart", service)
        return
    for step in steps:
        systemctl(TAKE_UP[step], service)


def call(argv, run=subprocess.run, timeout=CHECK_TIMEOUT_S):
    """The ended process, with its output as text. Raises ConfigFilesError when it cannot be run or does not end."""
    # Where `become` or a bare login leaves the administrator's folders out.
    environment = {**os.environ, "PATH": os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"}
    try:
        return run(argv, capture_output=True, text=True, errors="replace", timeout=timeout, check=False, stdin=subprocess.DEVNULL, env=environment)
    except FileNotFoundError:
        raise ConfigFilesError("there is no program %s on this host" % argv[0]) from None
    except subprocess.TimeoutExpired:
        raise ConfigFilesError("%s did not end within %d s" % (" ".join(argv), timeout)) from None


def check(argv, run=subprocess.run):
    """Raises ConfigFilesError when the check refuses the files as they are now, or cannot be run."""
    result = call(argv, run)
    if result.returncode:
        said = result.stderr.strip() or result.stdout.strip() or "status %d" % result.returncode
        raise ConfigFilesError("%s refuses it: %s" % (" ".join(argv), said))


def _undone(done):
    """Put back what can be put back; says what could not."""
    problems = []
    for change in reversed(done):
        try:
            put_back(change)
        except OSError as error:
            problems.append("%s could not be put back: %s" % (change.entry.path, error.strerror))
    return problems


def carry_out(entries, service, steps, check_argv, check_mode, run=subprocess.run, notes=NOTES):
    """All of it. Returns changed, paths, taken_up and diff; raises ConfigFilesError."""
    changes = [change for change in (plan(entry, read(entry)) for entry in entries) if change]
    debt = debt_of(service, steps, check_argv, entries, notes)
    owed = debt is not None and debt.there()
    result = {
        "changed": bool(changes) or owed,
        "paths": [change.entry.path for change in changes],
        "taken_up": False,
        "diff": [diff(change) for change in changes],
    }
    if check_mode or not result["changed"]:
        return result
    done = []
    try:
        if debt is not None:
            debt.note()
        for change in changes:
            apply(change)
            done.append(change)
        if check_argv:
            check(check_argv, run)
    except ConfigFilesError as error:
        problems = _undone(done)
        if debt is not None and not owed and not problems:
            debt.forget()
        if owed:
            problems.append("a run before this one, which was killed, has written files that are still there")
        raise ConfigFilesError("%s. %s." % (str(error).rstrip("."), "; ".join(problems) or "The files are as they were")) from error
    if service:
        take_up(service, debt.steps(), run)
        result["taken_up"] = True
    if debt is not None:
        debt.forget()
    return result
