# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The app against a real primary and follower."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import uuid

import psycopg
import pytest
from cluster import Tap, free_port, wait
from conftest import SECRET

from todomvc import todos
from todomvc.consistency import COOKIE, Position, Signer
from todomvc.database import servers
from todomvc.migrate import migrate, needed_version


def titles(client):
    return [todo["title"] for todo in client.get("/api/todos").json["todos"]]


def test_every_write_is_read_back_at_once(make_app):
    client = make_app().test_client()
    client.get("/")
    for number in range(20):
        title = f"todo {number}"
        made = client.post("/api/todos", json={"title": f"  {title} "})
        assert made.status_code == 201 and made.json["title"] == title
        assert titles(client)[-1] == title
        path = f"/api/todos/{made.json['id']}"
        assert client.patch(path, json={"completed": True}).json["completed"] is True
        assert client.get("/api/todos").json["todos"][-1]["completed"] is True
        assert client.patch(path, json={"title": "other"}).json == {**made.json, "title": "other", "completed": True}
        assert titles(client)[-1] == "other"
        if number % 2:
            assert client.delete(path).status_code == 200
            assert made.json["id"] not in [todo["id"] for todo in client.get("/api/todos").json["todos"]]
    assert len(client.post("/api/todos/toggle-all", json={"completed": False}).json["todos"]) == 10
    assert not any(todo["completed"] for todo in client.get("/api/todos").json["todos"])
    client.post("/api/todos/toggle-all", json={"completed": True})
    assert len(client.post("/api/todos/clear-completed", json={}).json["todos"]) == 10
    assert titles(client) == []


def test_reads_go_to_the_follower_unless_it_has_not_replayed(make_app, cluster):
    client = make_app().test_client()
    client.post("/api/todos", json={"title": "first"})
    cluster.wait_for_follower()
    assert client.get("/whoami").json["database"]["port"] == cluster.follower.port
    cluster.follower.sql("SELECT pg_wal_replay_pause()")
    client.post("/api/todos", json={"title": "second"})
    assert titles(client) == ["first", "second"]
    here = client.get("/whoami").json["database"]
    assert (here["role"], here["port"], here["stale"]) == ("primary", cluster.primary.port, False)
    # Somebody who has written nothing stays with the follower.
    assert make_app().test_client().get("/whoami").json["database"]["role"] == "follower"
    cluster.follower.sql("SELECT pg_wal_replay_resume()")
    wait(lambda: client.get("/whoami").json["database"]["role"] == "follower")
    assert titles(client) == ["first", "second"]


def test_a_node_left_behind_on_the_old_timeline_is_not_trusted(make_app, cluster):
    """Its LSN is far past the write's, but on a timeline that ended."""
    app = make_app(master_database_url=cluster.url(cluster.follower, mode="read-write"), read_database_url=cluster.url(cluster.primary))
    cluster.wait_for_follower()
    cluster.follower.promote()
    wait(lambda: app.extensions["todomvc"].primary.available)
    cluster.primary.sql("CREATE TABLE filler AS SELECT generate_series(1, 100000)")
    client = app.test_client()
    assert client.post("/api/todos", json={"title": "on the new timeline"}).status_code == 201
    assert titles(client) == ["on the new timeline"]
    assert client.get("/whoami").json["database"]["port"] == cluster.follower.port


def test_without_a_primary_reads_go_on_and_writes_are_refused_in_time(make_app, cluster):
    app = make_app()
    client = app.test_client()
    client.post("/api/todos", json={"title": "kept"})
    cluster.wait_for_follower()
    cluster.primary.stop()
    for _unused in range(3):
        begin = time.monotonic()
        refused = client.post("/api/todos", json={"title": "lost"})
        assert time.monotonic() - begin < 3
        assert refused.status_code == 503 and int(refused.headers["Retry-After"]) > 0
    wait(lambda: app.extensions["todomvc"].primary.missing)
    page = client.get("/")
    assert page.status_code == 200 and b"kept" in page.data and b"Read-only for now" in page.data
    assert client.get("/.well-known/region-health").status_code == 200
    assert client.get("/whoami").json["primary"] == "missing"
    assert client.get("/api/todos").headers["X-Read-Only"] == "1"
    # What was written last and has not come over is told from what is there.
    cluster.primary.start()
    wait(lambda: client.post("/api/todos", json={"title": "again"}).status_code == 201)
    assert b"Read-only for now" not in wait(lambda: (p := client.get("/")).headers.get("X-Read-Only") is None and p).data
    assert titles(client) == ["kept", "again"]


def test_a_frozen_primary_is_given_up_in_time_and_its_follower_found_after_promotion(make_app, cluster):
    app = make_app()
    client = app.test_client()
    client.post("/api/todos", json={"title": "before"})
    cluster.wait_for_follower()
    processes = [row[0] for row in cluster.primary.sql("SELECT pid FROM pg_stat_activity")]
    processes.append(int((cluster.primary.folder / "postmaster.pid").read_text().splitlines()[0]))
    for process in processes:
        try:
            os.kill(process, signal.SIGSTOP)
        except ProcessLookupError:
            pass
    try:
        for _unused in range(3):
            begin = time.monotonic()
            assert client.post("/api/todos", json={"title": "frozen"}).status_code == 503
            assert time.monotonic() - begin < 3
        begin = time.monotonic()
        assert client.get("/").status_code == 200
        assert time.monotonic() - begin < 1
        cluster.follower.promote()
        wait(lambda: client.post("/api/todos", json={"title": "after"}).status_code == 201, 30)
        assert "after" in titles(client)
    finally:
        for process in processes:
            try:
                os.kill(process, signal.SIGCONT)
            except ProcessLookupError:
                pass


def test_a_switchover_needs_no_restart(make_app, cluster):
    app = make_app()
    client = app.test_client()
    client.post("/api/todos", json={"title": "one"})
    cluster.primary.stop("fast")
    cluster.follower.promote()
    (cluster.primary.folder / "standby.signal").touch()
    begin = time.monotonic()
    wait(lambda: client.post("/api/todos", json={"title": "two"}).status_code == 201, 20)
    assert titles(client) == ["one", "two"]
    print(f"write again after {time.monotonic() - begin:.2f} s")


def test_a_read_survives_its_follower(make_app, cluster):
    client = make_app().test_client()
    client.get("/")
    cluster.follower.stop()
    begin = time.monotonic()
    assert client.get("/").status_code == 200
    assert client.get("/.well-known/region-health").status_code == 200
    assert time.monotonic() - begin < 3
    cluster.primary.stop()
    assert client.get("/").status_code == 503
    assert client.get("/.well-known/region-health").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_starts_without_any_database(make_app):
    nobody = f"postgresql://todo_rw@127.0.0.1:{free_port()}/todo"
    client = make_app(master_database_url=nobody, read_database_url=nobody).test_client()
    assert client.get("/healthz").status_code == 200
    begin = time.monotonic()
    assert client.get("/").status_code == 503
    assert client.post("/api/todos", json={"title": "x"}).status_code == 503
    assert time.monotonic() - begin < 6


def test_ready_only_with_the_schema_and_little_lag(make_app, cluster):
    client = make_app(lag_limit=1.0).test_client()
    fine = wait(lambda: (r := client.get("/readyz")).status_code == 200 and r)
    assert fine.json["schema"] == needed_version()
    # A newer schema is fine: the release before runs on after a migration.
    cluster.primary.sql("INSERT INTO schema_migration VALUES (999, 'later')", user="todo_owner")
    cluster.wait_for_follower()
    assert client.get("/readyz").status_code == 200
    cluster.primary.sql("DELETE FROM schema_migration WHERE version > 1", user="todo_owner")
    cluster.wait_for_follower()
    behind = client.get("/readyz")
    assert behind.status_code == 503 and "schema" in behind.json["reasons"][0]
    assert client.get("/.well-known/region-health").status_code == 200
    cluster.primary.sql("INSERT INTO schema_migration VALUES (2, 'audit')", user="todo_owner")
    cluster.wait_for_follower()
    cluster.follower.sql("SELECT pg_wal_replay_pause()")
    client.post("/api/todos", json={"title": "not replayed"})
    lagging = wait(lambda: (r := client.get("/readyz")).status_code == 503 and r)
    assert "lag" in lagging.json["reasons"][0]
    assert client.get("/.well-known/region-health").status_code == 200


def ready(client):
    return client.get("/readyz").status_code == 200


def test_not_ready_while_another_region_s_node_serves_the_reads(make_app, cluster):
    client = make_app().test_client()
    wait(lambda: ready(client))
    assert client.get("/readyz").json["database"] == f"127.0.0.1:{cluster.follower.port}"
    cluster.follower.stop()
    away = client.get("/readyz")
    assert away.status_code == 503 and "not the region's own node" in away.json["reasons"][0]
    assert client.get("/.well-known/region-health").status_code == 200 and titles(client) == []
    # Sooner than its connections would come back by their age.
    cluster.follower.start()
    wait(lambda: ready(client), 20)
    assert client.get("/whoami").json["database"]["port"] == cluster.follower.port


def test_ready_on_the_primary_in_its_own_region_and_on_a_promoted_node(make_app, cluster):
    at_home = make_app(read_database_url=cluster.url(cluster.primary, cluster.follower)).test_client()
    elsewhere = make_app().test_client()
    wait(lambda: ready(at_home) and ready(elsewhere))
    cluster.primary.stop()
    cluster.follower.promote()
    wait(lambda: ready(elsewhere))
    assert not ready(at_home)


def test_a_region_may_have_several_nodes_of_its_own(make_app, cluster):
    client = make_app(own_read_nodes=2).test_client()
    wait(lambda: ready(client))
    cluster.follower.stop()
    assert wait(lambda: ready(client))


def test_one_url_for_all_names_no_own_node(make_app, cluster):
    client = make_app(read_database_url=cluster.master_url).test_client()
    assert wait(lambda: ready(client))


def test_the_nodes_that_a_url_names():
    assert servers("postgresql://u:p@10.0.0.1:5433,[fd00::1]:5432/todo?target_session_attrs=any") == [("10.0.0.1", 5433), ("fd00::1", 5432)]
    assert servers("host=a,b dbname=todo") == [("a", 5432), ("b", 5432)]
    assert servers("host=a,b port=6000 dbname=todo") == [("a", 6000), ("b", 6000)]
    assert servers("dbname=todo") == []


def test_one_audit_row_for_each_request_after_its_answer(make_app, cluster):
    client = make_app().test_client()
    session = client.get("/") and None
    client.post("/api/todos", json={"title": "x"}).close()
    client.get("/healthz").close()
    client.get("/api/todos").close()
    rows = wait(
        lambda: len(r := cluster.primary.sql("SELECT method, path, status, region FROM audit ORDER BY id")) >= 2 and r
    )
    time.sleep(0.7)
    rows = cluster.primary.sql("SELECT method, path, status, region FROM audit ORDER BY id")
    assert [row[:3] for row in rows][-2:] == [("POST", "/api/todos", 201), ("GET", "/api/todos", 200)]
    assert "/healthz" not in [row[1] for row in rows]
    assert session is None


def test_sessions_are_private_and_valid_in_every_region(make_app, cluster):
    first, second = make_app(region="us-east-1"), make_app(region="eu-west-1")
    client = first.test_client()
    client.post("/api/todos", json={"title": "mine"})
    other = second.test_client()
    assert titles(other) == []
    for name in ("session", COOKIE):
        other.set_cookie(name, client.get_cookie(name).value)
    assert titles(other) == ["mine"]
    other.set_cookie("session", client.get_cookie("session").value[:-3] + "abc")
    assert titles(other) == []


def test_what_a_write_may_not_be(make_app):
    client = make_app().test_client()
    assert client.post("/api/todos", data={"title": "form"}).status_code == 415
    for body in ({"title": ""}, {"title": "   "}, {"title": "x" * 501}, {"title": 1}, {"title": "a\0b"}, {}, {"title": "x", "id": "no"}):
        assert client.post("/api/todos", json=body).status_code == 422, body
    assert client.post("/api/todos", json={"title": "x"}, headers={"Origin": "https://evil.test"}).status_code == 403
    assert client.patch(f"/api/todos/{uuid.uuid4()}", json={"title": "x"}).status_code == 404
    assert client.delete(f"/api/todos/{uuid.uuid4()}").status_code == 404
    assert client.patch(f"/api/todos/{uuid.uuid4()}", json={"completed": 1}).status_code == 422
    identifier = str(uuid.uuid4())
    for _unused in range(2):
        assert client.post("/api/todos", json={"title": "<b>&</script>", "id": identifier}).status_code == 201
    assert titles(client) == ["<b>&</script>"]
    page = client.get("/").get_data(as_text=True)
    assert "<b>&</script>" not in page and "&lt;b&gt;" in page
    state = page.split('id="state">')[1].split("</script>")[0]
    assert json.loads(state)["todos"][0]["title"] == "<b>&</script>"


def test_assets_are_kept_for_ever_and_pages_are_not(make_app):
    client = make_app().test_client()
    page = client.get("/active")
    assert page.headers["Cache-Control"].startswith("no-cache")
    path = page.get_data(as_text=True).split('stylesheet" href="')[1].split('"')[0]
    assert "immutable" in client.get(path).headers["Cache-Control"]
    # A page of another release, answered by this one.
    assert client.get("/static/app.0123456789ab.css").headers["Cache-Control"] == "no-cache"
    assert client.get("/static/none.css").status_code == 404


def test_migrations_run_once_even_when_many_start_at_once(cluster):
    url = cluster.url(cluster.primary, user="todo_owner")
    cluster.primary.sql("DROP TABLE todo, timeline, audit, schema_migration", user="todo_owner")
    done, errors = [], []

    def run():
        try:
            done.extend(migrate(url))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _unused in range(5)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not errors
    assert [migration.version for migration in done] == list(range(1, needed_version() + 1))
    assert migrate(url) == []


class FakeValkey(threading.Thread):
    """Answers INCR and EXPIRE on a real socket, as far as the limiter needs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.counts = {}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}/0"

    def run(self):
        while True:
            peer, _unused = self.listener.accept()
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        with peer, peer.makefile("rb") as file:
            while line := file.readline():
                words = []
                for _unused in range(int(line[1:])):
                    file.readline()
                    words.append(file.readline().strip())
                if words[0].upper() in (b"INCR", b"INCRBY"):
                    self.counts[words[1]] = self.counts.get(words[1], 0) + 1
                    peer.sendall(b":%d\r\n" % self.counts[words[1]])
                else:
                    peer.sendall(b":1\r\n" if words[0].upper() == b"EXPIRE" else b"+OK\r\n")


def test_the_limit_is_per_session_and_address_and_open_without_valkey(make_app):
    server = FakeValkey()
    server.start()
    app = make_app(valkey_url=server.url, rate_limit=3, rate_limit_window=3600)
    client = app.test_client()
    client.get("/")
    answers = [client.get("/api/todos") for _unused in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert int(answers[3].headers["Retry-After"]) > 0
    assert client.get("/healthz").status_code == 200
    other = app.test_client()
    other.get("/")
    assert other.get("/api/todos").status_code == 200
    open_app = make_app(valkey_url=f"redis://127.0.0.1:{free_port()}/0", rate_limit=1)
    client = open_app.test_client()
    assert [client.get("/").status_code for _unused in range(5)] == [200] * 5


def test_positions_are_signed_and_expire():
    signer = Signer(SECRET, 600)
    position = Position(3, "1A/B374D848")
    assert signer.load(signer.dump(position)) == position
    assert Signer("another", 600).load(signer.dump(position)) == Position(0, "0/0")
    assert Signer(SECRET, -1).load(signer.dump(position)) == Position(0, "0/0")
    assert signer.load("rubbish") == Position(0, "0/0")


@pytest.mark.parametrize("path", ["/", "/active", "/completed"])
def test_pages(make_app, path):
    client = make_app().test_client()
    for title, completed in (("open", False), ("done", True)):
        todo = client.post("/api/todos", json={"title": title}).json
        if completed:
            client.patch(f"/api/todos/{todo['id']}", json={"completed": True})
    page = client.get(path).get_data(as_text=True).split('id="state"')[0]
    assert ("open" in page.split("todo-list")[1].split("</ul>")[0]) == (path != "/completed")
    assert (">done<" in page) == (path != "/active")
    assert "<strong>1</strong> item left" in page


def test_a_write_is_one_round_trip_and_so_is_a_read(cluster):
    tap = Tap(cluster.primary.port)
    session, todo = uuid.uuid4(), uuid.uuid4()
    url = f"postgresql://todo_rw@127.0.0.1:{tap.port}/todo"
    with psycopg.connect(url, autocommit=True) as connection:
        # As often as the driver needs to prepare a statement.
        for _unused in range(8):
            tap.turns = 0
            todos._write(connection, todos.ADD, {"session": session, "id": todo, "title": "it's 100% \\ done"})
            assert tap.turns == 1
            tap.turns = 0
            read = todos._read(connection, todos.LIST, {"session": session, "timeline": 1, "lsn": "0/0"}, Position(1, "0/0"))
            assert tap.turns == 1
            assert [found.title for found in read.todos] == ["it's 100% \\ done"]
