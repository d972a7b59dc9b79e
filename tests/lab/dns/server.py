# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's authoritative DNS server; see README.md."""

from __future__ import annotations

import sys

from dns_server import main

if __name__ == "__main__":
    sys.exit(main())
