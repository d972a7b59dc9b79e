# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TXT values in Amazon Route 53, by a client of boto3's; without amazon.aws, which the renewal on the issuing host does not have."""

from __future__ import annotations

import threading
import time
import traceback

from .errors import DeadlineError, DnsError, InputError
from .plan import merge_values
from .provider import Provider

try:
    import boto3  # pylint: disable=unused-import
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    BOTO3_IMPORT_ERROR = traceback.format_exc()
else:
    BOTO3_IMPORT_ERROR = None

TTL = 60
ATTEMPTS = 12
CONFLICT = "InvalidChangeBatch"
TEMPORARY = ("PriorRequestNotComplete", "Throttling", "ThrottlingException", "RequestLimitExceeded", "ServiceUnavailable", "InternalFailure")


def client_config():
    """How a client of Route 53 repeats, and what it calls itself. Its own time limits, a minute each, would outlast a run's."""
    return Config(connect_timeout=5, read_timeout=15, retries={"mode": "standard", "max_attempts": 8}, user_agent_extra="multiregion.paas")


class Route53(Provider):
    """The hosted zones of one account."""

    name = "route53"

    def __init__(self, dns_view, client, zone_id=None, sleep=time.sleep):
        self._dns = dns_view
        self._client = client
        self._zone_id = zone_id.rsplit("/", 1)[-1] if zone_id else None
        self._ids = {}
        # Names are located side by side, and a zone is looked for once.
        self._looking = threading.Lock()
        self._sleep = sleep

    def locate(self, challenge):
        if self._zone_id is not None:
            fqdn, _response = self._dns.follow(challenge)
            with self._looking:
                zone = self._named_zone()
            if fqdn != zone and not fqdn.endswith("." + zone):
                raise InputError("%s is not in the zone %s (%s) that zone_id names" % (fqdn, zone, self._zone_id))
            return fqdn, zone
        fqdn, zone = self._dns.locate(challenge)
        with self._looking:
            self._id(zone, fqdn)
        return fqdn, zone

    def _named_zone(self):
        for zone, identifier in self._ids.items():
            if identifier == self._zone_id:
                return zone
        answer = self._call("reading the hosted zone %s" % self._zone_id, self._client.get_hosted_zone, Id=self._zone_id)
        zone = _plain(answer["HostedZone"]["Name"])
        self._ids[zone] = self._zone_id
        return zone

    def _id(self, zone, fqdn=None):
        if zone not in self._ids:
            answer = self._call("looking for the hosted zone %s" % zone, self._client.list_hosted_zones_by_name, DNSName=zone + ".", MaxItems="10")
            found = [one for one in answer["HostedZones"] if _plain(one["Name"]) == zone and not one.get("Config", {}).get("PrivateZone")]
            if not found:
                raise InputError("No public hosted zone of this AWS account holds %s: the DNS says that its zone is %s" % (fqdn or zone, zone))
            if len(found) > 1:
                raise InputError(
                    "This AWS account has several public hosted zones %s (%s): set zone_id"
                    % (zone, ", ".join(one["Id"].rsplit("/", 1)[-1] for one in found))
                )
            self._ids[zone] = found[0]["Id"].rsplit("/", 1)[-1]
        return self._ids[zone]

    def add(self, zone, sets, timeout=60, stopped=None):
        return self._change(zone, sets, {}, timeout, stopped)

    def remove(self, zone, sets, timeout=60):
        return self._change(zone, {}, sets, timeout)

    def _change(self, zone, add, remove, timeout, stopped=None):
        """Compare and swap: what we read is deleted and what it shall be is put there, in one atomic change.

        Somebody else's change in between makes the deletion (or the creation) fail as a whole; then we read again.
        """
        identifier = self._id(zone)
        deadline, pause, conflicts = time.monotonic() + timeout, 0.2, 0
        while True:
            changes = []
            for fqdn in dict.fromkeys(list(add) + list(remove)):
                changes.extend(swap(fqdn, self._read(identifier, fqdn), add.get(fqdn, ()), remove.get(fqdn, ())))
            if not changes:
                return None
            try:
                answer = self._client.change_resource_record_sets(
                    HostedZoneId=identifier, ChangeBatch={"Comment": "DNS-01 challenge", "Changes": changes}
                )
                return answer["ChangeInfo"]["Id"]
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "")
                # A conflict that stays is none with somebody else, but a set that this zone can never hold.
                conflicts += code == CONFLICT
                over = conflicts == ATTEMPTS or time.monotonic() + pause > deadline or (stopped is not None and stopped.is_set())
                if over or code not in TEMPORARY + (CONFLICT,):
                    raise DnsError("Route 53 refused the change of zone %s: %s" % (zone, error)) from error
                self._sleep(pause)
                pause = min(pause * 2, 5.0)
            except BotoCoreError as error:
                raise DnsError("Route 53 did not answer the change of zone %s: %s" % (zone, error)) from error

    def _read(self, identifier, fqdn):
        """The TXT set of a name, or None."""
        answer = self._call(
            "reading %s" % fqdn,
            self._client.list_resource_record_sets,
            HostedZoneId=identifier,
            StartRecordName=fqdn + ".",
            StartRecordType="TXT",
            MaxItems="1",
        )
        for record in answer["ResourceRecordSets"]:
            if record["Type"] == "TXT" and _plain(record["Name"]) == fqdn:
                if "ResourceRecords" not in record:
                    raise DnsError("%s is an alias record: a TXT set cannot be put there" % fqdn)
                return record
        return None

    def wait(self, changes, timeout):
        deadline, pause = time.monotonic() + timeout, 0.0
        left = [change for change in changes if change]
        while left:
            self._sleep(pause)
            left = [change for change in left if self._call("reading a change's state", self._client.get_change, Id=change)["ChangeInfo"]["Status"] != "INSYNC"]
            pause = min(pause + 0.5, 4.0)
            if left and time.monotonic() > deadline:
                raise DeadlineError("Route 53 has not brought the change to its servers within %d s (%s is not INSYNC)" % (timeout, ", ".join(left)))

    def _call(self, what, function, **arguments):
        for attempt in range(ATTEMPTS):
            try:
                return function(**arguments)
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "")
                if code in TEMPORARY and attempt + 1 < ATTEMPTS:
                    self._sleep(min(0.2 * 2**attempt, 5.0))
                    continue
                if code == "NoSuchHostedZone":
                    raise InputError("Route 53 knows no such zone (%s): %s" % (what, error)) from error
                raise DnsError("Route 53 refused %s: %s" % (what, error)) from error
            except BotoCoreError as error:
                raise DnsError("Route 53 cannot be reached (%s): %s" % (what, error)) from error
        raise AssertionError("unreachable")


def swap(fqdn, existing, add, remove):
    """The changes that turn a TXT set (as Route 53 gives it, or None) into the one without `remove` and with `add`."""
    before = tuple(one["Value"] for one in existing["ResourceRecords"]) if existing else ()
    after = merge_values(before, ['"%s"' % value for value in add], ['"%s"' % value for value in remove])
    if after == before:
        return []
    changes = []
    if existing:
        changes.append({"Action": "DELETE", "ResourceRecordSet": existing})
    if after:
        record = dict(existing or {"Name": fqdn + ".", "Type": "TXT", "TTL": TTL}, ResourceRecords=[{"Value": value} for value in after])
        # Where nothing was, somebody else's set that came meanwhile has to be an error, so that it is read and kept.
        changes.append({"Action": "UPSERT" if existing else "CREATE", "ResourceRecordSet": record})
    return changes


def _plain(name):
    """Route 53 gives names with a final dot, and a star as \\052."""
    return name.rstrip(".").replace("\\052", "*").lower()
