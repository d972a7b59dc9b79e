# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CA's side of the conversation (RFC 8555, 9773), on the acme library.

What is added to the library: temporary refusals are repeated to a deadline as the CA asks for it, nonces of refused
requests are used, authorizations are handled at the same time, `replaces` goes into the order, and the order is polled
instead of every authorization.
"""

from __future__ import annotations

import functools
import ssl
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from .crypto import load_key, serial_text
from .errors import CaError, DeadlineError, InputError
from .plan import ASK_AGAIN, Window

try:
    import josepy as jose
    import requests
    from acme import challenges, client, errors as acme_errors, messages
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
except ImportError:
    ACME_IMPORT_ERROR = traceback.format_exc()
    _ClientNetwork = _ClientV2 = _NewOrder = object
else:
    ACME_IMPORT_ERROR = None
    _ClientNetwork, _ClientV2 = client.ClientNetwork, client.ClientV2

    class _NewOrder(messages.NewOrder):
        """With ARI's field (RFC 9773, 5)."""

        replaces: str = jose.field("replaces", omitempty=True)


CONNECTIONS = 8
TEMPORARY = (429, 500, 502, 503, 504)
REQUEST_TIMEOUT = 30.0
ABANDON_TIMEOUT = 10.0
# Where a CA says "at once" our own pause counts, up to this.
LEAST_PAUSE = 1.0
USER_AGENT = "multiregion.paas letsencrypt_dns01"


def seconds_to_wait(value, default, now=None):
    """A Retry-After header: seconds or a date (RFC 9110, 10.2.3)."""
    if not value:
        return default
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return default
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return max(0.0, (when - (now or datetime.now(timezone.utc))).total_seconds())


def not_at_once(asked, pause):
    """Seconds to pause. `Retry-After: 0`, or a date that is over, must not make a loop without a pause."""
    return pause if asked is None else max(asked, min(pause, LEAST_PAUSE))


def ask_again(now, seconds):
    """When renewal information may be asked for again: a minute to a day, as RFC 9773, 4.3.2 advises against taking extremes at their word."""
    return now.replace(microsecond=0) + timedelta(seconds=min(max(ASK_AGAIN if seconds is None else seconds, 60), 86400))


def _untrusted(error):
    """Whether the CA's certificate is what is wrong. A connection that ends within the handshake comes as the same class."""
    seen, left = [], [error]
    while left:
        one = left.pop()
        if isinstance(one, ssl.SSLCertVerificationError):
            return True
        seen.append(one)
        inner = (one.__cause__, one.__context__, getattr(one, "reason", None)) + one.args
        left.extend(other for other in inner if isinstance(other, BaseException) and not any(other is known for known in seen))
    return False


class Network(_ClientNetwork):
    """HTTP with repetition. Used by several threads at once."""

    def __init__(self, verify, timeout):
        super().__init__(verify_ssl=verify, user_agent=USER_AGENT, timeout=REQUEST_TIMEOUT)
        self.deadline = time.monotonic() + timeout
        self.requests = 0
        self.temporary = TEMPORARY
        self.stopped = threading.Event()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS)
        self.session.mount("https://", adapter)

    def _send_request(self, method, url, *args, **kwargs):
        self.requests += 1
        kwargs.setdefault("timeout", min(REQUEST_TIMEOUT, max(1.0, self.deadline - time.monotonic())))
        response = super()._send_request(method, url, *args, **kwargs)
        # Also a refusal brings a nonce; the library would throw it away.
        nonce = response.headers.get(self.REPLAY_NONCE_HEADER)
        if nonce:
            try:
                self._nonces.add(jose.b64.b64decode(nonce))
            except ValueError:
                pass
        if response.status_code in self.temporary:
            raise _Temporary(response)
        return response

    def _add_nonce(self, response):
        """Done where the response came in."""

    def _get_nonce(self, url, new_nonce_url):
        while True:
            try:
                return self._nonces.pop()
            except KeyError:
                if not self.head(new_nonce_url).headers.get(self.REPLAY_NONCE_HEADER):
                    raise CaError("The CA gave no nonce at %s" % new_nonce_url)  # pylint: disable=raise-missing-from

    def get(self, url, content_type=None, **kwargs):
        """GET, repeated."""
        return self._repeated(url, lambda: super(Network, self).get(url, content_type=content_type or self.JSON_CONTENT_TYPE, **kwargs))

    def post(self, *args, **kwargs):
        """A signed POST, repeated with a new nonce."""
        return self._repeated(args[0], lambda: self._post_once(*args, **kwargs))

    def _repeated(self, url, call):
        pause, bad_nonces = 0.25, 0
        while True:
            try:
                return call()
            except messages.Error as error:
                bad_nonces += 1
                if error.code != "badNonce" or bad_nonces > 20:
                    raise
                wait, asked, reason = 0.0, None, error
            except _Temporary as error:
                asked, reason = seconds_to_wait(error.response.headers.get("Retry-After"), None), error
                wait, pause = not_at_once(asked, pause), min(pause * 2, 8.0)
            except (requests.exceptions.ConnectionError, requests.exceptions.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                if _untrusted(error):
                    raise CaError("The CA at %s cannot be trusted: %s. Is ca_certificates right?" % (url, error)) from error
                wait, asked, reason = pause, None, error
                pause = min(pause * 2, 8.0)
            if time.monotonic() + wait > self.deadline:
                raise self._given_up(url, reason, asked) from reason
            if self.stopped.wait(wait):
                raise CaError("Stopped")

    @staticmethod
    def _given_up(url, reason, asked):
        if isinstance(reason, _Temporary):
            problem = reason.problem()
            said = "The CA refused for now (HTTP %d)" % reason.response.status_code
            if asked is None:
                return CaError("%s until the time was over: %s" % (said, problem.get("detail", url)), problem=problem)
            return CaError(
                "%s and asks to wait %d s, which is longer than the time left: %s" % (said, asked, problem.get("detail", url)),
                problem=problem,
                retry_after=int(asked),
            )
        if isinstance(reason, messages.Error):
            return CaError("The CA refused every nonce: %s" % reason, problem=reason.to_partial_json())
        return CaError("The CA did not answer at %s: %s" % (url, reason))


class _Temporary(Exception):
    def __init__(self, response):
        super().__init__("HTTP %d" % response.status_code)
        self.response = response

    def problem(self):
        try:
            problem = self.response.json()
        except ValueError:
            problem = None
        return problem if isinstance(problem, dict) else {"status": self.response.status_code, "detail": self.response.text[:500]}


def account_key(pem, path):
    """-> (key for signing, its algorithm)."""
    key = load_key(pem, path)
    if isinstance(key, rsa.RSAPrivateKey):
        return jose.JWKRSA(key=jose.ComparableRSAKey(key)), jose.RS256
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in (256, 384):
        return jose.JWKEC(key=jose.ComparableECKey(key)), jose.ES256 if key.curve.key_size == 256 else jose.ES384
    raise InputError("%s cannot sign for a CA: use an EC P-256, EC P-384 or RSA key" % path)


def _problem(error):
    """The CA's own document, in full."""
    return error.to_json() if hasattr(error, "to_json") else {}


def _told(method):
    """Whatever the libraries raise leaves as CaError, also for an answer that nobody thought of."""

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs)
        except messages.Error as error:
            raise CaError("The CA refused: %s" % error, problem=_problem(error)) from error
        except (acme_errors.Error, requests.exceptions.RequestException, jose.Error, LookupError, TypeError, ValueError) as error:
            raise CaError("The CA's answer cannot be used: %s: %s" % (type(error).__name__, error)) from error

    return wrapper


class Ca:
    """One account at one directory."""

    def __init__(self, directory, verify, timeout):
        self.network = Network(verify, timeout)
        self.url = directory
        self.timeout = timeout
        self._client = None
        self._order = None
        self._authorizations = []  # URLs

    def use_key(self, pem, path):
        """Sign with this key from now on."""
        self.network.key, self.network.alg = account_key(pem, path)
        self.network.account = None

    def extend(self):
        """Give the next phase the whole time."""
        self.network.deadline = time.monotonic() + self.timeout

    def stop(self):
        """Wake threads that wait for a repetition."""
        self.network.stopped.set()

    def resume(self):
        """After stop(): for what has to be put in order."""
        self.network.stopped.clear()

    def _call(self, what, function, *args, **kwargs):
        try:
            return function(*args, **kwargs)
        except messages.Error as error:
            raise CaError("The CA refused %s: %s" % (what, error), problem=_problem(error)) from error
        except (acme_errors.Error, requests.exceptions.RequestException, jose.DeserializationError, KeyError) as error:
            raise CaError("The CA's answer to %s cannot be used: %s: %s" % (what, type(error).__name__, error)) from error

    def open(self):
        """Read the directory. -> its `meta`."""
        if self._client is None:
            response = self._call("the directory", self.network.get, self.url)
            directory = self._call("the directory", lambda: messages.Directory.from_json(response.json()))
            self._call("the directory", lambda: (directory["newOrder"], directory["newNonce"], directory["newAccount"]))
            self._client = _Client(directory, self.network)
        return self._client.directory.meta

    def check(self, certificate_profile, binding):
        """What the directory already says about our options, before anything is made."""
        self.extend()
        meta = self.open()
        profiles = meta.profiles or {}
        if certificate_profile and certificate_profile not in profiles:
            raise InputError(
                "certificate_profile is %s: this CA offers %s" % (certificate_profile, ", ".join(sorted(profiles)) if profiles else "no profiles")
            )
        if meta.external_account_required and not binding:
            raise InputError("This CA wants external_account_binding (its key id and HMAC key)")

    @_told
    def find_account(self):
        """The account of the key, never a new one."""
        self.extend()
        self.open()
        try:
            self._client.new_account(messages.NewRegistration(only_return_existing=True))
        except acme_errors.ConflictError as error:
            self.network.account = messages.RegistrationResource(uri=error.location, body=messages.Registration())
        except messages.Error as error:
            raise CaError("The CA knows no account with this key: %s" % error, problem=_problem(error)) from error

    @_told
    def register(self, email, terms_agreed, binding):
        """Find the account of the key, or make it."""
        self.extend()
        self.open()
        values = {"terms_of_service_agreed": terms_agreed}
        if binding:
            try:
                values["external_account_binding"] = messages.ExternalAccountBinding.from_data(
                    self.network.key.public_key(), binding["key_id"], binding["key"], self._client.directory, hmac_alg=binding.get("algorithm", "HS256")
                )
            except (ValueError, jose.DeserializationError) as error:
                raise InputError("external_account_binding cannot be used: %s" % error) from error
        registration = messages.NewRegistration.from_data(email=email, **values)
        try:
            self._client.new_account(registration)
            return True
        except acme_errors.ConflictError as error:
            self.network.account = messages.RegistrationResource(uri=error.location, body=messages.Registration())
            return False
        except messages.Error as error:
            raise CaError("The CA refused the account: %s" % error, problem=_problem(error)) from error

    @_told
    def order(self, names, csr_pem, certificate_profile, replaces):
        """Place the order and fetch what has to be proven. -> [(name without *., TXT value)]."""
        self.extend()
        body = uri = None
        if replaces:
            # A certificate that was replaced already, or one that this CA does not find (some then say 500), is no reason
            # not to renew: asked once, and else without.
            self.network.temporary = tuple(status for status in TEMPORARY if status != 500)
            try:
                body, uri = self._place(names, certificate_profile, replaces)
            except CaError as error:
                if not isinstance(error.__cause__, (messages.Error, acme_errors.Error)):
                    raise
            finally:
                self.network.temporary = TEMPORARY
        if body is None:
            body, uri = self._place(names, certificate_profile, None)
        self._authorizations = list(body.authorizations)
        authorizations = self._together(self._authorization, self._authorizations)
        self._order = messages.OrderResource(body=body, uri=uri, authorizations=authorizations, csr_pem=csr_pem)
        values = []
        for authorization in self._pending():
            challenge = self._challenge(authorization)
            values.append((authorization.body.identifier.value.lower(), challenge.chall.validation(self.network.key)))
        return values

    def _place(self, names, certificate_profile, replaces):
        identifiers = [messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name) for name in names]
        fields = {"identifiers": identifiers}
        if certificate_profile:
            fields["profile"] = certificate_profile
        if replaces:
            fields["replaces"] = replaces
        response = self._call("the order for %s" % ", ".join(names), self._client.post, self._client.directory["newOrder"], _NewOrder(**fields))
        return messages.Order.from_json(response.json()), response.headers["Location"]

    def _authorization(self, url):
        response = self._call("the question what to prove", self._client.post_as_get, url)
        return messages.AuthorizationResource(body=messages.Authorization.from_json(response.json()), uri=url)

    def _pending(self):
        return [authorization for authorization in self._order.authorizations if authorization.body.status == messages.STATUS_PENDING]

    @staticmethod
    def _challenge(authorization):
        for body in authorization.body.challenges:
            if isinstance(body.chall, challenges.DNS01):
                return body
        raise CaError("The CA offers no DNS-01 challenge for %s" % authorization.body.identifier.value)

    def _together(self, function, items):
        """The function on every item at the same time. The first error ends it."""
        if len(items) < 2:
            return [function(item) for item in items]
        pool = ThreadPoolExecutor(max_workers=CONNECTIONS)
        try:
            return list(pool.map(function, items))
        except BaseException:
            self.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self.resume()

    @_told
    def validate(self):
        """Tell the CA that all values stand, and wait until it has checked them all."""
        self.extend()
        pending = self._pending()
        self._together(self._answer, pending)
        if pending or self._order.body.status == messages.STATUS_PENDING:
            body = self._poll((messages.STATUS_PENDING,), "validation")
            if body.status == messages.STATUS_INVALID:
                raise self._validation_error(body)

    def _answer(self, authorization):
        challenge = self._challenge(authorization)
        try:
            self._client.post(challenge.uri, challenge.chall.response(self.network.key))
        except messages.Error as error:
            # After a lost connection the CA may have had our answer already; the order's state tells.
            if error.code != "malformed":
                name = authorization.body.identifier.value
                raise CaError("The CA refused the challenge for %s: %s" % (name, error), problem=_problem(error), name=name) from error

    def _poll(self, waiting, what):
        """The order, once its state is none of those."""
        pause = 0.1
        while True:
            response = self._call("the question for the order's state", self._client.post_as_get, self._order.uri)
            body = messages.Order.from_json(response.json())
            if body.status not in waiting:
                self._order = self._order.update(body=body)
                return body
            # The CA's advice, but not beyond our own deadline: one last look is taken there.
            left = self.network.deadline - time.monotonic()
            if left <= 0:
                raise DeadlineError("The CA's %s was not over after %d s; the order %s is still %s" % (what, self.timeout, self._order.uri, body.status.name))
            self.network.stopped.wait(min(left, not_at_once(seconds_to_wait(response.headers.get("Retry-After"), None), pause)))
            pause = min(pause * 1.5, 3.0)

    def _validation_error(self, body):
        failed = []
        for authorization in self._together(lambda one: self._authorization(one.uri), self._order.authorizations):
            for challenge in authorization.body.challenges:
                if challenge.error is not None:
                    failed.append({"name": authorization.body.identifier.value, "problem": _problem(challenge.error)})
        if not failed and body.error is not None:
            return CaError("The CA made the order invalid: %s" % body.error, problem=_problem(body.error))
        message = "; ".join("%s: %s" % (one["name"], one["problem"].get("detail", one["problem"])) for one in failed)
        return CaError("The CA could not validate %s" % (message or "the names, without saying why"), problems=failed)

    @_told
    def finalize(self, preferred_chain, has_issuer):
        """Send the request, wait, fetch. -> (the chain as PEM, whether it is the preferred one)."""
        self.extend()
        try:
            response = self._client.post(self._order.body.finalize, messages.CertificateRequest(csr=_csr(self._order.csr_pem)))
            body = messages.Order.from_json(response.json())
        except messages.Error as error:
            # Sent again after a lost connection: the first one was taken.
            if error.code != "orderNotReady":
                raise CaError("The CA refused to issue: %s" % error, problem=_problem(error)) from error
            body = None
        # A CA in the middle of it may already show where the certificate will be: only the state counts.
        if body is None or body.status in (messages.STATUS_PROCESSING, messages.STATUS_READY):
            body = self._poll((messages.STATUS_PROCESSING, messages.STATUS_READY), "issuance")
        if body.status != messages.STATUS_VALID or body.certificate is None:
            error = body.error
            raise CaError("The CA did not issue: %s" % (error or "the order is %s" % body.status.name), problem=_problem(error) if error else {})
        response = self._call("the download of the certificate", self._client.post_as_get, body.certificate)
        if preferred_chain is None or has_issuer(response.text, preferred_chain):
            return response.text, True
        for link in client.parse_header_links(response.headers.get("Link", "")):
            if link.get("rel") == "alternate":
                alternative = self._call("the download of another chain", self._client.post_as_get, link["url"]).text
                if has_issuer(alternative, preferred_chain):
                    return alternative, True
        return response.text, False

    def abandon(self):
        """Deactivate what is still pending: a CA counts open authorizations. Best effort, after a failure."""
        self.network.deadline = time.monotonic() + ABANDON_TIMEOUT
        self._together(self._give_back, self._authorizations)

    def _give_back(self, url):
        if time.monotonic() > self.network.deadline:
            return
        try:
            authorization = self._authorization(url)
            # What is valid by now is the next order's to use.
            if authorization.body.status == messages.STATUS_PENDING:
                self._client.deactivate_authorization(authorization)
        except Exception:  # pylint: disable=broad-except
            # The run failed already: this would hide why, and the others are still to be given back.
            pass

    def has_ari(self):
        """Whether the CA gives renewal information (RFC 9773)."""
        self.open()
        try:
            return bool(self._client.directory["renewalInfo"])
        except KeyError:
            return False

    @_told
    def renewal_window(self, cert_id, url, now, timeout):
        """What the CA suggests (RFC 9773, 4.2). None when it has no ARI."""
        self.network.deadline = time.monotonic() + timeout
        if not url:
            if not self.has_ari():
                return None
            url = self._client.directory["renewalInfo"]
        try:
            response = self.network.get("%s/%s" % (url.rstrip("/"), cert_id))
        except messages.Error as error:
            raise CaError("The CA gave no renewal information: %s" % error, problem=_problem(error)) from error
        except (acme_errors.Error, requests.exceptions.RequestException) as error:
            raise CaError("The CA gave no renewal information: %s" % error) from error
        window = response.json().get("suggestedWindow") or {}
        start, end = (parse_time(window.get(name)) for name in ("start", "end"))
        if start is None or end is None or end <= start:
            raise CaError("The CA's renewal information cannot be used: %s" % response.text[:200])
        return Window(start=start, end=end, ask_again=ask_again(now, seconds_to_wait(response.headers.get("Retry-After"), None)), url=url)

    @_told
    def revoke(self, certificate, reason):
        """-> False when the CA had it revoked already."""
        self.extend()
        self.open()
        try:
            self._client.revoke(certificate, reason)
            return True
        except messages.Error as error:
            if error.code == "alreadyRevoked":
                return False
            raise CaError(
                "The CA refused to revoke the certificate %s: %s" % (serial_text(certificate.serial_number), error), problem=_problem(error)
            ) from error
        except (acme_errors.Error, KeyError) as error:
            raise CaError("The CA's answer to the revocation cannot be used: %s" % error) from error


class _Client(_ClientV2):
    """The library's client, with what it keeps to itself."""

    def post(self, *args, **kwargs):
        """A signed request."""
        return self._post(*args, **kwargs)

    def post_as_get(self, *args, **kwargs):
        """A signed request without a body (RFC 8555, 6.3)."""
        return self._post_as_get(*args, **kwargs)


def _csr(pem):
    from cryptography import x509

    return x509.load_pem_x509_csr(pem)


def parse_time(text):
    """RFC 3339 -> datetime in UTC, or None."""
    if not isinstance(text, str):
        return None
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        # Python before 3.11 reads only 3 or 6 digits of a second.
        head, dot, tail = text.partition(".")
        zone = tail.lstrip("0123456789")
        try:
            when = datetime.fromisoformat(head + zone.replace("Z", "+00:00"))
        except ValueError:
            return None
    return when if when.tzinfo else when.replace(tzinfo=timezone.utc)
