# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nginx program: what it was built with, a private instance to prove it, and the change of a running one's binary."""

from __future__ import annotations

import contextlib
import grp
import hashlib
import http.server
import json
import os
import pwd
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
import typing as t

from .errors import CommandFailed, ProofFailed
from .machine import Runner, read_text
from .tables import FEATURES, HTTP2_DIRECTIVE_SINCE
from .version import numbers

#: ALPN is there from this OpenSSL on.
OPENSSL_SINCE = "1.0.2"
SERVER_NAME = "proof.invalid"

_CONFIGURATION = """\
{user}worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{resolve}  server {{
    listen unix:{folder}/tls.sock ssl{listen};
{directive}    server_name {name};
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    client_max_body_size 1m;
    location / {{
      proxy_pass http://unix:{folder}/backend.sock:;
    }}
  }}
}}
"""
_RESOLVE = """\
  resolver 127.0.0.1:53 ipv6=off;
  upstream proof {{ zone proof 64k; hash $request_uri consistent; server {name} resolve; }}
"""


def build_information(run: Runner, binary: str) -> dict[str, t.Any]:
    """What `nginx -V` tells: version, OpenSSL, configure flags."""
    code, out, err = run([binary, "-V"])
    text = out + err
    version = re.search(r"nginx version: [^/\s]+/(\d+(?:\.\d+)+)", text)
    if code != 0 or not version:
        raise ProofFailed(f"{binary} -V does not run: {text.strip()}")
    library = re.search(r"(?:running with|built with) ((?:Open|Libre|Boring|AWS-)\w*SSL|AWS-LC)[ /]?([0-9][0-9.]*)?", text)
    running = re.search(r"running with (\w+SSL) ([0-9][0-9.]*)", text) or library
    return {
        "version": version.group(1),
        "tls_library": running.group(1) if running else None,
        "tls_version": running.group(2) if running else None,
        "flags": sorted(set(re.findall(r"--with-[A-Za-z0-9_-]+", text))),
    }


def prove_build(information: t.Mapping[str, t.Any], features: t.Iterable[str], upstream: str) -> None:
    """Check what the binary says of itself against what is asked for."""
    if numbers(information["version"]) != numbers(upstream):
        raise ProofFailed(f"The package is of nginx {upstream}, and the binary says {information['version']}.")
    for feature in features:
        flag = FEATURES[feature].build_flag
        if flag is not None and flag not in information["flags"]:
            raise ProofFailed(f"nginx {upstream} was built without {flag}, so it has no {feature}.")
    library, version = information["tls_library"], information["tls_version"]
    if library is None:
        raise ProofFailed(f"nginx {upstream} was built without a TLS library, so browsers get no HTTP/2 from it.")
    if library == "OpenSSL" and version and numbers(version.rstrip(".")) < numbers(OPENSSL_SINCE):
        raise ProofFailed(f"nginx {upstream} runs with OpenSSL {version}, which has no ALPN; {OPENSSL_SINCE} is the first that has.")


def test_configuration(run: Runner, binary: str) -> None:
    """`nginx -t` on the machine's own configuration."""
    code, out, err = run([binary, "-t", "-q"])
    if code != 0:
        raise ProofFailed(f"nginx -t refuses the configuration:\n{(err or out).strip()}")


class _Backend(http.server.BaseHTTPRequestHandler):
    """Tells what arrived."""

    protocol_version = "HTTP/1.0"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = json.dumps({"method": self.command, "length": len(body), "sha256": hashlib.sha256(body).hexdigest()}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = _answer
    do_POST = _answer

    def log_message(self, format: str, *args: t.Any) -> None:  # the base class names it so
        """The module's output belongs to Ansible."""


class _BackendServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple[t.Any, t.Any]:
        # The handler expects an address with two parts.
        return super().get_request()[0], ("backend", 0)


def _make_certificate(run: Runner, folder: str) -> None:
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={SERVER_NAME}"]
    code, out, err = run([*argv, "-keyout", f"{folder}/key.pem", "-out", f"{folder}/certificate.pem"])
    if code != 0:
        raise ProofFailed(f"The certificate for the private nginx cannot be made with openssl: {(err or out).strip()}")


@contextlib.contextmanager
def private_server(run: Runner, binary: str, upstream: str, features: t.Iterable[str]) -> t.Iterator[str]:
    """Start this nginx beside the machine's own, on UNIX sockets in a private folder; yield the path of its TLS socket.

    It needs no port, no site and no configuration of the machine, so it can be asked on a first installation and before a
    running nginx is touched.
    """
    base = "/run" if os.geteuid() == 0 else None
    folder = tempfile.mkdtemp(prefix="nginx-proof-", dir=base)
    try:
        # The worker is another user and has to reach the backend's socket.
        os.chmod(folder, 0o711)
        _make_certificate(run, folder)
        with_directive = numbers(upstream) >= numbers(HTTP2_DIRECTIVE_SINCE)
        configuration = _CONFIGURATION.format(
            folder=folder,
            name=SERVER_NAME,
            user=_user_line(),
            listen="" if with_directive else " http2",
            directive="    http2 on;\n" if with_directive else "",
            resolve=_RESOLVE.format(name=SERVER_NAME) if "upstream_resolve" in features else "",
        )
        with open(f"{folder}/nginx.conf", "w", encoding="utf-8") as handle:
            handle.write(configuration)
        backend = _BackendServer(f"{folder}/backend.sock", _Backend)
        os.chmod(f"{folder}/backend.sock", 0o666)
        threading.Thread(target=backend.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            with _process([binary, "-p", folder, "-c", f"{folder}/nginx.conf"], f"{folder}/tls.sock", folder):
                yield f"{folder}/tls.sock"
        finally:
            backend.shutdown()
            backend.server_close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user_line() -> str:
    if os.geteuid() != 0:
        return ""
    for name in ("www-data", "nginx", "nobody"):
        try:
            group = pwd.getpwnam(name).pw_gid
        except KeyError:
            continue
        return f"user {name} {grp.getgrgid(group).gr_name};\n"
    return ""


@contextlib.contextmanager
def _process(argv: t.Sequence[str], tls_socket: str, folder: str, timeout: float = 15.0) -> t.Iterator[None]:
    with open(f"{folder}/output", "w+b") as output:
        try:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)  # pylint: disable=consider-using-with
        except OSError as error:
            raise CommandFailed(f"{argv[0]} cannot be executed: {error.strerror or error}.", error.errno) from error
        try:
            deadline = time.monotonic() + timeout
            while not _listens(tls_socket):
                if process.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    said = output.read().decode(errors="replace").strip() or (read_text(f"{folder}/error.log") or "").strip()
                    ended = f"ended with {process.returncode}" if process.poll() is not None else "does not listen"
                    raise ProofFailed(f"A private nginx on a minimal HTTP/2 configuration {ended}: {said[-2000:]}")
                time.sleep(0.02)
            yield
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(path)
        except OSError:
            return False
    return True


def _pid(path: str) -> int | None:
    text = (read_text(path) or "").strip()
    return int(text) if text.isdigit() and os.path.exists(f"/proc/{text}") else None


def running_master(pid_file: str) -> int | None:
    """The process id of the machine's nginx, None when none runs."""
    return _pid(pid_file)


def is_stale(pid: int) -> bool:
    """Whether a process runs from a binary that was replaced on disk."""
    try:
        return os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")
    except OSError:
        return False


def _wait(condition: t.Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _accepting(master: int) -> bool:
    """Whether a master has a worker that takes connections, told by the titles that nginx gives its processes."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                parent = int(stat.read().rpartition(")")[2].split()[1])
            if parent != master:
                continue
            with open(f"/proc/{entry}/cmdline", "rb") as handle:
                title = handle.read()
        except (OSError, IndexError, ValueError):
            # It ended meanwhile.
            continue
        if title.startswith(b"nginx: worker process") and b"shutting down" not in title:
            return True
    return False


class Swap:
    """nginx's own change of the binary: the new master takes over the sockets, the old one's connections end by themselves.

    `begin` leaves both masters alive, the old one without workers that accept; then either `finish` or `undo`.
    """

    def __init__(self, pid_file: str, timeout: float = 30.0) -> None:
        self.pid_file = pid_file
        self.timeout = timeout
        self.old = running_master(pid_file)
        self.new: int | None = None

    def begin(self) -> None:
        if self.old is None:
            raise ProofFailed("The running nginx has ended meanwhile.")
        os.kill(self.old, signal.SIGUSR2)

        def taken_over() -> bool:
            new = _pid(self.pid_file)
            return new is not None and new != self.old and _pid(self.pid_file + ".oldbin") == self.old and _accepting(new)

        if not _wait(taken_over, self.timeout):
            raise ProofFailed("The running nginx did not hand over to the new binary; it goes on with the old one. Its error log says why.")
        self.new = _pid(self.pid_file)
        os.kill(self.old, signal.SIGWINCH)
        # Until then a connection may still end up with the old ones, and a HUP that overtakes this signal would be lost on them.
        _wait(lambda: not _accepting(t.cast(int, self.old)), self.timeout)

    def finish(self) -> None:
        if self.old is not None and self.new is not None:
            os.kill(self.old, signal.SIGQUIT)

    def undo(self) -> None:
        """Back to the old master, which starts workers again from the configuration it has in memory."""
        if self.old is None or self.new is None:
            return
        old, new, self.new = self.old, self.new, None
        os.kill(old, signal.SIGHUP)
        _wait(lambda: _accepting(old), self.timeout)
        with contextlib.suppress(ProcessLookupError):
            os.kill(new, signal.SIGQUIT)
        _wait(lambda: _pid(self.pid_file) == old, self.timeout)
        if not _accepting(old):
            # By now it is an ordinary reload.
            os.kill(old, signal.SIGHUP)
            if not _wait(lambda: _accepting(old), self.timeout):
                raise ProofFailed("The nginx that was running before takes no connections: restart it.")
