#!/usr/bin/python
# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pg_follower_info
short_description: What a PostgreSQL server is in its replication
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Tells whether a cluster of this host is a primary, a follower (PostgreSQL's own text says standby) or nothing yet, and where its log is.
  - Asks the running server; of a stopped one it reads the control file.
  - Runs on the database host as root. Works where PostgreSQL is not installed yet.
options:
  cluster:
    description:
      - The cluster in Debian's layout, as version and name.
      - Without it, the only one that this host has a configuration of.
    type: str
  timeout:
    description:
      - Seconds within which the server has to answer.
    type: int
    default: 15
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
    description: Debian and Ubuntu, by their layout of PostgreSQL clusters.
notes:
  - Supports C(check_mode).
seealso:
  - module: multiregion.paas.pg_follower
"""

EXAMPLES = r"""
- name: Ask what the server is
  multiregion.paas.pg_follower_info:
    cluster: 17/main
  register: postgres

- name: Show how far the follower lags
  ansible.builtin.debug:
    msg: "{{ postgres.lag_seconds }} s behind"
  when: postgres.role == 'follower'
"""

RETURN = r"""
cluster:
  description: The cluster that was asked, null where this host has none.
  type: str
  returned: success
  sample: 17/main
role:
  description: V(primary), V(follower), or V(absent) where there is no cluster. For a stopped server, what it would be when started.
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
  sample: 1
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
  description:
    - Where the shutdown checkpoint of a cleanly stopped primary starts.
    - A follower that has replayed past it has every acknowledged write.
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
  sample:
    - name: paas_eu_west_1_pg_1
      active: true
      retained_bytes: 0
      wal_status: reserved
followers:
  description: Who streams from this server, and how far each is.
  type: list
  elements: dict
  returned: success
  sample:
    - name: paas_eu_west_1_pg_1
      address: 10.0.2.21
      state: streaming
      sync_state: async
      sent_lsn: 0/5000148
      flush_lsn: 0/5000148
      replay_lsn: 0/5000148
      lag_bytes: 0
fenced:
  description: Whether the server is held down by M(multiregion.paas.pg_follower).
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
guards:
  description:
    - What the isolation guards of primaries have written into the database, by host. It is replicated, so a follower tells it of a primary
      that is gone. Empty where none was in force, null where it could not be read.
    - C(seconds) is the time within which the guard closes writes, and C(counted) what it counts, the host's C(region), how many C(regions)
      there are for it, and the region of each of its C(followers) by slot.
  type: dict
  returned: success
  sample:
    us-east-1-pg-1:
      host: us-east-1-pg-1
      seconds: 15
      counted:
        region: us-east-1
        regions: 3
        followers:
          paas_eu_west_1_pg_1: eu-west-1
          paas_ap_southeast_2_pg_1: ap-southeast-2
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

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.multiregion.paas.plugins.module_utils._postgres.cluster import Cluster
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.errors import PostgresError
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.follower import report


def main() -> None:
    module = AnsibleModule(
        argument_spec={"cluster": {"type": "str"}, "timeout": {"type": "int", "default": 15}},
        supports_check_mode=True,
    )
    try:
        name = module.params["cluster"] or Cluster.only()
        if name is None:
            module.exit_json(
                changed=False, cluster=None, role="absent", running=False, accepting=False, fenced=False, detached=False, slots=[], followers=[], guards=None,
            )
        cluster = Cluster(name, module.params["timeout"])
        current = cluster.read()
        module.exit_json(changed=False, cluster=name, **report(cluster, current), guards=cluster.guards() if current.accepting else None)
    except PostgresError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
