# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection strings, passfiles and postgresql.auto.conf: text in, text out."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.multiregion.paas.plugins.module_utils._postgres.errors import PostgresError

_PAIR = re.compile(r"\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s']*))\s*", re.DOTALL)
_SETTING = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_.]*)\s*(?:=\s*|\s)\s*(?:'((?:[^']|'')*)'|([^\s#']+))\s*(?:#.*)?$")


def format_conninfo(parameters: t.Mapping[str, t.Any]) -> str:
    """libpq's `key=value` form, in the order given; empty values are left out."""
    words = []
    for key, value in parameters.items():
        if value is None or value == "":
            continue
        text = str(value)
        if re.search(r"[\s'\\]", text):
            text = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
        words.append(f"{key}={text}")
    return " ".join(words)


def parse_conninfo(text: str) -> dict[str, str]:
    """The parameters of a `key=value` connection string."""
    parameters: dict[str, str] = {}
    position = 0
    text = text.strip()
    while position < len(text):
        match = _PAIR.match(text, position)
        if match is None or match.end() == position:
            raise PostgresError("a connection string cannot be read after " + ", ".join(parameters or ["its start"]))
        quoted, plain = match.group(2), match.group(3)
        parameters[match.group(1)] = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted is not None else plain
        position = match.end()
    return parameters


def passfile_line(host: str, port: int, user: str, password: str) -> str:
    """One line of a passfile, for any database."""

    def escape(text: str) -> str:
        return text.replace("\\", "\\\\").replace(":", "\\:")

    if "\n" in password:
        raise PostgresError("a password with a line break cannot stand in a passfile")
    return ":".join((escape(host), str(port), "*", escape(user), escape(password))) + "\n"


def read_settings(text: str) -> dict[str, str]:
    """The settings of a configuration file; the last of a name counts, as for the server."""
    settings = {}
    for line in text.splitlines():
        match = _SETTING.match(line)
        if match is not None:
            value = match.group(2).replace("''", "'") if match.group(2) is not None else match.group(3)
            settings[match.group(1).lower()] = value
    return settings


def with_settings(text: str, settings: t.Mapping[str, str]) -> str:
    """The text of postgresql.auto.conf with these settings instead of its own of the same names; nothing else changes."""
    if read_settings(text).items() >= settings.items():
        return text
    lines = []
    for line in text.splitlines():
        match = _SETTING.match(line)
        if match is None or match.group(1).lower() not in settings:
            lines.append(line)
    for name, value in settings.items():
        quoted = value.replace("'", "''")
        lines.append(f"{name} = '{quoted}'")
    return "\n".join(lines) + "\n"
