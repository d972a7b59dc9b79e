# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The isolation guard of a PostgreSQL primary: it closes writes where the primary may have been cut off and replaced.

Writes are open while the primary's region and those of the followers that it hears are more than half of all regions. Who gives that
majority up, the followers, can so be sure that it writes no more after the guard's time. Closed means that pg_hba.conf rejects the
roles that write, and that their sessions are ended. A follower takes no writes, so the guard leaves it open; a promotion that it sees
happen opens for one such time, in which the other followers have to come.

    postgres_guard.py CONFIG          run
    postgres_guard.py CONFIG --close  close, and end: before the guard runs and after, whatever ended it
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

INTERVAL = 1.0
# What failover.yml counts on: `seconds` after the last follower has let go no session of those roles is left. So the lease ends before: a reply
# may be an INTERVAL old and more when it is seen, and then the sessions have to end. failover.yml waits a second longer, for a slow host.
HEADROOM = 2.0
# A client that was connecting when writes were closed shows its role only later, so sessions are looked for this long and this often.
LATE, LATE_INTERVAL = 5.0, 0.2
# How much of the time that a reply was under way is given to clocks that do not run alike.
DRIFT = 0.02
# A file of names may not be empty.
NOBODY = "paas_guard_closes_nobody"
LOOK = """
SELECT json_build_object('in_recovery', pg_is_in_recovery(), 'replies',
  (SELECT coalesce(json_object_agg(application_name, extract(epoch FROM reply_time)), '{}')
   FROM pg_stat_replication WHERE state = 'streaming' AND reply_time IS NOT NULL));
"""
# What a failover may count on: it is replicated, so the followers know by which time this host's guard closes, and whom it counts.
RECORD = """
SET client_min_messages = warning;
CREATE TABLE IF NOT EXISTS paas_guard (host text PRIMARY KEY, seconds int NOT NULL);
ALTER TABLE paas_guard ADD COLUMN IF NOT EXISTS counted json;
INSERT INTO paas_guard (host, seconds, counted) VALUES ('%s', %d, '%s')
  ON CONFLICT (host) DO UPDATE SET seconds = EXCLUDED.seconds, counted = EXCLUDED.counted;
"""


class Lease:
    """Until when writes may be open, by this computer's own clock. Pure: the clock is handed in."""

    def __init__(self) -> None:
        self.until = float("-inf")
        self._replies: dict[str, tuple[float, float]] = {}
        self._heard: dict[str, float] = {}

    def configure(self, seconds: float, region: str, followers: dict[str, str], regions: int) -> None:
        """`followers`: the region of each by its slot; `regions`: how many there are, with the own one."""
        self.seconds, self.region, self.followers = seconds, region, followers
        # Beside the own region, so many others are more than half of all.
        self.needed = regions // 2
        self._heard = {name: sent for name, sent in self._heard.items() if name in followers.values()}

    def look(self, now: float, in_recovery: bool, replies: dict[str, float]) -> None:
        """`replies`: by a follower's slot, when by its own clock it has sent its last reply; asked for at `now`."""
        if in_recovery:
            self._replies.clear()
            self._heard.clear()
            self.until = now + self.seconds
            return
        for name, reply in replies.items():
            region = self.followers.get(name)
            if region in (None, self.region):
                continue
            before, sent = self._replies.get(name, (None, now))
            if reply == before:
                continue
            if before is not None:
                # A reply that the network held back counts from when it was sent; one after a clock was set back, from now.
                if reply > before:
                    sent = min(now, sent + (reply - before) + DRIFT * (now - sent))
                else:
                    sent = now
                self._heard[region] = max(sent, self._heard.get(region, sent))
            self._replies[name] = (reply, sent)
        if self.needed == 0:
            self.until = now + self.seconds
        elif len(self._heard) >= self.needed:
            self.until = max(self.until, sorted(self._heard.values(), reverse=True)[self.needed - 1] + self.seconds)

    def open(self, now: float) -> bool:
        return now < self.until


class Server:
    """The cluster on this host, and the file of the roles that its pg_hba.conf rejects."""

    def __init__(self, config: dict) -> None:
        self.config = config
        self.recorded: tuple | None = None

    def query(self, sql: str, timeout: float) -> str:
        """Raises OSError or SubprocessError where there is no answer within so many seconds."""
        argv = [self.config["psql"], "-XAtq", "-v", "ON_ERROR_STOP=1", "-p", str(self.config["port"]), "-d", "postgres"]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            answer = process.communicate(sql, timeout)[0]
        except subprocess.TimeoutExpired:
            # Not waited for: with a disk that hangs its end does not come, and this must go on.
            process.kill()
            raise
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, "psql")
        return answer

    def look(self, timeout: float) -> dict:
        return json.loads(self.query(LOOK, timeout))

    def record(self, timeout: float) -> None:
        counted = json.dumps({key: self.config[key] for key in ("region", "regions", "followers")}, sort_keys=True)
        row = (self.config["host"].replace("'", "''"), self.config["seconds"], counted.replace("'", "''"))
        if self.recorded != row:
            self.query(RECORD % row, timeout)
            self.recorded = row

    def set(self, closed: bool) -> bool:
        """Whether that was a change. Raises OSError. Both files lie ready and are only linked to, which a full disk allows too."""
        path = self.config["file"]
        texts = {"closed": "\n".join(self.config["roles"] or [NOBODY]) + "\n", "open": NOBODY + "\n"}
        wanted = "closed" if closed else "open"
        # Writes are not opened before what closes them is ready.
        for name in [wanted] if closed else texts:
            if self._text(f"{path}.{name}") != texts[name]:
                self._write(f"{path}.{name}", texts[name])
        if self._text(path) == texts[wanted]:
            return False
        if os.path.lexists(path + ".new"):
            os.unlink(path + ".new")
        os.link(f"{path}.{wanted}", path + ".new")
        os.rename(path + ".new", path)
        self.reload()
        return True

    @staticmethod
    def _text(path: str) -> str | None:
        try:
            with open(path, encoding="utf-8") as handle:
                return handle.read()
        except OSError:
            return None

    @staticmethod
    def _write(path: str, text: str) -> None:
        with open(path + ".part", "w", encoding="utf-8") as handle:
            handle.write(text)
        os.rename(path + ".part", path)

    def reload(self) -> None:
        """By a signal: it waits for a server that is frozen, and needs no connection."""
        try:
            with open(os.path.join(self.config["data_directory"], "postmaster.pid"), encoding="utf-8") as handle:
                os.kill(int(handle.readline()), signal.SIGHUP)
        except (OSError, ValueError):
            # Not running: it reads the file when it starts.
            pass

    def end_sessions(self) -> None:
        """By the names that the processes give themselves, `postgres: 17/main: role database client state`: needs no connection."""
        roles = set(self.config["roles"])
        for entry in os.listdir("/proc"):
            try:
                if not entry.isdigit() or os.stat(f"/proc/{entry}").st_uid != os.getuid():
                    continue
                with open(f"/proc/{entry}/cmdline", encoding="utf-8", errors="replace") as handle:
                    title = re.match(r"postgres: (?:\S+: )?(\S+) ", handle.read())
                if title and title.group(1) in roles:
                    os.kill(int(entry), signal.SIGTERM)
            except OSError:
                continue

    def close(self) -> bool:
        """Whether that was a change. Raises OSError where the file could not be written; the sessions are ended all the same."""
        failure = None
        self.end_sessions()
        try:
            changed = self.set(closed=True)
        except OSError as error:
            changed, failure = True, error
        # A connection may come in until the signal has been seen.
        for _attempt in range(10 if changed else 0):
            time.sleep(0.05)
            self.end_sessions()
        if failure is not None:
            raise failure
        return changed


def say(text: str) -> None:
    print(text, flush=True)


def configuration() -> dict:
    with open(sys.argv[1], encoding="utf-8") as handle:
        return json.load(handle)


def clock() -> float:
    """Goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def turn(server: Server, lease: Lease) -> float:
    """Look once and act on it; the seconds until the next time. No answer is waited for longer than the lease runs."""

    def left() -> float:
        return lease.until - clock()

    # Read each time: a restart for a new follower would close writes for some seconds. Where the disk does not give it, it is as before.
    with contextlib.suppress(OSError, ValueError):
        server.config = configuration()
    config = server.config
    lease.configure(config["seconds"] - HEADROOM, config["region"], config["followers"], config["regions"])
    was_open, often = lease.open(clock()), -LATE < left() <= 0
    try:
        if not was_open and server.close():
            say(f"writes are closed: no majority of {config['regions']} regions was heard in time, which is {config['seconds']} s")
    except OSError as error:
        say(f"those who write cannot be kept out, so their sessions are ended again and again: {error}")
        often = True
    now = clock()
    try:
        seen = server.look(min(INTERVAL, left()) if was_open else LATE_INTERVAL if often else INTERVAL)
        lease.look(now, seen["in_recovery"], seen["replies"])
        if lease.open(clock()) and not seen["in_recovery"]:
            server.record(min(INTERVAL, left()))
    except (OSError, ValueError, subprocess.SubprocessError):
        # No answer is no news; the lease runs out by itself.
        pass
    try:
        if lease.open(clock()) and server.set(closed=False):
            say("writes are open")
    except OSError as error:
        say(f"writes stay closed, as they could not be closed again: {error}")
    if was_open or lease.open(clock()):
        return max(0.0, min(INTERVAL, left()))
    return LATE_INTERVAL if often else INTERVAL


def main() -> None:
    server = Server(configuration())
    if sys.argv[2:] == ["--close"]:
        server.close()
        return
    lease = Lease()
    while True:
        time.sleep(turn(server, lease))


if __name__ == "__main__":
    main()
