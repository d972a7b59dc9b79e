# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is owed to the DNS: TXT values that were written and of which nobody knows yet that they are gone. Pure.

Debts are {provider: {zone: {fqdn: [values]}}}. A value leaves them only when the provider has taken it away, whatever run wrote it.
"""

from __future__ import annotations


def read(content) -> dict:
    """The debts in a journal's content, without what is empty."""
    found = content.get("debts")
    if found is None and content.get("zones"):
        # A run of before, which wrote down only its own.
        found = {str(content.get("provider")): content["zones"]}
    return merge({}, found if isinstance(found, dict) else {})


def write(debts) -> dict:
    """A journal's content."""
    return {"debts": debts}


def merge(debts, more) -> dict:
    """Both together."""
    result = {}
    for provider, zone, fqdn, values in _rows(debts) + _rows(more):
        known = result.setdefault(provider, {}).setdefault(zone, {}).setdefault(fqdn, [])
        known.extend(value for value in values if value not in known)
    return result


def settle(debts, paid) -> dict:
    """The debts without the values that were taken away."""
    gone = {(provider, zone, fqdn, value) for provider, zone, fqdn, values in _rows(paid) for value in values}
    result = {}
    for provider, zone, fqdn, values in _rows(debts):
        left = [value for value in values if (provider, zone, fqdn, value) not in gone]
        if left:
            result.setdefault(provider, {}).setdefault(zone, {})[fqdn] = left
    return result


def text(debts) -> str:
    """For people, who may have to remove them by hand."""
    return "; ".join("%s by %s: %s" % (fqdn, provider, ", ".join(values)) for provider, _zone, fqdn, values in _rows(debts))


def _rows(debts) -> list:
    return [
        (provider, zone, fqdn, list(values))
        for provider, zones in debts.items()
        for zone, sets in zones.items()
        for fqdn, values in sets.items()
        if values
    ]
