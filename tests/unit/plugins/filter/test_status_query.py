# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.multiregion.paas.plugins.filter.status_query import status_query

REPORT = {"postgres": [{"host": "us", "role": "primary", "lag_bytes": None}, {"host": "eu", "role": "follower", "lag_bytes": 9}]}


class Tagged(str):
    """As Ansible tags its values."""


def test_it_finds():
    assert status_query(REPORT, "postgres[?role == 'primary'].host | [0]") == "us"
    assert status_query(REPORT, "postgres[?lag_bytes > `5`].host") == ["eu"]
    assert status_query(REPORT, "@") == REPORT
    assert status_query(REPORT, "apps") is None


def test_ansibles_own_types_compare():
    assert status_query({"postgres": [{"host": Tagged("us")}]}, Tagged("max_by(postgres, &host).host")) == "us"


def test_an_expression_is_checked_without_a_report():
    assert status_query(None, "length(postgres)") is None


@pytest.mark.parametrize("report, expression", [(None, "postgres[?"), (REPORT, "length(apps)")])
def test_a_wrong_expression_is_told(report, expression):
    with pytest.raises(AnsibleFilterError, match="no JMESPath expression"):
        status_query(report, expression)
