# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from acme import messages
from ansible_collections.multiregion.paas.plugins.module_utils._acme import ca as module
from ansible_collections.multiregion.paas.plugins.module_utils._acme.ca import Ca, not_at_once, parse_time, seconds_to_wait
from ansible_collections.multiregion.paas.plugins.module_utils._acme.crypto import generate_key, key_pem
from ansible_collections.multiregion.paas.plugins.module_utils._acme.errors import CaError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "value, expected",
    [(None, 3), ("", 3), ("0", 0), ("120", 120), ("-5", 0), ("Sat, 21 Nov 2026 00:01:00 GMT", 60), ("Sat, 21 Nov 2020 00:01:00 GMT", 0), ("soon", 3)],
)
def test_retry_after(value, expected):
    assert seconds_to_wait(value, 3, NOW) == expected


@pytest.mark.parametrize("text", ["2026-11-21T00:00:00Z", "2026-11-21T00:00:00.123456789Z", "2026-11-21T01:00:00+01:00", "2026-11-21T00:00:00"])
def test_times(text):
    assert parse_time(text).replace(microsecond=0) == NOW


@pytest.mark.parametrize("text", [None, 7, "", "yesterday"])
def test_what_is_no_time(text):
    assert parse_time(text) is None


class Wire:
    """A CA that answers from a list, and notes what it was asked."""

    def __init__(self):
        self.answers, self.seen, self.nonces, self.pages = [], [], 0, {}
        wire = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                wire.seen.append((self.command, self.path, body))
                wire.nonces += 1
                status, headers, content = (200, {}, {}) if self.path == "/nonce" else wire.pages.get(self.path) or wire.answers.pop(0)
                time.sleep(headers.get("sleep", 0))
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Replay-Nonce", "bm9uY2U%d" % wire.nonces)
                self.send_header("Content-Length", str(len(data)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                # Who asked may have gone.
                with contextlib.suppress(OSError):
                    self.wfile.write(b"" if self.command == "HEAD" else data)

            do_GET = do_POST = do_HEAD = answer

            def log_message(self, *arguments):
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def directory(self):
        names = ("newNonce", "newAccount", "newOrder", "revokeCert", "renewalInfo")
        return dict({name: "%s/%s" % (self.url, name) for name in names}, newNonce=self.url + "/nonce")


@pytest.fixture
def wire():
    started = Wire()
    yield started
    started.server.shutdown()
    started.server.server_close()


@pytest.fixture
def ca(wire):
    one = Ca(wire.url + "/dir", True, 5)
    one.use_key(key_pem(generate_key("ec256")), "account.pem")
    return one


def problem(kind, status=400):
    return {"type": "urn:ietf:params:acme:error:" + kind, "detail": "the detail of " + kind, "status": status}


def posts(wire):
    return [path for method, path, body in wire.seen if method == "POST"]


def test_a_refused_nonce_is_replaced_by_the_one_in_the_refusal(wire, ca):
    wire.answers = [(200, {}, wire.directory())]
    wire.answers += [(400, {}, problem("badNonce"))] * 3 + [(201, {"Location": "https://ca.test/account/1"}, {"status": "valid"})]
    assert ca.register("me@example.test", True, None) is True
    assert posts(wire) == ["/newAccount"] * 4
    assert [path for method, path, body in wire.seen].count("/nonce") == 0


@pytest.mark.parametrize("status", [429, 503, 500])
def test_a_temporary_refusal_is_repeated_when_the_ca_says(wire, ca, status):
    wire.answers = [(status, {"Retry-After": "0"}, problem("rateLimited", status)), (200, {}, wire.directory())]
    assert ca.open() is not None
    assert len(wire.seen) == 2


def test_a_wait_beyond_the_deadline_is_an_error_at_once_with_the_cas_own_words(wire, ca):
    wire.answers = [(429, {"Retry-After": "3600"}, problem("rateLimited", 429))]
    with pytest.raises(CaError, match="the detail of rateLimited") as caught:
        ca.open()
    assert caught.value.details["retry_after"] == 3600
    assert caught.value.details["problem"]["type"].endswith("rateLimited")


def test_a_ca_that_is_away_is_asked_until_the_deadline():
    one = Ca("http://127.0.0.1:1/dir", True, 0.5)
    with pytest.raises(CaError, match="did not answer"):
        one.open()
    assert one.network.requests >= 2


def test_what_is_no_directory(wire, ca):
    wire.answers = [(200, {}, {"hello": "world"})]
    with pytest.raises(CaError, match="the directory cannot be used"):
        ca.open()


@pytest.mark.parametrize("status", [409, 400, 500])
def test_replaces_goes_into_the_order_and_is_left_out_when_the_ca_refuses_it(wire, ca, status):
    order = {"status": "ready", "authorizations": [], "finalize": wire.url + "/finalize", "identifiers": []}
    wire.answers = [
        (200, {}, wire.directory()),
        (200, {"Location": "https://ca.test/account/1"}, {"status": "valid"}),
        (status, {}, problem("alreadyReplaced", status)),
        (201, {"Location": wire.url + "/order"}, order),
    ]
    ca.register(None, True, None)
    assert ca.order(("a.test",), b"", "shortlived", "aki.serial") == []
    bodies = [json.loads(module.jose.b64.b64decode(body["payload"])) for method, path, body in wire.seen if path == "/newOrder"]
    assert [body.get("replaces") for body in bodies] == ["aki.serial", None]
    assert [body["profile"] for body in bodies] == ["shortlived"] * 2


def test_renewal_information(wire, ca):
    window = {"suggestedWindow": {"start": "2026-12-01T00:00:00Z", "end": "2026-12-03T00:00:00Z"}}
    wire.answers = [(200, {}, wire.directory()), (200, {"Retry-After": "21600"}, window)]
    found = ca.renewal_window("aki.serial", "", NOW, 5)
    assert wire.seen[-1][1] == "/renewalInfo/aki.serial"
    assert (found.start.day, found.end.day) == (1, 3) and (found.ask_again - NOW).total_seconds() == 21600
    # The next time the place is known: one request.
    wire.answers = [(200, {}, window)]
    ca.renewal_window("aki.serial", found.url, NOW, 5)
    assert len(wire.seen) == 3


@pytest.mark.parametrize("content", [{}, {"suggestedWindow": {"start": "2026-12-03T00:00:00Z", "end": "2026-12-01T00:00:00Z"}}])
def test_renewal_information_that_is_none(wire, ca, content):
    wire.answers = [(200, {}, content)]
    with pytest.raises(CaError, match="renewal information"):
        ca.renewal_window("aki.serial", wire.url + "/renewalInfo", NOW, 5)


def test_the_url_of_an_account_is_found_not_made(wire, ca):
    wire.answers = [(200, {}, wire.directory()), (400, {}, problem("accountDoesNotExist"))]
    with pytest.raises(CaError, match="knows no account"):
        ca.find_account()
    body = json.loads(module.jose.b64.b64decode(wire.seen[-1][2]["payload"]))
    assert body["onlyReturnExisting"] is True


def test_an_invalid_order_names_what_failed(wire, ca):
    authorization = {
        "identifier": {"type": "dns", "value": "a.test"},
        "status": "invalid",
        "challenges": [{"type": "dns-01", "url": wire.url + "/c", "token": "dG9rZW4tb2Ytc2l4dGVlbi1ieXRlcw", "status": "invalid", "error": problem("dns")}],
    }
    ca._order = messages.OrderResource(
        body=messages.Order(),
        uri="x",
        csr_pem=b"",
        authorizations=[messages.AuthorizationResource(body=messages.Authorization.from_json(authorization), uri=wire.url + "/authz")],
    )
    wire.answers = [(200, {}, wire.directory()), (200, {}, authorization)]
    ca.open()
    ca.network.account = {"uri": "https://ca.test/account/1"}
    error = ca._validation_error(messages.Order())
    assert "a.test: the detail of dns" in error.message
    (failed,) = error.details["problems"]
    assert failed["name"] == "a.test" and failed["problem"]["type"].endswith(":dns")


@pytest.mark.parametrize("content", [[], "text", {"status": "strange"}, {"status": "ready", "authorizations": 7}])
def test_an_answer_that_is_no_order_is_told(wire, ca, content):
    wire.answers = [(200, {}, wire.directory()), (200, {"Location": "https://ca.test/account/1"}, {"status": "valid"}), (201, {"Location": "x"}, content)]
    ca.register(None, True, None)
    with pytest.raises(CaError, match="cannot be used"):
        ca.order(("a.test",), b"", None, None)


def test_an_account_that_is_refused_shows_the_problem(wire, ca):
    wire.answers = [(200, {}, wire.directory()), (403, {}, problem("unauthorized", 403))]
    with pytest.raises(CaError, match="refused the account.*the detail of unauthorized") as caught:
        ca.register(None, True, None)
    assert caught.value.details["problem"]["type"].endswith("unauthorized")


@pytest.mark.parametrize("given, used", [({}, "HS256"), ({"algorithm": "HS512"}, "HS512")])
def test_a_new_account_is_bound_to_a_customers_one(wire, ca, given, used):
    wire.answers = [(200, {}, wire.directory()), (201, {"Location": "https://ca.test/account/1"}, {"status": "valid"})]
    ca.register(None, True, {"key_id": "kid-1", "key": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYw", **given})
    bound = json.loads(module.jose.b64.b64decode(wire.seen[-1][2]["payload"]))["externalAccountBinding"]
    protected = json.loads(module.jose.b64.b64decode(bound["protected"]))
    assert (protected["alg"], protected["kid"], protected["url"]) == (used, "kid-1", wire.url + "/newAccount")


@pytest.mark.parametrize("asked, pause, expected", [(None, 0.25, 0.25), (0, 0.25, 0.25), (0, 8, 1), (0.001, 8, 1), (2, 8, 2), (120, 0.25, 120)])
def test_at_once_is_after_a_pause(asked, pause, expected):
    assert not_at_once(asked, pause) == expected


class Pauses(threading.Event):
    """Notes how long somebody would have waited, and stops after so many times."""

    def __init__(self, ca, stop_after=100):
        super().__init__()
        self.seconds, self.stop_after = [], stop_after
        ca.network.stopped, ca.network.deadline = self, time.monotonic() + 60

    def wait(self, timeout=None):
        self.seconds.append(timeout)
        return len(self.seconds) >= self.stop_after


@pytest.mark.parametrize("header", ["0", "Sat, 21 Nov 2020 00:01:00 GMT"])
def test_a_ca_that_is_away_and_says_at_once_is_not_asked_without_a_pause(wire, ca, header):
    wire.answers = [(503, {"Retry-After": header}, problem("rateLimited", 503))] * 5 + [(200, {}, wire.directory())]
    pauses = Pauses(ca)
    ca.open()
    assert pauses.seconds == [0.25, 0.5, 1, 1, 1]


@pytest.mark.parametrize("header", ["0", "Sat, 21 Nov 2020 00:01:00 GMT"])
def test_an_order_that_is_to_be_asked_for_at_once_is_asked_for_with_pauses(wire, ca, header):
    order = {"status": "processing", "identifiers": [], "authorizations": [], "finalize": wire.url + "/finalize"}
    wire.answers = [(200, {}, wire.directory()), (200, {"Location": "https://ca.test/account/1"}, {"status": "valid"})]
    wire.answers += [(201, {"Location": wire.url + "/order"}, order)] + [(200, {"Retry-After": header}, order)] * 3 + [(200, {}, dict(order, status="valid"))]
    ca.register(None, True, None)
    ca.order(("a.test",), b"", None, None)
    pauses = Pauses(ca)
    ca._poll((messages.STATUS_PROCESSING,), "issuance")
    assert [round(one, 3) for one in pauses.seconds] == [0.1, 0.15, 0.225]


@pytest.mark.parametrize("status, headers, told", [(503, {}, None), (503, {"Retry-After": "3600"}, 3600)])
def test_only_what_the_ca_asked_for_is_told_as_its_wish(wire, ca, status, headers, told):
    wire.pages["/dir"] = (status, headers, problem("rateLimited", status))
    ca.network.deadline = time.monotonic() + 0.5
    with pytest.raises(CaError, match="refused for now") as caught:
        ca.open()
    assert caught.value.details.get("retry_after") == told


class Tls:
    """A port that speaks TLS with a certificate that nobody knows, or ends each connection within the handshake."""

    def __init__(self, context=None):
        self.listener, self.context = socket.create_server(("127.0.0.1", 0)), context
        self.url = "https://127.0.0.1:%d/dir" % self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _peer = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    if self.context:
                        self.context.wrap_socket(connection, server_side=True).close()
                    else:
                        # All of it: what stays unread would make it a reset, which is no error of TLS.
                        connection.recv(65536)
                except OSError:
                    pass


def unknown_certificate(folder):
    key, now = generate_key("ec256"), datetime.now(timezone.utc)
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([])).public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    (folder / "pem").write_bytes(key_pem(key) + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem")
    return context


def test_a_connection_that_ends_in_the_handshake_is_tried_again():
    one = Tls()
    ca = Ca(one.url, True, 5)
    pauses = Pauses(ca, stop_after=2)
    with pytest.raises(CaError, match="Stopped"):
        ca.open()
    one.listener.close()
    assert pauses.seconds == [0.25, 0.5]


def test_a_certificate_that_is_not_trusted_is_told_at_once(tmp_path):
    one = Tls(unknown_certificate(tmp_path))
    ca = Ca(one.url, True, 5)
    with pytest.raises(CaError, match="cannot be trusted"):
        ca.open()
    one.listener.close()
    assert ca.network.requests == 1


def test_a_question_that_is_not_answered_ends_with_the_time_given(wire, ca):
    wire.pages["/renewalInfo/aki.serial"] = (200, {"sleep": 20}, {})
    begun = time.monotonic()
    with pytest.raises(CaError, match="did not answer"):
        ca.renewal_window("aki.serial", wire.url + "/renewalInfo", NOW, 1)
    assert time.monotonic() - begun < 10


def authorization(wire, number, status):
    challenge = {"type": "dns-01", "url": wire.url + "/c", "token": "dG9rZW4tb2Ytc2l4dGVlbi1ieXRlcw", "status": "pending"}
    return {"identifier": {"type": "dns", "value": "n%d.test" % number}, "status": status, "challenges": [challenge]}


def ordered(wire, ca, count):
    """A CA with an order whose authorizations are all pending."""
    for number in range(count):
        wire.pages["/authz/%d" % number] = (200, {}, authorization(wire, number, "pending"))
    order = {"status": "pending", "identifiers": [], "authorizations": [wire.url + "/authz/%d" % number for number in range(count)], "finalize": "x"}
    wire.answers = [(200, {}, wire.directory()), (200, {"Location": "https://ca.test/account/1"}, {"status": "valid"})]
    wire.answers += [(201, {"Location": wire.url + "/order"}, order)]
    ca.register(None, True, None)
    ca.order(("a.test",), b"", None, None)


def deactivated(wire):
    bodies = [(path, module.jose.b64.b64decode(body["payload"])) for method, path, body in wire.seen if method == "POST" and path.startswith("/authz/")]
    return sorted(path for path, payload in bodies if payload and json.loads(payload)["status"] == "deactivated")


def test_only_what_is_still_pending_is_given_back_also_after_an_error(wire, ca):
    ordered(wire, ca, 5)
    wire.pages["/authz/0"] = (403, {}, problem("unauthorized", 403))
    wire.pages["/authz/1"] = (200, {}, authorization(wire, 1, "valid"))
    wire.pages["/authz/3"] = (200, {}, authorization(wire, 3, "invalid"))
    ca.abandon()
    assert deactivated(wire) == ["/authz/2", "/authz/4"]


def test_giving_back_ends_though_the_ca_does_not_answer(wire, ca, monkeypatch):
    ordered(wire, ca, 30)
    for number in range(30):
        wire.pages["/authz/%d" % number] = (200, {"sleep": 20}, authorization(wire, number, "pending"))
    monkeypatch.setattr(module, "ABANDON_TIMEOUT", 1.0)
    begun = time.monotonic()
    ca.abandon()
    assert time.monotonic() - begun < 10 and deactivated(wire) == []


def test_nothing_is_given_back_where_nothing_was_ordered(wire, ca):
    ca.abandon()
    assert wire.seen == []
