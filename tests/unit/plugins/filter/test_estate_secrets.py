# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import uuid

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.multiregion.paas.plugins.filter.estate_secrets import estate_secrets
from cryptography import x509
from cryptography.hazmat.primitives import serialization

APPS = {"todo": {"database": "todo"}, "page": {"database": "none"}}


def test_a_new_estate_gets_everything():
    made = estate_secrets({}, apps=APPS)
    assert set(made["paas_database_passwords"]) == {"todo"}
    assert set(made["paas_database_passwords"]["todo"]) == {"owner", "read_write", "read_only"}
    assert set(made["paas_app_secrets"]) == {"todo", "page"}
    assert len(base64.b64decode(made["paas_consul_gossip_key"])) == 32
    assert all(uuid.UUID(token) for token in made["paas_consul_tokens"].values())
    certificate = x509.load_pem_x509_certificate(made["paas_ca_certificate"].encode())
    key = serialization.load_pem_private_key(made["paas_ca_key"].encode(), None)
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(certificate)


def test_run_again_nothing_changes():
    first = estate_secrets({}, apps=APPS)
    assert estate_secrets(first, apps=APPS) == first


def test_a_new_app_adds_only_its_own():
    first = estate_secrets({}, apps={"page": APPS["page"]})
    second = estate_secrets(first, apps=APPS)
    assert second["paas_app_secrets"]["page"] == first["paas_app_secrets"]["page"]
    assert second["paas_ca_key"] == first["paas_ca_key"]
    assert "todo" in second["paas_database_passwords"] and "todo" not in first["paas_database_passwords"]


def test_no_two_estates_share_a_secret():
    first, second = estate_secrets({}, apps=APPS), estate_secrets({}, apps=APPS)
    assert not [name for name in first if first[name] == second[name]]


def test_half_an_authority_is_refused():
    half = estate_secrets({})
    del half["paas_ca_key"]
    with pytest.raises(AnsibleFilterError, match="Restore the other half"):
        estate_secrets(half)


def test_wrong_input_is_refused():
    with pytest.raises(AnsibleFilterError, match="must be a dictionary"):
        estate_secrets([])
