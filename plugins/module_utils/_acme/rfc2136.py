# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TXT values by dynamic update (RFC 2136), signed with TSIG (RFC 8945)."""

from __future__ import annotations

import base64
import binascii
import time

from .errors import DnsError, InputError
from .provider import Provider
from .resolve import soa_owner

try:
    import dns.exception
    import dns.message
    import dns.name
    import dns.query
    import dns.rcode
    import dns.rdatatype
    import dns.tsig
    import dns.tsigkeyring
    import dns.update
except ImportError:
    # Told by resolve.DNSPYTHON_IMPORT_ERROR.
    pass

ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")
TTL = 60
TIMEOUT = 10.0
ATTEMPTS = 4


class Rfc2136(Provider):
    """A primary server that takes signed updates."""

    name = "rfc2136"

    def __init__(self, dns_view, server, port, key_name, key_secret, key_algorithm, transport, zone=None):
        self._dns = dns_view
        self._servers = dns_view.addresses(server, port)
        self._transport = transport
        self._zone = zone.rstrip(".").lower() if zone else None
        self._algorithm = dns.name.from_text(key_algorithm)
        try:
            base64.b64decode(key_secret, validate=True)
            self._keyring = dns.tsigkeyring.from_text({key_name: key_secret})
        except (binascii.Error, ValueError) as error:
            raise InputError("key_secret is not base64") from error
        except dns.exception.DNSException as error:
            raise InputError("key_name %r is no name: %s" % (key_name, error)) from error
        self._key_name = dns.name.from_text(key_name)

    def locate(self, challenge):
        fqdn, _response = self._dns.follow(challenge)
        if self._zone is not None:
            # Asked all the same: a wrong key has to be seen before anything is changed.
            response = self._ask(self._zone)
            found = soa_owner(response, self._zone)
            if found != self._zone:
                raise InputError("The server %s does not hold the zone %s that zone names" % (self._servers[0], self._zone))
            if fqdn != self._zone and not fqdn.endswith("." + self._zone):
                raise InputError("%s is not in the zone %s that zone names" % (fqdn, self._zone))
            return fqdn, self._zone
        zone = soa_owner(self._ask(fqdn), fqdn)
        if zone is None:
            raise InputError("The server %s holds no zone for %s" % (self._servers[0], fqdn))
        return fqdn, zone

    def add(self, zone, sets):
        update = self._update(zone)
        for fqdn, values in sets.items():
            for value in values:
                update.add(dns.name.from_text(fqdn), TTL, "TXT", '"%s"' % value)
        self._send(update, "The update of zone %s" % zone)

    def remove(self, zone, sets):
        update = self._update(zone)
        for fqdn, values in sets.items():
            for value in values:
                update.delete(dns.name.from_text(fqdn), "TXT", '"%s"' % value)
        self._send(update, "The update of zone %s" % zone)

    def _update(self, zone):
        return dns.update.UpdateMessage(zone + ".", keyring=self._keyring, keyname=self._key_name, keyalgorithm=self._algorithm)

    def _ask(self, name):
        query = dns.message.make_query(name + ".", "SOA")
        query.use_tsig(self._keyring, keyname=self._key_name, algorithm=self._algorithm)
        return self._send(query, "The question for the zone of %s" % name, accepted=(dns.rcode.NOERROR, dns.rcode.NXDOMAIN))

    def _send(self, message, what, accepted=(0,)):
        """To the first address that answers; repeated where an answer may still come. An update may be sent twice."""
        wire_error = None
        for attempt in range(ATTEMPTS):
            server = self._servers[attempt % len(self._servers)]
            try:
                if self._transport == "tcp":
                    response = dns.query.tcp(message, server.address, timeout=TIMEOUT, port=server.port)
                else:
                    response, _tcp = dns.query.udp_with_fallback(message, server.address, timeout=TIMEOUT / 2, port=server.port, ignore_unexpected=True)
            except dns.tsig.PeerError as error:
                raise DnsError(
                    "%s was refused by %s: %s. It does not accept key_name, key_secret and key_algorithm" % (what, server, _peer(error)), server_answer=_peer(error)
                ) from error
            except (dns.tsig.BadSignature, dns.tsig.BadTime, dns.message.UnknownTSIGKey) as error:
                raise DnsError("%s: the answer of %s is not signed with our key: %s" % (what, server, error), server_answer=str(error)) from error
            except (OSError, EOFError, dns.exception.DNSException) as error:
                wire_error = "%s: %s" % (server, error or type(error).__name__)
                time.sleep(0.25 * 2**attempt)
                continue
            rcode = response.rcode()
            if rcode in accepted:
                return response
            if rcode == dns.rcode.SERVFAIL and attempt + 1 < ATTEMPTS:
                wire_error = "%s answers SERVFAIL" % server
                time.sleep(0.25 * 2**attempt)
                continue
            raise DnsError("%s was refused by %s: %s" % (what, server, dns.rcode.to_text(rcode)), server_answer=dns.rcode.to_text(rcode))
        raise DnsError("%s failed: %s" % (what, wire_error))


def _peer(error):
    names = {"PeerBadKey": "BADKEY", "PeerBadSignature": "BADSIG", "PeerBadTime": "BADTIME", "PeerBadTruncation": "BADTRUNC"}
    return names.get(type(error).__name__, str(error))
