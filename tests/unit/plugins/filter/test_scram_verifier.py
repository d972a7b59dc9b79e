# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.multiregion.paas.plugins.filter.scram_verifier import scram_verifier


def test_the_form_and_that_it_is_always_the_same():
    verifier = scram_verifier("secret", "todo_rw")
    assert verifier.startswith("SCRAM-SHA-256$4096:")
    assert verifier == scram_verifier("secret", "todo_rw")
    assert len(verifier) == 133


def test_role_and_password_make_the_salt():
    assert len({scram_verifier(password, role) for password in ("a", "b") for role in ("r", "s")}) == 4


@pytest.mark.parametrize("password", ["", None, "gr\u00fc\u00df", "a\nb"])
def test_what_is_refused(password):
    with pytest.raises(AnsibleFilterError) as error:
        scram_verifier(password, "todo_rw")
    assert "todo_rw" in str(error.value) and (not password or password not in str(error.value))
