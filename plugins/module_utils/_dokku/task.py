# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's parameters to a declaration, and from a plan to what the task returns."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from .errors import BadDeclaration
from .model import (
    ALL_TYPES,
    PENDING_KEY,
    Certificate,
    Checks,
    Current,
    Deploy,
    Desired,
    Mount,
)
from .plan import Plan, deploy_origin, owned_by_dokku

_NAME = re.compile(r"\A[a-z0-9][a-z0-9._-]*\Z")
_KEY = re.compile(r"\A[a-zA-Z_][a-zA-Z0-9_]*\Z")
_PORT = re.compile(r"\A(http|https|grpc|grpcs|udp):([0-9]{1,5}):([0-9]{1,5})\Z")
_DOMAIN = re.compile(r"\A(?:_|[a-zA-Z0-9.*-]*[a-zA-Z0-9*-])\Z")
_RESTART_POLICY = re.compile(r"\A(?:|no|always|unless-stopped|on-failure(?::[0-9]+)?)\Z")
_SLOT = re.compile(r"\A(?:build|deploy|run)(?:\.[A-Za-z0-9_-]+)?\Z")
# All that an empty mapping makes empty.
_BUILDER = ("selected", "build-dir", "dockerfile-path")
_NETWORKS = ("attach-post-create", "attach-post-deploy", "initial-network", "bind-all-interfaces")
# What belongs to one place and must not be carried to another.
NEVER_COPIED = ("DATABASE_URL", "MASTER_DATABASE_URL", "READ_DATABASE_URL", "HEROKU_*", "DOKKU_*", "GIT_REV", "NO_VHOST")


def text_of(value: Any) -> str:
    """Dokku keeps strings only, and spells booleans true and false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def config_of(values: Optional[Mapping[str, Any]]) -> Optional[Dict[str, Optional[str]]]:
    if values is None:
        return None
    bad = sorted(key for key in values if not _KEY.match(str(key)))
    if bad:
        raise BadDeclaration(f"Config keys are letters, digits and underscores, and begin with no digit: {', '.join(map(str, bad))}.")
    if PENDING_KEY in values:
        raise BadDeclaration(f"The config key {PENDING_KEY} is the module's own.")
    return {str(key): None if value is None else text_of(value) for key, value in values.items()}


def copied(values: Mapping[str, Any], exclude: Sequence[str]) -> Dict[str, str]:
    """Another app's config without what belongs to its place."""
    patterns = (*NEVER_COPIED, *exclude)
    return {
        str(key): text_of(value)
        for key, value in values.items()
        if value is not None and not owned_by_dokku(str(key), text_of(value)) and not any(fnmatch.fnmatchcase(str(key), pattern) for pattern in patterns)
    }


def ports_of(values: Sequence[str]) -> Tuple[str, ...]:
    seen: Dict[str, str] = {}
    for value in values:
        match = _PORT.match(value)
        if not match or not all(1 <= int(number) <= 65535 for number in match.group(2, 3)):
            raise BadDeclaration(f"{value!r} is no port map. Write scheme:host-port:container-port, for example http:80:5000.")
        key = ":".join(match.group(1, 2))
        if seen.setdefault(key, value) != value:
            raise BadDeclaration(f"The port maps {seen[key]} and {value} share {key}.")
    return tuple(dict.fromkeys(values))


def mount_of(text: str) -> Mount:
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[0] or not parts[1].startswith("/"):
        raise BadDeclaration(f"{text!r} is no mount. Write /host/path:/container/path[:options], or entry-name:/container/path.")
    options = tuple(sorted(part for part in parts[2].split(",") if part)) if len(parts) == 3 else ()
    if options and not parts[0].startswith("/"):
        raise BadDeclaration(f"{text!r}: a named storage entry takes no options here.")
    return Mount(parts[0], parts[1], options)


def _types_of(values: Optional[Sequence[str]]) -> Optional[Tuple[str, ...]]:
    if values is None:
        return None
    return (ALL_TYPES,) if "all" in values or ALL_TYPES in values else tuple(sorted(set(values)))


def _properties(values: Optional[Mapping[str, Any]]) -> Optional[Dict[str, str]]:
    if values is None:
        return None
    return {str(key).replace("_", "-"): "" if value is None else text_of(value) for key, value in values.items()}


def _checks(values: Optional[Mapping[str, Any]]) -> Optional[Checks]:
    """Ansible fills in what is not given, so that an empty mapping is one without any value."""
    if values is None:
        return None
    if all(value is None for value in values.values()):
        return Checks((), (), "")
    wait = values.get("wait_to_retire")
    return Checks(_types_of(values.get("disabled")), _types_of(values.get("skipped")), None if wait is None else str(wait))


def _resources(values: Optional[Mapping[str, Any]]) -> Optional[Dict[str, str]]:
    if values is None:
        return None
    found: Dict[str, str] = {}
    for process, kinds in values.items():
        if kinds is None:
            continue
        for kind, entries in (kinds or {"limit": {}, "reserve": {}}).items():
            if kind not in ("limit", "reserve"):
                raise BadDeclaration(f"resources: {process} takes limit and reserve, not {kind}.")
            name = "_default_" if process in ("_default_", "default") else process
            # The bare prefix says that this kind is declared, even when it is empty.
            found[f"{name}.{kind}."] = ""
            found.update({f"{name}.{kind}.{str(key).replace('_', '-')}": text_of(value) for key, value in (entries or {}).items()})
    return found


def _certificate(values: Optional[Mapping[str, Any]], read_file: Callable[[str], str]) -> Tuple[Optional[Certificate], bool]:
    if values is None:
        return None, False
    if values.get("optional") and values.get("cert") and values.get("key") and not (Path(values["cert"]).exists() or Path(values["key"]).exists()):
        return None, False
    certificate = values.get("cert_content") or (read_file(values["cert"]) if values.get("cert") else None)
    key = values.get("key_content") or (read_file(values["key"]) if values.get("key") else None)
    if certificate is None and key is None:
        return None, True
    if certificate is None or key is None:
        raise BadDeclaration("certificate needs both, the certificate and its key.")
    return Certificate(certificate.strip() + "\n", key.strip() + "\n"), False


def _deploy(values: Optional[Mapping[str, Any]]) -> Optional[Deploy]:
    if values is None:
        return None
    given = [kind for kind in ("image", "archive", "git") if values.get(kind)]
    if not given and values.get("strategy"):
        return None
    if len(given) != 1:
        raise BadDeclaration("deploy takes exactly one of image, archive and git.")
    kind = given[0]
    source = values[kind]
    if kind == "git" and not re.match(r"\A[0-9a-f]{40}\Z", values.get("version") or ""):
        raise BadDeclaration("deploy.git needs deploy.version, a full commit id of 40 digits: a branch is another release every day.")
    if re.match(r"\A[a-z+]+://[^/@]*:[^/@]+@", source):
        raise BadDeclaration(f"deploy.{kind} has a password in its address, which everybody on the host would see. Dokku keeps one: dokku git:auth HOST USER.")
    archive_type = values.get("archive_type") or ("zip" if source.endswith(".zip") else "tar.gz" if source.endswith((".tar.gz", ".tgz")) else "tar")
    config = {key: value for key, value in (config_of(values.get("config")) or {}).items() if value is not None}
    return Deploy(kind, source, values.get("version") or "", archive_type, bool(values.get("replace", True)), config)


def _refuse_words_that_dokku_refuses(params: Mapping[str, Any]) -> None:
    """Before anything is written, since Dokku would say so in the middle."""
    for domain in params.get("domains") or []:
        if not _DOMAIN.match(domain):
            raise BadDeclaration(f"{domain!r} is no domain: letters, digits, dots, hyphens and asterisks.")
    if not _RESTART_POLICY.match(params.get("restart_policy") or ""):
        raise BadDeclaration(f"{params['restart_policy']!r} is no restart policy: no, always, unless-stopped, on-failure or on-failure:NUMBER.")
    for slot in params.get("docker_options") or {}:
        if not _SLOT.match(slot):
            raise BadDeclaration(f"docker_options takes build, deploy and run, each alone or with a process type, as in deploy.web; not {slot!r}.")


def declare(params: Mapping[str, Any], read_file: Callable[[str], str], copied_config: Optional[Mapping[str, str]] = None) -> Desired:
    """What the task declares. C(copied_config) is the app to copy config from, as it was read."""
    name = params["name"]
    if not _NAME.match(name):
        raise BadDeclaration(f"{name!r} is no app name: lowercase letters, digits, dots and hyphens, beginning with a letter or digit.")
    _refuse_words_that_dokku_refuses(params)
    config = config_of(params.get("config"))
    if copied_config is not None:
        config = {**copied_config, **(config or {})}
    certificate, no_certificate = _certificate(params.get("certificate"), read_file)
    deploy = params.get("deploy")
    scale = params.get("processes")
    if scale is not None and any(quantity < 0 for quantity in scale.values()):
        raise BadDeclaration("processes takes numbers from 0 up.")
    return Desired(
        name=name,
        config=config,
        config_exact=bool(params.get("config_exact")),
        domains=_unique(params.get("domains")),
        ports=None if params.get("ports") is None else ports_of(params["ports"]),
        scale=scale,
        checks=_checks(params.get("checks")),
        nginx=_properties(params.get("nginx")),
        certificate=certificate,
        no_certificate=no_certificate,
        storage=None if params.get("storage") is None else tuple(dict.fromkeys(mount_of(text) for text in params["storage"])),
        docker_options=None if params.get("docker_options") is None else {key: tuple(values or ()) for key, values in params["docker_options"].items()},
        networks=_networks(params.get("networks")),
        resources=_resources(params.get("resources")),
        restart_policy=params.get("restart_policy"),
        builder=_builder(params.get("builder")),
        buildpacks=_unique(params.get("buildpacks")),
        logs=_properties(params.get("logs")),
        deploy=_deploy(deploy),
        strategy=(deploy or {}).get("strategy"),
        restart=params.get("restart") or "auto",
    )


def _builder(values: Optional[Mapping[str, Any]]) -> Optional[Dict[str, str]]:
    if values is None:
        return None
    given = {key: value for key, value in values.items() if value is not None}
    return _properties(given or dict.fromkeys(_BUILDER))


def _unique(values: Optional[Sequence[str]]) -> Optional[Tuple[str, ...]]:
    return None if values is None else tuple(dict.fromkeys(values))


def _networks(values: Optional[Mapping[str, Any]]) -> Optional[Dict[str, Tuple[str, ...]]]:
    if values is None:
        return None
    found: Dict[str, Tuple[str, ...]] = {}
    for key, value in values.items():
        if value is None:
            continue
        entries = value if isinstance(value, (list, tuple)) else [text_of(value)] if value != "" else []
        found[key.replace("_", "-")] = tuple(map(str, entries))
    return found or {key: () for key in _NETWORKS}


def secrets_of(params: Mapping[str, Any], current: Optional[Current] = None) -> List[str]:
    """Every config value and key, to be masked wherever an app repeats it."""
    found = [text_of(value) for value in (params.get("config") or {}).values() if value is not None]
    found += [text_of(value) for value in ((params.get("config_from") or {}).get("values") or {}).values() if value is not None]
    key = (params.get("certificate") or {}).get("key_content")
    found += [key] if key else []
    found += list(current.config.values()) if current is not None else []
    return found


def urls(current: Current, desired: Desired) -> List[str]:
    """Where the app answers, by what is declared or else known."""
    domains = desired.domains if desired.domains is not None else current.domains
    ports = desired.ports if desired.ports is not None else current.ports
    found = []
    for port in ports:
        scheme, outside, _inside = port.split(":")
        suffix = "" if (scheme, outside) in (("http", "80"), ("https", "443")) else f":{outside}"
        if scheme in ("http", "https"):
            found += [f"{scheme}://{domain}{suffix}" for domain in domains]
    return sorted(found)


def origin(source: str) -> Dict[str, str]:
    """A release by where it came from, and its digest when that is known."""
    return {"source": source, "digest": source.rpartition("@")[2] if "@sha256:" in source else ""}


def release(current: Current, desired: Desired, plan: Plan) -> Dict[str, str]:
    """What runs once the plan is carried out."""
    deploying = any(step.kind == "deploy" for step in plan.steps)
    return origin(deploy_origin(desired)[1] if deploying else current.deploy_metadata)
