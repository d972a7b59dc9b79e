#!/usr/bin/python

# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_http2_pin
short_description: Choose, pin, install and prove an nginx whose HTTP/2 works
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Takes the newest C(nginx) package of all configured apt sources that satisfies O(version) and O(features) and is not known to be bad,
    pins it together with the packages that belong to it, installs it and proves that its HTTP/2 works.
  - The proof starts the installed binary beside the machine's own nginx, on UNIX sockets in a private folder, and sends real HTTP/2 frames
    through it to a small backend, among them an early POST with a body, and a body larger than the first flow control window.
    So it works on a first installation, without any site, and before a running nginx is touched.
    C(nginx -V) has to name the asked for modules and an OpenSSL with ALPN, and C(nginx -t) has to accept the machine's own configuration.
  - A running nginx is not restarted. Its binary is changed the way nginx does it itself, so that open connections end by themselves.
    The C(nginx-common) package of Debian 12 and 13 would restart the service when it is upgraded; this is kept from happening.
  - When the proof fails, or anything else ends the change, the packages and preferences from before are put back, and the process that
    was running goes on.
  - The proof runs when the installed version, the features or O(verify) are not those of the last proof. A run that has nothing to do
    reads apt's cache and two files and sends no traffic.
requirements:
  - python3-apt
  - python3-h2
  - openssl
attributes:
  check_mode:
    support: full
    description: Names the version that would be taken. Package lists are not refreshed, and nothing is proven.
  diff_mode:
    support: full
    description: Shows the versions and the preferences.
options:
  state:
    description:
      - V(present) pins, installs and proves.
      - V(absent) removes the pin and leaves the packages as they are.
    type: str
    choices: [present, absent]
    default: present
  version:
    description:
      - Which versions are wanted, as terms with commas between them that must all hold, such as V(>=1.25.1,<1.31), V(1.26.*), V(!=1.27.0).
      - A term with a Debian revision, such as V(>=1.26.3-3+deb13u5), is compared as a package version, one without by nginx's own number.
    type: str
    default: "*"
  features:
    description:
      - What the nginx has to be able to do.
      - V(http2) is there since 1.9.5, V(http3) since 1.25.0, and V(upstream_resolve), which is C(server NAME resolve) in an upstream, since 1.27.3.
    type: list
    elements: str
    choices: [http2, http3, upstream_resolve]
    default: [http2]
  packages:
    description:
      - The packages that are pinned and installed together. It has to contain V(nginx).
      - A package with version numbers of its own is taken from the same source as nginx, in the newest version that is there.
      - If omitted, these are C(nginx), C(nginx-common) and every installed C(libnginx-mod-*).
    type: list
    elements: str
  allow_downgrade:
    description:
      - Whether a version older than the installed one may be taken.
    type: bool
    default: false
  pin_priority:
    description:
      - The priority of the pin. Over 1000 it holds even against a newer installed version.
    type: int
    default: 1001
  pin_to:
    description:
      - V(upstream) pins to nginx's own number, so that the distribution's security revisions of it still come in.
      - V(revision) pins to the very package version.
    type: str
    choices: [upstream, revision]
    default: upstream
  known_bad:
    description:
      - Adds to the built-in table of bad versions, or overrides the entry that has the same O(known_bad[].id).
      - The built-in table has what concerns HTTP/2 and, when asked for, HTTP/3. See the notes for its entries.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: The CVE or the bug's name.
        type: str
        required: true
      versions:
        description: Ranges in the language of O(version), any of which may match. Required for an entry that is not built in.
        type: list
        elements: str
      fixed_revisions:
        description: Package versions of the same nginx from which on a distribution has the fix.
        type: list
        elements: str
      source:
        description: Where it is described. Required for an entry that is not built in.
        type: str
      reason:
        description: What is bad, in a few words.
        type: str
      only_with:
        description: The entry counts only for those who ask for this feature.
        type: str
        choices: [http2, http3, upstream_resolve]
      action:
        description: V(reject) the version, only V(warn) about it, or V(ignore) the entry.
        type: str
        choices: [reject, warn, ignore]
        default: reject
  verify:
    description:
      - A running site to be asked in addition, after the change. For every name ALPN has to select C(h2), and a GET and a POST
        with a body have to be answered completely and with a status below 500. The certificate is not verified.
    type: dict
    suboptions:
      address:
        description: Where to connect to.
        type: str
        default: 127.0.0.1
      port:
        description: The port to connect to.
        type: int
        default: 443
      server_names:
        description: The names to ask for, in the TLS handshake and in the request.
        type: list
        elements: str
        required: true
      path:
        description: The path to ask for.
        type: str
        default: /
      post:
        description: Whether to send a POST with a body, too.
        type: bool
        default: true
  update_cache:
    description:
      - Whether to refresh apt's package lists when they are older than O(cache_valid_time), or when there is no nginx in them.
    type: bool
    default: true
  cache_valid_time:
    description:
      - The age in seconds up to which the package lists are good enough.
    type: int
    default: 3600
  lock_timeout:
    description:
      - For how many seconds to wait for apt's and dpkg's locks.
    type: int
    default: 300
notes:
  - The pin is F(/etc/apt/preferences.d/00-nginx-http2-pin). A file of that name that the module did not write is left alone, and the module fails.
  - What was proven last is kept in F(/var/lib/paas/nginx_http2_pin.json).
  - "Built-in reasons to reject a version: trac-959 (REFUSED_STREAM for an early POST, up to 1.10.1), request-body-limit-req, CVE-2018-16843,
    CVE-2019-9511, CVE-2026-42926; with V(http3) CVE-2024-24990, CVE-2024-31079, CVE-2026-40460, CVE-2026-42530, CVE-2026-90439, CVE-2026-95101.
    Reasons to warn, as nginx's default configuration mitigates them: CVE-2023-44487, CVE-2026-42055."
"""

EXAMPLES = r"""
- name: Pin an nginx with the http2 directive
  multiregion.paas.nginx_http2_pin:
    version: ">=1.25.1,<1.31"

- name: Pin an nginx that resolves upstreams by itself, and ask the sites over HTTP/2 afterwards
  multiregion.paas.nginx_http2_pin:
    version: 1.30.*
    features: [http2, upstream_resolve]
    packages: [nginx, nginx-common, libpcre2-8-0]
    verify:
      server_names: [todo.example.com]

- name: Keep off a version that was bad for us
  multiregion.paas.nginx_http2_pin:
    known_bad:
      - id: OPS-1234
        versions: ["=1.26.3-3+deb13u6"]
        source: https://tickets.example.com/OPS-1234
        reason: resets streams under load

- name: Remove the pin
  multiregion.paas.nginx_http2_pin:
    state: absent
"""

RETURN = r"""
version:
  description: nginx's own number of the version that is installed, or would be in check mode.
  returned: success
  type: str
  sample: 1.26.3
package_version:
  description: The package's version.
  returned: success
  type: str
  sample: 1.26.3-3+deb13u7
previous_version:
  description: The version of the package before, null when it was not installed.
  returned: success
  type: str
installed:
  description: The packages that were brought to another version, with the versions before and after.
  returned: O(state=present)
  type: list
  elements: dict
  sample: [{name: nginx, before: null, after: 1.26.3-3+deb13u7}]
candidates:
  description: Every version that apt knows, the newest first, and why it was not taken.
  returned: O(state=present)
  type: list
  elements: dict
  contains:
    version:
      description: The package's version.
      type: str
    releases:
      description: Where it comes from.
      type: list
      elements: str
    reasons:
      description: Why it must not be taken.
      type: list
      elements: str
    notes:
      description: What to know about it.
      type: list
      elements: str
preferences:
  description: The pin file.
  returned: success
  type: str
  sample: /etc/apt/preferences.d/00-nginx-http2-pin
proof:
  description: What the proof saw. Empty when there was nothing to prove and in check mode.
  returned: O(state=present)
  type: dict
  sample: {version: 1.26.3, tls: OpenSSL 3.5.1, alpn: h2, get: 200, post: 200, post_bytes: 204871}
"""

import os

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.respawn import has_respawned, respawn_module

from ansible_collections.multiregion.paas.plugins.module_utils._nginx import apt, runner
from ansible_collections.multiregion.paas.plugins.module_utils._nginx.errors import NginxError
from ansible_collections.multiregion.paas.plugins.module_utils._nginx.machine import Paths, command_runner


ARGUMENT_SPEC = dict(
    state=dict(type="str", choices=["present", "absent"], default="present"),
    version=dict(type="str", default="*"),
    features=dict(type="list", elements="str", choices=["http2", "http3", "upstream_resolve"], default=["http2"]),
    packages=dict(type="list", elements="str"),
    allow_downgrade=dict(type="bool", default=False),
    pin_priority=dict(type="int", default=1001),
    pin_to=dict(type="str", choices=["upstream", "revision"], default="upstream"),
    known_bad=dict(
        type="list",
        elements="dict",
        default=[],
        options=dict(
            id=dict(type="str", required=True),
            versions=dict(type="list", elements="str"),
            fixed_revisions=dict(type="list", elements="str"),
            source=dict(type="str"),
            reason=dict(type="str"),
            only_with=dict(type="str", choices=["http2", "http3", "upstream_resolve"]),
            action=dict(type="str", choices=["reject", "warn", "ignore"], default="reject"),
        ),
    ),
    verify=dict(
        type="dict",
        options=dict(
            address=dict(type="str", default="127.0.0.1"),
            port=dict(type="int", default=443),
            server_names=dict(type="list", elements="str", required=True),
            path=dict(type="str", default="/"),
            post=dict(type="bool", default=True),
        ),
    ),
    update_cache=dict(type="bool", default=True),
    cache_valid_time=dict(type="int", default=3600),
    lock_timeout=dict(type="int", default=300),
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if apt.APT_IMPORT_ERROR is not None:
        # python3-apt belongs to the system's Python, which need not be the one that runs this.
        if not has_respawned() and os.path.exists("/usr/bin/python3"):
            respawn_module("/usr/bin/python3")
        module.fail_json(msg=missing_required_lib("python3-apt"), exception=repr(apt.APT_IMPORT_ERROR))

    paths = Paths()
    try:
        result = runner.run(module.params, paths, command_runner(module.run_command), module.check_mode)
    except NginxError as error:
        more = {} if error.rc is None else {"rc": error.rc}
        module.fail_json(msg=str(error), error=type(error).__name__, **more)
    except OSError as error:
        module.fail_json(msg=f"What is on the machine cannot be read or written: {error}", error=type(error).__name__)
    for note in result.pop("warnings"):
        module.warn(note)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
