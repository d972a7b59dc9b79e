# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Route 53's health checks, really carried out: one checker, an asyncio task per check."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

LOG = logging.getLogger(__name__)

# https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html
CONNECT_TIMEOUT = 4.0
TCP_CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 2.0
SEARCHED_BYTES = 5120


class Unhealthy(Exception):
    """The endpoint's answer, or the lack of one, in words."""


@dataclass(frozen=True)
class CheckConfig:
    type: str
    address: str | None = None
    port: int | None = None
    path: str = "/"
    host: str | None = None
    search: str | None = None
    interval: int = 30
    threshold: int = 3
    sni: bool = False
    inverted: bool = False
    disabled: bool = False
    children: tuple[str, ...] = ()
    child_threshold: int = 0

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> CheckConfig:
        kind = raw["Type"]
        return cls(
            type=kind,
            address=raw.get("IPAddress") or None,
            port=raw.get("Port") or (443 if kind.startswith("HTTPS") else 80),
            path=raw.get("ResourcePath") or "/",
            host=raw.get("FullyQualifiedDomainName") or None,
            search=raw.get("SearchString") or None,
            interval=int(raw.get("RequestInterval") or 30),
            threshold=int(raw.get("FailureThreshold") or 3),
            # CreateHealthCheck turns SNI on for HTTPS unless told otherwise; the API always says which.
            sni=bool(raw.get("EnableSNI", kind.startswith("HTTPS"))),
            inverted=bool(raw.get("Inverted")),
            disabled=bool(raw.get("Disabled")),
            children=tuple(raw.get("ChildHealthChecks") or ()),
            child_threshold=int(raw.get("HealthThreshold") or 0),
        )


@dataclass
class State:
    """Health changes only after `threshold` consecutive results that say so; a new check counts as healthy."""

    config: CheckConfig
    healthy: bool = True
    streak: int = 0
    checks: int = 0
    since: float = field(default_factory=time.time)
    last: str = "not checked yet"
    last_at: float | None = None

    def record(self, passed: bool, message: str) -> None:
        self.checks += 1
        self.last, self.last_at = message, time.time()
        if passed == self.healthy:
            self.streak = 0
            return
        self.streak += 1
        if self.streak >= self.config.threshold:
            self.healthy, self.streak, self.since = passed, 0, time.time()


async def probe(config: CheckConfig) -> str:
    """One request; the returned text says what was seen, `Unhealthy` why it does not count as healthy."""
    target = config.address or config.host
    if not target:
        raise Unhealthy("neither an address nor a name to ask")
    tls = config.type.startswith("HTTPS")
    context = None
    if tls:
        # Route 53 does not validate certificates.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        # asyncio.timeout, as wait_for of Python 3.11 may swallow a cancellation.
        async with asyncio.timeout(TCP_CONNECT_TIMEOUT if config.type == "TCP" else CONNECT_TIMEOUT):
            reader, writer = await asyncio.open_connection(
                target, config.port, ssl=context, server_hostname=(config.host if config.sni and config.host else "") if tls else None
            )
    except asyncio.TimeoutError:
        raise Unhealthy("no connection in time") from None
    except (OSError, ssl.SSLError) as error:
        raise Unhealthy(f"no connection: {error}") from None
    try:
        if config.type == "TCP":
            return "connected"
        host = config.host or (f"[{target}]" if ":" in target else target)
        if config.port not in (80, 443):
            host = f"{host}:{config.port}"
        request = (
            f"GET {config.path if config.path.startswith('/') else '/' + config.path} HTTP/1.1\r\nHost: {host}\r\n"
            "Connection: close\r\nUser-Agent: Amazon-Route53-Health-Check-Service (lab)\r\nAccept: */*\r\n\r\n"
        )
        try:
            writer.write(request.encode())
            async with asyncio.timeout(ANSWER_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
        except asyncio.TimeoutError:
            raise Unhealthy("no answer in time") from None
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ssl.SSLError, ValueError, IndexError) as error:
            raise Unhealthy(f"not an HTTP answer: {error!r}") from None
        if not 200 <= status < 400:
            raise Unhealthy(f"HTTP status {status}")
        if config.type.endswith("_STR_MATCH"):
            body = b""
            with contextlib.suppress(asyncio.TimeoutError, OSError, ssl.SSLError):
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    while len(body) < SEARCHED_BYTES:
                        more = await reader.read(SEARCHED_BYTES - len(body))
                        if not more:
                            break
                        body += more
            if (config.search or "").encode() not in body:
                raise Unhealthy(f"HTTP status {status}, but the search string is not in the first {SEARCHED_BYTES} bytes")
        return f"HTTP status {status}"
    finally:
        writer.transport.abort()


class Checker:
    """Keeps one task per check alive; `update` is called with every reading of the API."""

    def __init__(self, probe: Callable[[CheckConfig], Awaitable[str]] = probe, interval: float | None = None) -> None:
        self.states: dict[str, State] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._probe = probe
        self._interval = interval

    def update(self, configs: Mapping[str, CheckConfig]) -> None:
        for gone in set(self.states) - set(configs):
            del self.states[gone]
            self._stop(gone)
        for check, config in configs.items():
            state = self.states.get(check)
            if state is not None and state.config == config:
                continue
            self._stop(check)
            # A changed check keeps its health until new results say otherwise.
            self.states[check] = State(config, healthy=state.healthy if state else True, since=state.since if state else time.time())
            if config.type != "CALCULATED" and not config.disabled:
                self._tasks[check] = asyncio.get_running_loop().create_task(self._run(self.states[check]))

    def _stop(self, check: str) -> None:
        task = self._tasks.pop(check, None)
        if task:
            task.cancel()

    async def _run(self, state: State) -> None:
        interval = self._interval or state.config.interval
        while True:
            began = time.monotonic()
            try:
                message, passed = await self._probe(state.config), True
            except Unhealthy as error:
                message, passed = str(error), False
            except Exception as error:  # a checker that dies would leave its last state for ever
                LOG.exception("health check failed in itself")
                message, passed = repr(error), False
            before = state.healthy
            state.record(passed, message)
            if state.healthy != before:
                where = f"{state.config.type} {state.config.address}:{state.config.port} as {state.config.host}"
                LOG.info("%s is %s: %s", where, "healthy" if state.healthy else "unhealthy", message)
            await asyncio.sleep(max(0.0, interval - (time.monotonic() - began)))

    def healthy(self, check: str, depth: int = 0) -> bool:
        state = self.states.get(check)
        if state is None or state.config.disabled or depth > 8:
            return True  # Route 53 treats what it does not check as healthy
        if state.config.type == "CALCULATED":
            result = sum(self.healthy(child, depth + 1) for child in state.config.children) >= state.config.child_threshold
        else:
            result = state.healthy
        return result != state.config.inverted

    def report(self) -> dict[str, Any]:
        return {
            check: {
                "healthy": self.healthy(check),
                "since": state.since,
                "streak": state.streak,
                "checks": state.checks,
                "last": state.last,
                "last_at": state.last_at,
                "type": state.config.type,
                "address": state.config.address,
                "port": state.config.port,
                "path": state.config.path,
                "host": state.config.host,
                "interval": state.config.interval,
                "threshold": state.config.threshold,
            }
            for check, state in self.states.items()
        }

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for check in list(self._tasks):
            self._stop(check)
        await asyncio.gather(*tasks, return_exceptions=True)
