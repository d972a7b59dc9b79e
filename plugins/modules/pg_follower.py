#!/usr/bin/python
# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pg_follower
short_description: Follow, detach, promote or fence a PostgreSQL server
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Makes a cluster of this host a follower of another server (PostgreSQL's own text says standby), or a primary, or holds it down.
  - Decides by the timeline history whether a server can follow, has to be rewound, or has to be left alone.
  - Never deletes a data directory. What was diverged is rewound, or kept aside under a dated name, and only when asked for.
  - An interrupted base backup, rewind or promotion heals at the next run.
  - Runs on the database host as root.
options:
  cluster:
    description:
      - The cluster in Debian's layout, as version and name. Its configuration has to exist, its data directory need not.
      - Without it, the only one that this host has a configuration of.
    type: str
  state:
    description:
      - V(following) makes it a follower of O(primary), by a base backup where there is no cluster yet. A changed O(primary) or
        O(slot) takes a reload, no restart. A running, writable primary is refused.
      - V(detached) ends a follower's streaming on purpose; it stays a read-only server. V(following) takes it back.
      - V(promoted) makes a follower the primary. A running primary stays as it is. A fenced server is refused.
      - V(fenced) stops the server and holds it down, over a reboot and against C(systemctl start) too, and marks it so that it never
        comes up writable. Only V(following) takes it back.
    type: str
    choices: [following, detached, promoted, fenced]
    required: true
  primary:
    description:
      - The server to follow. Needed for O(state=following).
    type: dict
    suboptions:
      host:
        description:
          - Its address, as this host reaches it.
        type: str
        required: true
      port:
        description:
          - Its port.
        type: int
        default: 5432
      user:
        description:
          - A role with C(REPLICATION), with the rewind functions and C(pg_checkpoint) granted, and access to the database C(postgres).
        type: str
        default: replicator
      password:
        description:
          - Its password. It is kept in a passfile that only the cluster's owner can read.
        type: str
      passfile:
        description:
          - A passfile of the cluster's owner to use instead.
        type: path
      sslmode:
        description:
          - How the connection is protected.
        type: str
        choices: [disable, prefer, require, verify-ca, verify-full]
        default: verify-full
      sslrootcert:
        description:
          - The certificate of the CA that signed the server's.
        type: path
  slot:
    description:
      - The replication slot on the primary. Made when missing.
      - The default is V(paas_) and the host's name, with underscores for what a slot's name cannot have.
    type: str
  on_divergence:
    description:
      - What to do with a server whose log has left the primary's history.
      - V(fail) says so and changes nothing.
      - V(rewind) throws away what only this server has, by C(pg_rewind), and fails where that cannot work.
      - V(reclone) tries to rewind, else takes a new base backup and keeps the old directory aside under a dated name.
    type: str
    choices: [fail, rewind, reclone]
    default: fail
  after_lsn:
    description:
      - For O(state=promoted), refuse until the replay is past this position, such as the RV(shutdown_checkpoint_lsn) of the primary
        before. Then nothing that it acknowledged is lost.
      - V(shutdown) waits for the same proof in this server's own log, that its last record is the primary's shutdown checkpoint. So
        a switchover promotes while the task that stops the primary still runs.
    type: str
  await_promotion:
    description:
      - For O(state=following), wait until O(primary) is one, when it is itself still a follower that is about to be promoted. So it has its
        followers at once.
    type: bool
    default: false
  followers:
    description:
      - For O(state=promoted), the hosts that will follow this server. Each has its slot, named as by the default of O(slot), before the
        promotion, so that a rewind of the old primary finds the log since the last checkpoint that both have.
    type: list
    elements: str
    default: []
  lift_fence:
    description:
      - For O(state=promoted), start a fenced server as the primary that it was.
      - For a runbook that has fenced the server itself and knows that no other was promoted since.
    type: bool
    default: false
  timeout:
    description:
      - Seconds to wait for each single effect, such as that the server streams. A base backup, a rewind and the recovery of a crashed
        server have no limit.
      - For a stop, the seconds after which the server is killed.
    type: int
    default: 60
  bandwidth_limit:
    description:
      - The most a base backup may transfer a second, as C(pg_basebackup --max-rate) takes it, such as V(20M).
    type: str
attributes:
  check_mode:
    support: full
    description: Asks both servers and tells what would be done.
  diff_mode:
    support: full
    description: Shows role, timeline and connection before and after.
  platform:
    support: full
    platforms: posix
    description: Debian and Ubuntu, by their layout of PostgreSQL clusters.
notes:
  - Supports C(check_mode).
  - The progress of a base backup is in C(basebackup.log) under C(~postgres/.paas/), in M(multiregion.paas.pg_follower_info)'s
    RV(multiregion.paas.pg_follower_info#module:clone_progress), and in C(pg_stat_progress_basebackup) on the primary.
  - A follower drops the unused slots of this collection (V(paas_*)) that it has from when it was, or was to be, the primary.
seealso:
  - module: multiregion.paas.pg_follower_info
"""

EXAMPLES = r"""
- name: Follow the primary
  multiregion.paas.pg_follower:
    cluster: 17/main
    state: following
    primary:
      host: 10.0.1.21
      password: "{{ paas_postgres_replication_password }}"
      sslrootcert: /etc/paas/postgres/ca.crt

- name: Hold the old primary down
  multiregion.paas.pg_follower:
    cluster: 17/main
    state: fenced

- name: Promote, once it has everything
  multiregion.paas.pg_follower:
    cluster: 17/main
    state: promoted
    after_lsn: 0/5000028

- name: Take the old primary back
  multiregion.paas.pg_follower:
    cluster: 17/main
    state: following
    on_divergence: rewind
    primary:
      host: 10.0.2.21
      passfile: /var/lib/postgresql/.paas/passfile
      sslrootcert: /etc/paas/postgres/ca.crt
"""

RETURN = r"""
action:
  description: The gravest thing that was done, or would be done in check mode.
  type: str
  returned: success
  sample: cloned
steps:
  description: What was done, or would be done next in check mode, in words.
  type: list
  elements: str
  returned: success
  sample:
    - Take a base backup of the primary
promotion_begun:
  description:
    - Whether the server was asked to promote itself, by this run or by one before it that did not come to its end, or may be at this
      moment by one that still works on it. After a failure with V(true) it may become a primary at any later time; with V(false) it stays a
      follower.
  type: bool
  returned: always
  sample: false
kept_aside:
  description: Where a replaced data directory is kept.
  type: str
  returned: success
  sample: /var/lib/postgresql/17/main.kept-20260101T000000Z
dropped_slots:
  description: The unused slots that a former or intended primary has given up.
  type: list
  elements: str
  returned: success
  sample: []
role:
  description: V(primary), V(follower), or V(absent) where there is no cluster.
  type: str
  returned: success
  sample: follower
running:
  description: Whether the server runs.
  type: bool
  returned: success
  sample: true
accepting:
  description: Whether it accepts connections.
  type: bool
  returned: success
  sample: true
system_identifier:
  description: What all servers of one cluster have in common, a number as text.
  type: str
  returned: success
  sample: "7431234567890123456"
timeline:
  description: The timeline the server is on.
  type: int
  returned: success
  sample: 2
lsn:
  description: How far the server's own log reaches; where the last record starts when it was shut down cleanly.
  type: str
  returned: success
  sample: 0/5000148
receive_lsn:
  description: How far a running follower has received the log.
  type: str
  returned: success
  sample: 0/5000148
replay_lsn:
  description: How far a running follower has replayed the log.
  type: str
  returned: success
  sample: 0/5000148
shutdown_checkpoint_lsn:
  description: Where the shutdown checkpoint of a cleanly stopped primary starts.
  type: str
  returned: success
  sample: 0/5000028
lag_bytes:
  description: Bytes received and not yet replayed. Null where the follower does not stream, as it cannot know what it misses.
  type: int
  returned: success
  sample: 0
lag_seconds:
  description: Age of the last replayed transaction; 0 while the follower streams and has replayed all that it received.
  type: float
  returned: success
  sample: 0.0
streaming:
  description: Whether a follower receives from the primary it is configured for.
  type: bool
  returned: success
  sample: true
primary:
  description: The primary a follower is configured for.
  type: dict
  returned: success
  sample:
    host: 10.0.1.21
    port: 5432
slot:
  description: The slot on the primary that the follower uses.
  type: str
  returned: success
  sample: paas_eu_west_1_pg_1
slots:
  description: The replication slots on this server, each with the bytes of log it retains.
  type: list
  elements: dict
  returned: success
  sample: []
followers:
  description: Who streams from this server, and how far each is.
  type: list
  elements: dict
  returned: success
  sample: []
fenced:
  description: Whether the server is held down.
  type: bool
  returned: success
  sample: false
detached:
  description: Whether the follower was detached on purpose.
  type: bool
  returned: success
  sample: false
detached_from:
  description: The address of the primary that the follower was detached from.
  type: str
  returned: success
  sample: 10.0.1.21
clone_progress:
  description: The last line of progress of a base backup that runs now.
  type: str
  returned: success
  sample: 1048576/5242880 kB (20%), 0/1 tablespace
data_directory:
  description: Where the cluster's files are.
  type: str
  returned: success
  sample: /var/lib/postgresql/17/main
"""

import socket

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.multiregion.paas.plugins.module_utils._postgres.cluster import Cluster
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.errors import PostgresError
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.follower import Follower, Primary, Request, report, summary


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str"},
            "state": {"type": "str", "choices": ["following", "detached", "promoted", "fenced"], "required": True},
            "primary": {
                "type": "dict",
                "options": {
                    "host": {"type": "str", "required": True},
                    "port": {"type": "int", "default": 5432},
                    "user": {"type": "str", "default": "replicator"},
                    "password": {"type": "str", "no_log": True},
                    "passfile": {"type": "path", "no_log": False},
                    "sslmode": {
                        "type": "str",
                        "choices": ["disable", "prefer", "require", "verify-ca", "verify-full"],
                        "default": "verify-full",
                    },
                    "sslrootcert": {"type": "path"},
                },
                "mutually_exclusive": [("password", "passfile")],
            },
            "slot": {"type": "str"},
            "on_divergence": {"type": "str", "choices": ["fail", "rewind", "reclone"], "default": "fail"},
            "after_lsn": {"type": "str"},
            "await_promotion": {"type": "bool", "default": False},
            "followers": {"type": "list", "elements": "str", "default": []},
            "lift_fence": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
            "bandwidth_limit": {"type": "str"},
        },
        required_if=[("state", "following", ("primary",))],
        supports_check_mode=True,
    )
    params = module.params
    follower = None
    try:
        cluster = Cluster(params["cluster"] or Cluster.only(), params["timeout"])
        request = Request(
            state=params["state"],
            primary=Primary(**params["primary"]) if params["primary"] else None,
            slot=params["slot"],
            on_divergence=params["on_divergence"],
            after_lsn=params["after_lsn"],
            bandwidth_limit=params["bandwidth_limit"],
            await_promotion=params["await_promotion"],
            followers=tuple(params["followers"]),
            lift_fence=params["lift_fence"],
        )
        follower = Follower(cluster, request, socket.gethostname(), check=module.check_mode)
        before, after, action = follower.run()
        result = report(cluster, after)
    except PostgresError as error:
        module.fail_json(msg=str(error), promotion_begun=follower is not None and follower.promotion_begun)
    module.exit_json(
        changed=action != "none",
        action=action,
        steps=follower.steps,
        kept_aside=follower.kept_aside,
        dropped_slots=follower.dropped_slots,
        promotion_begun=follower.promotion_begun,
        diff={"before": summary(before), "after": summary(after) if action != "none" else summary(before)},
        **result,
    )


if __name__ == "__main__":
    main()
