# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""read -> plan -> apply -> verify, and what the module returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from .client import Api
from .errors import ApiError, ConcurrentChange, NotConverged, Route53Error
from .model import Change, Current, Declaration, HealthCheck, Plan
from .planner import batches, diff, plan

ATTEMPTS = 3
DENIED = ("AccessDenied", "AccessDeniedException")


@dataclass
class Applied:
    """What was really done, also when the run ends with an error."""

    changes: list[dict[str, Any]] = field(default_factory=list)
    change_ids: list[str] = field(default_factory=list)

    def summary(self) -> list[str]:
        return [" ".join(str(part) for part in change.values() if part) for change in self.changes]


def _change(change: Change) -> dict[str, Any]:
    action = "delete" if change.action == "DELETE" else "update" if change.before else "create"
    return {"action": action, "name": change.record.name, "type": change.record.type, "set_identifier": change.record.set_identifier}


def _check(action: str, key: Any) -> dict[str, Any]:
    return {"action": action, "name": str(key), "type": "health_check", "set_identifier": None}


def planned_changes(plan_: Plan) -> list[dict[str, Any]]:
    changes = [_check("create", create.config.key) for create in plan_.creates]
    changes += [_check("update", update.config.key) for update in plan_.updates]
    changes += [_change(change) for change in plan_.changes]
    changes += [_check("delete", release.config.key if release.config else release.id) for release in plan_.releases]
    return changes


class Runner:
    def __init__(self, api: Api, declaration: Declaration, wait: bool = False) -> None:
        self.api = api
        self.declaration = declaration
        self.wait = wait
        self.applied = Applied()
        self.warnings: list[str] = list(declaration.warnings)

    def _apply(self, plan_: Plan) -> None:
        scope = self.declaration.scope
        ids: dict[str, str] = {}
        for create in plan_.creates:
            check = self.api.create_check(create.config, scope)
            ids[create.config.placeholder] = check
            self.applied.changes.append(_check("create", create.config.key))
            self.api.tag_check(check, f"{create.name} {create.config.key.address}", create.region)
        for update in plan_.updates:
            self.api.update_check(update)
            self.applied.changes.append(_check("update", update.config.key))
        if plan_.units:
            existing = {reference: (name, config, region) for reference, config, name, region in plan_.used if reference not in ids}
            for check in self.api.untagged(list(existing)):
                name, config, region = existing[check]
                self.api.tag_check(check, f"{name} {config.key.address}", region)
        for batch in batches(plan_.units):
            self.applied.change_ids.append(self.api.change_records(self.declaration.zone, [change.with_check(ids) for change in batch]))
            self.applied.changes += [_change(change) for change in batch]

    def _proven(self, released: Iterable[HealthCheck], planned: Iterable[Change] = ()) -> tuple[HealthCheck, ...]:
        """Those that no record names. Route 53 itself does not refuse to delete a used one."""
        candidates = {check.id: check for check in released}
        if not candidates:
            return ()
        try:
            named = self.api.named_checks(set(candidates), self.declaration.zone, planned)
        except ApiError as error:
            if error.code not in DENIED:
                raise
            kept = ", ".join(str(check.config.key) if check.config else check.id for check in candidates.values())
            self.warnings.append(
                f"health checks that seem unused are kept ({kept}): that no record names them could not be proven, {error.message}. "
                "Allow route53:ListHostedZones, and route53:ListResourceRecordSets on every zone"
            )
            return ()
        return tuple(candidates[check] for check in sorted(candidates) if check not in named)

    def run(self, check_mode: bool = False) -> dict[str, Any]:
        try:
            return self._run(check_mode)
        except Route53Error as error:
            if self.applied.changes:
                error.message += "; applied before that: " + ", ".join(self.applied.summary()) + ". Running it again goes on from there"
            elif not check_mode:
                error.message += "; nothing was changed"
            error.details.setdefault("changes", self.applied.changes)
            error.details.setdefault("change_ids", self.applied.change_ids)
            error.details.setdefault("api_calls", dict(self.api.calls))
            raise

    def _run(self, check_mode: bool) -> dict[str, Any]:
        first = current = self.api.read(self.declaration)
        wanted = shown = plan(current, self.declaration)
        if check_mode or wanted.empty:
            shown = replace(shown, releases=self._proven(wanted.releases, wanted.changes))
            return self._result(first, shown, wanted, planned_changes(shown))
        released: dict[str, HealthCheck] = {}
        for attempt in range(ATTEMPTS):
            released.update((check.id, check) for check in wanted.releases)
            try:
                self._apply(wanted)
                break
            except ConcurrentChange as error:
                # Somebody else was faster, or the checks made in a moment are not known everywhere yet.
                current = self.api.read(self.declaration)
                again = plan(current, self.declaration)
                if attempt == ATTEMPTS - 1 or (again.units == wanted.units and again.creates == wanted.creates and attempt):
                    raise ApiError(error.message, error.code) from error
                wanted = again
        if wanted.units or wanted.creates or wanted.updates:
            rest = plan(self.api.read(self.declaration), self.declaration)
            if rest.creates or rest.updates or rest.units:
                left = ", ".join(" ".join(str(part) for part in change.values() if part) for change in planned_changes(rest))
                raise NotConverged(f"what was read back is not what was written; still to do: {left}")
            wanted = rest
            released.update((check.id, check) for check in rest.releases)
        in_use = {reference for reference, _config, _name, _region in wanted.used}
        proven = self._proven(check for check in released.values() if check.id not in in_use)
        for check in proven:
            self.api.delete_check(check.id)
            self.applied.changes.append(_check("delete", check.config.key if check.config else check.id))
        if self.wait:
            self.api.wait_insync(self.applied.change_ids)
        return self._result(first, replace(shown, releases=proven), wanted, self.applied.changes)

    def _result(self, before: Current, shown: Plan, final: Plan, changes: list[dict[str, Any]]) -> dict[str, Any]:
        text_before, text_after = diff(before, shown)
        return {
            "changed": bool(changes),
            "changes": changes,
            "change_ids": self.applied.change_ids,
            "records": [
                {
                    "name": record.name,
                    "type": record.type,
                    "set_identifier": record.set_identifier,
                    "region": record.region,
                    "values": list(record.values),
                    "alias": record.alias.name if record.alias else None,
                    "ttl": record.ttl,
                    "health_check_id": None if (record.health_check or "").startswith("new:") else record.health_check,
                }
                for record in final.records
            ],
            "health_checks": [
                {
                    "id": None if reference.startswith("new:") else reference,
                    "address": config.key.address,
                    "port": config.key.port,
                    "type": config.key.type,
                    "path": config.key.path,
                    "host": config.key.host,
                    "interval": config.interval,
                    "failure_threshold": config.failure_threshold,
                }
                for reference, config, _name, _region in final.used
            ],
            "zone_id": self.declaration.zone.id,
            "api_calls": dict(sorted(self.api.calls.items())),
            "diff": {"before": text_before, "after": text_after},
        }
