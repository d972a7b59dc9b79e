# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the estate's status a question."""

from __future__ import annotations

import json
import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: status_query
short_description: Ask the estate's status a question
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Evaluates a JMESPath expression over the report of C(playbooks/status.yml).
positional: _input
options:
  _input:
    description:
      - The report. With V(null) the expression is only checked.
    type: raw
    required: true
  expression:
    description:
      - The JMESPath expression.
    type: str
    required: true
requirements:
  - jmespath
"""

EXAMPLES = r"""
- name: Show who is the primary
  ansible.builtin.debug:
    msg: "{{ report | multiregion.paas.status_query(expression) }}"
  vars:
    expression: postgres[?role == 'primary'].host
"""

RETURN = r"""
_value:
  description: What the expression finds; nothing where it finds nothing.
  type: raw
"""


def status_query(report: t.Any, expression: str) -> t.Any:
    try:
        import jmespath
    except ImportError as error:
        raise AnsibleFilterError("status_query needs the Python package jmespath on the controller") from error
    try:
        compiled = jmespath.compile(str(expression))
        # JMESPath compares types exactly, and Ansible's strings and numbers are subclasses.
        return None if report is None else compiled.search(json.loads(json.dumps(report)))
    except jmespath.exceptions.JMESPathError as error:
        raise AnsibleFilterError(f"{expression!r} is no JMESPath expression that fits the report: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"status_query": status_query}
