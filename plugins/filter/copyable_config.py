# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leave what another region may take over of an app's config."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: copyable_config
short_description: Leave what another region may take over of an app's config
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Drops the variables that belong to one host or region.
  - These are C(DATABASE_URL), C(MASTER_DATABASE_URL), C(READ_DATABASE_URL), C(GIT_REV), C(NO_VHOST), all that begin with C(DOKKU_) or C(HEROKU_),
    and the C(*_URL) of services, which are those named after one, such as C(REDIS_URL), and those whose URL leads to a Dokku
    service's container, C(dokku-redis-cache). An app's own C(PUBLIC_URL) stays.
positional: _input
options:
  _input:
    description: The app's config.
    type: dict
    required: true
  drop:
    description: Further names to drop, with V(*) and V(?) as wildcards.
    type: list
    elements: str
    default: []
  keep:
    description: Names that stay in any case, with V(*) and V(?) as wildcards.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Take the config of the first region over
  ansible.builtin.set_fact:
    app_config: "{{ first_region_config | multiregion.paas.copyable_config(drop=['PAAS_*', 'INSTANCE_ID']) }}"
"""

RETURN = r"""
_value:
  description: The config without what was dropped, in the same order.
  type: dict
  sample: {SESSION_SECRET: s3cret, PUBLIC_URL: "https://todo.example.com"}
"""

_DROPPED = ("DATABASE_URL", "MASTER_DATABASE_URL", "READ_DATABASE_URL", "HEROKU_*", "DOKKU_*", "GIT_REV", "NO_VHOST")
# Dokku's and Heroku's data services.
_SERVICES = re.compile(
    r"(?:CLICKHOUSE|COUCHDB|ELASTICSEARCH|GRAPHITE|KEYDB|MARIADB|MEILISEARCH|MEMCACHED?|MONGO(?:DB)?|MYSQL|NATS|OPENSEARCH|PGBOUNCER|POSTGRES(?:QL)?|"
    r"RABBITMQ|CLOUDAMQP|REDIS(?:CLOUD|TOGO)?|RETHINKDB|SOLR|TYPESENSE|VALKEY)(?:_TLS)?_URL"
)
_SERVICE_HOST = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/@]*@)?dokku-[a-z0-9-]+[:/]?", re.IGNORECASE)


def _patterns(name: str, value) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(entry, str) for entry in value):
        raise AnsibleFilterError(f"copyable_config: {name} is a list of patterns")
    return list(value)


def copyable_config(config: Mapping, drop: Sequence = (), keep: Sequence = ()) -> dict:
    if not isinstance(config, Mapping):
        raise AnsibleFilterError("copyable_config: the input is the app's config, a dictionary")
    dropped = [*_DROPPED, *_patterns("drop", drop)]
    kept = _patterns("keep", keep)

    def stays(name: str, value) -> bool:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in kept):
            return True
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in dropped):
            return False
        if name.endswith("_URL"):
            return not (_SERVICES.fullmatch(name) or (isinstance(value, str) and _SERVICE_HOST.match(value)))
        return True

    return {name: value for name, value in config.items() if stays(str(name), value)}


class FilterModule:
    def filters(self) -> dict:
        return {"copyable_config": copyable_config}
