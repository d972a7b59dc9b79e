# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, certificate signing requests and certificates."""

from __future__ import annotations

import traceback
from datetime import timezone

from .errors import AcmeError, InputError
from .plan import certificate_id

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import NameOID
except ImportError:
    CRYPTOGRAPHY_IMPORT_ERROR = traceback.format_exc()
else:
    CRYPTOGRAPHY_IMPORT_ERROR = None

KEY_TYPES = ("ec256", "ec384", "rsa2048", "rsa4096")


def generate_key(key_type: str):
    """A new private key."""
    if key_type == "ec256":
        return ec.generate_private_key(ec.SECP256R1())
    if key_type == "ec384":
        return ec.generate_private_key(ec.SECP384R1())
    if key_type in ("rsa2048", "rsa4096"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(key_type[3:]))
    raise InputError("key_type is %r: choose one of %s" % (key_type, ", ".join(KEY_TYPES)))


def key_type_of(key) -> str:
    """The name of a key's type: one of KEY_TYPES, or another in the same form."""
    if isinstance(key, rsa.RSAPrivateKey):
        return "rsa%d" % key.key_size
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "ec%d" % key.curve.key_size
    return type(key).__name__


def key_pem(key) -> bytes:
    """PKCS 8, not encrypted: what web servers read."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def load_key(pem: bytes, path: str):
    """A private key from PEM."""
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise InputError("%s is no private key without a password: %s" % (path, error)) from error


def public_bytes(public_key) -> bytes:
    """To compare keys by."""
    return public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def make_csr(key, names) -> bytes:
    """A request for the names; the first short enough (64 characters) of them is the common name."""
    common = next((name for name in names if len(name) <= 64), None)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def read_csr(pem: bytes, path: str):
    """-> (names, public key) of a request that was made elsewhere."""
    try:
        csr = x509.load_pem_x509_csr(pem)
    except ValueError as error:
        raise InputError("csr_path %s is no certificate signing request in PEM: %s" % (path, error)) from error
    if not csr.is_signature_valid:
        raise InputError("csr_path %s has a signature that is not its key's" % path)
    names = []
    try:
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        pass
    return [name.lower() for name in names], public_bytes(csr.public_key())


def load_certificate(pem: bytes, path: str):
    """The first certificate of a PEM file."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise InputError("%s is no certificate in PEM: %s. Move it away, or give another dest" % (path, error)) from error


def split_chain(pem: str):
    """-> (certificate, the others), each PEM with a final newline."""
    end = "-----END CERTIFICATE-----"
    parts = [part.strip() + "\n" + end + "\n" for part in pem.split(end)[:-1]]
    if not parts:
        raise AcmeError("The CA's answer holds no certificate")
    return parts[0], "".join(parts[1:])


def describe(certificate) -> dict:
    """What is compared and returned of a certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    try:
        identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        identifier = None
    return {
        "names": tuple(name.lower() for name in names),
        "serial": certificate.serial_number,
        "cert_id": certificate_id(identifier, certificate.serial_number) if identifier else None,
        "issuer": certificate.issuer.rfc4514_string(),
        "not_before": _utc(certificate, "not_valid_before"),
        "not_after": _utc(certificate, "not_valid_after"),
        "public_key": public_bytes(certificate.public_key()),
    }


def _utc(certificate, attribute):
    """cryptography 42 gave these times a zone, under a new name."""
    aware = getattr(certificate, attribute + "_utc", None)
    return aware if aware is not None else getattr(certificate, attribute).replace(tzinfo=timezone.utc)


def chain_has_issuer(chain_pem: str, common_name: str) -> bool:
    """Whether a certificate of the chain was issued by that common name."""
    for certificate in x509.load_pem_x509_certificates(chain_pem.encode("ascii")):
        if any(attribute.value == common_name for attribute in certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)):
            return True
    return False


def serial_text(serial: int) -> str:
    """As `openssl x509 -serial` writes it."""
    text = "%X" % serial
    return text if len(text) % 2 == 0 else "0" + text
