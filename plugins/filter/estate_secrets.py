# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill in the secrets that an estate lacks."""

from __future__ import annotations

import base64
import datetime
import secrets
import uuid
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: estate_secrets
short_description: Add the secrets that an estate lacks
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Takes the secrets that an estate has and returns them with those added that it lacks, freshly made at random.
    What is there is never changed.
  - Passwords have 192 bits of randomness and no character that a URL or a shell would have to quote. Consul's tokens are
    UUIDs chosen in advance. The estate's private certificate authority is an ECDSA P-256 key with a certificate for ten years.
positional: _input
options:
  _input:
    description: The secrets that are there, by variable name. Empty for a new estate.
    type: dict
    required: true
  apps:
    description: The estate's apps, as the variable C(paas_apps) describes them. Each gets a session secret, each database its passwords.
    type: dict
    default: {}
  authority_name:
    description: The common name of the estate's private certificate authority.
    type: str
    default: multiregion.paas
requirements:
  - cryptography
"""

EXAMPLES = r"""
- name: Show the names of the secrets of a new estate
  ansible.builtin.debug:
    msg: "{{ {} | multiregion.paas.estate_secrets(apps=paas_apps) | dict2items | map(attribute='key') }}"
"""

RETURN = r"""
_value:
  description: The given secrets and the added ones, by variable name.
  type: dict
"""

AUTHORITY_YEARS = 10
DATABASE_ROLES = ("owner", "read_write", "read_only")
PASSWORDS = ("paas_postgres_replication_password", "paas_registry_password", "paas_valkey_password")
CONSUL_TOKENS = ("operator", "replication", "agent", "register", "dns", "ui")


def _password() -> str:
    return secrets.token_urlsafe(24)


def _authority(common_name: str) -> dict[str, str]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise AnsibleFilterError("estate_secrets needs the Python package cryptography on the controller") from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=365 * AUTHORITY_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    return {
        "paas_ca_key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        "paas_ca_certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
    }


def estate_secrets(present: Mapping, apps: Mapping | None = None, authority_name: str = "multiregion.paas") -> dict:
    """The secrets that are there and fresh ones for what is missing; see DOCUMENTATION.

    Raises AnsibleFilterError for input that is no mapping, and when only one half of the certificate authority is there.
    """
    if not isinstance(present, Mapping):
        raise AnsibleFilterError("estate_secrets: the present secrets must be a dictionary")
    result = dict(present)
    halves = [name for name in ("paas_ca_key", "paas_ca_certificate") if result.get(name)]
    if len(halves) == 1:
        raise AnsibleFilterError(
            f"estate_secrets: only {halves[0]} of the certificate authority is there. "
            "Restore the other half: a new authority would cut off every host that trusts the old one."
        )
    if not halves:
        result.update(_authority(authority_name))
    for name in PASSWORDS:
        result.setdefault(name, _password())
    result.setdefault("paas_consul_gossip_key", base64.b64encode(secrets.token_bytes(32)).decode())
    tokens = dict(result.get("paas_consul_tokens") or {})
    for purpose in CONSUL_TOKENS:
        tokens.setdefault(purpose, str(uuid.uuid4()))
    result["paas_consul_tokens"] = tokens
    databases = {name: dict(roles) for name, roles in (result.get("paas_database_passwords") or {}).items()}
    app_secrets = {name: dict(values) for name, values in (result.get("paas_app_secrets") or {}).items()}
    for name, app in (apps or {}).items():
        app_secrets.setdefault(name, {}).setdefault("SESSION_SECRET", _password())
        database = app.get("database")
        if database and database != "none":
            for role in DATABASE_ROLES:
                databases.setdefault(database, {}).setdefault(role, _password())
    result["paas_database_passwords"] = databases
    result["paas_app_secrets"] = app_secrets
    return result


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict:
        return {"estate_secrets": estate_secrets}
