# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The estate's status as text."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: status_table
short_description: The estate's status as text
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Writes each section of the report of C(playbooks/status.yml) as a table, and below the problems that its rows tell of.
  - A column is a key whose values are no list and no dictionary, in the order of the rows' keys.
positional: _input
options:
  _input:
    description:
      - The sections by name, each a list of rows, each row a dictionary. A row's first value names what it is about; its key
        C(problems) is a list of sentences.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the status
  ansible.builtin.debug:
    msg: "{{ {'postgres': rows} | multiregion.paas.status_table }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""


def _cell(value: t.Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _table(rows: list[Mapping[str, t.Any]]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = [key for key in keys if not any(isinstance(row.get(key), (list, tuple, Mapping)) for row in rows)]
    cells = [columns] + [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in cells]


def status_table(report: t.Any) -> list[str]:
    if not isinstance(report, Mapping) or not all(isinstance(row, Mapping) for rows in report.values() for row in rows):
        raise AnsibleFilterError("status_table needs sections by name, each a list of rows, each row a dictionary")
    lines, problems = [], []
    for section, rows in report.items():
        lines += [f"== {section}", *(_table(rows) if rows else ["nothing"]), ""]
        problems += [f"{next(iter(row.values()))} {problem}" for row in rows for problem in row.get("problems") or []]
    return [*lines, "== problems", *(problems or ["none"])]


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"status_table": status_table}
