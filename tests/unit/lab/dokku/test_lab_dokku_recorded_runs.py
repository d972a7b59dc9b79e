# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replay the recorded runs of a real Dokku against the stand-in: exit status, stdout and stderr of each command."""

from __future__ import annotations

import difflib
import re
import subprocess
from pathlib import Path

import pytest

from lab_dokku_sandbox import APP_JSON, BAD_APP_JSON, Sandbox

TRANSCRIPTS = Path(__file__).parent / "transcripts"

# What the stand-in does not do, or the recording does not show. Everything else must match.
OUT_OF_SCOPE = {
    r"^dokku builds:": "the log of builds",
    r"^dokku git:sync shop https": "no git transport",
    r"^(dokku letsencrypt:|dokku (--quiet )?postgres:(?!list$)|dokku postgres:list$)": "plugins that are not there (in 05 they were not there either)",
    r"^dokku plugin:installed letsencrypt": "11 was recorded with the plugin",
    r"^ls -la ": "the real one has a git repository there",
    r"^ls /var/lib": "checked by name in test_lab_dokku_quirks.py",
    r"^cat /home/dokku": "recorded without its output",
    r"nginx:show-config": "recorded without its output",
    r"^docker ": "the fake docker's own",
    r"^dokku run --env X=1 demo env": "the order of the variables is Docker's",
    r"^dokku checks:run demo": "its labels were garbled: `web.` and a folder's name instead of `web.1`",
    r"^dokku config:bundle": "tar's listing is not in the recording",
}
UNSEEN = r"^dokku config:set demo FOO=4"  # carried out, but recorded through a filter
NOISE = re.compile(
    r"^(       Attempting to retire demo|DEPRECATED: The legacy builder"
    r"| +Install the buildx|.*https://docs.docker.com/go/buildx|Sending build context|Step \d+/\d+| ---> |Removing intermediate"
    r"| !     DEPRECATED: The legacy builder|Successfully built)")
NORMAL = [
    (re.compile(r"timestamp=\S+"), "timestamp=T"), (re.compile(r"source=\S+/archive details=dest=\S+"), "source=S"),
    (re.compile(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} GMT"), "DATE"), (re.compile(r"\bRandom port \d+"), "Random port N"),
    (re.compile(r"upcoming-\d+"), "upcoming-N"), (re.compile(r"\.run\.\d+"), ".run.N"), (re.compile(r"\b\d{10}\b"), "EPOCH"),
    (re.compile(r"legacy-[0-9a-f]{10}"), "legacy-HASH"), (re.compile(r'"id":"[0-9a-z]{36}"'), '"id":"ID"'),
    (re.compile(r"\b[0-9a-f]{7}\.\.[0-9a-f]{7}\b"), "OLD..NEW"), (re.compile(r"\b[0-9a-f]{64}\b"), "LONGID"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "SHA"), (re.compile(r"\((CID: )?[0-9a-f]{9,12}\)"), "(CID)"),
    (re.compile(r"\(([0-9a-f]{12}) ([\w.]+)\)"), r"(CID \2)"), (re.compile(r'"ID":"[0-9a-f]{12}"'), '"ID":"ID"'),
    (re.compile(r"172\.17\.0\.\d+"), "172.17.0.N"), (re.compile(r"<tmp>/[\w.-]+|/tmp/trigger-[\w.-]+"), "TMP"), (re.compile(r"\d+#\d+"), "P#P"),
    (re.compile(r"^MII[\w+/]+$"), "BASE64"), (re.compile(r'"created_at": "[^"]*"'), '"created_at": "T"'),
]


def parse(path: Path) -> list[tuple[str, int, list[str], list[str]]]:
    found = []
    for line in path.read_text().splitlines():
        head = re.match(r"^\$ (.*?)\s+# rc=(\d+) \d+ms$", line)
        if head:
            found.append((head.group(1), int(head.group(2)), [], []))
        elif found and line.startswith("  1| "):
            found[-1][2].append(line[5:])
        elif found and line.startswith("  2| "):
            found[-1][3].append(line[5:])
    return found


def normal(lines: list[str], box: Sandbox) -> list[str]:
    kept = []
    for line in lines:
        for real, name in ((box.root, "/home/dokku"), (box.lib, "/var/lib/dokku"), (box.var, "/var")):
            line = line.replace(str(real), name)
        for pattern, text in NORMAL:
            line = pattern.sub(text, line)
        if line.strip() and not NOISE.match(line):
            kept.append(re.sub(r"\s+$", "", line))
    return kept


def differences(box: Sandbox, line: str, rc: int, out: list[str], err: list[str]) -> list[str]:
    command = re.sub(r"(?<![\w/])/var/(?!lib/dokku)", f"{box.var}/", line).replace("/var/lib/dokku", str(box.lib)).replace("/home/dokku", str(box.root))
    result = box.command(command)
    found = [] if result.rc == rc else [f"rc {result.rc}, recorded {rc}"]
    for name, recorded, actual in (("stdout", out, result.out), ("stderr", err, result.err)):
        want, have = normal(recorded, box), normal(actual.splitlines(), box)
        found += [f"{name} {text}" for text in list(difflib.unified_diff(want, have, n=0, lineterm=""))[2:] if text[:1] in "+-"]
    return [f"$ {line}", *(f"    {text}" for text in found)] if found else []


def replay(box: Sandbox, name: str, only=lambda line: True) -> list[str]:
    report, count = [], 0
    for line, rc, out, err in parse(TRANSCRIPTS / name):
        if any(re.search(pattern, line) for pattern in OUT_OF_SCOPE if not (name == "05.txt" and "letsencrypt" in pattern)) or not only(line):
            continue
        count += 1
        found = differences(box, line, rc, out, err)
        report += [] if re.search(UNSEEN, line) else found
    assert count, f"nothing replayed from {name}"
    return report


@pytest.fixture(scope="module")
def prepared(sandbox: Sandbox) -> Sandbox:
    """The files that the recording's commands name: a pair with the names shop and www, a stranger's key, faulty archives."""
    var = str(sandbox.var)

    def run(*argv: str) -> None:
        subprocess.run(argv, check=True, capture_output=True, cwd=var)

    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=shop.example.org/O=Test", "-addext",
        "subjectAltName=DNS:shop.example.org,DNS:www.example.org", "-keyout", "server.key", "-out", "server.crt")
    run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "other.key")
    run("cp", "server.crt", "second.crt")
    run("tar", "-cf", "certs.tar", "server.crt", "server.key")
    run("tar", "-cf", "nokey.tar", "server.crt")
    run("tar", "-cf", "two.tar", "server.crt", "second.crt", "server.key")
    return sandbox


@pytest.mark.parametrize("name", ["01.txt", "02.txt", "03.txt", "04.txt", "05.txt"])
def test_an_app_that_is_not_deployed(prepared: Sandbox, name: str) -> None:
    """One after the other: each file goes on where the one before ended."""
    report = replay(prepared, name)
    assert not report, "\n".join(report)


def test_an_app_that_is_deployed(prepared: Sandbox) -> None:
    """The recorded images: 1 and 2 work, `bad` answers its check with an error and has no predeploy task; the first try had no shell."""
    worse = {**APP_JSON, "scripts": {"dokku": {"predeploy": "exit 1"}}}
    report = []
    prepared.image("local/demo:1", worse)

    def broken(line: str) -> bool:
        return line.startswith("dokku git:from-image")

    report += replay(prepared, "06.txt", lambda line: not broken(line) and "report" not in line and "export" not in line)
    assert prepared.command("dokku git:from-image demo local/demo:1").rc == 1
    assert prepared.command("dokku git:from-image demo local/demo:1").rc == 1
    report += replay(prepared, "06.txt", lambda line: "report" in line or "export" in line)
    prepared.image("local/demo:1", APP_JSON)
    report += replay(prepared, "07.txt")
    prepared.image("local/demo:2", APP_JSON)
    prepared.image("local/demo:bad", BAD_APP_JSON)
    report += replay(prepared, "08.txt")
    report += replay(prepared, "09.txt")
    assert not report, "\n".join(report)


def test_an_app_whose_first_deploy_failed(prepared: Sandbox) -> None:
    prepared.image("local/demo:bad", BAD_APP_JSON)
    report = replay(prepared, "10.txt")
    assert not report, "\n".join(report)
