# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox's own docker stands side by side commands, as an engine does."""

from __future__ import annotations

import subprocess

from lab_dokku_sandbox import Sandbox

ROUNDS = 12
SIDE_BY_SIDE = 4


def test_nothing_is_lost_or_torn_with_commands_side_by_side(tmp_path):
    box = Sandbox(tmp_path)
    script = f'for turn in $(seq {ROUNDS}); do docker network create "net-$0-$turn" && docker network inspect bridge >/dev/null || exit 1; done'
    running = [
        subprocess.Popen(["sh", "-c", script, str(number)], env=box.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for number in range(SIDE_BY_SIDE)
    ]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0] * SIDE_BY_SIDE, errors
    assert len(box.state()["networks"]) == SIDE_BY_SIDE * ROUNDS
