# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what Consul has, plans, and applies."""

from __future__ import annotations

import json
import time
import typing as t
import urllib.parse

from .client import PAUSE_SECONDS, Client
from .errors import ConsulError, InvalidInput, RequestFailed
from .plan import MANAGEMENT, WAN, Current, Desired, Keyring, Plan, Policy, Query, Token, accessor_of, canonical, plan

ALIVE = 1
FORBIDDEN = 403


def desired_from(parameters: dict) -> Desired:
    """The module's options in types; raises InvalidInput."""
    tokens = tuple(
        Token(
            accessor=accessor_of(item["secret"]),
            description=item["description"],
            secret=item["secret"],
            policies=tuple(sorted(item["policies"] or ())),
            node=(item["node"]["name"], item["node"]["datacenter"]) if item["node"] else (),
            services=tuple(sorted(item["services"] or ())),
        )
        for item in parameters["tokens"] or ()
    )
    if len({token.accessor for token in tokens}) != len(tokens):
        raise InvalidInput("Two tokens have the same secret")
    nodes = parameters["nodes"]
    return Desired(
        policies=tuple(Policy(item["name"], item["rules"].strip()) for item in parameters["policies"] or ()),
        tokens=tokens,
        queries=tuple(
            Query(datacenter, item["name"], canonical(_query(item, datacenter, parameters["datacenters"])))
            for item in parameters["queries"] or ()
            for datacenter in parameters["datacenters"]
        ),
        gossip_key=parameters["gossip_key"] or "",
        members=_members(parameters["members"] or ()),
        nodes=None if nodes is None else tuple(nodes),
        prune=parameters["prune"],
    )


def _members(items: list) -> tuple:
    """The hosts of each datacenter's pool, and all servers in the one pool between the datacenters."""
    if not items:
        return ()
    return (*(((item["datacenter"], False), item["agents"]) for item in items), ((WAN, True), sum(item["servers"] for item in items)))


def _query(item: dict, datacenter: str, datacenters: list) -> dict:
    """The nearest that is well, in this datacenter first and then in the others by their distance."""
    others = sorted(name for name in datacenters if name != datacenter)
    return {
        "Service": item["service"],
        "Near": item["near"] or "",
        "NearestN": len(others),
        "Datacenters": others,
        "TTL": item["ttl"],
    }


class Reader:
    """Reads only what the declaration speaks of."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def read(self, desired: Desired, datacenters: list) -> Current:
        policies: dict = {}
        tokens: tuple = ()
        own = ""
        if desired.policies or desired.tokens:
            own = self.client.call("GET", "/v1/acl/token/self")["AccessorID"]
            for item in self.client.call("GET", "/v1/acl/policies"):
                # The list has no rules, and ours are few.
                if item["Name"].startswith("paas-"):
                    whole = self.client.call("GET", f"/v1/acl/policy/{item['ID']}")
                    policies[item["Name"]] = (item["ID"], Policy(item["Name"], whole["Rules"].strip()))
            tokens = tuple(map(_token, self.client.call("GET", "/v1/acl/tokens")))
        return Current(policies, tokens, own, self._queries(datacenters), self._keyrings(desired), self._nodes(desired))

    def _queries(self, datacenters: list) -> dict:
        if not datacenters:
            return {}
        self._wait_for(datacenters)
        found = {}
        for datacenter in datacenters:
            for item in self.client.call("GET", "/v1/query", dc=datacenter) or ():
                if item["Name"]:
                    failover = item["Service"].get("Failover") or {}
                    definition = {
                        "Service": item["Service"]["Service"],
                        "Near": item["Service"].get("Near") or "",
                        "NearestN": failover.get("NearestN") or 0,
                        "Datacenters": failover.get("Datacenters") or [],
                        "TTL": (item.get("DNS") or {}).get("TTL") or "",
                    }
                    found[datacenter, item["Name"]] = (item["ID"], Query(datacenter, item["Name"], canonical(definition)))
        return found

    def _wait_for(self, datacenters: list) -> None:
        while True:
            known = self.client.call("GET", "/v1/catalog/datacenters")
            missing = sorted(set(datacenters) - set(known))
            if not missing:
                return
            if time.monotonic() + PAUSE_SECONDS > self.client.deadline:
                message = (
                    f"The datacenters {', '.join(missing)} have not joined the others. Can their servers reach each other on ports "
                    "8300 and 8302 (TCP, UDP)? A region that is down is left out with paas_absent_regions."
                )
                raise RequestFailed(message, 0, False)
            time.sleep(PAUSE_SECONDS)

    def _keyrings(self, desired: Desired) -> tuple:
        if not desired.gossip_key:
            return ()
        return tuple(
            Keyring(item["Datacenter"], item["WAN"], item["NumNodes"], tuple(sorted(item["Keys"].items())))
            for item in self.client.call("GET", "/v1/operator/keyring")
        )

    def _nodes(self, desired: Desired) -> dict:
        if desired.nodes is None:
            return {}
        nodes = {item["Node"]: False for item in self.client.call("GET", "/v1/catalog/nodes")}
        nodes.update({item["Name"]: item["Status"] == ALIVE for item in self.client.call("GET", "/v1/agent/members")})
        return nodes


def _token(item: dict) -> Token:
    nodes = [(node["NodeName"], node["Datacenter"]) for node in item.get("NodeIdentities") or ()]
    return Token(
        accessor=item["AccessorID"],
        description=item["Description"],
        policies=tuple(sorted(policy["Name"] for policy in item.get("Policies") or ())),
        node=nodes[0] if nodes else (),
        services=tuple(sorted(service["ServiceName"] for service in item.get("ServiceIdentities") or ())),
    )


def apply(client: Client, todo: Plan, gossip_key: str) -> None:
    """In an order that leaves a killed run healable: what is new comes before what goes."""
    for policy, identifier in todo.put_policies:
        client.call("PUT", f"/v1/acl/policy/{identifier}" if identifier else "/v1/acl/policy", {"Name": policy.name, "Rules": policy.rules})
    for token, exists in todo.put_tokens:
        body = {
            "AccessorID": token.accessor,
            "SecretID": token.secret,
            "Description": token.description,
            "Policies": [{"Name": name} for name in token.policies],
            "NodeIdentities": [{"NodeName": token.node[0], "Datacenter": token.node[1]}] if token.node else [],
            "ServiceIdentities": [{"ServiceName": name} for name in token.services],
        }
        client.call("PUT", f"/v1/acl/token/{token.accessor}" if exists else "/v1/acl/token", body)
    if todo.install_key:
        client.call("POST", "/v1/operator/keyring", {"Key": gossip_key})
    if todo.use_key:
        client.call("PUT", "/v1/operator/keyring", {"Key": gossip_key})
    for key in todo.remove_keys:
        client.call("DELETE", "/v1/operator/keyring", {"Key": key})
    for query, identifier in todo.put_queries:
        _put_query(client, query, identifier)
    for query, identifier in todo.delete_queries:
        client.call("DELETE", f"/v1/query/{identifier}", dc=query.datacenter)
    for token in todo.delete_tokens:
        client.call("DELETE", f"/v1/acl/token/{token.accessor}")
    for dummy, identifier in todo.delete_policies:
        client.call("DELETE", f"/v1/acl/policy/{identifier}")
    for name in todo.remove_nodes:
        _remove_node(client, name)


def _put_query(client: Client, query: Query, identifier: str) -> None:
    definition = json.loads(query.definition)
    body = {
        "Name": query.name,
        "Service": {
            "Service": definition["Service"],
            "Near": definition["Near"],
            "Failover": {"NearestN": definition["NearestN"], "Datacenters": definition["Datacenters"]},
        },
        "DNS": {"TTL": definition["TTL"]},
    }
    client.call("PUT" if identifier else "POST", f"/v1/query/{identifier}" if identifier else "/v1/query", body, dc=query.datacenter)


def _remove_node(client: Client, name: str) -> None:
    """Out of the gossip pool, or the leader would register it again, and out of the catalog."""
    try:
        client.call("PUT", f"/v1/agent/force-leave/{urllib.parse.quote(name, safe='')}", prune="1")
    except RequestFailed as error:
        if "No node found" not in str(error):
            raise
    client.call("PUT", "/v1/catalog/deregister", {"Node": name})


def operators_token(path: str) -> str:
    """The operator's token as a configuration file of the agent has it; nothing where there is no file or no token. Raises InvalidInput."""
    try:
        with open(path, encoding="utf-8") as file:
            tokens = (json.load(file).get("acl") or {}).get("tokens") or {}
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, AttributeError) as error:
        raise InvalidInput(f"{path} cannot be read as an agent's configuration: {error}") from error
    # The second word is that of Consul before 1.11.
    return tokens.get("initial_management") or tokens.get("master") or ""


def hand_over(client: Client, former: Client, secret: str, path: str, check_mode: bool) -> list[str]:
    """Have the servers know another operator's token by the former one, as they read their configuration only when a leader is elected.
    The former one goes later as every token that is not declared any more."""

    def knows(asked: Client) -> bool:
        try:
            return bool(asked.call("GET", "/v1/acl/token/self", final=(FORBIDDEN,)))
        except RequestFailed as error:
            if error.status != FORBIDDEN:
                raise
            return False

    if knows(client):
        return []
    if not knows(former):
        raise ConsulError(f"This Consul knows neither the operator's token of the secrets nor the one in {path}. Put the former one into the secrets again")
    if not check_mode:
        body = {"AccessorID": accessor_of(secret), "SecretID": secret, "Description": MANAGEMENT[-1], "Policies": [{"Name": "global-management"}]}
        former.call("PUT", "/v1/acl/token", body)
    return ["operator's token"]


def wait_for(tokens: tuple, client_with: t.Callable[[str], Client], timeout: float) -> None:
    """Until the agent knows all tokens, which takes their replication in datacenters other than the primary one. Raises ConsulError."""
    deadline = time.monotonic() + timeout
    for token in tokens:
        client = client_with(token.secret)
        client.deadline = deadline
        try:
            client.call("GET", "/v1/acl/token/self")
        except RequestFailed as error:
            if error.status != FORBIDDEN:
                raise
            raise ConsulError(
                f"The token {token.description} has not come to this server within {timeout} s. Nothing uses it yet, and the former ones stay valid. "
                "Does /v1/acl/replication tell of an error, and can this server reach those of the primary datacenter on port 8300?"
            ) from error


def run(parameters: dict, check_mode: bool) -> dict:
    """The module's whole work; returns its result."""

    def client_with(token: str) -> Client:
        return Client(parameters["url"], parameters["ca_file"], token, parameters["timeout"])

    desired = desired_from(parameters)
    changes: list = []
    warnings: tuple = ()
    if parameters["await_tokens"]:
        # In check mode nobody has made them.
        if not check_mode:
            wait_for(desired.tokens, client_with, parameters["timeout"])
    elif parameters["former_token_file"]:
        former = operators_token(parameters["former_token_file"])
        if former not in ("", parameters["token"]):
            changes = hand_over(client_with(parameters["token"]), client_with(former), parameters["token"], parameters["former_token_file"], check_mode)
    else:
        changes, warnings = declare(client_with(parameters["token"]), parameters["datacenters"], desired, check_mode)
    return {
        "changed": bool(changes),
        "changes": changes,
        "warnings": list(warnings),
        "diff": {"before": "", "after": "".join(f"{line}\n" for line in changes)},
    }


def declare(client: Client, datacenters: list, desired: Desired, check_mode: bool) -> tuple[list, tuple]:
    """Brings Consul to what is declared; what changed, and what stands against it."""
    reader = Reader(client)
    todo = plan(reader.read(desired, datacenters), desired)
    changes, warnings = todo.changes, todo.warnings
    if not check_mode:
        apply(client, todo, desired.gossip_key)
        if todo.install_key:
            # Whether the old key may go shows only when the new one is everywhere.
            rest = Desired(gossip_key=desired.gossip_key, members=desired.members, nodes=desired.nodes, prune=desired.prune)
            todo = plan(reader.read(rest, []), rest)
            apply(client, todo, desired.gossip_key)
            changes, warnings = changes + todo.changes, todo.warnings
    return changes, warnings
