# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with a PostgreSQL server, told so that somebody can act on it."""

from __future__ import annotations


class PostgresError(Exception):
    """What failed, on which object, and what to do. Only main() turns it into a failed task."""


class Refused(PostgresError):
    """The state asked for would lose data or break a rule; nothing was changed."""


class CommandFailed(PostgresError):
    """A program of PostgreSQL's ended with an error."""

    def __init__(self, what: str, code: int, output: str) -> None:
        self.code = code
        self.output = output.strip()
        super().__init__(f"{what} failed with exit code {code}: {self.output[-2000:]}")
