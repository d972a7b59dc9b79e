# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with Consul, told so that somebody can act on it."""

from __future__ import annotations


class ConsulError(Exception):
    """What failed, on which object, and what to do. Only main() turns it into a failed task."""


class InvalidInput(ConsulError):
    """An option that cannot be understood."""


class RequestFailed(ConsulError):
    """Consul answered with an error, or not at all; status is 0 when there was no answer."""

    def __init__(self, message: str, status: int, temporary: bool) -> None:
        super().__init__(message)
        self.status = status
        self.temporary = temporary
