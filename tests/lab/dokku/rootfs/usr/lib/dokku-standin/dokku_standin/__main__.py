# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python3 -m dokku_standin` is what /usr/bin/dokku runs."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main(sys.argv[1:]))
