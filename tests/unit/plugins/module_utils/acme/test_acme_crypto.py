# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.multiregion.paas.plugins.module_utils._acme import crypto
from ansible_collections.multiregion.paas.plugins.module_utils._acme.errors import AcmeError, InputError
from cryptography import x509


@pytest.mark.parametrize("key_type", ["ec256", "ec384", "rsa2048"])
def test_keys_come_back_as_they_were(key_type):
    pem = crypto.key_pem(crypto.generate_key(key_type))
    assert crypto.key_type_of(crypto.load_key(pem, "x")) == key_type


def test_unknown_key_type():
    with pytest.raises(InputError, match="key_type is 'dsa'"):
        crypto.generate_key("dsa")


def test_requests_carry_all_names_and_a_common_name_that_fits():
    key = crypto.generate_key("ec256")
    names = ("x" * 60 + ".long.test", "*.a.test", "b.test")
    pem = crypto.make_csr(key, names)
    found, public = crypto.read_csr(pem, "x")
    assert tuple(found) == names and public == crypto.public_bytes(key.public_key())
    request = x509.load_pem_x509_csr(pem)
    assert request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value == "*.a.test"


def test_a_chain_is_split_after_its_first_certificate():
    one, two = ("-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----" % letter for letter in "AB")
    assert crypto.split_chain(one + "\n\n" + two + "\n") == (one + "\n", two + "\n")
    with pytest.raises(AcmeError):
        crypto.split_chain("nothing")


@pytest.mark.parametrize("serial, text", [(0, "00"), (10, "0A"), (255, "FF"), (256, "0100")])
def test_serials_look_as_openssl_writes_them(serial, text):
    assert crypto.serial_text(serial) == text


@pytest.mark.parametrize("load", [crypto.load_key, crypto.load_certificate, crypto.read_csr])
def test_files_that_are_none_are_named(load):
    with pytest.raises(InputError, match="the-path"):
        load(b"-----BEGIN NOTHING-----\n", "the-path")
