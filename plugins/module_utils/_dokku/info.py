# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apps are, in a form in which hosts can be compared and no secret leaves its host."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import time
from typing import Any, Dict, List, Optional, Sequence

from .command import Command, Runner, dokku
from .model import PENDING_KEY, Desired
from .read import read
from .task import origin

HASH_DIGITS = 16


def hashed(value: str, salt: str) -> str:
    return hmac.new(salt.encode(), value.encode(), hashlib.sha256).hexdigest()[:HASH_DIGITS]


def _certificate(runner: Runner, text: str) -> Optional[Dict[str, str]]:
    words = ("x509", "-noout", "-serial", "-enddate")
    result = runner.must(Command(words, program="openssl", stdin=text.encode()), "Reading the app's certificate")
    found = dict(line.partition("=")[::2] for line in result.stdout.splitlines())
    expires = time.gmtime(ssl.cert_time_to_seconds(found["notAfter"]))
    return {"serial": found["serial"].lower(), "expires": time.strftime("%Y-%m-%dT%H:%M:%SZ", expires)}


def report(runner: Runner, name: str, salt: str) -> Dict[str, Any]:
    """One app. Of one that is not there only that."""
    current = read(runner, Desired(name, domains=(), scale={}))
    if not current.exists:
        return {"name": name, "exists": False}
    running, certificate = runner.run_all([dokku("ps:report", name, "--running"), dokku("certs:show", name, "crt")])
    return {
        "name": name,
        "exists": True,
        "running": running.stdout.strip() if current.deployed else "false",
        "release": origin(current.deploy_metadata if current.deployed else ""),
        "processes": {kind: quantity for kind, quantity in current.scale.items() if quantity},
        "domains": list(current.domains),
        "config": {key: hashed(value, salt) for key, value in sorted(current.config.items()) if key != PENDING_KEY},
        # Without one the command fails, and that is an answer.
        "certificate": _certificate(runner, certificate.stdout) if certificate.rc == 0 else None,
    }


def reports(runner: Runner, names: Optional[Sequence[str]], salt: str) -> List[Dict[str, Any]]:
    if names is None:
        listed = runner.must(dokku("apps:list", "--format", "json"), "Reading which apps there are")
        names = json.loads(listed.stdout or "[]")
    return [report(runner, name, salt) for name in names]
