# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that takes certificates on a host, against a real TLS server and a Dokku of a few lines."""

from __future__ import annotations

import contextlib
import datetime
import grp
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

REPOSITORY = Path(__file__).resolve().parents[3]

# Keeps the pair as Dokku does, and says what the program asks. `broken` makes it take a pair and serve the old one.
DOKKU = """#!/bin/sh
here=$(dirname "$0")/../app
case "$1" in
  apps:exists) [ "$2" = www ] ;;
  certs:show) cat "$here/server.$3" ;;
  certs:add) tar -x -C "$here" ; [ -e "$here/broken" ] || cp "$here/server.crt" "$here/server.key" "$here/served/" ;;
  certs:remove) rm "$here/server.crt" "$here/server.key" ;;
  proxy:build-config) cp "$here/server.crt" "$here/server.key" "$here/served/" ;;
  ps:report) [ "$3" = --deployed ] || cat "$here/running" ;;
  domains:report) echo "www.host.test *.host.test other.host.test" ;;
  version) echo "dokku version 0.38.27" ;;
  apps:report | --quiet) echo "{}" ;;
  ports:report | proxy:report) ;;
  *) exit 9 ;;
esac
"""


def pair(*names, days=5):
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=30))
    builder = builder.not_valid_after(now + datetime.timedelta(days=days))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {"fullchain": certificate.public_bytes(serialization.Encoding.PEM).decode(), "privkey": private.decode()}


def serial(one):
    text = "%X" % x509.load_pem_x509_certificate(one["fullchain"].encode()).serial_number
    return text.zfill(len(text) + len(text) % 2)


class Server(threading.Thread):
    """TLS with whatever pair lies in a folder at the moment of a connection; in a folder of the asked name in it, for that name."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder = folder
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self.socket.accept()
                with contextlib.suppress(OSError):
                    context = self.context(self.folder)
                    context.sni_callback = self.choose
                    context.wrap_socket(connection, server_side=True).close()
                connection.close()

    def context(self, folder):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        return context

    def choose(self, link, name, _context):
        if (self.folder / name).is_dir():
            link.context = self.context(self.folder / name)


class Host:
    def __init__(self, folder):
        self.folder = folder
        self.certificates = folder / "certificates"
        self.served = folder / "app" / "served"
        self.served.mkdir(parents=True)
        self.server = Server(self.served)
        self.server.start()
        # As the role puts it on a host.
        self.program = folder / "paas-certificate.py"
        files = REPOSITORY / "roles/certificate/files"
        code = {"program": (files / "paas-certificate.py").read_text(), "_dokku": ""}
        code.update({"_dokku." + path.stem: path.read_text() for path in (REPOSITORY / "plugins/module_utils/_dokku").glob("[a-z]*.py")})
        self.program.write_text((files / "bundle.py").read_text().replace('SOURCES = "{}"', "SOURCES = " + json.dumps(json.dumps(code))))
        self.settings = {"dir": str(self.certificates), "group": grp.getgrgid(os.getgid()).gr_name, "reload": [], "port": self.server.port, "timeout": 4}

    def dokku(self, running="true"):
        (self.folder / "bin").mkdir()
        (self.folder / "bin" / "dokku").write_text(DOKKU)
        (self.folder / "bin" / "dokku").chmod(0o755)
        (self.folder / "app" / "running").write_text(running + "\n")

    def reload(self, script):
        (self.folder / "reload").write_text("#!/bin/sh -e\n" + script)
        (self.folder / "reload").chmod(0o755)
        self.settings["reload"] = [str(self.folder / "reload")]

    def serves(self, name, one):
        """From now on, and whatever is reloaded."""
        (self.served / name).mkdir(exist_ok=True)
        (self.served / name / "server.crt").write_text(one["fullchain"])
        (self.served / name / "server.key").write_text(one["privkey"])

    def run(self, *argv, stdin=b""):
        (self.folder / "settings.json").write_text(json.dumps(self.settings))
        environment = dict(os.environ, PATH="%s:%s" % (self.folder / "bin", os.environ["PATH"]), PAAS_CERTIFICATE_SETTINGS=str(self.folder / "settings.json"))
        return subprocess.run([sys.executable, "-I", str(self.program), *argv], input=stdin, capture_output=True, check=False, env=environment, timeout=60)

    def install(self, *argv, **pairs):
        done = self.run("install", *argv, stdin=json.dumps(pairs).encode())
        assert done.returncode in (0, 1), done.stderr
        result = json.loads(done.stdout)
        assert done.returncode == (1 if result["errors"] else 0)
        return result

    def linked(self, name="www"):
        return os.readlink(self.certificates / name)


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    yield made
    made.server.socket.close()


def test_files_without_anybody_who_serves_them(host):
    one = pair("www.host.test")
    assert host.install("--check", www=one)["changed"] and not host.certificates.exists()
    assert host.install(www=one)["changed"]
    assert host.linked() == ".www.versions/" + serial(one)
    assert (host.certificates / "www" / "privkey.pem").stat().st_mode & 0o777 == 0o640
    assert not host.install(www=one)["changed"] and not host.install("--check", www=one)["changed"]


def test_a_reload_is_proven(host):
    host.reload("cp %(c)s/www/fullchain.pem %(s)s/server.crt\ncp %(c)s/www/privkey.pem %(s)s/server.key\n" % {"c": host.certificates, "s": host.served})
    one, two = pair("www.host.test"), pair("www.host.test")
    # Of the first one no server can know yet, and of the other one none ever hears.
    assert host.install(www=one, other=pair("other.test"))["certificates"]["www"]["presented"] == {}
    subprocess.run(host.settings["reload"], check=True)
    assert host.install(other=pair("other.test"))["certificates"]["other"]["presented"] == {}
    for each in (one, two):
        assert host.install(www=each)["certificates"]["www"]["presented"] == {"www.host.test": serial(each)}
    assert host.linked() == ".www.versions/" + serial(two)
    assert not host.install(www=two)["changed"]
    assert json.loads(host.run("show").stdout)["certificates"]["www"]["serial"] == serial(two)


def test_what_is_not_presented_is_put_back(host):
    copy = "[ ! -e %(f)s/stuck ] || exit 0\ncp %(c)s/www/fullchain.pem %(s)s/server.crt\ncp %(c)s/www/privkey.pem %(s)s/server.key\n"
    host.reload(copy % {"f": host.folder, "c": host.certificates, "s": host.served})
    one, two = pair("www.host.test"), pair("www.host.test")
    host.install(www=one)
    subprocess.run(host.settings["reload"], check=True)
    (host.folder / "stuck").touch()
    result = host.install(www=two)
    assert "presents serial number %s and not the serial number %s" % (serial(one), serial(two)) in result["errors"]["www"]
    assert "serial number %s, is back" % serial(one) in result["errors"]["www"]
    assert host.linked() == ".www.versions/" + serial(one)
    (host.folder / "stuck").unlink()
    assert host.install(www=two)["changed"] and host.linked() == ".www.versions/" + serial(two)


RELOAD = "cp %(c)s/www/fullchain.pem %(s)s/server.crt\ncp %(c)s/www/privkey.pem %(s)s/server.key\n"


@pytest.mark.parametrize(
    ("names", "stuck", "told"),
    [
        (("www.host.test", "eu.www.host.test"), "eu.www.host.test", "eu.www.host.test"),
        (("www.host.test", "*.host.test"), "any.host.test", "*.host.test"),
        (("*.host.test",), "any.host.test", "*.host.test"),
    ],
)
def test_every_name_that_is_served_without_dokku_is_proven(host, names, stuck, told):
    host.reload(RELOAD % {"c": host.certificates, "s": host.served})
    one, two = pair(*names), pair(*names)
    host.install(www=one)
    subprocess.run(host.settings["reload"], check=True)
    host.serves(stuck, one)
    result = host.install(www=two)
    assert "%s presents serial number %s and not" % (told, serial(one)) in result["errors"]["www"]
    assert "serial number %s, is back" % serial(one) in result["errors"]["www"]
    (host.served / stuck).rename(host.folder / "away")
    assert host.install(www=two)["certificates"]["www"]["presented"] == {name: serial(two) for name in names}


def test_a_name_that_is_served_with_another_certificate_is_nobody_s_concern(host):
    host.reload(RELOAD % {"c": host.certificates, "s": host.served})
    names = ("www.host.test", "eu.www.host.test", "*.host.test")
    one, two = pair(*names), pair(*names)
    host.install(www=one)
    subprocess.run(host.settings["reload"], check=True)
    host.serves("eu.www.host.test", pair("eu.www.host.test"))
    assert sorted(host.install(www=two)["certificates"]["www"]["presented"]) == ["*.host.test", "www.host.test"]
    assert not host.install(www=two)["changed"]


def test_a_run_that_was_killed_before_the_proof_does_not_make_the_new_one_the_former(host):
    copy = "[ ! -e %(f)s/stuck ] || exit 0\ncp %(c)s/www/fullchain.pem %(s)s/server.crt\ncp %(c)s/www/privkey.pem %(s)s/server.key\n"
    host.reload(copy % {"f": host.folder, "c": host.certificates, "s": host.served})
    one, two = pair("www.host.test"), pair("www.host.test")
    host.install(www=one)
    subprocess.run(host.settings["reload"], check=True)
    (host.folder / "stuck").touch()
    # What such a run leaves: the version and the link.
    host.install(www=two)
    (host.certificates / "www").unlink()
    os.symlink(".www.versions/" + serial(two), host.certificates / "www")
    assert "serial number %s, is back" % serial(one) in host.install(www=two)["errors"]["www"]
    assert host.linked() == ".www.versions/" + serial(one)


def test_a_reload_that_fails_is_told_with_its_words(host):
    one = pair("www.host.test")
    host.install(www=one)
    host.reload("echo the configuration is broken >&2; exit 3\n")
    assert "the configuration is broken" in host.install(www=pair("www.host.test"))["errors"]["www"]
    assert host.linked() == ".www.versions/" + serial(one)


def test_a_dokku_app_gets_it_and_presents_it(host):
    host.dokku()
    one = pair("www.host.test", "*.host.test")
    result = host.install(www=one)
    assert result["certificates"]["www"]["presented"] == {name: serial(one) for name in ("www.host.test", "*.host.test", "other.host.test")}
    assert not host.install(www=one)["changed"]
    # Somebody gave Dokku another one by hand.
    (host.folder / "app" / "server.crt").write_text(pair("www.host.test")["fullchain"])
    assert host.install(www=one)["changed"]


def test_what_dokku_has_and_nginx_does_not_present_is_taken_up(host):
    host.dokku()
    one, two = pair("www.host.test"), pair("www.host.test")
    host.install(www=one)
    (host.served / "server.crt").write_text(two["fullchain"])
    (host.served / "server.key").write_text(two["privkey"])
    result = host.install(www=one)
    assert result["changed"] and result["certificates"]["www"]["presented"]["www.host.test"] == serial(one)


def test_what_dokku_refuses_is_told_in_its_words(host):
    host.dokku()
    host.install(www=pair("www.host.test"))
    (host.folder / "bin" / "dokku").write_text(DOKKU.replace("certs:add)", 'certs:add) echo " ! no room left" >&2 ; exit 1 ; '))
    assert "no room left" in host.install(www=pair("www.host.test"))["errors"]["www"]


def test_a_dokku_app_that_does_not_present_it_gets_the_former_one_back(host):
    host.dokku()
    one, two = pair("www.host.test"), pair("www.host.test")
    host.install(www=one)
    (host.folder / "app" / "broken").touch()
    assert "serial number %s, is back" % serial(one) in host.install(www=two)["errors"]["www"]
    assert (host.folder / "app" / "server.crt").read_text() == one["fullchain"]
    assert host.linked() == ".www.versions/" + serial(one)


def test_a_dokku_app_that_had_none_gets_none_when_it_fails(host):
    host.dokku()
    (host.folder / "app" / "broken").touch()
    assert "There was no former one" in host.install(www=pair("www.host.test"))["errors"]["www"]
    assert not (host.folder / "app" / "server.crt").exists() and not os.path.lexists(host.certificates / "www")


def test_an_app_that_does_not_run_is_not_asked(host):
    host.dokku(running="false")
    assert host.install(www=pair("www.host.test"))["certificates"]["www"]["presented"] == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: dict(one, privkey=pair("x.test")["privkey"]), "do not belong together"),
        (lambda one: dict(one, fullchain="nothing"), "no PEM certificate"),
        (lambda one: dict(one, privkey="nothing"), "openssl cannot read it"),
        (lambda one: pair("www.host.test", days=-1), "it ended at"),
    ],
)
def test_what_cannot_serve_is_refused_before_anything_is_changed(host, change, message):
    result = host.install(www=change(pair("www.host.test")))
    assert message in result["errors"]["www"]
    assert not os.path.lexists(host.certificates / "www")


def test_one_bad_certificate_does_not_keep_the_others_out(host):
    result = host.install(bad={"fullchain": "", "privkey": ""}, www=pair("www.host.test"))
    assert sorted(result["errors"]) == ["bad"] and sorted(result["certificates"]) == ["www"]


@pytest.mark.parametrize("text", [b"", b"[]", b'{"../x": {"fullchain": "", "privkey": ""}}', b'{"www": {"fullchain": ""}}', b'{"www": 1}', b'{".www": {}}'])
def test_strange_input_is_refused(host, text):
    done = host.run("install", stdin=text)
    assert done.returncode == 1 and "standard input" in json.loads(done.stdout)["errors"]["input"]


def test_only_three_versions_are_kept(host):
    for _unused in range(6):
        last = pair("www.host.test")
        assert host.install(www=last)["changed"]
    versions = [one.name for one in (host.certificates / ".www.versions").iterdir() if not one.name.startswith(".")]
    assert len(versions) == 3 and serial(last) in versions


def test_another_command_is_none(host):
    assert host.run("remove").returncode == 2
