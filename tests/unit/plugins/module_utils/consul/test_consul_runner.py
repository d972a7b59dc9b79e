# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests that have to happen, in order; and what a person reads when Consul says no."""

from __future__ import annotations

import http.server
import json
import threading
import time

import pytest

from ansible_collections.multiregion.paas.plugins.module_utils._consul import client as client_module
from ansible_collections.multiregion.paas.plugins.module_utils._consul import runner
from ansible_collections.multiregion.paas.plugins.module_utils._consul.client import Client
from ansible_collections.multiregion.paas.plugins.module_utils._consul.errors import ConsulError, InvalidInput, RequestFailed
from ansible_collections.multiregion.paas.plugins.module_utils._consul.plan import accessor_of

SECRET = "7a2f0c0e-0000-4000-8000-000000000001"
NOTHING = {
    "url": "https://127.0.0.1:8501",
    "ca_file": "/ca.crt",
    "token": "operator",
    "timeout": 5,
    "datacenters": [],
    "policies": None,
    "tokens": None,
    "queries": None,
    "gossip_key": None,
    "members": None,
    "nodes": None,
    "prune": False,
    "former_token_file": None,
    "await_tokens": False,
}


class Consul:
    """Answers reads from a table and keeps the writes."""

    def __init__(self, answers):
        self.answers = answers
        self.writes = []
        self.deadline = 0

    def call(self, method, path, body=None, accept=(), final=(), **parameters):
        if method == "GET":
            answer = self.answers[path]
            return answer.pop(0) if isinstance(answer, tuple) else answer
        self.writes.append((method, path, body, parameters))
        if path == "/v1/operator/keyring" and "keyrings" in self.answers:
            self.answers["/v1/operator/keyring"] = self.answers["keyrings"]
        return None


@pytest.fixture()
def consul(monkeypatch):
    def make(**answers):
        found = Consul({path.replace("__", "/"): answer for path, answer in answers.items()})
        monkeypatch.setattr(runner, "Client", lambda *arguments: found)
        return found

    return make


def test_policies_come_before_the_tokens_that_have_them(consul):
    server = consul(__v1__acl__token__self={"AccessorID": "me"}, __v1__acl__policies=[], __v1__acl__tokens=[])
    parameters = {
        **NOTHING,
        "policies": [{"name": "paas-dns", "rules": "rules\n"}],
        "tokens": [{"description": "paas dns", "secret": SECRET, "policies": ["paas-dns"], "node": {"name": "n", "datacenter": "a"}, "services": ["s"]}],
    }
    result = runner.run(parameters, check_mode=False)
    assert result["changed"]
    assert SECRET not in json.dumps(result)
    assert server.writes == [
        ("PUT", "/v1/acl/policy", {"Name": "paas-dns", "Rules": "rules"}, {}),
        (
            "PUT",
            "/v1/acl/token",
            {
                "AccessorID": accessor_of(SECRET),
                "SecretID": SECRET,
                "Description": "paas dns",
                "Policies": [{"Name": "paas-dns"}],
                "NodeIdentities": [{"NodeName": "n", "Datacenter": "a"}],
                "ServiceIdentities": [{"ServiceName": "s"}],
            },
            {},
        ),
    ]


def test_check_mode_writes_nothing(consul):
    server = consul(__v1__acl__token__self={"AccessorID": "me"}, __v1__acl__policies=[], __v1__acl__tokens=[])
    result = runner.run({**NOTHING, "policies": [{"name": "paas-dns", "rules": "rules"}]}, check_mode=True)
    assert result["changes"] == ["policy paas-dns"]
    assert server.writes == []


def test_a_query_is_in_every_datacenter_and_looks_into_the_others(consul):
    server = consul(__v1__catalog__datacenters=["a", "b", "c"], __v1__query=[])
    queries = [{"name": "postgres-primary", "service": "postgres-primary", "near": None, "ttl": "0s"}]
    runner.run({**NOTHING, "datacenters": ["c", "a", "b"], "queries": queries}, check_mode=False)
    assert [(method, path, parameters) for method, path, body, parameters in server.writes] == [("POST", "/v1/query", {"dc": name}) for name in "cab"]
    assert server.writes[0][2] == {
        "Name": "postgres-primary",
        "Service": {"Service": "postgres-primary", "Near": "", "Failover": {"NearestN": 2, "Datacenters": ["a", "b"]}},
        "DNS": {"TTL": "0s"},
    }


def test_a_query_that_is_not_declared_any_more_goes_from_its_datacenter(consul):
    former = {"ID": "1", "Name": "app-former", "Service": {"Service": "app-former"}}
    server = consul(__v1__catalog__datacenters=["a"], __v1__query=[former])
    result = runner.run({**NOTHING, "datacenters": ["a"], "queries": [], "prune": True}, check_mode=False)
    assert server.writes == [("DELETE", "/v1/query/1", None, {"dc": "a"})]
    assert result["changes"] == ["query app-former in a removed"]


def test_the_gossip_key_changes_in_one_run(consul):
    def ring(keys):
        return [{"Datacenter": "a", "WAN": False, "NumNodes": 2, "Keys": keys}, {"Datacenter": "a", "WAN": True, "NumNodes": 1, "Keys": dict.fromkeys(keys, 1)}]

    server = consul(__v1__operator__keyring=ring({"old": 2}), keyrings=ring({"old": 2, "new": 2}))
    members = [{"datacenter": "a", "agents": 2, "servers": 1}]
    result = runner.run({**NOTHING, "gossip_key": "new", "members": members, "prune": True}, check_mode=False)
    assert [(method, body["Key"]) for method, path, body, parameters in server.writes] == [("POST", "new"), ("PUT", "new"), ("PUT", "new"), ("DELETE", "old")]
    assert result["changes"] == ["gossip key installed", "old gossip key removed"]
    assert result["warnings"] == []


def test_a_node_leaves_the_pool_before_the_catalog(consul):
    members = [{"Name": "here", "Status": 1}, {"Name": "gone", "Status": 4}]
    server = consul(__v1__catalog__nodes=[{"Node": "here"}, {"Node": "gone"}], __v1__agent__members=members)
    result = runner.run({**NOTHING, "nodes": ["here"]}, check_mode=False)
    assert result["changes"] == ["node gone removed"]
    assert [(path, body, parameters) for method, path, body, parameters in server.writes] == [
        ("/v1/agent/force-leave/gone", None, {"prune": "1"}),
        ("/v1/catalog/deregister", {"Node": "gone"}, {}),
    ]


def test_two_tokens_with_one_secret(consul):
    consul()
    token = {"description": "paas dns", "secret": SECRET, "policies": None, "node": None, "services": None}
    with pytest.raises(InvalidInput, match="same secret"):
        runner.run({**NOTHING, "tokens": [token, {**token, "description": "paas ui"}]}, check_mode=False)


class Doors:
    """A Consul that knows some tokens, and says who asked what."""

    def __init__(self, monkeypatch, known):
        self.known, self.requests, self.writes = set(known), [], []
        # Tokens that it knows after so many questions.
        self.coming = {}
        monkeypatch.setattr(runner, "Client", self.client)
        monkeypatch.setattr(client_module.time, "sleep", lambda seconds: None)

    def client(self, url, ca_file, token, timeout):
        doors = self

        class Door(Client):
            def __init__(self):
                self.token, self.deadline = token, time.monotonic() + timeout

            def _once(self, method, path, body, accept, parameters):
                doors.requests.append((token, method, path))
                if doors.coming.get(token, 0) > 1:
                    doors.coming[token] -= 1
                elif token in doors.known or token in doors.coming:
                    if method != "GET":
                        doors.writes.append((path, body))
                        doors.known.add(body["SecretID"])
                    return {"AccessorID": "me"}
                raise RequestFailed("Consul refused it with status 403: ACL not found.", 403, True)

        return Door()


NEW = "7a2f0c0e-0000-4000-8000-000000000002"
SELF = ("GET", "/v1/acl/token/self")


@pytest.fixture()
def handing_over(tmp_path):
    def parameters(text, token=NEW):
        file = tmp_path / "agent.json"
        if text is not None:
            file.write_text(text, encoding="utf-8")
        return {**NOTHING, "token": token, "former_token_file": str(file)}

    return parameters


def configured(word="initial_management", secret=SECRET):
    return json.dumps({"acl": {"enabled": True, "tokens": {word: secret}}})


@pytest.mark.parametrize("word", ["initial_management", "master"])
def test_another_operators_token_is_made_by_the_former_one(monkeypatch, handing_over, word):
    consul = Doors(monkeypatch, [SECRET])
    result = runner.run(handing_over(configured(word)), check_mode=False)
    assert result["changes"] == ["operator's token"]
    assert SECRET not in json.dumps(result) and NEW not in json.dumps(result)
    # The new one is asked once: what Consul does not know now, it does not know in a moment.
    assert consul.requests == [(NEW, *SELF), (SECRET, *SELF), (SECRET, "PUT", "/v1/acl/token")]
    made = {"AccessorID": accessor_of(NEW), "SecretID": NEW, "Description": "Initial Management Token", "Policies": [{"Name": "global-management"}]}
    assert consul.writes == [("/v1/acl/token", made)]
    # As after a kill before the configuration was written: it is there already.
    assert not runner.run(handing_over(configured(word)), check_mode=False)["changed"]


def test_a_dry_run_makes_no_operators_token(monkeypatch, handing_over):
    consul = Doors(monkeypatch, [SECRET])
    assert runner.run(handing_over(configured()), check_mode=True)["changed"]
    assert consul.writes == []


@pytest.mark.parametrize(("text", "token"), [(None, NEW), ("{}", NEW), (configured(), SECRET), (configured(secret=NEW), NEW)])
def test_nobody_is_asked_where_the_operators_token_is_no_other(monkeypatch, handing_over, text, token):
    consul = Doors(monkeypatch, [])
    assert not runner.run(handing_over(text, token), check_mode=False)["changed"]
    assert consul.requests == []


def test_neither_operators_token_is_known(monkeypatch, handing_over):
    consul = Doors(monkeypatch, [])
    with pytest.raises(ConsulError, match="knows neither the operator's token of the secrets nor the one in") as failure:
        runner.run(handing_over(configured()), check_mode=False)
    assert consul.writes == []
    assert SECRET not in str(failure.value) and NEW not in str(failure.value)


def test_a_configuration_that_is_none(handing_over):
    with pytest.raises(InvalidInput, match="agent.json cannot be read as an agent's configuration"):
        runner.run(handing_over("[]"), check_mode=False)


def awaited(*secrets, timeout=5):
    tokens = [{"description": f"paas {number}", "secret": secret, "policies": None, "node": None, "services": None} for number, secret in enumerate(secrets)]
    return {**NOTHING, "tokens": tokens, "await_tokens": True, "timeout": timeout}


def test_tokens_are_awaited_until_this_agent_knows_each(monkeypatch):
    consul = Doors(monkeypatch, [SECRET])
    consul.coming[NEW] = 3
    result = runner.run(awaited(SECRET, NEW), check_mode=False)
    assert not result["changed"]
    assert consul.requests == [(SECRET, *SELF), *[(NEW, *SELF)] * 3]


def test_a_token_that_does_not_come(monkeypatch):
    Doors(monkeypatch, [SECRET])
    with pytest.raises(ConsulError, match="The token paas 1 has not come to this server within 0 s") as failure:
        runner.run(awaited(SECRET, NEW, timeout=0), check_mode=False)
    assert NEW not in str(failure.value)


def test_a_dry_run_awaits_nothing(monkeypatch):
    consul = Doors(monkeypatch, [])
    assert not runner.run(awaited(SECRET), check_mode=True)["changed"]
    assert consul.requests == []


class Handler(http.server.BaseHTTPRequestHandler):
    replies: list = []

    def do_GET(self):
        assert self.headers["X-Consul-Token"] == SECRET
        status, text = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture()
def agent(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(client_module, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(client_module.ssl, "create_default_context", lambda **options: None)
    found = Client("https://127.0.0.1", "/ca.crt", SECRET, 5)
    # What is tested here is not TLS.
    found.url = f"http://127.0.0.1:{server.server_address[1]}"

    def answer(*replies):
        Handler.replies = list(replies)
        return found

    yield answer
    server.shutdown()
    server.server_close()


def test_what_is_temporary_is_tried_again(agent):
    legacy = "The ACL system is currently in legacy mode."
    assert agent((500, "No cluster leader"), (403, "ACL not found"), (500, legacy), (200, '{"a": 1}')).call("GET", "/v1/x") == {"a": 1}


def test_a_refusal_is_not(agent):
    with pytest.raises(RequestFailed, match="status 403: Permission denied.*operator's token") as failure:
        agent((403, "Permission denied")).call("GET", "/v1/x")
    assert SECRET not in str(failure.value)


def test_a_final_status_is_not_tried_again(agent):
    with pytest.raises(RequestFailed, match="ACL not found"):
        agent((403, "ACL not found"), (200, "{}")).call("GET", "/v1/x", final=(403,))


def test_an_accepted_status_is_an_answer(agent):
    assert agent((429, '{"Healthy": false}')).call("GET", "/v1/x", accept=(429,)) == {"Healthy": False}


def test_nobody_there(agent):
    found = agent((200, ""))
    found.url, found.deadline = "http://127.0.0.1:9", 0
    with pytest.raises(RequestFailed, match="does not answer"):
        found.call("GET", "/v1/x")


def test_a_token_does_not_travel_in_the_clear():
    with pytest.raises(InvalidInput, match="no https"):
        Client("http://127.0.0.1:8500", "/ca.crt", SECRET, 5)


def test_a_ca_that_is_not_there():
    with pytest.raises(InvalidInput, match="cannot be read"):
        Client("https://127.0.0.1:8501", "/nowhere/ca.crt", SECRET, 5)
