#!/usr/bin/python
# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dokku_app
short_description: Declare one Dokku app, whole, in one task
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Reads what Dokku reports about the app, several reports side by side, and writes only what differs, in an order that ends in
    at most one deploy or restart. When nothing differs nothing is written.
  - What is not given is not touched. What is given empty means empty, except where an option says otherwise.
  - Config values and keys travel through standard input, never through a command line.
  - When a deploy fails the app keeps the release that it had, also for the next restart. Where the old containers were stopped
    first, as with O(deploy.strategy=stop_first), that release is started again.
  - A deploy that does not end within O(timeout) is left alone, since Dokku may still be at it.
  - What changed together with a deploy that failed or was killed takes effect with the next run, whichever release that declares.
requirements:
  - Dokku 0.38.22 or later on the host, since the reports of older ones lack what is read here
  - openssl, when O(certificate) is given
options:
  name:
    description:
      - The name of the app.
    type: str
    required: true
  state:
    description:
      - Whether the app is there. V(absent) destroys it with all its data and asks for O(confirm).
    type: str
    choices: [present, absent]
    default: present
  confirm:
    description:
      - The name of the app once more, for O(state=absent).
    type: str
  config:
    description:
      - Config variables. A value of null unsets the key. Booleans become V(true) and V(false).
    type: dict
  config_exact:
    description:
      - Unset every key that O(config) does not list, except those that Dokku and its plugins own.
    type: bool
    default: false
  config_from:
    description:
      - Config to begin with, the way an app is copied to a new region. O(config) wins over it.
      - Never copied are V(DATABASE_URL), V(MASTER_DATABASE_URL), V(READ_DATABASE_URL), V(HEROKU_*), V(DOKKU_*), V(GIT_REV),
        V(NO_VHOST) and the URLs of linked services.
    type: dict
    suboptions:
      app:
        description:
          - Another app on the same host.
        type: str
      values:
        description:
          - A mapping with the config.
        type: dict
      exclude:
        description:
          - More patterns of keys that are not copied, with V(*) and V(?).
        type: list
        elements: str
        default: []
  domains:
    description:
      - The app's host names, all of them.
    type: list
    elements: str
  ports:
    description:
      - The app's port map, all of it, as C(scheme:host-port:container-port).
    type: list
    elements: str
  processes:
    description:
      - How many containers each process type has. Types that are not listed get none.
    type: dict
  checks:
    description:
      - Dokku's zero-downtime checks. Given empty, they are as Dokku has them by itself.
    type: dict
    suboptions:
      disabled:
        description:
          - Process types whose old containers stop before the new ones start. V(all) means every type.
        type: list
        elements: str
      skipped:
        description:
          - Process types whose containers are taken without waiting. V(all) means every type.
        type: list
        elements: str
      wait_to_retire:
        description:
          - Seconds for which the old containers stay after a deploy. Negative is refused by Dokku.
        type: int
  nginx:
    description:
      - Properties of C(nginx:set), such as V(client-max-body-size). Underscores become hyphens. An empty value unsets one.
      - Those that are not listed are left alone, with an empty dictionary all of them.
    type: dict
  certificate:
    description:
      - The app's certificate with its chain, and its key. The pair is checked before it is installed.
      - An empty dictionary removes the certificate.
    type: dict
    suboptions:
      cert:
        description:
          - Path of the PEM certificate and its chain, where the module runs.
        type: path
      key:
        description:
          - Path of the PEM key, where the module runs.
        type: path
      optional:
        description:
          - Leave the certificate alone as long as neither O(certificate.cert) nor O(certificate.key) is there.
        type: bool
        default: false
      cert_content:
        description:
          - The PEM certificate and its chain.
        type: str
      key_content:
        description:
          - The PEM key.
        type: str
  storage:
    description:
      - All mounts of the app, as V(/host/path:/container/path[:options]), or V(entry:/container/path) for one of Dokku's storage
        entries, which is created when it is missing.
    type: list
    elements: str
  docker_options:
    description:
      - Options for Docker by phase, V(build), V(deploy) and V(run), or by phase and process type, for example V(deploy.web).
      - Each phase that is given is given whole, except for the links of Dokku's service plugins. An empty dictionary stands for
        every phase and process type, without options.
    type: dict
  networks:
    description:
      - Docker networks of the app. One that is missing is created. Given empty, all these properties are unset.
    type: dict
    suboptions:
      attach_post_create:
        description:
          - Networks that containers join before they start.
        type: list
        elements: str
      attach_post_deploy:
        description:
          - Networks that containers join after a deploy.
        type: list
        elements: str
      initial_network:
        description:
          - The network that containers are created in. Empty for the default.
        type: str
      bind_all_interfaces:
        description:
          - Whether containers publish their ports on every interface.
        type: bool
  resources:
    description:
      - By process type (V(default) for all), C(limit) and C(reserve), each with C(cpu), C(memory) and so on.
      - A kind that is given is given whole. An empty dictionary means neither limits nor reservations, for the process type or,
        as the option's value, for all.
    type: dict
  restart_policy:
    description:
      - Docker's restart policy. Empty for Dokku's default.
    type: str
  builder:
    description:
      - How the app is built from source. Given empty, all these properties are unset.
    type: dict
    suboptions:
      selected:
        description:
          - The builder, for example V(dockerfile). Empty to detect it.
        type: str
      build_dir:
        description:
          - The folder of the source to build.
        type: str
      dockerfile_path:
        description:
          - The path of the Dockerfile.
        type: str
  buildpacks:
    description:
      - The buildpacks in order.
    type: list
    elements: str
  logs:
    description:
      - Properties of C(logs:set), such as V(max-size) and V(vector-sink). An empty value unsets one.
      - Those that are not listed are left alone, with an empty dictionary all of them.
    type: dict
  deploy:
    description:
      - The release that runs. Exactly one of O(deploy.image), O(deploy.archive) and O(deploy.git), or only O(deploy.strategy).
    type: dict
    suboptions:
      image:
        description:
          - An image in a registry that the host can reach, by digest.
        type: str
      archive:
        description:
          - The URL of an archive with the source.
        type: str
      archive_type:
        description:
          - The kind of the archive, told from its name when not given.
        type: str
        choices: [tar, tar.gz, zip]
      git:
        description:
          - The URL of a git repository with the source.
        type: str
      version:
        description:
          - The full commit id, for O(deploy.git).
        type: str
      config:
        description:
          - Config that goes with this release, for example its name. Left alone while another release runs that is not replaced.
        type: dict
      replace:
        description:
          - Whether to replace a release that runs already. With V(false) only an app without a release is deployed.
        type: bool
        default: true
      strategy:
        description:
          - V(zero_downtime) starts the new containers before the old ones stop. V(stop_first) is for a volume that only one process
            may open. Not given, the app's checks are left as they are.
        type: str
        choices: [zero_downtime, stop_first]
  restart:
    description:
      - V(auto) restarts a deployed app when something changed that only new containers take up. V(never) leaves that to you. Any
        other value restarts the containers of that process type only.
    type: str
    default: auto
  timeout:
    description:
      - Seconds for a deploy, a restart or a change of scale. Where the release from before is started again, once more as long.
    type: int
    default: 900
  ssh:
    description:
      - Reach Dokku over SSH as its own user, instead of running it where the module runs.
      - Nothing but Dokku's commands is possible there, so the image that C(latest) names is not repaired after a failed deploy.
    type: dict
    suboptions:
      host:
        description:
          - The host.
        type: str
        required: true
      user:
        description:
          - Dokku's user.
        type: str
        default: dokku
      port:
        description:
          - The port of the SSH server.
        type: int
        default: 22
      key_file:
        description:
          - The private key, where the module runs.
        type: path
attributes:
  check_mode:
    description: Can run in check mode and return what would change without changing it.
    support: full
  diff_mode:
    description: Returns what changed. Config values are hidden, their change is shown.
    support: full
seealso:
  - name: Dokku's documentation
    description: What the commands behind this module do.
    link: https://dokku.com/docs/
"""

EXAMPLES = r"""
- name: Declare the app
  multiregion.paas.dokku_app:
    name: todo
    config:
      SESSION_SECRET: "{{ vault_session_secret }}"
      WEB_CONCURRENCY: 2
    domains:
      - todo.example.com
      - us-east-1.todo.example.com
    ports:
      - http:80:5000
      - https:443:5000
    certificate:
      cert: /etc/paas/certificates/todo/fullchain.pem
      key: /etc/paas/certificates/todo/privkey.pem
    processes:
      web: 2
    storage:
      - /etc/paas/ca:/etc/paas:ro
    deploy:
      image: registry.example.com:5000/todo@sha256:6a4c6a1ab0c2b1ae3d3b0a6f37a2b9ff2fd5bb2ae9a91f0f6ef1a4b2d9c3e5f7

- name: Destroy an app
  multiregion.paas.dokku_app:
    name: old-shop
    state: absent
    confirm: old-shop
"""

RETURN = r"""
changes:
  description: What changed, or would change, one line each.
  returned: success
  type: list
  elements: str
  sample: ["config: set WEB_CONCURRENCY", "processes: web=2"]
release:
  description: The release that runs, by its origin, and its digest when it is known.
  returned: when O(state=present)
  type: dict
  contains:
    source:
      description: The image, archive or repository with its commit. Empty when nothing is deployed.
      type: str
      returned: always
    digest:
      description: The image's digest, or empty.
      type: str
      returned: always
urls:
  description: Where the app answers, from the declared domains and ports.
  returned: when O(state=present)
  type: list
  elements: str
  sample: ["https://todo.example.com"]
commands:
  description: How many commands ran.
  returned: always
  type: int
restarted:
  description: Whether containers were replaced, or would be.
  returned: success
  type: bool
log_tail:
  description: The last lines of a command that failed.
  returned: on failure
  type: str
"""

import traceback

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.multiregion.paas.plugins.module_utils._dokku import run
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.errors import CommandFailed, DokkuError

ARGUMENTS = dict(
    name=dict(type="str", required=True),
    state=dict(type="str", choices=["present", "absent"], default="present"),
    confirm=dict(type="str"),
    config=dict(type="dict", no_log=True),
    config_exact=dict(type="bool", default=False),
    config_from=dict(
        type="dict",
        options=dict(app=dict(type="str"), values=dict(type="dict", no_log=True), exclude=dict(type="list", elements="str", default=[])),
        mutually_exclusive=[("app", "values")],
        required_one_of=[("app", "values")],
    ),
    domains=dict(type="list", elements="str"),
    ports=dict(type="list", elements="str"),
    processes=dict(type="dict"),
    checks=dict(
        type="dict",
        options=dict(disabled=dict(type="list", elements="str"), skipped=dict(type="list", elements="str"), wait_to_retire=dict(type="int")),
    ),
    nginx=dict(type="dict"),
    certificate=dict(
        type="dict",
        options=dict(
            cert=dict(type="path"),
            key=dict(type="path", no_log=False),
            optional=dict(type="bool", default=False),
            cert_content=dict(type="str"),
            key_content=dict(type="str", no_log=True),
        ),
        mutually_exclusive=[("cert", "cert_content"), ("key", "key_content")],
    ),
    storage=dict(type="list", elements="str"),
    docker_options=dict(type="dict"),
    networks=dict(
        type="dict",
        options=dict(
            attach_post_create=dict(type="list", elements="str"),
            attach_post_deploy=dict(type="list", elements="str"),
            initial_network=dict(type="str"),
            bind_all_interfaces=dict(type="bool"),
        ),
    ),
    resources=dict(type="dict"),
    restart_policy=dict(type="str"),
    builder=dict(type="dict", options=dict(selected=dict(type="str"), build_dir=dict(type="str"), dockerfile_path=dict(type="str"))),
    buildpacks=dict(type="list", elements="str"),
    logs=dict(type="dict"),
    deploy=dict(
        type="dict",
        options=dict(
            image=dict(type="str"),
            archive=dict(type="str"),
            archive_type=dict(type="str", choices=["tar", "tar.gz", "zip"]),
            git=dict(type="str"),
            version=dict(type="str"),
            config=dict(type="dict"),
            replace=dict(type="bool", default=True),
            strategy=dict(type="str", choices=["zero_downtime", "stop_first"]),
        ),
        mutually_exclusive=[("image", "archive", "git")],
    ),
    restart=dict(type="str", default="auto"),
    timeout=dict(type="int", default=900),
    ssh=dict(
        type="dict",
        options=dict(
            host=dict(type="str", required=True),
            user=dict(type="str", default="dokku"),
            port=dict(type="int", default=22),
            key_file=dict(type="path", no_log=False),
        ),
    ),
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    task = run.Task(module.params)
    # Ansible would mask a config value like `5000` or a region wherever it occurs in the answer, names and all. The answer holds no
    # config by construction, so only what is long enough to be a secret is masked there.
    module.no_log_values = {value for value in module.no_log_values if len(value) >= 16}
    invocation = {"module_args": run.shown(module.params)}
    try:
        result = task.run(check_mode=module.check_mode)
    except CommandFailed as exc:
        module.fail_json(msg=str(exc), log_tail=exc.tail, rc=exc.rc, commands=task.commands, invocation=invocation, exception=traceback.format_exc())
    except DokkuError as exc:
        module.fail_json(msg=str(exc), commands=task.commands, invocation=invocation, exception=traceback.format_exc())
    module.exit_json(invocation=invocation, **result)


if __name__ == "__main__":
    main()
