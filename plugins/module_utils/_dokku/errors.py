# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with Dokku, typed; only a module's main() turns these into a failure."""

from __future__ import annotations


class DokkuError(Exception):
    """The base of all. The text says what failed, on which app, and what to do."""


class DokkuUnavailable(DokkuError):
    """There is no Dokku here, or one that is too old."""


class DokkuMissing(DokkuUnavailable):
    """There is none at all. In check mode that is a host on which it would be by now."""


class CommandFailed(DokkuError):
    """A Dokku command ended with another exit status than 0."""

    def __init__(self, message: str, rc: int = 1, tail: str = "") -> None:
        super().__init__(message)
        self.rc = rc
        self.tail = tail


class DeployFailed(CommandFailed):
    """A deploy, restart or scale failed, or did not end in time; the text says what runs."""


class BadDeclaration(DokkuError):
    """What the task declares cannot be: a key of another certificate, an impossible port map."""
