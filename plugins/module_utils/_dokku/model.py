# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an app is, as Dokku tells it and as a task declares it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, Optional, Tuple

# A change that only a restart or a rebuild of nginx makes effective is noted in the app's own config until that happened,
# so that a run that was killed in between is finished by the next one. Over SSH there is no other place to note it.
PENDING_KEY = "DOKKU_APP_PENDING"
# A proxy that no plugin knows. While an app has it, Dokku stores names, ports and certificate without rebuilding nginx each time.
HELD_PROXY = "dokku-app-holds"
ALL_TYPES = "_all_"
# Before 0.38.8 the JSON reports have only prefixed keys, before 0.38.21 ps:scale has no --format, and before 0.38.22
# docker-options:report has no lists: what is read there would be taken for empty, without an error.
OLDEST = (0, 38, 22)


@dataclass(frozen=True)
class Mount:
    """One storage mount. C(source) is a host path, or the name of one of Dokku's storage entries."""

    source: str
    target: str
    options: Tuple[str, ...] = ()

    @property
    def named(self) -> bool:
        return not self.source.startswith("/")

    def text(self) -> str:
        return ":".join([self.source, self.target, *([",".join(self.options)] if self.options else [])])


@dataclass(frozen=True)
class Checks:
    """Process types without zero downtime, without waiting, and how long old containers stay (seconds, empty: the default)."""

    disabled: Optional[Tuple[str, ...]] = None
    skipped: Optional[Tuple[str, ...]] = None
    wait_to_retire: Optional[str] = None


@dataclass(frozen=True)
class Certificate:
    certificate: str
    key: str


@dataclass(frozen=True)
class Deploy:
    """C(kind) is image, archive or git; C(source) what Dokku will remember as its origin."""

    kind: str
    source: str
    version: str = ""
    archive_type: str = "tar"
    replace: bool = True
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Current:
    """An app as it is. What no report was asked for is None."""

    version: Tuple[int, ...]
    exists: bool
    deployed: bool = False
    deploy_source: str = ""
    deploy_metadata: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
    vhosts_enabled: bool = True
    domains: Tuple[str, ...] = ()
    ports: Tuple[str, ...] = ()
    proxy_type: str = ""
    scale: Mapping[str, int] = field(default_factory=dict)
    checks: Checks = Checks((), (), "")
    nginx: Mapping[str, str] = field(default_factory=dict)
    certificate: Optional[Certificate] = None
    storage: Tuple[Mount, ...] = ()
    docker_options: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    known_networks: Tuple[str, ...] = ()
    resources: Mapping[str, str] = field(default_factory=dict)
    restart_policy: str = ""
    builder: Mapping[str, str] = field(default_factory=dict)
    buildpacks: Tuple[str, ...] = ()
    logs: Mapping[str, str] = field(default_factory=dict)

    @property
    def pending(self) -> Tuple[str, ...]:
        return tuple(word for word in self.config.get(PENDING_KEY, "").split(",") if word)


@dataclass(frozen=True)
class Desired:
    """An app as it shall be. None is not given and therefore not touched; empty means empty."""

    name: str
    config: Optional[Mapping[str, Optional[str]]] = None
    config_exact: bool = False
    domains: Optional[Tuple[str, ...]] = None
    ports: Optional[Tuple[str, ...]] = None
    scale: Optional[Mapping[str, int]] = None
    checks: Optional[Checks] = None
    nginx: Optional[Mapping[str, str]] = None
    certificate: Optional[Certificate] = None
    no_certificate: bool = False
    storage: Optional[Tuple[Mount, ...]] = None
    docker_options: Optional[Mapping[str, Tuple[str, ...]]] = None
    networks: Optional[Mapping[str, Tuple[str, ...]]] = None
    resources: Optional[Mapping[str, str]] = None
    restart_policy: Optional[str] = None
    builder: Optional[Mapping[str, str]] = None
    buildpacks: Optional[Tuple[str, ...]] = None
    logs: Optional[Mapping[str, str]] = None
    deploy: Optional[Deploy] = None
    strategy: Optional[str] = None
    restart: str = "auto"

    @property
    def with_pair(self) -> bool:
        return self.certificate is not None or self.no_certificate

    @property
    def serves(self) -> bool:
        """Whether anything is declared for which Dokku rebuilds nginx."""
        return self.domains is not None or self.ports is not None or self.with_pair
