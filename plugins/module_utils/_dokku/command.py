# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run Dokku's command line: never a shell, secrets only through stdin."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from .errors import CommandFailed, DokkuMissing, DokkuUnavailable

APP_MISSING = 20
# Enough for Dokku's shell plugins to overlap; more only makes them wait for each other.
SIDE_BY_SIDE = 8
READ_TIMEOUT = 120
TIMED_OUT = 124
TAIL_LINES = 25


@dataclass(frozen=True)
class Command:
    """One program with its words. C(stdin) is the only way for a secret; C(secret) hides the output too."""

    words: Tuple[str, ...]
    program: str = "dokku"
    stdin: Optional[bytes] = None
    secret: bool = False
    timeout: int = READ_TIMEOUT

    def describe(self) -> str:
        """The command as a person would type it. It holds no secret by construction."""
        text = " ".join(shlex.quote(word) for word in (self.program, *self.words))
        return f"{text} < (hidden)" if self.stdin is not None else text


@dataclass(frozen=True)
class Result:
    rc: int
    stdout: str
    stderr: str

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines of both streams, without the log prefixes that only decorate."""
        kept = [line.rstrip() for line in (self.stdout + "\n" + self.stderr).splitlines() if line.strip()]
        return "\n".join(kept[-lines:])

    def complaint(self) -> str:
        """Dokku's own words on what went wrong: the lines that it marks with a bang."""
        marked = [line.strip()[1:].strip() for line in (self.stderr + "\n" + self.stdout).splitlines() if line.strip().startswith("!")]
        return "; ".join(dict.fromkeys(line for line in marked if line)) or self.tail(3)


@dataclass(frozen=True)
class SshTarget:
    """A Dokku that is reached as its own user, whose forced command takes only Dokku's words."""

    host: str
    user: str = "dokku"
    port: int = 22
    key_file: Optional[str] = None

    def wrap(self, command: Command) -> Tuple[str, ...]:
        words = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-p", str(self.port)]
        if self.key_file:
            words += ["-i", self.key_file, "-o", "IdentitiesOnly=yes"]
        # The far side splits the line into words again and honours quotes; newlines it does not.
        return (*words, f"{self.user}@{self.host}", "--", " ".join(shlex.quote(word) for word in command.words))


class Runner:
    """Runs commands and counts them."""

    def __init__(self, ssh: Optional[SshTarget] = None, secrets: Sequence[str] = ()) -> None:
        self.ssh = ssh
        self.count = 0
        self._secrets: Tuple[str, ...] = ()
        self.learn(secrets)
        self._lock = threading.Lock()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DOKKU_", "PLUGIN_", "SSH_ORIGINAL"))},
            "LC_ALL": "C.UTF-8",
            "PATH": os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }

    def learn(self, secrets: Iterable[str]) -> None:
        """More values to mask. Short ones would mask half of every text, and keep no secret."""
        kept = {*self._secrets, *(value for value in secrets if len(value) >= 6)}
        self._secrets = tuple(sorted(kept, key=lambda value: (-len(value), value)))

    def mask(self, text: str) -> str:
        """An app's own output may repeat what was in its config."""
        for value in self._secrets:
            text = text.replace(value, "********")
        return text

    def run(self, command: Command) -> Result:
        with self._lock:
            self.count += 1
        far = self.ssh is not None and command.program == "dokku"
        words = self.ssh.wrap(command) if far and self.ssh else (command.program, *command.words)
        streams: Dict[str, object] = {"input": command.stdin} if command.stdin is not None else {"stdin": subprocess.DEVNULL}
        try:
            done = subprocess.run(
                words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=command.timeout, env=self._environment, check=False, **streams
            )
        except FileNotFoundError as exc:
            if command.program == "dokku" and not far:
                raise DokkuMissing("There is no `dokku` here. Install it first, for example with the role multiregion.paas.dokku_host.") from exc
            raise DokkuUnavailable(f"There is no `{words[0]}` here, and the module needs it.") from exc
        except subprocess.TimeoutExpired as exc:
            raise CommandFailed(f"`{command.describe()}` did not end within {command.timeout} s.", rc=TIMED_OUT) from exc
        stdout, stderr = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        if far and done.returncode == 255:
            raise DokkuUnavailable(f"No SSH connection to {words[-3]}: {stderr.strip()}")
        return Result(done.returncode, stdout, stderr)

    def run_all(self, commands: Sequence[Command]) -> List[Result]:
        """Side by side, in the order asked."""
        if not commands:
            return []
        with ThreadPoolExecutor(max_workers=min(SIDE_BY_SIDE, len(commands))) as pool:
            return list(pool.map(self.run, commands))

    def must(self, command: Command, what: str) -> Result:
        """Run it; any exit status but 0 is an error that says what it was for."""
        result = self.run(command)
        if result.rc != 0:
            words = "" if command.secret else ": " + self.mask(result.complaint())
            raise CommandFailed(
                f"{what} failed, `{command.describe()}` gave exit status {result.rc}{words}",
                rc=result.rc,
                tail="" if command.secret else self.mask(result.tail()),
            )
        return result


def dokku(*words: str, stdin: Optional[bytes] = None, secret: bool = False, timeout: int = READ_TIMEOUT) -> Command:
    return Command(words=tuple(words), stdin=stdin, secret=secret, timeout=timeout)


def slowly(command: Command, timeout: int) -> Command:
    """The same with another deadline, for what deploys."""
    return replace(command, timeout=timeout)
