# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The renewal on the issuing host: what it hands to whom, and that it asks for what the module asks for."""

from __future__ import annotations

import datetime
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

REPOSITORY = Path(__file__).resolve().parents[3]
ROLE = REPOSITORY / "roles" / "certificate"

# Answers as a host does; what each was given is written down. A host named `down` does not answer, one named `bad` refuses.
SSH = """#!{python}
import json, sys, pathlib
target = sys.argv[-1].partition("@")[2]
with open({log!r}, "a") as log:
    log.write(target + "\\n")
if target.startswith("down"):
    print("no route", file=sys.stderr)
    sys.exit(255)
names = json.load(sys.stdin)
one = {{"serial": "01", "not_after": "2030-01-01T00:00:00Z", "presented": {{"www": "01"}}, "changed": True}}
bad = target.startswith("bad")
taken, errors = ({{}}, {{"www": "not presented"}}) if bad else ({{name: one for name in names}}, {{}})
print(json.dumps({{"changed": not bad, "certificates": taken, "errors": errors}}))
sys.exit(1 if bad else 0)
"""


@pytest.fixture
def renew(monkeypatch, tmp_path):
    """The program as it lies on the issuing host: its libraries beside it."""
    from ansible_collections.multiregion.paas.plugins.module_utils import _acme
    from ansible_collections.multiregion.paas.plugins.module_utils._acme import errors, resolve, rfc2136, route53, runner

    monkeypatch.setitem(sys.modules, "_acme", _acme)
    for name, module in {"errors": errors, "resolve": resolve, "rfc2136": rfc2136, "route53": route53, "runner": runner}.items():
        monkeypatch.setitem(sys.modules, "_acme." + name, module)
    spec = importlib.util.spec_from_file_location("renew", ROLE / "files" / "renew.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH.format(python=sys.executable, log=str(tmp_path / "log")))
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    module.asked = lambda: (tmp_path / "log").read_text().split()
    return module


def settings(*addresses):
    hosts = [{"name": address, "region": address.partition(".")[2], "address": address, "port": 22} for address in addresses]
    return {"key": "/k", "known_hosts": "/h", "user": "u", "hosts": hosts}


def test_all_hosts_get_them_region_by_region(renew):
    assert renew.distribute(settings("a.us", "b.us", "c.eu"), {"www": {}})
    assert sorted(renew.asked()[:2]) == ["a.us", "b.us"] and renew.asked()[2] == "c.eu"


def test_a_host_that_is_down_does_not_keep_the_others_out_and_is_told(renew, capsys):
    assert not renew.distribute(settings("down.us", "c.eu"), {"www": {}})
    assert renew.asked() == ["down.us", "c.eu"]
    assert "down.us: no route" in capsys.readouterr().out


def test_a_region_that_refuses_ends_it(renew, capsys):
    assert not renew.distribute(settings("bad.us", "a.us", "c.eu"), {"www": {}})
    assert sorted(renew.asked()) == ["a.us", "bad.us"]
    assert "eu keep what they have" in capsys.readouterr().out


def test_one_certificate_that_fails_does_not_keep_the_others_back(renew, tmp_path, capsys):
    (tmp_path / "settings").write_text(
        json.dumps({"options": {}, "aws": {}, "certificates": {"www": {}}, "dir": str(tmp_path), **settings("a.us")})
    )
    assert renew.main([str(tmp_path / "settings")]) == 1
    assert "www: not renewed" in capsys.readouterr().out and renew.asked() == ["a.us"]


def certificate(days):
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "www.host.test")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - datetime.timedelta(days=30)).not_valid_after(now + datetime.timedelta(days=days))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_what_a_host_would_refuse_is_not_handed_over(renew, tmp_path, capsys):
    """It would end the run before the next region, which then gets none of the others either."""
    for name, text in (("good", certificate(5)), ("ended", certificate(-1)), ("broken", "nothing")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fullchain.pem").write_text(text)
        (tmp_path / name / "privkey.pem").write_text("key")
    assert list(renew.read(["good", "ended", "broken", "never"], tmp_path)) == ["good"]
    assert "ended: not handed over" in capsys.readouterr().out


def test_it_runs_from_its_bundle(tmp_path):
    """As the role writes it: one file of all sources."""
    library = REPOSITORY / "plugins" / "module_utils" / "_acme"
    code = {"program": (ROLE / "files" / "renew.py").read_text(encoding="utf-8"), "_acme": ""}
    code.update({"_acme." + path.stem: path.read_text(encoding="utf-8") for path in library.glob("[a-z]*.py")})
    bundle = (ROLE / "files" / "bundle.py").read_text(encoding="utf-8")
    (tmp_path / "renewal.py").write_text(bundle.replace('SOURCES = "{}"', "SOURCES = " + json.dumps(json.dumps(code))), encoding="utf-8")
    (tmp_path / "settings").write_text(json.dumps({"options": {}, "aws": {}, "certificates": {}, "dir": str(tmp_path), **settings()}), encoding="utf-8")
    command = [sys.executable, "-I", str(tmp_path / "renewal.py"), str(tmp_path / "settings")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_gives_every_option_of_the_module():
    from ansible_collections.multiregion.paas.plugins.modules import letsencrypt_dns01

    documented = set(yaml.safe_load(letsencrypt_dns01.DOCUMENTATION)["options"])
    given = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["__certificate_renewal"]["options"]
    assert set(given) | {"names", "dest"} == documented


def test_it_says_the_same_as_the_task():
    """An option that the task gives from a variable comes from the same one here."""
    task = next(one for one in yaml.safe_load((ROLE / "tasks" / "issue.yml").read_text(encoding="utf-8")) if one["name"] == "Issue the certificates")
    given = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["__certificate_renewal"]["options"]

    def variable(text):
        return str(text).replace(" or omit", "").replace(" or none", "").split("|", maxsplit=1)[0].split("default(", maxsplit=1)[0].strip("{} ")

    options = task["multiregion.paas.letsencrypt_dns01"]
    for name in set(options) & set(given):
        assert variable(options[name]) == variable(given[name]), name
