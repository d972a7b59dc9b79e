#!/usr/bin/python
# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: round_trip_info
short_description: Measure round-trip times by TCP handshakes
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Measures from the managed host how long other hosts take to answer, the shortest of three TCP handshakes, all hosts at once.
  - A refused connection is an answer too, so nothing has to listen. Needs no privilege and no other program.
  - A host that does not answer is no failure.
options:
  targets:
    description:
      - The IPv4 or IPv6 addresses to measure to, by names of your choice.
    type: dict
    required: true
  port:
    description:
      - The TCP port to knock at. Best one that users reach.
    type: int
    default: 443
  timeout:
    description:
      - Seconds after which a host counts as not answering.
    type: int
    default: 3
attributes:
  check_mode:
    support: full
    description: Changes nothing.
  diff_mode:
    support: none
    description: Changes nothing.
seealso:
  - plugin: multiregion.paas.nearest_regions
    plugin_type: filter
  - plugin: multiregion.paas.steering_problems
    plugin_type: filter
"""

EXAMPLES = r"""
- name: How far is it to the other regions
  multiregion.paas.round_trip_info:
    targets:
      us-east-1: 192.0.2.11
      eu-west-1: 198.51.100.11
  register: measured

- name: Show the nearest
  ansible.builtin.debug:
    msg: "{{ (measured.round_trip_times | dict2items | rejectattr('value', 'none') | sort(attribute='value') | first).key }}"
"""

RETURN = r"""
round_trip_times:
  description: Milliseconds by name, null for a host that did not answer.
  returned: success
  type: dict
  sample:
    us-east-1: 75.2
    eu-west-1: null
"""

import ipaddress

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.multiregion.paas.plugins.module_utils._round_trip import round_trip_times


def main():
    module = AnsibleModule(
        argument_spec=dict(
            targets=dict(type="dict", required=True),
            port=dict(type="int", default=443),
            timeout=dict(type="int", default=3),
        ),
        supports_check_mode=True,
    )
    targets, port, timeout = (module.params[name] for name in ("targets", "port", "timeout"))
    for name, address in targets.items():
        try:
            ipaddress.ip_address(address)
        except ValueError:
            module.fail_json(msg="targets: %r, the address of %s, is no IP address" % (address, name))
    if not 1 <= port <= 65535:
        module.fail_json(msg="port: %d is not between 1 and 65535" % port)
    if timeout < 1:
        module.fail_json(msg="timeout: %d is not at least 1 second" % timeout)
    module.exit_json(changed=False, round_trip_times=round_trip_times(targets, port, timeout))


if __name__ == "__main__":
    main()
