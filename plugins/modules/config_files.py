#!/usr/bin/python
# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write the files of a service in one step, and have the service take them up
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Writes, makes and removes any number of files and folders in one step on the host, where a task for each costs two steps.
  - With O(service) it has the service take the files up when one has changed. That it is owed is noted on the host before the first change,
    so that a run that is killed in between is made good by the next one; a handler would be forgotten.
  - With O(check) the whole configuration is proven before the service reads it. When it is refused, the files go back to what they were.
  - Each file is replaced at once, and has its owner and mode from its first byte.
options:
  files:
    description: The files and folders, in the order in which they are written.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path. The folder of a file has to exist or be listed before it.
        type: str
        required: true
      state:
        description: What is there. A folder is never removed; where those above it are missing, they are made with the same owner and mode.
        type: str
        choices: [file, directory, absent]
        default: file
      content:
        description: The file's whole content, as UTF-8; with the lookups P(ansible.builtin.template#lookup) and
          P(ansible.builtin.file#lookup) it comes from the role.
        type: str
      owner:
        description: User, where it is not the module's O(owner).
        type: str
      group:
        description: Group, where it is not the module's O(group).
        type: str
      mode:
        description: Octal, in quotes. Without it, that of the file before, V(0644) for a new file and V(0755) for a new folder.
        type: str
      replace:
        description: Whether what is there is changed. Otherwise a file is only written, and a folder only made, when there is none.
        type: bool
        default: true
      secret:
        description: Whether the diff tells only that the content changes.
        type: bool
        default: false
  owner:
    description: User of all files and folders that name no other. Without it a path keeps its own, and a new one has that of the process.
    type: str
  group:
    description: Group, likewise.
    type: str
  service:
    description: The unit of systemd that reads the files. Where it does not run, it is not started, but after a failure.
    type: str
  take_up:
    description: What is done to the service, a reload before a restart. systemd reads its units first.
    type: list
    elements: str
    choices: [reloaded, restarted]
    default: [reloaded]
  check:
    description: A program with its arguments that proves the files where they lie, such as C(nginx -t -q).
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Tells what would change. O(check) is not run, as it reads the files where they lie.
  diff_mode:
    support: full
    description: Shows each file, but no secret.
  platform:
    support: full
    platforms: posix
    description: Hosts with systemd.
notes:
  - Supports C(check_mode).
  - Contents are neither logged nor part of the result.
"""

EXAMPLES = r"""
- name: Write nginx's configuration, prove it and have it taken up
  multiregion.paas.config_files:
    service: nginx.service
    check: [nginx, -t, -q]
    owner: root
    group: root
    files:
      - path: /etc/nginx/nginx.conf
        content: "{{ lookup('ansible.builtin.template', 'nginx.conf.j2') }}"
        mode: "0644"
      - path: /etc/nginx/sites-enabled/default
        state: absent
"""

RETURN = r"""
paths:
  description: The paths that were changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/nginx/nginx.conf]
taken_up:
  description: Whether the service was reloaded or restarted, for this run's changes or for those of a run that was killed.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.multiregion.paas.plugins.module_utils._config_files import ConfigFilesError, carry_out, entries_of


class QuietModule(AnsibleModule):
    """Its arguments are the contents of files, and those may be secrets: they are neither logged on the host nor part of any result.
    That `content` be `no_log` would not do: the log has it with its lines escaped, and the diffs would be blanked."""

    def _log_invocation(self):
        pass

    def _return_formatted(self, kwargs):
        files = self.params.get("files")
        paths = [one.get("path") for one in files if isinstance(one, dict)] if isinstance(files, list) else []
        kwargs["invocation"] = {"module_args": {"service": self.params.get("service"), "files": paths}}
        super()._return_formatted(kwargs)


def main() -> None:
    module = QuietModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "str", "required": True},
                    "state": {"type": "str", "choices": ["file", "directory", "absent"], "default": "file"},
                    "content": {"type": "str"},
                    "owner": {"type": "str"},
                    "group": {"type": "str"},
                    "mode": {"type": "str"},
                    "replace": {"type": "bool", "default": True},
                    "secret": {"type": "bool", "default": False},
                },
            },
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "service": {"type": "str"},
            "take_up": {"type": "list", "elements": "str", "choices": ["reloaded", "restarted"], "default": ["reloaded"]},
            "check": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    files, owner, group, service, take_up, check = (module.params[name] for name in ("files", "owner", "group", "service", "take_up", "check"))
    try:
        result = carry_out(entries_of(files, owner, group, module.check_mode), service, take_up, check, module.check_mode)
    except ConfigFilesError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
