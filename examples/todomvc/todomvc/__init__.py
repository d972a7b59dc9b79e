# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TodoMVC for several regions: writes go to the primary, reads to the region's own follower."""

from __future__ import annotations

from .web import create_app

__all__ = ["create_app"]
