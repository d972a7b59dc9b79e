# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way: read, plan, issue, switch, clean up."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone

from . import crypto, journal
from .bundle import PRIVATE_KEY, STATE, Store, create_once, decode_state, encode_state, ownership
from .ca import Ca, account_key, ask_again, parse_time
from .errors import AcmeError, CaError, DeadlineError, InputError, Stopped
from .plan import (
    ASK_AGAIN,
    REVOCATION_REASONS,
    Current,
    Desired,
    Plan,
    Window,
    challenge_name,
    directory_url,
    normalise_names,
    plan,
    timestamp,
    wants_ari,
)
from .resolve import Record

JOURNAL = "journal.json"
ARI = "renewal.json"
CLEANUP_TIMEOUT = 60


class Clock:
    """Seconds by phase."""

    def __init__(self):
        self.timings = {}
        self._start = time.monotonic()

    @contextlib.contextmanager
    def phase(self, name):
        """Also when it fails: a phase that was too long is what one wants to see then."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.timings[name] = round(self.timings.get(name, 0.0) + time.monotonic() - begun, 3)

    def result(self):
        """With the sum of all."""
        return dict(self.timings, total=round(time.monotonic() - self._start, 3))


class Signals:
    """Turns SIGTERM, SIGINT and SIGHUP into Stopped, once; after that they are ignored, so that cleanup ends."""

    NAMES = ("SIGTERM", "SIGINT", "SIGHUP")

    def __init__(self, on_stop=None):
        self.on_stop = on_stop
        self._former = {}

    def __enter__(self):
        for name in self.NAMES:
            number = getattr(signal, name)
            self._former[number] = signal.signal(number, self._came)
        return self

    def _came(self, number, frame):
        self.ignore()
        if self.on_stop is not None:
            self.on_stop()
        raise Stopped(signal.Signals(number).name)

    def ignore(self):
        """From here on nothing interrupts."""
        for number in self._former:
            signal.signal(number, signal.SIG_IGN)

    def __exit__(self, *exception):
        for number, former in self._former.items():
            signal.signal(number, former)


def read_current(store):
    """What lies in `dest`, or None. Raises InputError for a file that is not what its name says."""
    content = store.read()
    pem = content.get("fullchain.pem") or content.get("cert.pem")
    if pem is None:
        return None
    certificate = crypto.load_certificate(pem, os.path.join(store.dest, "fullchain.pem" if "fullchain.pem" in content else "cert.pem"))
    described = crypto.describe(certificate)
    values = {}
    if "cert.pem" in content and "fullchain.pem" in content:
        other = crypto.load_certificate(content["cert.pem"], os.path.join(store.dest, "cert.pem"))
        if other != certificate:
            raise InputError("%s holds cert.pem and fullchain.pem of two certificates. Move it away, or give another dest" % store.dest)
    if PRIVATE_KEY in content:
        key = crypto.load_key(content[PRIVATE_KEY], os.path.join(store.dest, PRIVATE_KEY))
        values.update(key_type=crypto.key_type_of(key), key_public_key=crypto.public_bytes(key.public_key()))
    state = decode_state(content.get(STATE))
    for name in ("directory", "certificate_profile", "preferred_chain"):
        values[name] = state.get(name)
    values["revoked"] = bool(state.get("revoked"))
    return Current(window=_stored_window(store, described["cert_id"]), **described, **values)


def _stored_window(store, cert_id):
    stored = store.read_json(ARI)
    start, end, ask_again = (parse_time(stored.get(name)) for name in ("start", "end", "ask_again"))
    if stored.get("cert_id") != cert_id or ask_again is None:
        return None
    if start is None or end is None:
        start = end = None
    return Window(start=start, end=end, ask_again=ask_again, url=str(stored.get("url") or ""))


class Runner:
    """One task on one dest. `ca` and `provider` are made late: what needs no network makes none of them."""

    def __init__(self, store, desired, ca, make_provider, dns_view, options, warn, check_mode=False, now=None):
        self.store = store
        self.desired = desired
        self.ca = ca
        self.make_provider = make_provider
        self.dns_view = dns_view  # a function
        self.options = options
        self.warn = warn
        self.check_mode = check_mode
        self.now = now or (lambda: datetime.now(timezone.utc))
        self.clock = Clock()
        self.stopped = threading.Event()
        self.left_behind = {}  # of this run's TXT values, as journal.py has them
        self._before = None

    def run(self, state, reason):
        """-> (result, diff)."""
        if state == "present":
            result = self.present()
        elif state == "absent":
            result = self.absent()
        else:
            result = self.revoked(REVOCATION_REASONS[reason])
        return result, self._diff(state, result)

    def failure(self):
        """What is worth knowing of a run that failed."""
        return {"timings": self.clock.result(), "acme_requests": self.ca.network.requests}

    def told_of_the_dns(self):
        """What a run that was stopped left there."""
        if self.left_behind:
            return "TXT values are left behind, the next run removes them: %s" % journal.text(self.left_behind)
        return "what was begun in the DNS was taken back"

    # -- present

    def present(self):
        """-> the result."""
        self.store.check_writable()
        current, decision = self._decide()
        self._before = _shown(current)
        ready = self._preflight() if decision.issue else None
        drift, debts = self._drift(decision), self._debts()
        if self.check_mode or not (decision.issue or drift or debts):
            return self._result(current, decision, changed=decision.issue or drift or self.options["dns_provider"] in debts)
        with self.store.lock(self.options["order_timeout"] + self.options["propagation_timeout"]):
            seen, current = current, read_current(self.store)
            if current != seen:
                # Another run was here meanwhile: it may have done what we came for.
                current, decision = self._decide()
            # Only under the lock is a journal surely that of an earlier run, and not of one at work.
            removed = self._clean_after_others()
            if not decision.issue:
                drift = self._drift(decision)
                result = self._result(current, decision, changed=drift or removed)
                if drift:
                    self.store.repair()
                return result
            self._issue(current, decision, *(ready or self._preflight()))
            calm = replace(self.desired, force=False)
            new, now = read_current(self.store), self.now()
            if wants_ari(new, calm, now):
                with self.clock.phase("renewal_information"):
                    new = self._ask_ari(new, now)
            return self._result(new, decision, changed=True, after=plan(new, calm, now))

    def _drift(self, decision):
        return not decision.issue and bool(self.store.drift())

    def _decide(self):
        current = read_current(self.store)
        now = self.now()
        if wants_ari(current, self.desired, now):
            with self.clock.phase("renewal_information"):
                current = self._ask_ari(current, now)
        return current, plan(current, self.desired, now)

    def _ask_ari(self, current, now):
        former = current.window
        try:
            # Nothing but advice is at stake: a CA that is away shall not hold up a run that has nothing to do.
            window = self.ca.renewal_window(current.cert_id, former.url if former else "", now, timeout=10)
        except CaError as error:
            self.warn("%s. The renewal time is reckoned without it." % error.message)
            window = Window(
                start=former.start if former else None,
                end=former.end if former else None,
                ask_again=ask_again(now, error.details.get("retry_after")),
                url=former.url if former else "",
            )
        if window is None:
            window = Window(start=None, end=None, ask_again=ask_again(now, ASK_AGAIN))
        if not self.check_mode:
            # Also that there was no answer: the next run shall not ask before its time either.
            times = {"start": window.start, "end": window.end, "ask_again": window.ask_again}
            content = {name: when.isoformat() for name, when in times.items() if when is not None}
            self.store.write_json(ARI, dict(content, cert_id=current.cert_id, url=window.url))
        return replace(current, window=window)

    def _preflight(self):
        """Everything that can be refused is refused here, before the first change. -> (provider, {name: Record})."""
        with self.clock.phase("preflight"):
            provider = self.make_provider()
            challenges = list(dict.fromkeys(challenge_name(name) for name in self.desired.names))
            pool = ThreadPoolExecutor(max_workers=8)
            try:
                found = list(pool.map(provider.locate, challenges))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
            located = {challenge: Record(challenge=challenge, fqdn=fqdn, zone=zone) for challenge, (fqdn, zone) in zip(challenges, found)}
        with self.clock.phase("directory"):
            self.ca.check(self.desired.certificate_profile, self.options["external_account_binding"])
        return provider, located

    def _issue(self, current, decision, provider, located):
        ca = self.ca
        ca.use_key(*self.options["account_key"](True))
        with Signals(self._stop) as signals:
            self._issue_with(current, decision, provider, located, ca, signals)

    def _stop(self):
        self.stopped.set()
        self.ca.stop()

    def _issue_with(self, current, decision, provider, located, ca, signals):
        records, done = [], False
        try:
            with self.clock.phase("account"):
                ca.register(self.options["email"], self.options["terms_agreed"], self.options["external_account_binding"])
            key_pem, csr_pem = self._key_and_csr(current)
            with self.clock.phase("order"):
                replaces = current.cert_id if current is not None and decision.renewal_only and ca.has_ari() else None
                values = ca.order(self.desired.names, csr_pem, self.desired.certificate_profile, replaces)
            records = _with_values(located, values)
            if records:
                self._publish(provider, records)
            with self.clock.phase("validation"):
                try:
                    ca.validate()
                except (CaError, DeadlineError) as error:
                    if records:
                        error.details.setdefault("dns_answers", self._look(records))
                    raise
            with self.clock.phase("finalize"):
                chain, preferred = ca.finalize(self.desired.preferred_chain, crypto.chain_has_issuer)
            if not preferred:
                self.warn("The CA offers no chain with the issuer %s: its default one is used." % self.desired.preferred_chain)
            # From here on the certificate is there: a signal must not lose it.
            signals.ignore()
            with self.clock.phase("switch"):
                self._switch(key_pem, chain)
            done = True
        finally:
            try:
                signals.ignore()
            finally:
                # Also where a signal came at that very moment.
                ca.resume()
                with self.clock.phase("cleanup"):
                    self._clean(provider, records)
                if not done:
                    with contextlib.suppress(Exception):
                        ca.abandon()

    def _key_and_csr(self, current):
        if self.desired.key_type is None:
            return None, self.options["csr_pem"]
        key = None
        usable = current is not None and current.key_public_key is not None and current.key_public_key == current.public_key and not current.revoked
        if not self.options["new_key"] and usable and current.key_type == self.desired.key_type:
            key = crypto.load_key(self.store.read()[PRIVATE_KEY], PRIVATE_KEY)
        if key is None:
            key = crypto.generate_key(self.desired.key_type)
        return crypto.key_pem(key), crypto.make_csr(key, self.desired.names)

    def _publish(self, provider, records):
        """Values into all zones, and the proof that every authoritative server has them."""
        zones = by_zone(records)
        # Written down first: a run that is killed here is cleaned up by the next one. What earlier ones still owe stays.
        self.store.write_json(JOURNAL, journal.write(journal.merge(self._debts(), {provider.name: zones})))
        timeout = self.options["propagation_timeout"]
        with self.clock.phase("txt"):
            changes = _for_zones(lambda zone, sets: provider.add(zone, sets, timeout, self.stopped), zones)
        with self.clock.phase("insync"):
            provider.wait(changes, timeout)
        with self.clock.phase("propagation"):
            self.dns_view().wait(records, timeout, self.stopped)

    def _look(self, records):
        try:
            return self.dns_view().look(records)
        except AcmeError as error:
            return {"error": error.message}

    def _debts(self):
        return journal.read(self.store.read_json(JOURNAL))

    def _clean(self, provider, records):
        """Exactly our values go. What cannot be cleaned now stays in the journal for the next run, and is said."""
        if not records:
            return
        zones = by_zone(records)
        clean, error = self._take_away(provider, zones)
        if error is not None:
            self.left_behind = journal.settle({provider.name: zones}, {provider.name: clean})
            self.warn("TXT values of this run are left behind (%s); the next run removes them: %s" % (journal.text(self.left_behind), error.message))

    def _clean_after_others(self):
        """What earlier runs left, as far as our provider wrote it. -> whether something was removed."""
        debts = self._debts()
        mine, clean = debts.get(self.options["dns_provider"], {}), {}
        error = None
        if mine:
            try:
                clean, error = self._take_away(self.make_provider(), mine)
            except AcmeError as failed:
                error = failed
        left = journal.settle(debts, {self.options["dns_provider"]: clean})
        if left:
            why = error.message if error is not None else "dns_provider is not the one that wrote them"
            self.warn("TXT values of an earlier run could not be removed (%s): %s" % (journal.text(left), why))
        return bool(clean)

    def _take_away(self, provider, zones):
        """Every zone is tried, and what is gone leaves the journal. -> ({zone: sets} that are clean, the first error or None)."""
        clean, errors = {}, []

        def remove(zone, sets):
            try:
                provider.remove(zone, sets, CLEANUP_TIMEOUT)
            except AcmeError as error:
                errors.append(error)
            else:
                clean[zone] = sets

        _for_zones(remove, zones)
        left = journal.settle(self._debts(), {provider.name: clean})
        if not left:
            self.store.forget(JOURNAL)
        elif clean:
            # On a full disk the journal keeps too much, which only makes the next run try again.
            with contextlib.suppress(OSError):
                self.store.write_json(JOURNAL, journal.write(left))
        return clean, errors[0] if errors else None

    def _switch(self, key_pem, chain):
        certificate, others = crypto.split_chain(chain)
        described = crypto.describe(crypto.load_certificate(certificate.encode("ascii"), "The CA's answer"))
        state = {
            "directory": self.desired.directory,
            "certificate_profile": self.desired.certificate_profile,
            "preferred_chain": self.desired.preferred_chain,
            "issued_at": timestamp(self.now()),
        }
        content = {
            "cert.pem": certificate.encode("ascii"),
            "chain.pem": others.encode("ascii"),
            "fullchain.pem": (certificate + others).encode("ascii"),
            STATE: encode_state(state),
        }
        if key_pem is not None:
            content[PRIVATE_KEY] = key_pem
        self.store.switch(content, crypto.serial_text(described["serial"]), self.now())

    # -- the other states

    def absent(self):
        """Remove the bundle with all its versions. The account's key is another file and stays."""
        current = None
        with contextlib.suppress(InputError):
            current = read_current(self.store)
        exists = self.store.exists()
        if exists:
            self.store.check_writable()
            self._refuse_to_forget({name: zones for name, zones in self._debts().items() if name != self.options["dns_provider"]})
        if exists and not self.check_mode:
            with self.store.lock(self.options["order_timeout"]):
                self._clean_after_others()
                self._refuse_to_forget(self._debts())
                self.store.remove()
        return self._result(current, Plan(reasons=("absent: it is to be removed",) if exists else ()), changed=exists)

    def _refuse_to_forget(self, debts):
        if debts:
            raise AcmeError(
                "%s stays, because it is all that knows of TXT values that earlier runs left in the DNS (%s). Run this again with the options of the"
                " DNS provider that wrote them, or remove them by hand and delete %s"
                % (self.store.dest, journal.text(debts), os.path.join(self.store.versions, JOURNAL))
            )

    def revoked(self, reason):
        """Tell the CA, and remember it, so that a later `present` issues a new one."""
        current = read_current(self.store)
        if current is None:
            raise InputError("There is no certificate in %s that could be revoked" % self.store.dest)
        self._before = _shown(current)
        if current.revoked:
            return self._result(current, Plan(), changed=False)
        decision = Plan(reasons=("revoked: it is to be revoked",))
        if current.directory is not None and current.directory != self.desired.directory:
            raise InputError("The certificate in %s was issued by %s: give that directory to revoke it" % (self.store.dest, current.directory))
        own_key = current.key_public_key == current.public_key
        if own_key:
            # Whoever has the certificate's key may revoke it (RFC 8555, 7.6): no account is needed.
            self.ca.use_key(self.store.read().get(PRIVATE_KEY, b""), os.path.join(self.store.dest, PRIVATE_KEY))
        else:
            self.ca.use_key(*self.options["account_key"](False))
        if self.check_mode:
            return self._result(current, decision, changed=True)
        with self.store.lock(self.options["order_timeout"]):
            content = self.store.read()
            if read_current(self.store) != current:
                raise AcmeError("Another run has changed %s meanwhile, so nothing was revoked. Look at it, and run this again" % self.store.dest)
            if not own_key:
                self.ca.find_account()
            self.ca.revoke(crypto.load_certificate(content.get("cert.pem") or content["fullchain.pem"], self.store.dest), reason)
            self.store.rewrite_state(dict(decode_state(content.get(STATE)), directory=self.desired.directory, revoked=timestamp(self.now())))
        return self._result(replace(current, revoked=True), decision, changed=True)

    # -- the answer

    def _diff(self, state, result):
        """What the certificate was and what it is, or in check mode what is asked."""
        before = self._before or {}
        if not result["changed"]:
            after = before
        elif state == "absent":
            after = {}
        elif state == "revoked":
            after = dict(before, revoked=True)
        elif self.check_mode:
            wanted = {"names": sorted(self.desired.names), "directory": self.desired.directory, "key_type": self.desired.key_type}
            new = {} if result["reasons"][0].startswith(("permissions", "left")) else {"serial": "a new one", "not_after": "a new one", "revoked": False}
            after = dict(before, **wanted, **new)
        else:
            after = _shown(read_current(self.store))
        header = self.store.dest
        return {"before_header": header, "after_header": header, "before": _text(before), "after": _text(after)}

    def _result(self, current, decision, changed, after=None):
        reasons = list(decision.reasons)
        if changed and not reasons:
            wrong = self.store.drift()
            reasons = ["permissions: owner, group or mode of %s" % ", ".join(wrong)] if wrong else ["left: TXT values of a run that was killed"]
        for text in (after or decision).warnings:
            self.warn(text)
        if self._before is None:
            self._before = _shown(current)
        result = {
            "changed": changed,
            "reasons": reasons,
            "paths": self.store.paths(),
            "timings": self.clock.result(),
            "acme_requests": self.ca.network.requests,
            "not_after": None,
            "renew_at": None,
            "serial": None,
            "issuer": None,
            "names": list(self.desired.names),
        }
        renew_at = (after or decision).renew_at
        if current is not None:
            result.update(
                not_after=timestamp(current.not_after),
                renew_at=timestamp(renew_at) if renew_at else None,
                serial=crypto.serial_text(current.serial),
                issuer=current.issuer,
                names=list(current.names) if not (decision.issue and after is None) else list(self.desired.names or current.names),
            )
        return result


def _shown(current):
    """For the diff."""
    if current is None:
        return {}
    return {
        "names": sorted(current.names),
        "directory": current.directory,
        "key_type": current.key_type,
        "serial": crypto.serial_text(current.serial),
        "not_after": timestamp(current.not_after),
        "revoked": current.revoked,
    }


def _text(shown):
    return "".join("%s: %s\n" % (name, ", ".join(value) if isinstance(value, list) else value) for name, value in sorted(shown.items()))


def _with_values(located, values):
    """[(name, TXT value)] -> Records, one per TXT set: an apex and its wildcard share one, so may delegated names."""
    sets = {}
    for name, value in values:
        record = located[challenge_name(name)]
        sets.setdefault((record.fqdn, record.zone), [record.challenge, []])[1].append(value)
    return [Record(challenge=challenge, fqdn=fqdn, zone=zone, values=tuple(texts)) for (fqdn, zone), (challenge, texts) in sets.items()]


def by_zone(records):
    """-> {zone: {fqdn: [values]}}."""
    zones = {}
    for record in records:
        zones.setdefault(record.zone, {}).setdefault(record.fqdn, []).extend(record.values)
    return zones


def _for_zones(function, zones):
    """All zones at the same time; every one is tried, then the first error is raised."""
    pool = ThreadPoolExecutor(max_workers=max(1, min(8, len(zones))))
    try:
        futures = [pool.submit(function, zone, sets) for zone, sets in zones.items()]
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=True)


def load_account_key(path, create):
    """-> (the key's PEM, its path). Made where there is none and `create` is set; InputError where there is none else."""
    if not path or not os.path.isabs(path):
        raise InputError("account_key_path is %r: give an absolute path" % (path or ""))
    try:
        with open(path, "rb") as handle:
            return handle.read(), path
    except FileNotFoundError as error:
        if not create:
            raise InputError("account_key_path %s does not exist" % path) from error
    except OSError as error:
        raise InputError("account_key_path cannot be read: %s" % error) from error
    try:
        return create_once(path, crypto.key_pem(crypto.generate_key("ec256"))), path
    except OSError as error:
        raise InputError("account_key_path cannot be written: %s" % error) from error


def from_options(params, make_dns, make_provider, warn, check_mode):
    """Check the options and wire the parts. Raises InputError."""
    state = params["state"]
    present = state == "present"
    directory = directory_url(params["directory"])
    store = Store(params["dest"], ownership(params["owner"], params["group"], params["mode"]))
    names, csr_pem, csr_key = tuple(params["names"]), None, None
    if present:
        if not params["terms_agreed"]:
            raise InputError("terms_agreed is not true: a CA issues only to who agreed to its terms of service")
        if params["csr_path"]:
            names, csr_pem, csr_key = _from_csr(params["csr_path"], params["names"])
        names = normalise_names(names)
        for option in ("order_timeout", "propagation_timeout"):
            if params[option] < 1:
                raise InputError("%s is %d: give seconds, at least 1" % (option, params[option]))
        _check_account_key(params["account_key_path"])
    if params["ca_certificates"] and not os.path.isfile(params["ca_certificates"]):
        raise InputError("ca_certificates %s does not exist" % params["ca_certificates"])
    desired = Desired(
        names=names,
        directory=directory,
        key_type=None if csr_pem else params["key_type"],
        certificate_profile=params["certificate_profile"] or None,
        preferred_chain=params["preferred_chain"] or None,
        renew_days=renew_days(params["renew"]),
        force=params["force"],
        csr_public_key=csr_key,
    )
    views = []

    def dns_view():
        if not views:
            views.append(make_dns(params["nameservers"]))
        return views[0]

    options = {name: params[name] for name in ("external_account_binding", "email", "terms_agreed", "new_key", "order_timeout", "propagation_timeout")}
    options.update(
        dns_provider=params["dns_provider"],
        csr_pem=csr_pem,
        account_key=lambda create: load_account_key(params["account_key_path"], create),
    )
    return Runner(
        store=store,
        desired=desired,
        ca=Ca(directory, params["ca_certificates"] or True, params["order_timeout"]),
        make_provider=lambda: make_provider(dns_view()),
        dns_view=dns_view,
        options=options,
        warn=warn,
        check_mode=check_mode,
    )


def _from_csr(path, names):
    try:
        with open(path, "rb") as handle:
            pem = handle.read()
    except OSError as error:
        raise InputError("csr_path cannot be read: %s" % error) from error
    inside, public_key = crypto.read_csr(pem, path)
    if names and set(normalise_names(names)) != set(inside):
        raise InputError("names (%s) are not those of csr_path (%s)" % (", ".join(normalise_names(names)), ", ".join(inside)))
    return tuple(inside), pem, public_key


def _check_account_key(path):
    """A file that is none is found before anything is changed."""
    try:
        pem, path = load_account_key(path, create=False)
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return
        raise
    account_key(pem, path)


def renew_days(text):
    """`auto` -> None, else a number of days."""
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise InputError("renew is %r: give auto or a number of days" % text)
    return int(text)
