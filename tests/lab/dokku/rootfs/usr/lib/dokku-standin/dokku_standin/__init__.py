# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for Dokku 0.38.27, for machines that cannot reach Dokku's package repository. A test double, not Dokku."""

from __future__ import annotations

VERSION = "0.38.27"
