# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a program with modules of the collection that it builds on: {"program": source, "_dokku.run": source, ...}.

The role writes all sources into this file, where SOURCES stands. File by file they would take Ansible seconds on every host in every run,
and a program that starts meanwhile would meet half of each version.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import json
import sys

SOURCES = "{}"


class Bundle(importlib.abc.InspectLoader):
    """Finds and loads the modules. A name without a dot, but for the program's own, is a package."""

    def __init__(self, sources):
        self.sources = sources

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name in self.sources else None

    def get_source(self, fullname):
        return self.sources[fullname]

    def is_package(self, fullname):
        return "." not in fullname and fullname != "program"


if __name__ == "__main__":
    sys.meta_path.insert(0, Bundle(json.loads(SOURCES)))
    sys.exit(importlib.import_module("program").main(sys.argv[1:]))
