#!/usr/bin/python
# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dokku_app_info
short_description: What Dokku apps are, without their secrets
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Tells the release, processes, domains, certificate and config of apps, so that hosts can be compared.
  - Config values do not leave the host, only hashes of them do.
requirements:
  - Dokku 0.38.22 or later on the host, since the reports of older ones lack what is read here
  - openssl
options:
  names:
    description:
      - The apps, by default all of the host. One that is not there is an answer, not a failure.
    type: list
    elements: str
  salt:
    description:
      - What the hashes of config values are keyed with. The same values have the same hashes only under the same salt.
      - With a new random one for each comparison nobody can guess short values from a report that is kept.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Changes nothing.
  diff_mode:
    support: none
    description: Changes nothing.
  platform:
    support: full
    platforms: posix
    description: Hosts with Dokku.
seealso:
  - module: multiregion.paas.dokku_app
"""

EXAMPLES = r"""
- name: Ask what runs
  multiregion.paas.dokku_app_info:
    names: [todo]
    salt: "{{ lookup('ansible.builtin.password', '/dev/null') }}"
  register: found

- name: Show the digest
  ansible.builtin.debug:
    msg: "{{ found.apps[0].release.digest }}"
"""

RETURN = r"""
apps:
  description: The apps, in the order asked.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name.
      type: str
      returned: always
    exists:
      description: Whether there is such an app. All else is said only of one that exists.
      type: bool
      returned: always
    running:
      description: Whether its containers run, V(true), V(false) or V(mixed).
      type: str
      returned: when it exists
    release:
      description: The release that it runs, by C(source), empty where nothing is deployed, and C(digest), empty where it is not known.
      type: dict
      returned: when it exists
    processes:
      description: How many processes each type has, for the types that have one.
      type: dict
      returned: when it exists
    domains:
      description: The names that it answers to.
      type: list
      elements: str
      returned: when it exists
    config:
      description: The hash of each value, by its key.
      type: dict
      returned: when it exists
    certificate:
      description: The certificate's C(serial) in hexadecimal, and when it C(expires). Null where there is none.
      type: dict
      returned: when it exists
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.command import Runner
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.errors import DokkuError
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.info import reports


def main():
    module = AnsibleModule(
        argument_spec={"names": {"type": "list", "elements": "str"}, "salt": {"type": "str", "required": True, "no_log": True}},
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, apps=reports(Runner(), module.params["names"], module.params["salt"]))
    except DokkuError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
