# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, as types; only the module's main() turns them into a failure."""

from __future__ import annotations

from typing import Any


class Route53Error(Exception):
    """Carries a message for a person and, where something was done before, what it was."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return self.message


class InvalidDeclaration(Route53Error):
    """The options contradict themselves or what Route 53 allows; nothing was changed."""


class ZoneNotFound(Route53Error):
    """No hosted zone, or more than one, is meant."""


class PolicyConflict(Route53Error):
    """A record of another routing policy stands where a latency record should be."""


class ApiError(Route53Error):
    """The API refused; `code` is AWS's."""

    def __init__(self, message: str, code: str, **details: Any) -> None:
        super().__init__(message, **details)
        self.code = code


class ConcurrentChange(ApiError):
    """Somebody else changed the same thing between the reading and the writing."""


class DeadlineExceeded(Route53Error):
    """Temporary errors did not end in time."""


class NotConverged(Route53Error):
    """What was read back is not what was written."""
