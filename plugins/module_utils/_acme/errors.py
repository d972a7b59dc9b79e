# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may go wrong while a certificate is issued. Only the module's main() turns these into a failure."""

from __future__ import annotations


class AcmeError(Exception):
    """Something failed; `details` goes into the result beside the message."""

    def __init__(self, message, **details):
        super().__init__(message)
        self.message = message
        self.details = details


class InputError(AcmeError):
    """An option cannot be used. Raised before any change anywhere."""


class DnsError(AcmeError):
    """A DNS server or a DNS provider's API refused, or did not answer in time."""


class CaError(AcmeError):
    """The CA refused; `problem` is its own problem document (RFC 7807) where it sent one."""


class DeadlineError(AcmeError):
    """The time given for a phase is over."""


class Stopped(BaseException):
    """SIGTERM, SIGINT or SIGHUP came. Not an Exception: no handler on the way may swallow it."""

    def __init__(self, signal_name):
        super().__init__(signal_name)
        self.signal_name = signal_name
