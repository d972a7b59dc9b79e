# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change in Consul. Pure: no I/O."""

from __future__ import annotations

import dataclasses
import json
import uuid

from .errors import InvalidInput

# Tokens and policies that begin so are ours, and go when they are not declared any more.
OWN = "paas"
# So do prepared queries, which have nothing but a name.
OWN_QUERIES = ("app-", "postgres-")
# The pool between the datacenters is one, whichever of them answers for it.
WAN = ""
# What a server itself calls the operator's token that it creates.
MANAGEMENT = ("Master Token", "Initial Management Token")


@dataclasses.dataclass(frozen=True)
class Policy:
    name: str
    rules: str


@dataclasses.dataclass(frozen=True)
class Token:
    """A token by its accessor, which is made from the secret: another secret is another token."""

    accessor: str
    description: str
    secret: str = dataclasses.field(default="", repr=False, compare=False)
    policies: tuple = ()
    node: tuple = ()
    services: tuple = ()


@dataclasses.dataclass(frozen=True)
class Query:
    """A prepared query of one datacenter; definition is JSON with sorted keys, so that it compares."""

    datacenter: str
    name: str
    definition: str


@dataclasses.dataclass(frozen=True)
class Keyring:
    """One gossip pool of one datacenter: how many of its members hold each key."""

    datacenter: str
    wan: bool
    members: int
    keys: tuple


@dataclasses.dataclass(frozen=True)
class Desired:
    policies: tuple = ()
    tokens: tuple = ()
    queries: tuple = ()
    gossip_key: str = dataclasses.field(default="", repr=False)
    # Members that a pool must at least have before an old key may go: (datacenter, wan) -> number.
    members: tuple = ()
    nodes: tuple | None = None
    prune: bool = False


@dataclasses.dataclass(frozen=True)
class Current:
    policies: dict = dataclasses.field(default_factory=dict)
    tokens: tuple = ()
    own_accessor: str = ""
    queries: dict = dataclasses.field(default_factory=dict)
    keyrings: tuple = ()
    # Nodes of the catalog and of the gossip pool: name -> alive.
    nodes: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Plan:
    put_policies: tuple = ()
    put_tokens: tuple = ()
    delete_tokens: tuple = ()
    delete_policies: tuple = ()
    put_queries: tuple = ()
    delete_queries: tuple = ()
    install_key: bool = False
    use_key: bool = False
    remove_keys: tuple = dataclasses.field(default=(), repr=False)
    remove_nodes: tuple = ()
    warnings: tuple = ()

    @property
    def changes(self) -> list[str]:
        """One line a change, without a secret. Making an installed key the primary one is none: it cannot be asked."""
        lines = [f"policy {policy.name}" for policy, dummy in self.put_policies]
        lines += [f"token {token.description}" for token, dummy in self.put_tokens]
        lines += [f"query {query.name} in {query.datacenter}" for query, dummy in self.put_queries]
        lines += [f"query {query.name} in {query.datacenter} removed" for query, dummy in self.delete_queries]
        lines += ["gossip key installed"] if self.install_key else []
        lines += ["old gossip key removed"] * len(self.remove_keys)
        lines += [f"token {token.description} removed" for token in self.delete_tokens]
        lines += [f"policy {name} removed" for name, dummy in self.delete_policies]
        lines += [f"node {name} removed" for name in self.remove_nodes]
        return lines


def accessor_of(secret: str) -> str:
    """The public name of a token, made from its secret so that nothing has to be written down."""
    try:
        return str(uuid.uuid5(uuid.UUID(secret), "accessor"))
    except ValueError as error:
        raise InvalidInput("A Consul token is no UUID: run playbooks/init_secrets.yml, which makes such tokens") from error


def canonical(definition: dict) -> str:
    return json.dumps(definition, sort_keys=True)


def plan(current: Current, desired: Desired) -> Plan:
    """What makes current desired; removes only with desired.prune, and never the token that asks."""
    tokens = {token.accessor: token for token in current.tokens}
    wanted = {token.accessor for token in desired.tokens} | {current.own_accessor}
    put_policies = tuple(
        (policy, current.policies.get(policy.name, ("", None))[0])
        for policy in desired.policies
        if current.policies.get(policy.name, ("", None))[1] != policy
    )
    put_tokens = tuple((token, token.accessor in tokens) for token in desired.tokens if tokens.get(token.accessor) != token)
    put_queries = tuple(
        (query, current.queries.get((query.datacenter, query.name), ("", None))[0])
        for query in desired.queries
        if current.queries.get((query.datacenter, query.name), ("", None))[1] != query
    )
    delete_tokens: tuple = ()
    delete_policies: tuple = ()
    delete_queries: tuple = ()
    if desired.prune:
        delete_tokens = tuple(
            token
            for token in current.tokens
            if token.accessor not in wanted and (token.description.startswith(f"{OWN} ") or token.description in MANAGEMENT)
        )
        names = {policy.name for policy in desired.policies}
        delete_policies = tuple(
            (name, found[0]) for name, found in sorted(current.policies.items()) if name.startswith(f"{OWN}-") and name not in names
        )
        declared = {(query.datacenter, query.name) for query in desired.queries}
        delete_queries = tuple(
            (query, identifier) for key, (identifier, query) in sorted(current.queries.items()) if key not in declared and key[1].startswith(OWN_QUERIES)
        )
    install, use, remove, warnings = _gossip(current, desired)
    alive, gone = [], []
    if desired.nodes is not None:
        for name, lives in sorted(current.nodes.items()):
            if name not in desired.nodes:
                (alive if lives else gone).append(name)
    warnings += tuple(f"Node {name} is not in the inventory, but its agent runs: stop it there." for name in alive)
    return Plan(put_policies, put_tokens, delete_tokens, delete_policies, put_queries, delete_queries, install, use, remove, tuple(gone), warnings)


def _gossip(current: Current, desired: Desired) -> tuple:
    """Whether to install the key, to use it, which others to remove, and what stands against it."""
    key = desired.gossip_key
    if not key:
        return False, False, (), ()
    install = any(dict(ring.keys).get(key, 0) < ring.members for ring in current.keyrings)
    others = tuple(sorted({name for ring in current.keyrings for name, dummy in ring.keys if name != key}))
    if not others:
        return install, install, (), ()
    if not desired.prune:
        return install, True, (), ()
    rings = {(WAN if ring.wan else ring.datacenter, ring.wan): ring for ring in current.keyrings}
    away = [
        "the pool of all servers" if wan else datacenter
        for (datacenter, wan), members in desired.members
        if (datacenter, wan) not in rings or dict(rings[datacenter, wan].keys).get(key, 0) < members
    ]
    if away:
        return install, True, (), (f"The old gossip key stays until every host has the new one; some are away in {', '.join(away)}.",)
    return install, True, others, ()
