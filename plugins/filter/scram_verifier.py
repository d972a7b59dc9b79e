# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL stores instead of a password."""

from __future__ import annotations

import base64
import hashlib
import hmac
import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: scram_verifier
short_description: What PostgreSQL stores instead of a password
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Computes the SCRAM-SHA-256 verifier of a password, which C(ALTER ROLE ... PASSWORD) takes in the password's place.
  - So the password itself never reaches the server or its log, and whether a role has it can be seen by comparing.
  - The same password and role always give the same verifier. The salt is derived from both.
positional: _input
options:
  _input:
    description:
      - The password, of printable ASCII characters.
    type: str
    required: true
  role:
    description:
      - The role that it belongs to.
    type: str
    required: true
  iterations:
    description:
      - Rounds of hashing, as C(scram_iterations) of the server has it.
    type: int
    default: 4096
"""

EXAMPLES = r"""
- name: Show what PostgreSQL would store
  ansible.builtin.debug:
    msg: "{{ 'secret' | multiregion.paas.scram_verifier('todo_rw') }}"
"""

RETURN = r"""
_value:
  description: The verifier, V(SCRAM-SHA-256$4096:salt$stored key:server key).
  type: str
"""


def scram_verifier(password: str, role: str, iterations: int = 4096) -> str:
    if not isinstance(password, str) or not password:
        raise AnsibleFilterError(f"scram_verifier: the role {role} has no password")
    if not password.isascii() or not password.isprintable():
        # PostgreSQL would normalise it by SASLprep first.
        raise AnsibleFilterError(f"scram_verifier: the password of {role} has characters other than printable ASCII")
    salt = hashlib.sha256(f"{role}\0{password}".encode()).digest()[:16]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return f"SCRAM-SHA-256${iterations}:{text(salt)}${text(stored)}:{text(server)}"


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"scram_verifier": scram_verifier}
