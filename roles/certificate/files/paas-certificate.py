# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes certificates on this host: switches to them, has them served, proves it over TLS, and puts the former ones back where not.

    paas-certificate install [--check]   certificates as JSON on standard input: {"NAME": {"fullchain": PEM, "privkey": PEM}}
    paas-certificate show                what is here and what the server presents

Ansible runs it, and the renewal on the issuing host runs it through SSH as the one command that its key is good for. The answer is
JSON on standard output; the exit status is 1 when a certificate could not be installed. Settings: /etc/paas/certificate.json.

It is bundled with the code of the module dokku_app, _dokku (bundle.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from _dokku.command import dokku
from _dokku.errors import DokkuError
from _dokku.run import Task

SETTINGS = "/etc/paas/certificate.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
KEPT_VERSIONS = 3
MAX_INPUT = 16 * 1024 * 1024


class Refused(Exception):
    """A certificate that cannot be installed, with the reason."""


def run(*argv, stdin=b""):
    """-> (exit status, standard output, standard error)."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, b"", str(error).encode()
    return done.returncode, done.stdout, done.stderr


def openssl(*argv, pem):
    """What openssl says about a PEM text that is given on standard input. Raises Refused."""
    status, output, errors = run("openssl", *argv, stdin=pem.encode())
    if status != 0:
        raise Refused("openssl cannot read it: %s" % errors.decode(errors="replace").strip().partition("\n")[0])
    return output.decode()


class Pair:
    """A certificate with its chain, and its key."""

    def __init__(self, fullchain, privkey):
        self.fullchain, self.privkey = fullchain.strip() + "\n", privkey.strip() + "\n"
        try:
            leaf = self.fullchain[: self.fullchain.index("-----END CERTIFICATE-----") + 26]
            self.der = ssl.PEM_cert_to_DER_cert(leaf[leaf.index("-----BEGIN") :])
        except ValueError as error:
            raise Refused("it is no PEM certificate") from error
        text = openssl("x509", "-noout", "-serial", "-enddate", "-ext", "subjectAltName", pem=self.fullchain)
        self.serial = re.search(r"^serial=([0-9A-F]+)", text, re.MULTILINE).group(1)
        self.end = ssl.cert_time_to_seconds(re.search(r"^notAfter=(.+)", text, re.MULTILINE).group(1))
        self.names = [name.lower() for name in re.findall(r"DNS:([^,\s]+)", text)]

    def check(self):
        """Raises Refused when it cannot serve."""
        if openssl("x509", "-noout", "-pubkey", pem=self.fullchain) != openssl("pkey", "-pubout", "-passin", "pass:", pem=self.privkey):
            raise Refused("key and certificate do not belong together")
        if self.end <= time.time():
            raise Refused("it ended at %s" % timestamp(self.end))

    def covers(self, host):
        """Whether a name, or a wildcard of just that level, is in it."""
        return host in self.names or "*." + host.partition(".")[2] in self.names

    def __eq__(self, other):
        return isinstance(other, Pair) and (self.fullchain, self.privkey) == (other.fullchain, other.privkey)

    __hash__ = None


def timestamp(seconds):
    """ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Dokku:
    """An app of Dokku's with this name: it keeps its own copy of the pair, and writes and reloads nginx itself."""

    def __init__(self, app):
        self.app = app

    @staticmethod
    def has(app):
        return shutil.which("dokku") is not None and run("dokku", "apps:exists", app)[0] == 0

    def current(self):
        """The pair that it has, or None."""
        certificate, key = run("dokku", "certs:show", self.app, "crt"), run("dokku", "certs:show", self.app, "key")
        if certificate[0] != 0 or key[0] != 0:
            return None
        try:
            return Pair(certificate[1].decode(), key[1].decode())
        except Refused:
            return None

    def use(self, pair):
        """What the module dokku_app does where its task declares this certificate, or none. Raises Refused."""
        certificate = {} if pair is None else {"cert_content": pair.fullchain, "key_content": pair.privkey}
        task = Task({"name": self.app, "certificate": certificate, "restart": "never"})
        try:
            if not task.run(check_mode=False)["changed"]:
                # Dokku has it, and nginx does not present it.
                task.runner.must(dokku("proxy:build-config", self.app), "To rebuild nginx for the app %s" % self.app)
        except DokkuError as error:
            raise Refused("Dokku does not take it: %s" % error) from error

    def served(self):
        """The names under which it is served over TLS at this moment."""
        if self.current() is None or run("dokku", "ps:report", self.app, "--running")[1].strip() not in (b"true", b"mixed"):
            return []
        return run("dokku", "domains:report", self.app, "--domains-app-vhosts")[1].decode().lower().split()


class Files:
    """A server that reads the files where they are and takes them up by a reload. Without a command nobody is told."""

    def __init__(self, reload, names):
        self.reload = reload
        self.names = names

    def use(self, pair):
        if self.reload:
            status, output, errors = run(*self.reload)
            if status != 0:
                raise Refused("%s: %s" % (" ".join(self.reload), (errors or output).decode(errors="replace").strip()[-500:]))

    def served(self):
        return self.names


class Host:
    """All certificates of this host."""

    def __init__(self, settings):
        self.folder = Path(settings["dir"])
        self.group = settings["group"]
        self.reload = settings["reload"]
        self.port = settings["port"]
        self.timeout = settings["timeout"]

    def server(self, name, pair, former=None):
        if Dokku.has(name):
            return Dokku(name)
        # A server cannot have been told of files that were not there yet.
        reload = self.reload if (self.folder / name).is_symlink() else []
        # Who serves the former one at this moment has to serve the new one; nobody has to serve every certificate that is here, nor every name.
        known = [one.der for one in (pair, former) if one is not None]
        return Files(reload, [host for host, der in self.presented(pair.names if reload else []).items() if der in known])

    def versions(self, name):
        return self.folder / (".%s.versions" % name)

    def read(self, folder):
        """The pair in a folder, or None."""
        try:
            return Pair((folder / "fullchain.pem").read_text(), (folder / "privkey.pem").read_text())
        except (OSError, ValueError, Refused):
            return None

    @contextlib.contextmanager
    def lock(self):
        """Ansible and the renewal do not mix."""
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with open(self.folder / ".lock", "w", encoding="ascii") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    # -- what is here

    def show(self):
        found = {}
        for link in sorted(self.folder.iterdir()) if self.folder.is_dir() else []:
            pair = self.read(link) if link.is_symlink() else None
            if pair is not None:
                found[link.name] = self.describe(pair, self.presented(self.server(link.name, pair).served()))
        return found

    def describe(self, pair, presented):
        return {
            "serial": pair.serial,
            "not_after": timestamp(pair.end),
            "presented": {name: der and serial_of(der) for name, der in presented.items()},
        }

    def presented(self, names):
        """What the server here presents for each name, as DER, or None where it presents nothing."""
        if not names:
            return {}
        # Together: a server that hangs would take the longest time once for each name.
        with ThreadPoolExecutor(max_workers=min(16, len(names))) as pool:
            return dict(zip(names, pool.map(lambda name: present(name, self.port), names)))

    # -- install

    def install(self, name, pair, check):
        """-> what is here now. Raises Refused, with the former pair put back."""
        pair.check()
        link, folder = self.folder / name, self.versions(name) / pair.serial
        proven = self.proven(name)
        # What the link says is not proven when an earlier run was killed between the switch and the proof.
        former = self.read(self.versions(name) / proven) if proven else self.read(link)
        server = self.server(name, pair, former)
        in_dokku = server.current() if isinstance(server, Dokku) else pair
        done = self.read(link) == pair and in_dokku == pair and proven == pair.serial and self.right(folder)
        if done and all(der == pair.der for host, der in self.presented(server.served()).items() if pair.covers(host)):
            return dict(self.describe(pair, self.presented(server.served())), changed=False)
        if check:
            return {"serial": pair.serial, "not_after": timestamp(pair.end), "presented": {}, "changed": True}
        former_in_dokku = in_dokku if isinstance(server, Dokku) and in_dokku != pair else former
        self.write(pair, folder)
        try:
            self.switch(link, folder)
            server.use(pair)
            presented = self.prove(pair, server)
        except (OSError, Refused) as error:
            raise Refused("%s. %s" % (error, self.put_back(name, link, server, former, former_in_dokku))) from error
        marker = self.versions(name) / ".proven"
        replace_link(marker, pair.serial)
        self.forget(name, pair.serial)
        return dict(self.describe(pair, presented), changed=True)

    def proven(self, name):
        """The serial number of the version that was last seen on TLS, or was not to be seen as nobody served it."""
        try:
            return os.readlink(self.versions(name) / ".proven")
        except OSError:
            return ""

    def right(self, folder):
        """Whether nobody but the group may read the key."""
        try:
            status = (folder / "privkey.pem").stat()
        except OSError:
            return False
        return status.st_mode & 0o777 == 0o640 and status.st_gid == self.gid()

    def gid(self):
        try:
            return grp.getgrnam(self.group).gr_gid
        except KeyError as error:
            raise Refused("there is no group %s" % self.group) from error

    def write(self, pair, folder):
        """A whole folder under its final name, or none: no reader meets a key beside another one's certificate."""
        gid = self.gid()
        folder.parent.mkdir(mode=0o755, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
        try:
            for name, text in (("fullchain.pem", pair.fullchain), ("privkey.pem", pair.privkey)):
                descriptor = os.open(work / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w") as handle:
                    handle.write(text)
                    os.fchown(handle.fileno(), -1, gid)
                    os.fchmod(handle.fileno(), 0o640)
                    handle.flush()
                    os.fsync(handle.fileno())
            os.chown(work, -1, gid)
            work.chmod(0o750)
            if folder.exists():
                if self.read(folder) == pair and self.right(folder):
                    return
                # Half of a version, or one with a strange mode: aside with it, then away.
                folder.rename(work.with_name(work.name + ".old"))
            work.rename(folder)
            sync(folder.parent)
        finally:
            for left in (work, work.with_name(work.name + ".old")):
                shutil.rmtree(left, ignore_errors=True)

    def switch(self, link, folder):
        if link.is_dir() and not link.is_symlink():
            raise Refused("%s is a folder of somebody else's: move it away" % link)
        replace_link(link, os.path.join(folder.parent.name, folder.name))

    def prove(self, pair, server):
        """Until the server presents the new certificate under all names that it covers. Raises Refused."""
        deadline = time.monotonic() + self.timeout
        while True:
            presented = self.presented(server.served())
            wrong = [name for name, der in presented.items() if pair.covers(name) and der != pair.der]
            if not wrong:
                return presented
            if time.monotonic() > deadline:
                seen = presented[wrong[0]]
                raise Refused(
                    "After %d s %s presents %s and not the serial number %s"
                    % (self.timeout, wrong[0], "nothing" if seen is None else "serial number %s" % serial_of(seen), pair.serial)
                )
            time.sleep(0.3)

    def put_back(self, name, link, server, former, former_in_dokku):
        """-> what was done about it, for the message."""
        try:
            if former is None:
                link.unlink(missing_ok=True)
            else:
                self.switch(link, self.versions(name) / former.serial)
            server.use(former_in_dokku)
            if former_in_dokku is None:
                return "There was no former one to put back"
            self.prove(former_in_dokku, server)
            return "The former one, serial number %s, is back" % former_in_dokku.serial
        except (OSError, Refused) as error:
            return "The former one is to be used again, but that is not proven: %s" % error

    def forget(self, name, serial):
        """Older versions go, but not the last ones: a reader may have opened one a moment ago."""
        folders = [one for one in self.versions(name).iterdir() if one.is_dir() and not one.is_symlink()]
        for old in sorted(folders, key=lambda one: one.stat().st_mtime, reverse=True)[KEPT_VERSIONS:]:
            if old.name != serial:
                shutil.rmtree(old)


def replace_link(link, target):
    """At once, whatever was there."""
    new = link.with_name(".new-%s-%d" % (link.name.lstrip("."), os.getpid()))
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    os.symlink(target, new)
    os.replace(new, link)
    sync(link.parent)


def sync(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def present(name, port):
    """The certificate that the server on this host presents for a name, as DER. It is compared, not believed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Nobody can ask for a wildcard; any name under it will do.
    host = "any" + name[1:] if name.startswith("*.") else name
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain, context.wrap_socket(plain, server_hostname=host) as link:
            return link.getpeercert(binary_form=True)
    except OSError:
        return None


def serial_of(der):
    text = openssl("x509", "-noout", "-serial", pem=ssl.DER_cert_to_PEM_cert(der))
    return text.strip().partition("=")[2]


def read_input(stream):
    """-> {name: {fullchain, privkey}}. Raises Refused."""
    data = stream.read(MAX_INPUT + 1)
    try:
        wanted = json.loads(data if len(data) <= MAX_INPUT else b"")
        if not isinstance(wanted, dict):
            raise ValueError("no dictionary")
        for name, pair in wanted.items():
            if not NAME.fullmatch(name) or sorted(pair) != ["fullchain", "privkey"] or not all(isinstance(text, str) for text in pair.values()):
                raise ValueError(name)
    except (ValueError, TypeError) as error:
        raise Refused("standard input is not what this takes") from error
    return wanted


def main(argv):
    """-> the exit status."""
    if argv not in (["install"], ["install", "--check"], ["show"]):
        print(__doc__, file=sys.stderr)
        return 2
    settings = json.loads(Path(os.environ.get("PAAS_CERTIFICATE_SETTINGS", SETTINGS)).read_text(encoding="utf-8"))
    host = Host(settings)
    if argv == ["show"]:
        print(json.dumps({"certificates": host.show()}))
        return 0
    check = "--check" in argv
    result, errors = {}, {}
    try:
        wanted = read_input(sys.stdin.buffer)
        with contextlib.nullcontext() if check else host.lock():
            for name, texts in sorted(wanted.items()):
                try:
                    result[name] = host.install(name, Pair(texts["fullchain"], texts["privkey"]), check)
                except (OSError, Refused) as error:
                    errors[name] = str(error)
    except Refused as error:
        errors["input"] = str(error)
    print(json.dumps({"changed": any(one["changed"] for one in result.values()), "certificates": result, "errors": errors}))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
