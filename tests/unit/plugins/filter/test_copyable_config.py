# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.multiregion.paas.plugins.filter.copyable_config import copyable_config

REGIONAL = {
    "DATABASE_URL": "postgres://a",
    "MASTER_DATABASE_URL": "postgres://b",
    "READ_DATABASE_URL": "postgres://c",
    "HEROKU_POSTGRESQL_JADE_URL": "postgres://d",
    "DOKKU_APP_TYPE": "dockerfile",
    "DOKKU_REDIS_AQUA_URL": "redis://e",
    "GIT_REV": "abc",
    "NO_VHOST": "1",
    "REDIS_URL": "redis://f",
    "REDIS_TLS_URL": "rediss://f",
    "MONGODB_URL": "mongodb://g",
    "SEARCH_URL": "http://user:pw@dokku-elasticsearch-main:9200",
}
OWN = {"SESSION_SECRET": "s", "PUBLIC_URL": "https://todo.example.com", "URL": "x", "DOKKUS": "1", "PORT": 5000, "HOOK_URL": "https://dokku.example.com/h"}


def test_what_belongs_to_a_region_goes_and_the_rest_stays_in_order():
    assert list(copyable_config({**OWN, **REGIONAL}).items()) == list(OWN.items())


def test_patterns_drop_and_keep():
    config = {"PAAS_REGION": "r", "PAAS_HOST": "h", "REDIS_URL": "redis://managed.example.com", "A": "1"}
    assert copyable_config(config, drop=["PAAS_*"], keep=["REDIS_URL", "PAAS_HOST"]) == {
        "PAAS_HOST": "h",
        "REDIS_URL": "redis://managed.example.com",
        "A": "1",
    }


def test_the_input_is_not_changed():
    config = dict(REGIONAL)
    copyable_config(config)
    assert config == REGIONAL


@pytest.mark.parametrize("arguments", [["text"], [{}, "PAAS_*"], [{}, [1]], [{}, [], "A"]])
def test_bad_input(arguments):
    with pytest.raises(AnsibleFilterError, match="copyable_config: "):
        copyable_config(*arguments)
