# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a program whose code lies in one file beside this one, code.json: {"program": source, "_dokku.run": source, ...}.

The program builds on modules of the collection, and file by file these would take Ansible seconds on every host in every run.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import json
import sys
from pathlib import Path


class Bundle(importlib.abc.InspectLoader):
    """Finds and loads the modules of the file. A name without a dot, but for the program's own, is a package."""

    def __init__(self, path):
        self.sources = json.loads(path.read_text(encoding="utf-8"))

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name in self.sources else None

    def get_source(self, fullname):
        return self.sources[fullname]

    def is_package(self, fullname):
        return "." not in fullname and fullname != "program"


if __name__ == "__main__":
    sys.meta_path.insert(0, Bundle(Path(__file__).with_name("code.json")))
    sys.exit(importlib.import_module("program").main(sys.argv[1:]))
