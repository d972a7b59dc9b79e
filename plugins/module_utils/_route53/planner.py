# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure part: from what is there and what is declared to what has to be done, in which order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from .errors import PolicyConflict
from .model import FAMILIES, Alias, Change, CheckConfig, CheckCreate, CheckUpdate, Current, Declaration, HealthCheck, Plan, RecordSet
from .names import regional, regional_label

# Record sets of these types answer, or stand in the way of, a latency-routed name.
TYPES = (*FAMILIES, "CNAME")

# A batch holds at most 1,000 ResourceRecord elements and 32,000 characters of values.
MAX_ELEMENTS = 1000
MAX_CHARACTERS = 32000


def families(declaration: Declaration) -> tuple[str, ...]:
    """A where any endpoint has IPv4; AAAA only where all have IPv6, as the two are steered apart."""
    chosen = []
    if any(endpoint.serves("A") for endpoint in declaration.endpoints):
        chosen.append("A")
    everyone = all(endpoint.serves("AAAA") for endpoint in declaration.endpoints)
    if declaration.endpoints and (everyone or (not chosen and any(endpoint.serves("AAAA") for endpoint in declaration.endpoints))):
        chosen.append("AAAA")
    return tuple(chosen)


class _Checks:
    """Which check each address uses: ours that fits, ours that can be updated to fit, or a new one."""

    def __init__(self, declaration: Declaration, current: Current) -> None:
        self.declaration = declaration
        referred = {record.health_check for record in current.records if record.health_check}
        self.ours = [check for check in current.checks if check.ours]
        self.by_immutable: dict[tuple[object, ...], HealthCheck] = {}
        # With several that fit, the one in use stays; otherwise the same one every time.
        for check in sorted(self.ours, key=lambda check: (check.id not in referred, check.id)):
            if check.config is not None:
                self.by_immutable.setdefault(check.config.immutable, check)
        self.creates: dict[str, CheckCreate] = {}
        self.updates: dict[str, CheckUpdate] = {}
        self.used: dict[str, tuple[CheckConfig, str, str]] = {}

    def reference(self, address: str, name: str, region: str) -> Optional[str]:
        """What a record with this address names: an id, or a placeholder for a check to be made."""
        if self.declaration.check is None:
            return None
        config = self.declaration.check.at(address)
        existing = self.by_immutable.get(config.immutable)
        if existing is None:
            self.creates.setdefault(config.placeholder, CheckCreate(config, name, region))
            self.used.setdefault(config.placeholder, (config, name, region))
            return config.placeholder
        if existing.config != config:
            self.updates.setdefault(existing.id, CheckUpdate(existing.id, existing.version, existing.config, config))
        self.used.setdefault(existing.id, (config, name, region))
        return existing.id


def _desired(declaration: Declaration, name: str, checks: _Checks) -> tuple[list[RecordSet], list[RecordSet]]:
    """The latency sets of one name, and the sets of its regional names."""
    latency: list[RecordSet] = []
    below: list[RecordSet] = []
    for rdtype in families(declaration):
        for endpoint in declaration.endpoints:
            if not endpoint.serves(rdtype):
                continue
            target, addresses = endpoint.target, endpoint.of_family(rdtype)
            alias = Alias(target.zone_id, target.name, target.evaluate_health) if target else None
            if declaration.regional_names:
                own = regional(endpoint.label, name)
                if alias:
                    below.append(RecordSet(own, rdtype, alias=alias))
                for address in addresses:
                    below.append(
                        RecordSet(
                            own,
                            rdtype,
                            set_identifier=address,
                            ttl=declaration.ttl,
                            values=(address,),
                            multivalue=True,
                            health_check=checks.reference(address, own, endpoint.region),
                        )
                    )
                latency.append(
                    RecordSet(
                        name, rdtype, set_identifier=endpoint.label, region=endpoint.region, alias=Alias(declaration.zone.id, own, True)
                    )
                )
            elif alias:
                latency.append(RecordSet(name, rdtype, set_identifier=endpoint.label, region=endpoint.region, alias=alias))
            else:
                latency.append(
                    RecordSet(
                        name,
                        rdtype,
                        set_identifier=endpoint.label,
                        region=endpoint.region,
                        ttl=declaration.ttl,
                        values=addresses,
                        health_check=checks.reference(addresses[0], name, endpoint.region),
                    )
                )
    return latency, below


def _is_latency(record: RecordSet) -> bool:
    return record.region is not None and record.type in FAMILIES


def _stands_in_the_way(present: RecordSet, wanted: Iterable[RecordSet]) -> bool:
    """Another policy at the same name and type, or a CNAME at the name, excludes what is wanted."""
    return any(
        present.type == "CNAME" or (present.type == record.type and present.policy.split()[0] != record.policy.split()[0])
        for record in wanted
    )


def _refuse_policies(declaration: Declaration, conflicts: list[RecordSet]) -> None:
    if conflicts and not declaration.replace_policy:
        standing = "; ".join(describe(record) for record in conflicts)
        raise PolicyConflict(
            f"other records stand where latency records should be: {standing}. replace_policy=true migrates them in the same batch",
            records=[describe(record) for record in conflicts],
        )


def _unit(present: list[RecordSet], wanted: list[RecordSet], purge: bool, conflicts: list[RecordSet]) -> tuple[Change, ...]:
    """One atomic step for one name: deletions first, as two sets of one region or policy cannot be side by side."""
    before = {record.key: record for record in present}
    keys = {record.key for record in wanted}
    regions = {record.region for record in wanted if record.region}
    identifiers = {record.set_identifier for record in wanted if record.region}
    removed: list[RecordSet] = []
    for record in present:
        in_the_way = record in conflicts
        # A set of a wanted region is that endpoint's: renamed, or of a family that it has not any more. So is one with its identifier.
        listed = record.region is not None and (record.region in regions or record.set_identifier in identifiers)
        # A set that changes its region may have to leave before another can take that region.
        moved = record.key in keys and any(want.key == record.key and want.region != record.region for want in wanted)
        if in_the_way or moved or (record.key not in keys and (purge or listed)):
            removed.append(record)
    gone = {record.key for record in removed}
    changes = [Change("DELETE", record) for record in removed]
    for record in wanted:
        old = before.get(record.key)
        if record.key in gone or old != record:
            changes.append(Change("UPSERT", record, old))
    return tuple(changes)


def _only_removals(
    units: list[tuple[Change, ...]], wanted: list[RecordSet], conflicts: list[RecordSet], current: Current
) -> tuple[tuple[Change, ...], ...]:
    """Of the steps what takes something out of the answer, as long as something that stays answers in its place."""
    present = {record.key for record in current.records}
    staying = {record.key for record in wanted}
    answering = {(record.name, record.type) for record in wanted if record.key in present}
    # A set under another identifier is the former form of one that is still to come.
    arriving = {(record.name, record.type, record.region) for record in wanted if record.region and record.key not in present}
    leaving = [
        change
        for unit in units
        for change in unit
        if change.action == "DELETE" and change.record.key not in staying and change.record not in conflicts
    ]
    allowed = {
        change.record.key
        for change in leaving
        if (change.record.name, change.record.type) in answering
        and (change.record.name, change.record.type, change.record.region) not in arriving
    }
    # The regional name of a region that is gone: nothing may point to it any more.
    targets = {record.alias.name for record in current.records if record.alias and record.key not in allowed}
    names = {record.name for record in wanted}
    allowed |= {change.record.key for change in leaving if change.record.name not in names and change.record.name not in targets}
    steps = (tuple(change for change in unit if change in leaving and change.record.key in allowed) for unit in units)
    return tuple(step for step in steps if step)


def plan(current: Current, declaration: Declaration) -> Plan:
    """What leads from `current` to `declaration`; an empty plan when it is reached."""
    checks = _Checks(declaration, current)
    units: list[tuple[Change, ...]] = []
    conflicts: list[RecordSet] = []
    records: list[RecordSet] = []
    released: set[str] = set()
    at_name: dict[str, list[RecordSet]] = {}
    for record in current.records:
        at_name.setdefault(record.name, []).append(record)

    leftovers = _leftovers(declaration, current)
    for name in declaration.names:
        latency, below = _desired(declaration, name, checks) if declaration.present else ([], [])
        records += latency + below
        here = at_name.get(name, [])
        in_the_way = [record for record in here if _stands_in_the_way(record, latency)]
        conflicts += in_the_way
        purge = declaration.purge or not declaration.present
        managed = [record for record in here if _is_latency(record) or record in in_the_way]
        switch = _unit(managed, latency, purge, in_the_way)

        additions: list[tuple[Change, ...]] = []
        removals: list[tuple[Change, ...]] = []
        by_name: dict[str, list[RecordSet]] = {}
        for record in below:
            by_name.setdefault(record.name, []).append(record)
        for regional_name, wanted in by_name.items():
            there = at_name.get(regional_name, [])
            in_the_way = [record for record in there if _stands_in_the_way(record, wanted)]
            conflicts += [record for record in in_the_way if not _is_regional(record)]
            managed = [record for record in there if _is_regional(record) or record in in_the_way]
            # What has no successor of its type leaves only after the latency set that points to it.
            succeeded = {record.type for record in wanted}
            last = [record for record in managed if record.type not in succeeded and record not in in_the_way]
            additions.append(_unit([record for record in managed if record not in last], wanted, True, in_the_way))
            removals.append(tuple(Change("DELETE", record) for record in last))
        if purge:
            for gone in sorted((_former_regional_names(declaration, name, here) | leftovers.get(name, set())) - set(by_name)):
                removals.append(tuple(Change("DELETE", record) for record in at_name.get(gone, []) if _is_regional(record)))
        units += _steps(additions, switch, removals)
    _refuse_policies(declaration, conflicts)

    if declaration.only_remove:
        return Plan(units=_only_removals(units, records, conflicts, current), records=tuple(records))
    if declaration.purge or not declaration.present:
        released = _released(current, declaration, units, set(checks.used))
    return Plan(
        creates=tuple(checks.creates[key] for key in sorted(checks.creates)),
        updates=tuple(checks.updates[key] for key in sorted(checks.updates)),
        units=tuple(units),
        releases=tuple(check for check in sorted(checks.ours, key=lambda check: check.id) if check.id in released),
        used=tuple((reference, *details) for reference, details in sorted(checks.used.items())),
        records=tuple(records),
    )


def _steps(additions: list[tuple[Change, ...]], switch: tuple[Change, ...], removals: list[tuple[Change, ...]]) -> list[tuple[Change, ...]]:
    """One name in one step if a batch can hold it; otherwise targets before what points to them, and removals last."""
    parts = [part for part in (*additions, switch, *removals) if part]
    whole = tuple(change for part in parts for change in part)
    if whole and sum(change.elements for change in whole) <= MAX_ELEMENTS and sum(change.characters for change in whole) <= MAX_CHARACTERS:
        return [whole]
    return parts


def _is_regional(record: RecordSet) -> bool:
    """What this module puts at a regional name: multivalue sets, or one alias."""
    return record.type in FAMILIES and (record.multivalue or (record.alias is not None and record.set_identifier is None))


def _former_regional_names(declaration: Declaration, name: str, here: list[RecordSet]) -> set[str]:
    """The regional names that the name's latency sets point to."""
    return {
        record.alias.name
        for record in here
        if _is_latency(record) and record.alias and record.alias.zone_id == declaration.zone.id and regional_label(record.alias.name, name)
    }


def _leftovers(declaration: Declaration, current: Current) -> dict[str, set[str]]:
    """Regional names whose health checks this declaration made, by their name: a run over several batches that was
    killed may have left some that nothing points to."""
    made_here = {check.id for check in current.checks if check.ours and check.scope == declaration.scope}
    found: dict[str, set[str]] = {}
    for record in current.records:
        if record.multivalue and record.health_check in made_here:
            parent = record.name.partition(".")[2]
            for name in (parent, "*." + parent[len("_wildcard.") :]) if parent.startswith("_wildcard.") else (parent,):
                found.setdefault(name, set()).add(record.name)
    return found


def _released(current: Current, declaration: Declaration, units: list[tuple[Change, ...]], used: set[str]) -> set[str]:
    """Ours that lost a record by this plan, and those that this declaration made and nothing which was read names."""
    after = {record.key: record for record in current.records}
    touched: set[str] = set()
    for unit in units:
        for change in unit:
            old = after.pop(change.record.key, None)
            if old is not None and old.health_check:
                touched.add(old.health_check)
            if change.action == "UPSERT":
                after[change.record.key] = change.record
    still = {record.health_check for record in after.values() if record.health_check} | used
    orphans = {check.id for check in current.checks if check.ours and check.scope == declaration.scope}
    return {check.id for check in current.checks if check.ours and check.id in touched | orphans and check.id not in still}


def batches(units: Iterable[tuple[Change, ...]]) -> list[tuple[Change, ...]]:
    """Units in their order, as many in one batch as the API takes; a unit is never torn apart."""
    result: list[tuple[Change, ...]] = []
    batch: list[Change] = []
    elements = characters = 0
    for unit in units:
        more, longer = sum(change.elements for change in unit), sum(change.characters for change in unit)
        if batch and (elements + more > MAX_ELEMENTS or characters + longer > MAX_CHARACTERS):
            result.append(tuple(batch))
            batch, elements, characters = [], 0, 0
        batch += unit
        elements, characters = elements + more, characters + longer
    if batch:
        result.append(tuple(batch))
    return result


def describe(record: RecordSet, checks: Optional[dict[str, str]] = None) -> str:
    """One line for a person."""
    words = [record.name, record.type]
    if record.set_identifier is not None:
        words.append(f"[{record.set_identifier}]")
    words.append(f"{record.policy}:")
    if record.alias:
        words.append(f"alias {record.alias.name}" + (", evaluates its health" if record.alias.evaluate_health else ""))
    else:
        words.append(f"{' '.join(record.values)}, {record.ttl} s")
    if record.health_check:
        shown = (checks or {}).get(record.health_check, record.health_check)
        words.append(f"(health check {shown})")
    return " ".join(words)


def diff(current: Current, plan_: Plan) -> tuple[str, str]:
    """Before and after, one sorted line for each record set and health check that changes."""
    keys = {check.id: str(check.config.key) for check in current.checks if check.config}
    keys.update({create.config.placeholder: str(create.config.key) for create in plan_.creates})
    before, after = [], []
    existing = {record.key: record for record in current.records}
    final: dict[tuple[str, str, Optional[str]], Optional[RecordSet]] = {}
    for change in plan_.changes:
        final[change.record.key] = change.record if change.action == "UPSERT" else None
    for key, record in final.items():
        if key in existing:
            before.append(describe(existing[key], keys))
        if record is not None:
            after.append(describe(record, keys))
    for create in plan_.creates:
        after.append(f"health check {create.config.describe()}")
    for update in plan_.updates:
        before.append(f"health check {update.before.describe()}")
        after.append(f"health check {update.config.describe()}")
    for release in plan_.releases:
        before.append(f"health check {release.config.describe() if release.config else release.id}")
    return tuple("".join(line + "\n" for line in sorted(lines)) for lines in (before, after))  # type: ignore[return-value]
