# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the DNS says: where a challenge ends, which zone holds it, and whether every authoritative server has the values."""

from __future__ import annotations

import errno
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Tuple

from .errors import DeadlineError, DnsError, InputError

try:
    import dns.edns
    import dns.exception
    import dns.flags
    import dns.inet
    import dns.message
    import dns.name
    import dns.query
    import dns.rcode
    import dns.rdatatype
    import dns.resolver
except ImportError:
    DNSPYTHON_IMPORT_ERROR = traceback.format_exc()
else:
    DNSPYTHON_IMPORT_ERROR = None

QUERY_TIMEOUT = 2.0
MAX_ALIASES = 10
UNREACHABLE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True)
class Server:
    """One address to ask."""

    name: str
    address: str
    port: int = 53

    def __str__(self):
        where = self.address if self.port == 53 else ("[%s]:%d" if ":" in self.address else "%s:%d") % (self.address, self.port)
        return where if self.name in ("", self.address) else "%s (%s)" % (self.name, where)


@dataclass(frozen=True)
class Record:
    """A TXT set that has to hold values while the CA looks."""

    challenge: str  # _acme-challenge.<name>, where the CA begins
    fqdn: str  # where its CNAMEs end
    zone: str
    values: Tuple[str, ...] = ()


def parse_server(text):
    """`address`, `address:port`, `[v6]:port`, `name` or `name:port` -> (host, port)."""
    text = str(text).strip()
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        port = port.lstrip(":")
    elif text.count(":") == 1:
        host, colon, port = text.partition(":")
    else:
        host, port = text, ""
    if not host or (port and not port.isdigit()) or not 0 < int(port or 53) < 65536:
        raise InputError("%r is no server: give an address or a name, with :port where it is not 53" % text)
    return host, int(port or 53)


def is_address(host):
    """Whether it is an IPv4 or IPv6 address."""
    return dns.inet.is_address(host)


def ask(server, name, rdatatype, recurse=False, client=None):
    """One question to one server, over TCP where the answer is cut off, on behalf of a client's network where one is given.

    Raises OSError or dns.exception.DNSException.
    """
    options = [dns.edns.ECSOption(client, 56 if ":" in client else 24)] if client else None
    query = dns.message.make_query(name, rdatatype, options=options)
    if not recurse:
        query.flags &= ~dns.flags.RD
    response, _tcp = dns.query.udp_with_fallback(query, server.address, timeout=QUERY_TIMEOUT, port=server.port, ignore_unexpected=True)
    return response


def sent_to(zones, name, client=None):
    """Every address that an authoritative server of the name's zone answers with. Raises DnsError where one does not answer.

    A server that this machine has no way to, as by IPv6, counts only where none is left.
    """
    fqdn, zone = zones.locate(name)
    questions = [(server, rdatatype) for server in zones.servers(zone) for rdatatype in ("A", "AAAA")]

    def answer(question):
        server, rdatatype = question
        try:
            response = ask(server, fqdn + ".", rdatatype, client=client)
        except OSError as error:
            return error if error.errno in UNREACHABLE else DnsError("%s does not answer: %s" % (server, error))
        except dns.exception.DNSException as error:
            return DnsError("%s does not answer: %s" % (server, error))
        if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return DnsError("%s answers %s" % (server, dns.rcode.to_text(response.rcode())))
        return {rdata.address for rrset in response.answer if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA) for rdata in rrset}

    answers = _together(answer, questions)
    failed = [one for one in answers if isinstance(one, DnsError)]
    if failed:
        raise failed[0]
    found = [one for one in answers if isinstance(one, set)]
    if not found:
        raise DnsError("No authoritative server of %s can be reached: %s" % (zone, answers[0]))
    return sorted(set().union(*found))


def txt_values(response, fqdn):
    """The TXT values of an answer."""
    name = dns.name.from_text(fqdn)
    values = []
    for rrset in response.answer:
        if rrset.rdtype == dns.rdatatype.TXT and rrset.name == name:
            values.extend(b"".join(rdata.strings).decode("utf-8", "backslashreplace") for rdata in rrset)
    return values


class Dns:
    """Questions about zones. `nameservers` replaces both the system's resolver and the delegated servers."""

    def __init__(self, nameservers=None):
        self._resolver = None
        self._zones = {}
        self._servers = {}
        self.fixed = tuple(server for text in nameservers or () for server in self._addresses(*parse_server(text)))
        if nameservers and not self.fixed:
            raise InputError("nameservers: none of %s has an address" % ", ".join(nameservers))

    @property
    def resolver(self):
        """The system's."""
        if self._resolver is None:
            try:
                self._resolver = dns.resolver.Resolver()
            except dns.exception.DNSException as error:
                raise DnsError("This machine has no DNS resolver configured (%s): set nameservers" % error) from error
            self._resolver.lifetime = 15.0
        return self._resolver

    def _addresses(self, host, port=53):
        if is_address(host):
            return [Server(host, host, port)]
        servers = []
        for rdatatype in ("A", "AAAA"):
            try:
                answer = self.resolver.resolve(host, rdatatype, search=False)
            except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
                continue
            except dns.exception.DNSException as error:
                raise DnsError("The address of the server %s cannot be found: %s" % (host, error)) from error
            servers.extend(Server(host.rstrip("."), rdata.address, port) for rdata in answer)
        return servers

    def addresses(self, host, port):
        """Where a server that is given by name or address can be reached."""
        servers = self._addresses(host, port)
        if not servers:
            raise InputError("The server %s has no address" % host)
        return servers

    def lookup(self, name, rdatatype):
        """A question through the resolver, or `nameservers`; the whole response."""
        if self.fixed:
            last = None
            for server in self.fixed:
                try:
                    response = ask(server, name, rdatatype, recurse=True)
                except (OSError, dns.exception.DNSException) as error:
                    last = "%s: %s" % (server, error)
                    continue
                if response.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                    return response
                last = "%s answers %s" % (server, dns.rcode.to_text(response.rcode()))
            raise DnsError("The question for %s %s failed: %s" % (name, rdatatype, last))
        try:
            return self.resolver.resolve(name, rdatatype, raise_on_no_answer=False, search=False).response
        except dns.resolver.NXDOMAIN as error:
            return error.response(dns.name.from_text(name))
        except dns.exception.DNSException as error:
            raise DnsError("The question for %s %s failed: %s" % (name, rdatatype, error)) from error

    def follow(self, name):
        """Where the CNAMEs of a name end. A CA goes the same way, so the values have to stand there."""
        current, seen = dns.name.from_text(name), []
        while True:
            response = self.lookup(current.to_text(), "CNAME")
            target = None
            for rrset in response.answer:
                if rrset.rdtype == dns.rdatatype.CNAME and rrset.name == current:
                    target = rrset[0].target
            if target is None:
                return current.to_text(omit_final_dot=True).lower(), response
            seen.append(current)
            if target in seen or len(seen) > MAX_ALIASES:
                raise InputError("The CNAMEs of %s end nowhere: %s" % (name, " -> ".join(one.to_text() for one in seen + [target])))
            current = target

    def locate(self, name):
        """-> (where the challenge of `name` ends, its zone)."""
        fqdn, response = self.follow(name)
        zone = soa_owner(response, fqdn)
        if zone is None:
            zone = soa_owner(self.lookup(fqdn + ".", "SOA"), fqdn)
        if zone is None:
            raise InputError("No zone was found for %s: no server gave a SOA record for it" % fqdn)
        return fqdn, zone

    def servers(self, zone):
        """Every address of every authoritative server of the zone."""
        if self.fixed:
            return self.fixed
        if zone not in self._servers:
            response = self.lookup(zone + ".", "NS")
            owner = dns.name.from_text(zone)
            hosts = [rdata.target.to_text() for rrset in response.answer if rrset.rdtype == dns.rdatatype.NS and rrset.name == owner for rdata in rrset]
            servers = tuple(server for host in sorted(set(hosts)) for server in self._addresses(host))
            if not servers:
                raise DnsError("The zone %s has no authoritative server with an address (NS: %s)" % (zone, ", ".join(hosts) or "none"))
            self._servers[zone] = servers
        return self._servers[zone]

    # -- proof

    def look(self, records):
        """What each server says at this moment: {record's fqdn: {server: values or what went wrong}}. For messages."""
        questions = [(record, server) for record in records for server in self.servers(record.zone)]
        result = {}
        for (record, server), answer in zip(questions, _together(_look, questions)):
            result.setdefault(record.fqdn, {})[str(server)] = answer
        return result

    def wait(self, records, timeout, stopped):
        """Until every authoritative server has all values. Raises DeadlineError, with what was missing where.

        A zone whose servers cannot be found is looked up again, like a server that does not answer. One whose address family this
        machine cannot reach at all is passed over as long as another one answers.
        """
        unknown, errors, open_questions = list(records), {}, []
        deadline, pause, proven = time.monotonic() + timeout, 0.05, set()
        while True:
            unknown = self._find_servers(unknown, open_questions, errors)
            answers = _together(_look, open_questions, stopped)
            left, unreachable = [], []
            for (record, server), answer in zip(open_questions, answers):
                if answer == "unreachable":
                    unreachable.append((record, server))
                elif not isinstance(answer, list) or not set(record.values) <= set(answer):
                    left.append((record, server))
                else:
                    proven.add(record.fqdn)
            if all(record.fqdn in proven for record, server in unreachable):
                open_questions = left
            else:
                open_questions = left + unreachable
            if not open_questions and not unknown:
                return
            if time.monotonic() > deadline:
                raise self._not_everywhere(timeout, open_questions, unknown, errors)
            stopped.wait(pause)
            pause = min(pause * 1.6, 1.0)

    def _find_servers(self, records, questions, errors):
        """Adds what can be asked to the questions. -> the records whose zone's servers were not found, with {zone: why} in `errors`."""
        failed = {}
        for zone in dict.fromkeys(record.zone for record in records):
            try:
                servers = self.servers(zone)
            except DnsError as error:
                failed[zone] = error.message
            else:
                questions.extend((record, server) for record in records if record.zone == zone for server in servers)
        errors.update(failed)
        return [record for record in records if record.zone in failed]

    def _not_everywhere(self, timeout, open_questions, unknown, errors):
        shown = self.look(list(dict.fromkeys(record for record, server in open_questions))[:5])
        shown.update({record.fqdn: {"error": errors[record.zone]} for record in unknown[:5]})
        where = ["%s on %s" % (record.fqdn, server) for record, server in open_questions[:10]]
        where += ["%s (%s)" % (record.fqdn, errors[record.zone]) for record in unknown[:10]]
        return DeadlineError(
            "After %d s %s not everywhere: %s" % (timeout, "this value is" if len(where) == 1 else "these values are", "; ".join(where)),
            dns_answers=shown,
        )


def soa_owner(response, fqdn):
    """The zone that a response to a question about `fqdn` names, in its answer or its authority section."""
    name = dns.name.from_text(fqdn)
    for section in (response.answer, response.authority):
        for rrset in section:
            if rrset.rdtype == dns.rdatatype.SOA and name.is_subdomain(rrset.name) and rrset.name != dns.name.root:
                return rrset.name.to_text(omit_final_dot=True).lower()
    return None


def _look(question):
    record, server = question
    try:
        response = ask(server, record.fqdn + ".", "TXT")
    except OSError as error:
        return "unreachable" if error.errno in UNREACHABLE else str(error)
    except dns.exception.DNSException as error:
        return "%s: %s" % (type(error).__name__, error)
    if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return dns.rcode.to_text(response.rcode())
    return txt_values(response, record.fqdn)


def _together(function, items, stopped=None):
    if len(items) < 2:
        return [function(item) for item in items]
    pool = ThreadPoolExecutor(max_workers=16)
    try:
        return list(pool.map(function, items))
    except BaseException:
        (stopped or threading.Event()).set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
