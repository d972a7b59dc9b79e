# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""certs:* — an app's TLS pair. As in Dokku nobody checks that key and certificate belong together: nginx does, afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path

from .core import Fail, app_dir, info1, out, report, run, verify_app


def tls_dir(app: str) -> Path:
    return app_dir(app) / "tls"


def exists(app: str) -> bool:
    return (tls_dir(app) / "server.crt").is_file() and (tls_dir(app) / "server.key").is_file()


# --- reading a certificate


def details(app: str) -> dict[str, str]:
    crt = str(tls_dir(app) / "server.crt")
    text = run("openssl", "x509", "-noout", "-in", crt, "-subject", "-issuer", "-startdate", "-enddate", "-ext", "subjectAltName",
               "-nameopt", "sep_comma_plus_space,space_eq,utf8", check=False).stdout
    fields: dict[str, str] = {}
    names = set()
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key in ("subject", "issuer", "notBefore", "notAfter"):
            fields[key] = value.strip()
        elif "DNS:" in line:
            names |= {part.strip()[4:] for part in line.split(",") if part.strip().startswith("DNS:")}
    pairs = [pair.split(" = ", 1) for pair in fields.get("subject", "").split(", ") if " = " in pair]
    names |= {value for key, value in pairs if key == "CN"}
    return {
        "expires-at": fields.get("notAfter", ""), "starts-at": fields.get("notBefore", ""), "hostnames": " ".join(sorted(names)),
        "issuer": fields.get("issuer", ""), "subject": "; ".join("=".join(pair) for pair in pairs),
    }


def verified(app: str) -> str:
    known = run("openssl", "verify", str(tls_dir(app) / "server.crt"), check=False).returncode == 0
    return "verified by a certificate authority" if known else "self signed"


def hostnames(app: str) -> list[str]:
    return details(app)["hostnames"].split()


# --- commands

def from_stdin() -> tuple[bytes, bytes]:
    import io
    import sys
    import tarfile

    from .core import stdin_bytes

    if sys.stdin.isatty():
        raise Fail("Tar archive containing server.crt and server.key expected on stdin")
    data = stdin_bytes()
    if not data:
        raise Fail(rc=2)
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            files = {m.name: archive.extractfile(m).read() for m in archive.getmembers() if m.isfile()}
    except tarfile.TarError as error:
        raise Fail("Invalid tar archive", rc=2) from error
    security_log("extraction_started")
    security_log("extraction_completed")
    pair = []
    for extension in ("crt", "key"):
        found = [content for name, content in files.items() if name.endswith(f".{extension}")]
        if not found:
            raise Fail(f"Tar archive is missing .{extension} file")
        if len(found) > 1:
            raise Fail(f"Tar archive contains more than one .{extension} file")
        pair.append(found[0])
    return pair[0], pair[1]


def security_log(event: str) -> None:
    import time

    from .core import err

    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    err(f"[archive-security] timestamp={stamp} user=root event={event} archive_type=tar source=/tmp/archive details=dest=/tmp/cmd-certs-set")


def cmd_add(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    if args[1:]:
        contents = []
        for kind, path in zip(("CRT", "KEY"), (args[1:] + [""])[:2]):
            try:
                contents.append(Path(path).read_bytes())
            except OSError as error:
                raise Fail(f"{kind} file specified not found, please check file paths") from error
        crt, key = contents
    else:
        crt, key = from_stdin()
    install(app, crt, key)


def install(app: str, crt: bytes, key: bytes) -> None:
    from . import nginx, ports

    directory = tls_dir(app)
    directory.mkdir(exist_ok=True)
    directory.chmod(0o750)
    for name, content in (("server.crt", crt), ("server.key", key)):
        target = directory / name
        target.touch(mode=0o640)
        target.chmod(0o640)
        target.write_bytes(content)
    ports.after_certs_update(app)
    nginx.build(app)


def cmd_remove(args: list[str]) -> None:
    from . import nginx, ports

    app = verify_app(args[0] if args else None)
    if not exists(app):
        raise Fail("An app-specific SSL endpoint is not defined")
    info1(f"Removing SSL endpoint from {app}")
    shutil.rmtree(tls_dir(app))
    ports.after_certs_remove(app)
    nginx.build(app)


def cmd_show(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    kind = args[1] if args[1:] else ""
    if kind not in ("crt", "key"):
        raise Fail("specify either 'key' or 'crt'")
    if not exists(app):
        raise Fail(f"{app} doesn't have an SSL endpoint defined")
    out((tls_dir(app) / f"server.{kind}").read_text().rstrip("\n"))


def cmd_generate(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    if not args[1:]:
        raise Fail("Please specify a domain")
    import tempfile

    with tempfile.TemporaryDirectory() as work:
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365", "-subj", f"/CN={args[1]}",
            "-addext", f"subjectAltName=DNS:{args[1]}", "-keyout", f"{work}/server.key", "-out", f"{work}/server.crt")
        install(app, Path(work, "server.crt").read_bytes(), Path(work, "server.key").read_bytes())


def collect(app: str) -> dict[str, str]:
    from .core import GLOBAL

    if app == GLOBAL:
        return {}
    keys = ("expires-at", "hostnames", "issuer", "starts-at", "subject", "verified")
    present = exists(app)
    found = {**details(app), "verified": verified(app)} if present else dict.fromkeys(keys, "")
    return {"ssl-dir": str(tls_dir(app)), "ssl-enabled": "true" if present else "false", **{f"ssl-{key}": found[key] for key in keys}}


def cmd_report(args: list[str]) -> None:
    report("ssl", "ssl", args, collect, both=False)


COMMANDS = {
    "certs": cmd_report, "certs:report": cmd_report, "certs:add": cmd_add, "certs:update": cmd_add, "certs:remove": cmd_remove,
    "certs:show": cmd_show, "certs:generate": cmd_generate,
}
