# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page and its JSON interface."""

from __future__ import annotations

import json
import logging
import time
import uuid
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
from flask import Flask, Response, g, redirect, render_template, request, session
from flask.sessions import SecureCookieSessionInterface
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, NotFound, UnprocessableEntity, UnsupportedMediaType
from werkzeug.middleware.proxy_fix import ProxyFix

from . import health
from .assets import Assets
from .audit import Row
from .consistency import COOKIE, NOTHING, Position, newest
from .database import Unavailable
from .services import Services
from .settings import Settings, from_environment
from .todos import ReadOnly, Served, Todo, Written

log = logging.getLogger(__name__)
FILTERS = {"all": "/", "active": "/active", "completed": "/completed"}
TITLE_LENGTH = 500
# What machines ask all day is neither limited nor recorded.
UNRECORDED = ("/healthz", "/readyz", "/.well-known/", "/static/", "/favicon.ico")
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)


class SessionInterface(SecureCookieSessionInterface):
    """Secure wherever the browser came by HTTPS; during development it does not."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def create_app(settings: Settings | None = None) -> Flask:
    settings = settings or from_environment()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    # The pool tells every failed attempt; the probe tells once when the primary goes and when it is back.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    app = Flask(__name__, static_folder=None)
    app.config.update(
        SECRET_KEY=settings.session_secret,
        SESSION_COOKIE_NAME="session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=timedelta(days=365),
        MAX_CONTENT_LENGTH=64 * 1024,
    )
    app.session_interface = SessionInterface()
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    services = Services(settings)
    app.extensions["todomvc"] = services
    assets = Assets()
    app.jinja_env.globals.update(asset=assets.path, filters=FILTERS)
    app.register_blueprint(health.blueprint)
    _hooks(app, services)
    _page(app, services)
    _interface(app, services)

    @app.get("/static/<name>")
    def static(name: str) -> Response:
        found = assets.find(name)
        if found is None:
            raise NotFound
        asset, cache = found
        response = Response(asset.content, content_type=asset.content_type)
        response.headers["Cache-Control"] = cache
        return response

    @app.get("/favicon.ico")
    def favicon() -> Response:
        return redirect(assets.path("icon.svg"), 302)

    @app.get("/whoami")
    def whoami() -> Any:
        """Where this answer comes from, and which database node a read of this session is served by."""
        body = {"region": settings.region, "host": settings.host, "release": settings.release}
        served = services.todos.served(_written(services))
        body["database"] = asdict(served)
        replayed = served.replayed if served.role == "follower" else None
        lag = 0.0 if replayed is None else services.primary.lag(replayed)
        if lag is None:
            lag = services.reader.run(health.lag_of, settings.read_deadline)
        body["lag_seconds"] = lag if lag is None else round(lag, 3)
        body["primary"] = {None: "unknown", True: "available", False: "missing"}[services.primary.available]
        return body

    services.start()
    return app


def _page(app: Flask, services: Services) -> None:
    def page(shown: str) -> Response:
        read = services.todos.list(_session(), _written(services))
        g.served = read.served
        todos = [_json(todo) for todo in read.todos]
        state = {"todos": todos, "filter": shown, "readOnly": services.primary.missing}
        html = render_template(
            "index.html",
            todos=todos,
            active=sum(not todo["completed"] for todo in todos),
            shown=shown,
            read_only=services.primary.missing,
            settings=services.settings,
            # Inside a script element: no end tag, no comment may begin.
            state=json.dumps(state).replace("<", "\\u003c"),
        )
        return Response(html, content_type="text/html; charset=utf-8")

    for shown, path in FILTERS.items():
        app.add_url_rule(path, f"page_{shown}", page, defaults={"shown": shown}, methods=["GET"])


def _interface(app: Flask, services: Services) -> None:
    todos = services.todos

    @app.get("/api/todos")
    def list_todos() -> Any:
        read = todos.list(_session(), _written(services))
        g.served = read.served
        return {"todos": [_json(todo) for todo in read.todos], "stale": read.served.stale}

    @app.post("/api/todos")
    def add() -> Any:
        body = _body()
        try:
            identifier = uuid.UUID(str(body.get("id") or uuid.uuid4()))
        except ValueError as error:
            raise UnprocessableEntity("id is not a UUID.") from error
        return _answer(todos.add(_session(), identifier, _title(body)), 201)

    @app.patch("/api/todos/<uuid:identifier>")
    def change(identifier: uuid.UUID) -> Any:
        body = _body()
        title = _title(body) if "title" in body else None
        completed = _completed(body) if "completed" in body else None
        return _answer(todos.change(_session(), identifier, title, completed))

    @app.delete("/api/todos/<uuid:identifier>")
    def remove(identifier: uuid.UUID) -> Any:
        return _answer(todos.remove(_session(), identifier))

    @app.post("/api/todos/toggle-all")
    def toggle_all() -> Any:
        return _answer(todos.toggle_all(_session(), _completed(_body())), many=True)

    @app.post("/api/todos/clear-completed")
    def clear_completed() -> Any:
        return _answer(todos.clear_completed(_session()), many=True)

    def _answer(written: Written, status: int = 200, many: bool = False) -> Any:
        g.written = written.position
        if many:
            return {"todos": [_json(todo) for todo in written.todos]}, status
        if not written.todos:
            raise NotFound("There is no such todo.")
        return _json(written.todos[0]), status


def _hooks(app: Flask, services: Services) -> None:
    settings = services.settings

    @app.before_request
    def begin() -> Any:
        g.started = time.perf_counter()
        if request.path.startswith(UNRECORDED):
            return None
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            # The session's cookie is SameSite=Lax; this also stops what a browser calls the same site.
            origin = request.headers.get("Origin")
            if origin and origin.partition("://")[2] != request.host:
                raise Forbidden("The request comes from another site.")
        seconds = services.limiter.wait(session.get("id", ""), request.remote_addr or "")
        if seconds:
            return _problem(429, "Too many requests.", seconds)
        return None

    @app.after_request
    def end(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Cache-Control", "no-cache, private" if response.mimetype == "text/html" else "no-store")
        headers["X-Content-Type-Options"] = "nosniff"
        headers["X-Region"] = settings.region
        headers["X-Host"] = settings.host
        if response.mimetype == "text/html":
            headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
            headers["Referrer-Policy"] = "same-origin"
        if services.primary.missing:
            headers["X-Read-Only"] = "1"
        milliseconds = (time.perf_counter() - g.started) * 1000 if "started" in g else 0.0
        served: Served | None = g.get("served")
        detail = f", read;desc={served.role}" if served else ""
        headers["Server-Timing"] = f"app;dur={milliseconds:.1f}{detail}"
        if "written" in g:
            position: Position = newest(g.written, _written(services))
            response.set_cookie(
                COOKIE,
                services.signer.dump(position),
                max_age=settings.written_max_age,
                httponly=True,
                secure=request.is_secure,
                samesite="Lax",
            )
        if not request.path.startswith(UNRECORDED):
            row = Row(
                at=datetime.now(timezone.utc),
                session_id=uuid.UUID(session["id"]) if "id" in session else None,
                method=request.method,
                path=request.path[:200],
                status=response.status_code,
                milliseconds=milliseconds,
                region=settings.region,
                host=settings.host,
            )
            # Called by the server when the whole answer has been sent.
            response.call_on_close(lambda: services.audit.record(row))
        return response

    @app.errorhandler(ReadOnly)
    def read_only(error: ReadOnly) -> Any:
        log.warning("A write was refused: %s", error)
        return _problem(503, "Read-only for now: there is no primary database to write to.", settings.retry_after)

    @app.errorhandler(Unavailable)
    def unavailable(error: Unavailable) -> Any:
        log.error("A read failed: %s", error)
        return _problem(503, "No database answers at present.", settings.retry_after)

    @app.errorhandler(psycopg.errors.UndefinedTable)
    def unmigrated(error: psycopg.Error) -> Any:
        log.error("The schema is older than this release: %s", error)
        return _problem(503, "The database is not ready for this release yet.", settings.retry_after)

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Any:
        return _problem(error.code or 500, error.description or error.name)


def _problem(status: int, text: str, retry_after: int | None = None) -> Response:
    if request.path.startswith("/api/") or request.path == "/whoami" or not request.accept_mimetypes.accept_html:
        response = Response(json.dumps({"error": text}) + "\n", status, content_type="application/json")
    else:
        response = Response(render_template("problem.html", status=status, text=text), status)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _session() -> uuid.UUID:
    """The session's identifier, made at the first visit; its cookie is signed, so it is ours."""
    if "id" not in session:
        session["id"] = str(uuid.uuid4())
        session.permanent = True
    return uuid.UUID(session["id"])


def _written(services: Services) -> Position:
    text = request.cookies.get(COOKIE)
    return services.signer.load(text) if text else NOTHING


def _json(todo: Todo) -> dict[str, Any]:
    return {"id": str(todo.id), "title": todo.title, "completed": todo.completed}


def _body() -> dict[str, Any]:
    # A form of another site cannot send this type.
    if not request.is_json:
        raise UnsupportedMediaType("Send application/json.")
    body = request.get_json()
    if not isinstance(body, dict):
        raise BadRequest("Send an object.")
    return body


def _title(body: dict[str, Any]) -> str:
    title = body.get("title")
    if not isinstance(title, str) or not 0 < len(title.strip()) <= TITLE_LENGTH or "\x00" in title:
        raise UnprocessableEntity(f"title must be a text of 1 to {TITLE_LENGTH} characters.")
    return title.strip()


def _completed(body: dict[str, Any]) -> bool:
    if not isinstance(body.get("completed"), bool):
        raise UnprocessableEntity("completed must be true or false.")
    return body["completed"]
