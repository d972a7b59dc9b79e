# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consul's HTTP API over TLS, as far as the estate's declaration needs it. Runs on managed hosts: the standard library only."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request

from .errors import InvalidInput, RequestFailed

REQUEST_SECONDS = 15
PAUSE_SECONDS = 1
# While a datacenter elects its leader or creates its first token, these are answers that the next moment changes.
# Of these, "legacy mode" is what 1.8 says until every server of the datacenter has been heard to speak the newer access lists.
TEMPORARY = (
    "ACL not found",
    "ACL system is currently in legacy mode",
    "ACL system must be bootstrapped",
    "ACLs not",
    "EOF",
    "No path to datacenter",
    "leader",
    "rpc error",
    "timed out",
)

# How a module is told of its agent; documented in doc_fragments/consul_agent.py.
AGENT_OPTIONS = {
    "url": {"type": "str", "default": "https://127.0.0.1:8501"},
    "ca_file": {"type": "path", "required": True},
    "token": {"type": "str", "required": True, "no_log": True},
}


class Client:
    """One agent. The token travels in a header only."""

    def __init__(self, url: str, ca_file: str, token: str, timeout: float) -> None:
        if not url.startswith("https://"):
            raise InvalidInput(f"{url} is no https:// address: the token would be readable on its way")
        self.url = url.rstrip("/")
        self.token = token
        self.deadline = time.monotonic() + timeout
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(f"The CA's certificates in {ca_file} cannot be read: {error}") from error
        self.opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))

    def call(self, method: str, path: str, body: object = None, accept: tuple = (), final: tuple = (), **parameters: str):
        """The decoded answer, also of a status to accept. What is temporary is tried again until the deadline, but for a final status;
        raises RequestFailed."""
        while True:
            try:
                return self._once(method, path, body, accept, parameters)
            except RequestFailed as error:
                if not error.temporary or error.status in final or time.monotonic() + PAUSE_SECONDS > self.deadline:
                    raise
                time.sleep(PAUSE_SECONDS)

    def _once(self, method: str, path: str, body: object, accept: tuple, parameters: dict):
        query = urllib.parse.urlencode(parameters)
        what = f"{method} {path}" + (f" for datacenter {parameters['dc']}" if "dc" in parameters else "")
        request = urllib.request.Request(
            f"{self.url}{path}" + (f"?{query}" if query else ""),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Consul-Token": self.token, "Content-Type": "application/json"},
        )
        try:
            with self.opener.open(request, timeout=REQUEST_SECONDS) as response:
                text = response.read().decode()
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace").strip()
            if error.code in accept:
                return json.loads(text)
            temporary = error.code in (403, 429, 500, 502, 503) and any(sign in text for sign in TEMPORARY)
            hint = ""
            if error.code == 403:
                hint = " The operator's token of the secrets is not one of this Consul's, or may not do this."
            raise RequestFailed(f"Consul refused {what} with status {error.code}: {text[:500]}.{hint}", error.code, temporary) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLError):
                message = f"TLS with Consul at {self.url} failed: {error.reason}. Look at the certificates and at this host's clock."
                raise RequestFailed(message, 0, False) from error
            raise RequestFailed(f"Consul at {self.url} does not answer {what}: {error.reason}", 0, True) from error
        except (OSError, http.client.HTTPException) as error:
            raise RequestFailed(f"Consul at {self.url} broke off {what}: {error}", 0, True) from error
        return json.loads(text) if text.strip() else None
