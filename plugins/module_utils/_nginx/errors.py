# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with an nginx that is chosen, pinned, installed and proven."""

from __future__ import annotations


class NginxError(Exception):
    """Base of everything that the module turns into a failure; the message says what failed and what to do.

    `rc` is the system's error number where it was the system that refused.
    """

    def __init__(self, message: str, rc: int | None = None) -> None:
        super().__init__(message)
        self.rc = rc

    def add(self, text: str, before: bool = False) -> None:
        """Say more in the message."""
        self.args = (f"{text}{self}" if before else f"{self}\n{text}",)


class InvalidInput(NginxError):
    """An option that cannot be understood."""


class NoCandidate(NginxError):
    """No version in the configured sources satisfies what is asked for."""


class ForeignPreferences(NginxError):
    """Preferences that somebody else wrote stand in the way."""


class AptFailed(NginxError):
    """apt could not be read, locked, refreshed or made to install."""


class CommandFailed(NginxError):
    """A program that cannot be executed at all."""


class BrokenOff(NginxError):
    """Something that nobody foresaw, such as a disk that is full, ended the change."""


class ProofFailed(NginxError):
    """The nginx that is there does not serve HTTP/2 as it must."""
