# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks of the role certificate, with a CA and a host of a few lines: what is asked for, and what the hosts get when one of several fails."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

REPOSITORY = Path(__file__).resolve().parents[3]
ROLE = REPOSITORY / "roles" / "certificate"


def role_variable(name, **given):
    loader = DataLoader()
    variables = loader.load_from_file(str(ROLE / "vars" / "main.yml"), trusted_as_template=True)
    return Templar(loader=loader, variables={**variables, **given}).template(variables[name])


@pytest.mark.parametrize(
    ("domains", "regions", "expected"),
    [
        (["www.example.com"], [], ["www.example.com"]),
        (["www.example.com"], ["us-east-1"], ["www.example.com", "us-east-1.www.example.com"]),
        # Those of a region together: in another order nothing would be issued anew, but the first one names the certificate.
        (["a.test.org", "b.test.org"], ["x", "y"], ["a.test.org", "b.test.org", "x.a.test.org", "x.b.test.org", "y.a.test.org", "y.b.test.org"]),
        (["*.example.com"], ["us-east-1"], ["*.example.com"]),
        (["example.com", "*.example.com"], ["us-east-1", "eu-west-1"], ["example.com", "*.example.com"]),
        (["www.example.com", "*.example.com"], ["us-east-1"], ["*.example.com", "us-east-1.www.example.com"]),
        (["*.www.example.com", "*.example.com", "www.example.com"], ["us-east-1"], ["*.www.example.com", "*.example.com"]),
        (["WWW.Example.com", "*.example.com", "*.example.com"], [], ["*.example.com"]),
    ],
)
def test_names_that_a_ca_takes(domains, regions, expected):
    apps = {"www": {"domains": domains}, "quiet": {"domains": []}, "none": {}}
    assert role_variable("__certificate_names", certificate_apps=apps, certificate_regions=regions) == {"www": expected}


def test_the_renewal_asks_for_the_same_names():
    apps = {"www": {"domains": ["example.com", "*.example.com"]}, "other": {"domains": ["a.test"]}}
    names = role_variable("__certificate_names", certificate_apps=apps, certificate_regions=["x"])
    loader = DataLoader()
    variables = loader.load_from_file(str(ROLE / "vars" / "main.yml"), trusted_as_template=True)
    given = {"certificate_apps": apps, "certificate_regions": ["x"], "certificate_issuer_dir": "/d"}
    renewed = Templar(loader=loader, variables={**variables, **given}).template(variables["__certificate_renewal"]["certificates"])
    assert renewed == {app: {"dest": "/d/" + app, "names": names[app]} for app in apps}


def test_no_apps_are_no_names():
    assert role_variable("__certificate_names", certificate_apps={}, certificate_regions=["x"]) == {}


# Issues for every app but those that are named bad: what lies there stays.
CA = """
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def main():
    options = ["directory", "account_key_path", "terms_agreed", "key_type", "renew", "dns_provider", "propagation_timeout", "order_timeout"]
    others = {name: dict(type="raw", no_log=False) for name in options}
    module = AnsibleModule(dict(names=dict(type="list"), dest=dict(type="path"), **others), supports_check_mode=True)
    dest = Path(module.params["dest"])
    if dest.name.startswith("bad"):
        module.fail_json(msg="the DNS has no zone for %s" % module.params["names"][0])
    there = dest.exists()
    if not there and not module.check_mode:
        dest.mkdir()
        for part in ("fullchain", "privkey"):
            (dest / (part + ".pem")).write_text((dest.parent / (part + ".pem")).read_text())
    module.exit_json(changed=not there, serial="01" if there or not module.check_mode else None, paths={"dest": str(dest)})


if __name__ == "__main__":
    main()
"""

# What the hosts run: it writes down what it is given.
PROGRAM = """#!{python}
import json, pathlib, sys
given = json.load(sys.stdin)
with open({log!r}, "a") as log:
    log.write(json.dumps([sys.argv[1:], sorted(given)]) + chr(10))
print(json.dumps({{"changed": False, "certificates": {{}}, "errors": {{}}}}))
"""


class Estate:
    """Two hosts that are this machine: admin issues, web takes."""

    def __init__(self, folder):
        self.folder = folder
        self.kept = folder / "kept"
        self.kept.mkdir()
        self.pair("good.test", self.kept, 5)
        collection = folder / "collections/ansible_collections/multiregion/paas"
        (collection / "plugins/modules").mkdir(parents=True)
        (collection / "plugins/modules/letsencrypt_dns01.py").write_text(CA)
        (collection / "plugins/modules/config_files.py").symlink_to(REPOSITORY / "plugins/modules/config_files.py")
        (collection / "roles").symlink_to(REPOSITORY / "roles")
        (collection / "galaxy.yml").symlink_to(REPOSITORY / "galaxy.yml")
        (folder / "environment/bin").mkdir(parents=True)
        python = folder / "environment/bin/python"
        python.write_text('#!/bin/sh\nexec "%s" "$@"\n' % sys.executable)
        python.chmod(0o755)
        (folder / "program").write_text(PROGRAM.format(python=sys.executable, log=str(folder / "log")))
        (folder / "program").chmod(0o755)
        self.variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "certificate_issuer_host": "admin",
            "certificate_hosts": ["web"],
            "certificate_timer": False,
            "certificate_issuer_dir": str(self.kept),
            "certificate_dir": str(self.kept),
            "certificate_environment": str(folder / "environment"),
            "__certificate_argv": [str(folder / "program")],
        }

    def pair(self, name, folder, days):
        folder.mkdir(exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(1)
        builder = builder.not_valid_before(now - datetime.timedelta(days=30)).not_valid_after(now + datetime.timedelta(days=days))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        (folder / "fullchain.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        (folder / "privkey.pem").write_text("key")

    def run(self, tasks, *arguments, hosts=("admin", "web"), **variables):
        """-> (exit status, all that it said), of a play that includes these files of the role, one after the other."""
        tasks = [{"ansible.builtin.include_role": {"name": "multiregion.paas.certificate", "tasks_from": name}} for name in tasks]
        tasks.append({"ansible.builtin.debug": {"msg": "the play goes on"}})
        play = {"hosts": "all", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}
        (self.folder / "play.yml").write_text(json.dumps([play]))
        (self.folder / "variables.json").write_text(json.dumps({**self.variables, **variables}))
        command = ["ansible-playbook", str(self.folder / "play.yml"), "-i", "admin,web,", "-e", "@%s" % (self.folder / "variables.json")]
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"), "ANSIBLE_FORCE_COLOR": "0", "HOME": str(self.folder)}
        done = subprocess.run(
            [*command, "--limit", ",".join(hosts), *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        return done.returncode, done.stdout + done.stderr

    def taken(self):
        log = self.folder / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def estate(tmp_path):
    return Estate(tmp_path)


def apps(*names):
    return {name: {"domains": [name + ".test"]} for name in names}


def test_one_that_is_not_issued_keeps_no_other_back_and_is_told(estate):
    # It has one of before, which serves on; another one never had any, and the third one's has ended.
    estate.pair("bad-kept.test", estate.kept / "bad-kept", 5)
    estate.pair("bad-ended.test", estate.kept / "bad-ended", -1)
    status, said = estate.run(["reissue"], certificate_apps=apps("bad-never", "good", "bad-kept", "bad-ended"))
    assert estate.taken() == [[["install"], ["bad-kept", "good"]]], said
    assert status != 0 and "the play goes on" not in said
    for name in ("bad-never", "bad-kept", "bad-ended"):
        assert "%s: the DNS has no zone for %s.test" % (name, name) in said


def test_all_that_are_issued_are_handed_over_and_the_second_run_changes_nothing(estate):
    for changed in (True, False):
        status, said = estate.run(["reissue"], certificate_apps=apps("good", "other"))
        assert status == 0 and "the play goes on" in said, said
        assert any(line.startswith("changed:") for line in said.splitlines()) == changed, said
    assert estate.taken() == [[["install"], ["good", "other"]]] * 2


def test_a_check_issues_nothing_and_compares_what_is_there(estate):
    status, said = estate.run(["reissue"], "--check", certificate_apps=apps("good"))
    assert status == 0 and estate.taken() == [] and not (estate.kept / "good").exists(), said
    estate.pair("good.test", estate.kept / "good", 5)
    status, said = estate.run(["reissue"], "--check", certificate_apps=apps("good", "new"))
    assert status == 0 and estate.taken() == [[["install", "--check"], ["good"]]], said


def covers(estate, name, **more):
    given = {"certificate_covers_app": "www", "certificate_covers_name": name, "certificate_covers_else": "Nothing was changed in app and DNS."}
    return estate.run(["covers"], **given, **more)


@pytest.mark.parametrize(
    ("installed", "asked", "goes_on"),
    [
        ("*.example.com", "shop.example.com", True),
        ("*.example.com", "a.shop.example.com", False),
        (None, "shop.example.com", False),
        (None, "", True),
    ],
)
def test_a_playbook_stops_where_the_certificate_does_not_cover_the_domain(estate, installed, asked, goes_on):
    if installed:
        estate.pair(installed, estate.kept / "www", 5)
    status, said = covers(estate, asked)
    assert (status == 0) == goes_on == ("the play goes on" in said), said
    assert goes_on or ("Nothing was changed in app and DNS." in said and "does not cover" in said), said


def test_a_playbook_stops_where_the_issuing_host_takes_no_part(estate):
    estate.pair("shop.example.com", estate.kept / "www", 5)
    status, said = covers(estate, "shop.example.com", hosts=("web",))
    assert status != 0 and "the play goes on" not in said
    assert "Nothing was changed in app and DNS." in said and "takes no part in this run" in said, said


def test_why_the_domain_is_not_covered_is_told(estate):
    given = {"certificate_covers_app": "bad", "certificate_covers_name": "bad.test", "certificate_covers_else": "Nothing was changed in app and DNS."}
    status, said = estate.run(["hand_over", "covers"], certificate_apps=apps("bad", "good"), **given)
    assert status != 0 and "the play goes on" not in said and estate.taken() == [[["install"], ["good"]]], said
    assert "Nothing was changed in app and DNS." in said and "the DNS has no zone for bad.test" in said, said


def plays():
    return DataLoader().load_from_file(str(REPOSITORY / "playbooks" / "domain.yml"), trusted_as_template=True)


def test_a_domain_comes_with_its_certificate_to_every_host_that_has_one():
    """The same hosts as where all certificates are handed over, or some keep a former one; and all of them are asked."""
    everywhere = yaml.safe_load((REPOSITORY / "playbooks" / "distribute_certificates.yml").read_text(encoding="utf-8"))
    handing = [play["hosts"] for play in plays() if "hand_over" in json.dumps(play)]
    assert handing == [everywhere[0]["hosts"]] * 2
    assert next(play["hosts"] for play in plays() if play.get("name") == "Prove it") == everywhere[1]["hosts"]


@pytest.mark.parametrize(
    ("operation", "presented", "expected"),
    [
        ("attach", {"shop.test.org": "01"}, "01"),
        ("attach", {"www.test.org": "01"}, ""),
        ("attach", {"shop.test.org": None, "www.test.org": "01"}, ""),
        # An edge is asked for the names in the certificate, which has only the wildcard.
        ("attach", {"*.test.org": "01"}, "01"),
        ("attach", {"*.test.org": "01", "shop.test.org": "02"}, "02"),
        ("detach", {"*.test.org": "01"}, ""),
        ("detach", {"shop.test.org": "01"}, "01"),
        ("detach", None, ""),
    ],
)
def test_what_a_host_presents_for_the_domain(operation, presented, expected):
    play = next(play for play in plays() if play.get("name") == "Prove it")
    variables = dict(play["tasks"][-1]["vars"], operation=operation, domain="shop.test.org")
    variables["__domain_of_app"] = {} if presented is None else {"presented": presented, "serial": "01"}
    assert (Templar(loader=DataLoader(), variables=variables).template(variables["__domain_presented"]) or "") == expected
