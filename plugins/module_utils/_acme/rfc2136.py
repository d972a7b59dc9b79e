# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TXT values by dynamic update (RFC 2136), signed with TSIG (RFC 8945)."""

from __future__ import annotations

import base64
import binascii
import socket
import struct
import threading
import time

from .errors import DnsError, InputError
from .provider import Provider
from .resolve import MAX_ALIASES, soa_owner

try:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.opcode
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
TIMEOUT = 10.0  # of one attempt
QUESTION_TIMEOUT = 15.0
TSIG_ERRORS = {16: "BADSIG", 17: "BADKEY", 18: "BADTIME", 22: "BADTRUNC"}


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
        fqdn = self._end(challenge)
        # Asked also where `zone` is given: a wrong key has to be seen before anything is changed.
        zone = soa_owner(self._ask(self._zone or fqdn, "SOA"), self._zone or fqdn)
        if self._zone is not None:
            if zone != self._zone:
                raise InputError("The server %s does not hold the zone %s that zone names" % (self._servers[0], self._zone))
            if fqdn != zone and not fqdn.endswith("." + zone):
                raise InputError("%s is not in the zone %s that zone names" % (fqdn, zone))
        if zone is None:
            raise InputError("The server %s holds no zone for %s" % (self._servers[0], fqdn))
        return fqdn, zone

    def _end(self, challenge):
        """Where the challenge's CNAMEs end. Where the resolver does not say it, the server itself is asked."""
        name, seen = challenge, [challenge]
        while True:
            try:
                return self._dns.follow(name)[0]
            except DnsError as error:
                target = self._alias(name, error)
            if target is None:
                return name
            if target in seen or len(seen) > MAX_ALIASES:
                raise InputError("The CNAMEs of %s end nowhere: %s" % (challenge, " -> ".join(seen + [target])))
            seen.append(target)
            name = target

    def _alias(self, name, unresolved):
        """The CNAME at a name of the server's own zones, or None where it has none. A guess would write where no CA looks."""
        try:
            response = self._ask(name, "CNAME")
        except DnsError as error:
            raise DnsError("%s. The resolver does not say either where %s leads: %s" % (error.message, name, unresolved.message), **error.details) from error
        if response.rcode() == dns.rcode.REFUSED or not response.flags & dns.flags.AA:
            raise DnsError(
                "The server %s holds no zone for %s, and whether a CNAME leads from there into one is not known: %s"
                % (self._servers[0], name, unresolved.message)
            ) from unresolved
        owner = dns.name.from_text(name)
        for rrset in response.answer:
            if rrset.rdtype == dns.rdatatype.CNAME and rrset.name == owner:
                return rrset[0].target.to_text(omit_final_dot=True).lower()
        return None

    def add(self, zone, sets, timeout=60, stopped=None):
        update = self._update(zone)
        for fqdn, values in sets.items():
            for value in values:
                update.add(dns.name.from_text(fqdn), TTL, "TXT", '"%s"' % value)
        self._send(update, "The update of zone %s" % zone, timeout, stopped=stopped)

    def remove(self, zone, sets, timeout=60):
        update = self._update(zone)
        for fqdn, values in sets.items():
            for value in values:
                update.delete(dns.name.from_text(fqdn), "TXT", '"%s"' % value)
        self._send(update, "The update of zone %s" % zone, timeout)

    def _update(self, zone):
        return dns.update.UpdateMessage(zone + ".", keyring=self._keyring, keyname=self._key_name, keyalgorithm=self._algorithm)

    def _ask(self, name, rdatatype):
        query = dns.message.make_query(name + ".", rdatatype)
        query.use_tsig(self._keyring, keyname=self._key_name, algorithm=self._algorithm)
        accepted = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.REFUSED)
        return self._send(query, "The question for %s %s" % (name, rdatatype), QUESTION_TIMEOUT, accepted)

    def _send(self, message, what, timeout, accepted=(0,), stopped=None):
        """To the first address that answers; repeated where an answer may still come. An update may be sent twice."""
        stopped = stopped or threading.Event()
        deadline, pause, attempt = time.monotonic() + timeout, 0.25, 0
        while True:
            server = self._servers[attempt % len(self._servers)]
            attempt += 1
            try:
                response = self._exchange(message, server, min(TIMEOUT, max(1.0, deadline - time.monotonic())))
            except dns.tsig.PeerError as error:
                raise _refused(what, server, _peer(error)) from error
            except (dns.tsig.BadSignature, dns.tsig.BadTime, dns.message.UnknownTSIGKey) as error:
                raise DnsError("%s: the answer of %s is not signed with our key: %s" % (what, server, error), server_answer=str(error)) from error
            except dns.exception.FormError as error:
                # A server answers for what it does not hold without a signature; of a key that it does not know it cannot make one.
                return self._unsigned(message, server, what, error)
            except (OSError, EOFError, dns.exception.DNSException) as error:
                said = "%s: %s" % (server, error or type(error).__name__)
            else:
                rcode = response.rcode()
                if rcode in accepted:
                    return response
                if rcode != dns.rcode.SERVFAIL:
                    raise DnsError("%s was refused by %s: %s" % (what, server, dns.rcode.to_text(rcode)), server_answer=dns.rcode.to_text(rcode))
                said = "%s answers SERVFAIL" % server
            # Each address gets a chance before the time is over.
            if attempt >= len(self._servers) and time.monotonic() + pause > deadline:
                raise DnsError("%s failed for %d s: %s" % (what, timeout, said))
            if stopped.wait(pause):
                raise DnsError("%s was stopped: %s" % (what, said))
            pause = min(pause * 2, 5.0)

    def _exchange(self, message, server, timeout):
        if self._transport == "tcp":
            return dns.query.tcp(message, server.address, timeout=timeout, port=server.port)
        response, _tcp = dns.query.udp_with_fallback(message, server.address, timeout=timeout / 2, port=server.port, ignore_unexpected=True)
        return response

    def _unsigned(self, message, server, what, error):
        """What an answer without the signature that we expect says: REFUSED for a question, or an error of the key."""
        wire = message.to_wire()
        try:
            with socket.create_connection((server.address, server.port), TIMEOUT) as connection:
                connection.sendall(struct.pack("!H", len(wire)) + wire)
                stream = connection.makefile("rb")
                answer = stream.read(struct.unpack("!H", stream.read(2))[0])
            response = dns.message.from_wire(answer, keyring=False, ignore_trailing=True)
        except (OSError, struct.error, dns.exception.DNSException) as again:
            raise DnsError("%s: the answer of %s cannot be read: %s" % (what, server, again or type(again).__name__)) from error
        rcode = dns.rcode.to_text(response.rcode())
        tsig_error = getattr(response.tsig[0], "error", 0) if response.tsig else 0
        said = TSIG_ERRORS.get(tsig_error, rcode)
        if said == "REFUSED" and message.opcode() == dns.opcode.QUERY:
            return response
        raise _refused(what, server, said) from error


def _refused(what, server, said):
    return DnsError("%s was refused by %s: %s. It does not accept key_name, key_secret and key_algorithm" % (what, server, said), server_answer=said)


def _peer(error):
    names = {"PeerBadKey": "BADKEY", "PeerBadSignature": "BADSIG", "PeerBadTime": "BADTIME", "PeerBadTruncation": "BADTRUNC"}
    return names.get(type(error).__name__, str(error))
