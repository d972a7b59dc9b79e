# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.multiregion.paas.plugins.module_utils._consul.errors import InvalidInput
from ansible_collections.multiregion.paas.plugins.module_utils._consul.plan import (
    Current,
    Desired,
    Keyring,
    Policy,
    Query,
    Token,
    accessor_of,
    plan,
)
from ansible_collections.multiregion.paas.plugins.module_utils._consul.restart import is_back, quorum_problem

SECRET = "7a2f0c0e-0000-4000-8000-000000000001"
DNS = Policy("paas-dns", 'node_prefix "" { policy = "read" }')
TOKEN = Token(accessor_of(SECRET), "paas dns", SECRET, ("paas-dns",))
KNOWN = Token(accessor_of(SECRET), "paas dns", policies=("paas-dns",))
QUERY = Query("a", "postgres-primary", "{}")


def test_everything_is_new():
    todo = plan(Current(), Desired(policies=(DNS,), tokens=(TOKEN,), queries=(QUERY,)))
    assert todo.put_policies == ((DNS, ""),)
    assert todo.put_tokens == ((TOKEN, False),)
    assert todo.put_queries == ((QUERY, ""),)
    assert todo.changes == ["policy paas-dns", "token paas dns", "query postgres-primary in a"]


def test_nothing_to_do():
    current = Current({"paas-dns": ("1", DNS)}, (KNOWN,), "me", {("a", "postgres-primary"): ("2", QUERY)})
    assert plan(current, Desired(policies=(DNS,), tokens=(TOKEN,), queries=(QUERY,), prune=True)).changes == []


def test_what_differs_is_written_over_what_is_there():
    current = Current({"paas-dns": ("1", Policy("paas-dns", "old"))}, (Token(KNOWN.accessor, "paas dns"),))
    todo = plan(current, Desired(policies=(DNS,), tokens=(TOKEN,)))
    assert todo.put_policies == ((DNS, "1"),)
    assert todo.put_tokens == ((TOKEN, True),)


OLD = Token("old", "paas agent gone")
FOREIGN = Token("foreign", "of somebody else")
MASTER = Token("former", "Master Token", policies=("global-management",))


def test_what_is_not_declared_goes_only_at_the_end():
    policies = {"paas-old": ("1", Policy("paas-old", "")), "theirs": ("2", Policy("theirs", ""))}
    queries = {("a", name): (name, Query("a", name, "{}")) for name in ("app-todo", "app-former", "theirs")}
    current = Current(policies, (OLD, FOREIGN, MASTER), "me", queries)
    assert plan(current, Desired()).changes == []
    todo = plan(current, Desired(queries=(Query("a", "app-todo", "{}"),), prune=True))
    assert [identifier for dummy, identifier in todo.delete_queries] == ["app-former"]
    assert "query app-former in a removed" in todo.changes
    assert todo.delete_tokens == (OLD, MASTER)
    assert todo.delete_policies == (("paas-old", "1"),)


def test_the_token_that_asks_stays():
    todo = plan(Current(tokens=(MASTER,), own_accessor="former"), Desired(prune=True))
    assert todo.delete_tokens == ()


def test_another_secret_is_another_token():
    other = "7a2f0c0e-0000-4000-8000-000000000002"
    assert accessor_of(other) != accessor_of(SECRET)
    assert SECRET not in accessor_of(SECRET)
    todo = plan(Current(tokens=(KNOWN,), own_accessor="me"), Desired(tokens=(Token(accessor_of(other), "paas dns", other, ("paas-dns",)),), prune=True))
    assert [token.accessor for token, dummy in todo.put_tokens] == [accessor_of(other)]
    assert todo.delete_tokens == (KNOWN,)


def test_a_token_that_is_no_uuid():
    with pytest.raises(InvalidInput, match="no UUID"):
        accessor_of("secret")


def test_no_secret_is_shown():
    desired = Desired(tokens=(TOKEN,), gossip_key="KEY")
    assert SECRET not in repr(desired)
    assert "KEY" not in repr(desired)
    assert "OLD" not in repr(plan(Current(keyrings=(ring({"OLD": 1, "KEY": 1}, 1),)), Desired(gossip_key="KEY", prune=True)))


def ring(keys, members, wan=False):
    return Keyring("a", wan, members, tuple(keys.items()))


MEMBERS = ((("a", False), 3), (("", True), 1))


@pytest.mark.parametrize(
    ("rings", "prune", "install", "use", "removed", "warned"),
    [
        # All have it, and nothing else.
        ([ring({"new": 3}, 3), ring({"new": 1}, 1, True)], True, False, False, 0, False),
        # A rotation: put it everywhere, use it; the old one goes in a later plan, when all are seen to have it.
        ([ring({"old": 3}, 3), ring({"old": 1}, 1, True)], True, True, True, 0, True),
        ([ring({"old": 3, "new": 3}, 3), ring({"old": 1, "new": 1}, 1, True)], True, False, True, 1, False),
        ([ring({"old": 3, "new": 3}, 3), ring({"old": 1, "new": 1}, 1, True)], False, False, True, 0, False),
        # Somebody has missed it.
        ([ring({"old": 3, "new": 2}, 3), ring({"old": 1, "new": 1}, 1, True)], True, True, True, 0, True),
        # Somebody is away.
        ([ring({"old": 2, "new": 2}, 2), ring({"old": 1, "new": 1}, 1, True)], True, False, True, 0, True),
    ],
)
def test_rotating_the_gossip_key(rings, prune, install, use, removed, warned):
    todo = plan(Current(keyrings=tuple(rings)), Desired(gossip_key="new", members=MEMBERS, prune=prune))
    assert (todo.install_key, todo.use_key, len(todo.remove_keys), bool(todo.warnings)) == (install, use, removed, warned)


def test_nodes_follow_the_inventory():
    current = Current(nodes={"here": True, "gone": False, "down": False, "stray": True})
    todo = plan(current, Desired(nodes=("here", "down")))
    assert todo.remove_nodes == ("gone",)
    assert todo.warnings == ("Node stray is not in the inventory, but its agent runs: stop it there.",)
    assert plan(current, Desired()).remove_nodes == ()


def health(*servers):
    return {"Servers": [{"Name": name, "Healthy": healthy, "Voter": voter, "Leader": leader} for name, healthy, voter, leader in servers]}


@pytest.mark.parametrize(
    ("servers", "allowed"),
    [
        ([("me", True, True, True)], True),
        ([("me", True, True, False), ("b", True, True, True), ("c", True, True, False)], True),
        ([("me", True, True, False), ("b", True, True, True), ("c", False, True, False)], False),
        # The ill one itself may be restarted.
        ([("me", False, True, False), ("b", True, True, True), ("c", True, True, False)], True),
        ([("me", True, True, True), ("b", True, True, False)], False),
        # One that has no vote yet costs nothing.
        ([("me", True, False, False), ("b", True, True, True), ("c", False, True, False)], True),
        ([], False),
    ],
)
def test_who_may_be_restarted(servers, allowed):
    assert (quorum_problem(health(*servers), "me") == "") == allowed


def test_the_refusal_names_who_is_ill():
    problem = quorum_problem(health(("me", True, True, True), ("b", False, True, False), ("c", True, True, False)), "me")
    assert "only 1 of 3" in problem
    assert "not healthy: b" in problem


def test_nobody_has_looked_yet():
    assert quorum_problem({"Servers": None}, "me") != ""
    assert not is_back({"Servers": None}, "me")


def test_back_is_healthy_with_a_leader():
    assert is_back(health(("me", True, True, False), ("b", True, True, True)), "me")
    assert not is_back(health(("me", True, True, False), ("b", True, True, False)), "me")
    assert not is_back(health(("me", False, True, False), ("b", True, True, True)), "me")
