# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module reaches the Consul agent of its host; the options are those of AGENT_OPTIONS in module_utils/_consul/client.py."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description: The agent's address. Only C(https).
    type: str
    default: https://127.0.0.1:8501
  ca_file:
    description: The certificate of the CA that the agent's certificate is from.
    type: path
    required: true
  token:
    description: The operator's token.
    type: str
    required: true
"""
