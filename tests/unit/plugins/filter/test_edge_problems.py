# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.multiregion.paas.plugins.filter.edge_problems import edge_problems

SITE = {"name": "todo", "server_names": ["todo.example.com", "*.todo.example.com"], "certificate": "/etc/a.crt", "certificate_key": "/etc/a.key"}


def test_a_good_site():
    assert edge_problems([SITE, {**SITE, "name": "shop", "server_names": ["shop.example.com"], "service": "app-shop", "max_body": "20m"}]) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "To do"}, "its name"),
        ({"name": None}, "its name"),
        ({"server_names": []}, "server_names"),
        ({"server_names": "todo.example.com"}, "server_names"),
        ({"server_names": ["a b; return 200"]}, "no name of a host"),
        ({"service": "app todo"}, "prepared query"),
        ({"host": "*.example.com"}, "one name"),
        ({"certificate": "a.crt"}, "certificate is to be"),
        ({"certificate_key": "/etc/a.key; include /x"}, "certificate_key is to be"),
        ({"health_path": "health"}, "health_path"),
        ({"max_body": "much"}, "max_body"),
        ({"read_timeout": "long"}, "read_timeout"),
        ({"read_timeout": "0"}, "read_timeout"),
    ],
)
def test_what_is_wrong_is_named(change, words):
    problems = edge_problems([{**SITE, **change}])
    assert len(problems) == 1
    assert words in problems[0]


def test_everything_is_listed_at_once():
    assert len(edge_problems([{"name": "x", "server_names": []}])) == 3


def test_two_sites_share_nothing():
    problems = edge_problems([SITE, SITE, {**SITE, "name": "other", "server_names": ["todo.example.com"]}])
    assert [problem for problem in problems if "two of that name" in problem] == ["Site todo: there are two of that name."]
    assert "Site other: Site todo has the name todo.example.com, too." in problems


def test_a_name_that_dokku_serves_would_loop():
    (problem,) = edge_problems([SITE], ["todo.example.com"])
    assert "come back to the edge" in problem
    assert edge_problems([{**SITE, "server_names": ["www.example.com"], "host": "todo.example.com"}], ["todo.example.com"]) == []


@pytest.mark.parametrize("sites", ["todo", None, ["todo"]])
def test_what_is_no_list_of_sites(sites):
    with pytest.raises(AnsibleFilterError):
        edge_problems(sites)
