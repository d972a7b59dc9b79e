# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health checks against small servers on loopback, and the rules of their state."""

from __future__ import annotations

import asyncio
import ssl
import subprocess

import pytest
from lab_dns_helpers import dns_checks

CheckConfig, Checker, State, Unhealthy, probe = (
    dns_checks.CheckConfig,
    dns_checks.Checker,
    dns_checks.State,
    dns_checks.Unhealthy,
    dns_checks.probe,
)


def config(**more):
    return CheckConfig(**{"type": "HTTP", "address": "127.0.0.1", "threshold": 3, "interval": 10, **more})


async def probe_server(answer, delay=0.0, seen=None, ssl_context=None, **check):
    async def serve(reader, writer):
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            if seen is not None:
                seen.append(request.decode())
            await asyncio.sleep(delay)
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ssl_context)
    try:
        return await probe(config(port=server.sockets[0].getsockname()[1], **check))
    finally:
        server.close()


@pytest.mark.parametrize("status", [200, 204, 301, 399])
def test_two_and_three_hundreds_are_healthy(status):
    assert str(status) in asyncio.run(probe_server(b"HTTP/1.1 %d X\r\n\r\n" % status))


@pytest.mark.parametrize("status", [199, 400, 404, 500, 503])
def test_other_statuses_are_not(status):
    with pytest.raises(Unhealthy, match=str(status)):
        asyncio.run(probe_server(b"HTTP/1.1 %d X\r\n\r\n" % status))


def test_what_is_not_http_is_not_healthy():
    with pytest.raises(Unhealthy, match="not an HTTP answer"):
        asyncio.run(probe_server(b"hello\r\n\r\n"))


def test_the_request_names_the_host_and_the_path():
    seen = []
    asyncio.run(probe_server(b"HTTP/1.1 200 OK\r\n\r\n", seen=seen, host="app.example.test", path="/health?x=1"))
    assert seen[0].startswith("GET /health?x=1 HTTP/1.1\r\nHost: app.example.test:")
    assert "Amazon-Route53-Health-Check-Service" in seen[0]


def test_a_closed_port_is_unhealthy():
    with pytest.raises(Unhealthy, match="no connection"):
        asyncio.run(probe(config(port=9)))


def test_an_answer_later_than_two_seconds_is_none(monkeypatch):
    monkeypatch.setattr(dns_checks, "ANSWER_TIMEOUT", 0.05)
    with pytest.raises(Unhealthy, match="no answer in time"):
        asyncio.run(probe_server(b"HTTP/1.1 200 OK\r\n\r\n", delay=0.3))


def test_a_connection_later_than_four_seconds_is_none(monkeypatch):
    async def never(*_arguments, **_keywords):
        await asyncio.sleep(60)

    monkeypatch.setattr(dns_checks, "CONNECT_TIMEOUT", 0.05)
    monkeypatch.setattr(asyncio, "open_connection", never)
    with pytest.raises(Unhealthy, match="no connection in time"):
        asyncio.run(probe(config(port=80)))


def test_the_search_string_has_to_be_in_the_first_5120_bytes():
    check = {"type": "HTTP_STR_MATCH", "search": "fine"}
    asyncio.run(probe_server(b"HTTP/1.1 200 OK\r\n\r\nall fine here", **check))
    with pytest.raises(Unhealthy, match="search string"):
        asyncio.run(probe_server(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5120 + b"fine", **check))


def test_tcp_needs_no_answer():
    async def run():
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        try:
            return await probe(config(type="TCP", port=server.sockets[0].getsockname()[1]))
        finally:
            server.close()

    assert asyncio.run(run()) == "connected"


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=x"]
        + ["-keyout", folder / "key", "-out", folder / "cert"],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.mark.parametrize(("sni", "expected"), [(True, "app.example.test"), (False, None)])
def test_https_sends_the_server_name_as_told_and_accepts_any_certificate(self_signed, sni, expected):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed / "cert", self_signed / "key")
    names = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    asyncio.run(probe_server(b"HTTP/1.1 200 OK\r\n\r\n", ssl_context=context, type="HTTPS", host="app.example.test", sni=sni))
    assert names == [expected]


def test_a_new_check_counts_as_healthy_until_the_threshold():
    state = State(config(threshold=3))
    for _unused in range(2):
        state.record(False, "no")
        assert state.healthy
    state.record(False, "no")
    assert not state.healthy


def test_recovery_needs_the_threshold_too():
    state = State(config(threshold=2), healthy=False)
    state.record(True, "yes")
    assert not state.healthy
    state.record(True, "yes")
    assert state.healthy


def test_results_have_to_be_consecutive():
    state = State(config(threshold=2))
    for passed in (False, True, False, True, False):
        state.record(passed, "")
    assert state.healthy


def run_checker(configs, results, updates=(), interval=0.01, wait=0.15):
    """A checker whose probe answers from `results`: address -> True or False."""

    async def fake(check):
        if not results[check.address]:
            raise Unhealthy("as told")
        return "fine"

    async def run():
        checker = Checker(probe=fake, interval=interval)
        checker.update(configs)
        await asyncio.sleep(wait)
        for update in updates:
            update(checker, results)
            await asyncio.sleep(wait)
        healthy = {check: checker.healthy(check) for check in checker.states}
        report = checker.report()
        await checker.close()
        return healthy, report

    return asyncio.run(run())


def test_checks_run_and_tell():
    healthy, report = run_checker({"a": config(), "b": config(address="b")}, {"127.0.0.1": True, "b": False})
    assert healthy == {"a": True, "b": False}
    assert report["b"]["last"] == "as told" and report["b"]["checks"] >= 3


def test_a_check_recovers():
    healthy, _report = run_checker({"a": config()}, {"127.0.0.1": False}, [lambda checker, results: results.update({"127.0.0.1": True})])
    assert healthy == {"a": True}


def test_a_changed_check_keeps_its_health_until_results_say_otherwise():
    changed = config(path="/other", threshold=10)
    healthy, _report = run_checker(
        {"a": config()},
        {"127.0.0.1": False},
        [lambda checker, results: (results.update({"127.0.0.1": True}), checker.update({"a": changed}))],
        interval=0.05,
        wait=0.25,
    )
    assert healthy == {"a": False}


def test_a_deleted_check_stops_and_is_healthy():
    healthy, report = run_checker({"a": config()}, {"127.0.0.1": False}, [lambda checker, results: checker.update({})])
    assert healthy == {} and report == {}
    assert Checker().healthy("deleted")


def test_inverted_disabled_and_calculated():
    configs = {
        "inverted": config(inverted=True),
        "disabled": config(address="b", disabled=True),
        "one of two": CheckConfig(type="CALCULATED", children=("sick", "well"), child_threshold=1),
        "two of two": CheckConfig(type="CALCULATED", children=("sick", "well"), child_threshold=2),
        "well": config(),
        "sick": config(address="b"),
    }
    healthy, _report = run_checker(configs, {"127.0.0.1": True, "b": False})
    assert healthy == {"inverted": False, "disabled": True, "one of two": True, "two of two": False, "well": True, "sick": False}


def test_a_probe_that_breaks_is_a_failure_and_not_the_end():
    async def broken(check):
        raise RuntimeError("oops")

    async def run():
        checker = Checker(probe=broken, interval=0.01)
        checker.update({"a": config()})
        await asyncio.sleep(0.1)
        result = checker.healthy("a"), checker.states["a"].checks
        await checker.close()
        return result

    healthy, checks = asyncio.run(run())
    assert not healthy and checks > 3


def test_the_apis_form_is_understood():
    raw = {
        "Type": "HTTPS",
        "IPAddress": "198.18.1.1",
        "FullyQualifiedDomainName": "a.test",
        "RequestInterval": 10,
        "FailureThreshold": 1,
        "EnableSNI": True,
    }
    assert CheckConfig.from_api(raw) == CheckConfig("HTTPS", "198.18.1.1", 443, "/", "a.test", interval=10, threshold=1, sni=True)
