# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process holds: the pools, the threads, the signer and the limit."""

from __future__ import annotations

from .audit import Audit
from .consistency import Signer
from .database import Node, Watchdog, servers
from .limiter import Limiter
from .migrate import needed_version
from .primary import Primary
from .settings import Settings
from .todos import Todos

AUDIT_INTERVAL = 0.5


class Services:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.needed_schema = needed_version()
        # One URL for both says nothing of where the region's own node is.
        separate = settings.read_database_url != settings.master_database_url
        self.own_read_nodes = servers(settings.read_database_url)[: settings.own_read_nodes] if separate else []
        watchdog = Watchdog()
        statement_timeout = f"{int(settings.write_deadline * 1000)}ms"
        self.writer = Node(
            settings.master_database_url, "primary", settings.write_pool_size, watchdog, statement_timeout=statement_timeout
        )
        self.reader = Node(settings.read_database_url, "reads", settings.read_pool_size, watchdog)
        self.primary = Primary(self.writer, settings.probe_interval, settings.write_deadline)
        self.audit = Audit(self.writer, self.primary, AUDIT_INTERVAL, settings.write_deadline)
        self.todos = Todos(
            self.reader, self.writer, self.primary, settings.read_deadline, settings.write_deadline, settings.follower_wait
        )
        self.signer = Signer(settings.session_secret, settings.written_max_age)
        self.limiter = Limiter(settings.valkey_url, settings.rate_limit, settings.rate_limit_window)

    def start(self) -> None:
        self.reader.open()
        self.writer.open()
        self.primary.start()
        self.audit.start()

    def close(self) -> None:
        self.audit.stop()
        self.primary.stop()
        self.writer.close()
        self.reader.close()
