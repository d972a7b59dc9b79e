# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A `docker` with images and containers in one JSON file: the process boundary of the stand-in's unit tests."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import sys
import tarfile

NETWORKS = ["us", "bridge", "eu", "host", "none"]
VALUE_OPTIONS = {"--name", "--label", "-v", "--env", "-e", "-t", "--tag", "--network", "--memory", "--filter", "--format", "-p"}


def load() -> dict:
    try:
        with open(os.environ["FAKE_DOCKER_STATE"]) as handle:
            return json.load(handle)
    except FileNotFoundError:
        return {"counter": 0, "images": {}, "containers": {}, "networks": {}}


def save(state: dict) -> None:
    """In one step: a test may read the file, or kill a command, at any moment."""
    path = os.environ["FAKE_DOCKER_STATE"]
    with open(f"{path}.new", "w") as handle:
        json.dump(state, handle)
    os.replace(f"{path}.new", path)


def fail(message: str, rc: int = 1) -> None:
    print(message, file=sys.stderr)
    sys.exit(rc)


def new_id(state: dict) -> str:
    state["counter"] += 1
    return hashlib.sha256(str(state["counter"]).encode()).hexdigest()


def split(args: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Options up to the first other word; `--x=y` and `--x y` alike."""
    options, queue = [], list(args)
    while queue and queue[0].startswith("-") and queue[0] != "-":
        name, equals, value = queue.pop(0).partition("=")
        if name == "--bogus-flag":
            fail("unknown flag: --bogus-flag\n\nUsage:  docker container create [OPTIONS] IMAGE [COMMAND] [ARG...]\n\n"
                 "Run 'docker container create --help' for more information", 125)
        if not equals and name in VALUE_OPTIONS:
            value = queue.pop(0)
        options.append((name, value))
    return options, queue


def find(state: dict, name: str) -> dict | None:
    for container in state["containers"].values():
        if name in (container["Name"].lstrip("/"), container["Id"]) or container["Id"].startswith(name):
            return container
    return None


def create(state: dict, args: list[str]) -> dict:
    options, rest = split(args)
    image = state["images"].get(rest[0])
    if image is None:
        fail(f"Error: No such image: {rest[0]}")
    cid = new_id(state)
    environment = {}
    for name, value in options:
        if name in ("--env", "-e"):
            key, equals, text = value.partition("=")
            environment[key] = text if equals else os.environ.get(key, "")
    labels = dict(image["Config"]["Labels"])
    labels.update(value.partition("=")[::2] for name, value in options if name == "--label")
    state["containers"][cid] = container = {
        "Id": cid, "Name": "/" + (dict(options).get("--name") or cid[:8]), "Image": image["Id"], "command": rest[1:], "env": environment,
        "Config": {"Labels": labels}, "RestartCount": 0, "State": {"Status": "created", "Running": False}, "image": rest[0],
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": f"172.17.0.{2 + state['counter'] % 200}"}}},
    }
    return container


def set_running(container: dict, running: bool) -> None:
    container["State"] = {"Status": "running" if running else "exited", "Running": running}


def execute(container: dict, command: list[str]) -> int:
    """The few commands that the recorded runs use."""
    if command[:2] == ["sh", "-c"]:
        command = command[2].split()
    if command[:1] == ["exit"]:
        return int(command[1])
    if command[:1] == ["echo"] and "predeploy-ran" not in command and "release-ran" not in command and "postdeploy-ran" not in command:
        print(" ".join(command[1:]))
    if command[:1] == ["env"]:
        print("\n".join(f"{key}={value}" for key, value in container["env"].items()))
    return 0


def image_command(state: dict, action: str, args: list[str]) -> None:
    options, rest = split(args)
    if action == "ls":
        for name in rest:
            if name in state["images"]:
                print(state["images"][name]["Id"][7:19])
    elif action == "inspect":
        image = state["images"].get(rest[0])
        if image is None:
            fail(f"Error: No such image: {rest[0]}")
        form = dict(options).get("--format", "")
        if "WorkingDir" in form:
            print(image["Config"]["WorkingDir"])
        elif "ExposedPorts" in form:
            print(json.dumps(image["Config"]["ExposedPorts"]))
        elif ".Config" in form:
            print(json.dumps(image["Config"]))
        else:
            print(json.dumps([image]))
    elif action == "rm":
        for name in rest:
            state["images"].pop(name, None)
    elif action == "pull":
        fail(f"Error response from daemon: no such image {rest[0]}")


def container_command(state: dict, action: str, args: list[str]) -> None:
    if action == "create":
        print(create(state, args)["Id"])
        return
    if action == "run":
        container = create(state, args)
        if ("--detach", "") in split(args)[0]:
            set_running(container, True)
            print(container["Id"])
            return
        code = execute(container, container["command"])
        state["containers"].pop(container["Id"])
        save(state)
        sys.exit(code)
    options, rest = split(args)
    if action == "ls":
        for container in state["containers"].values():
            wanted = [value for name, value in options if name == "--filter"]
            labels = [f"label={key}={value}" for key, value in container["Config"]["Labels"].items()]
            names = [f"name=^/{container['Name'].lstrip('/')}$", f"name=^/{container['Name'].lstrip('/')}$".replace(".", "\\.")]
            if all(item in labels + names for item in wanted):
                if dict(options).get("--format"):
                    print(json.dumps({"Names": container["Name"].lstrip("/"), "State": container["State"]["Status"],
                                      "Command": '"' + " ".join(container["command"]) + '"', "CreatedAt": "2026-11-21 03:03:21 +0000 UTC"}))
                else:
                    print(container["Id"])
        return
    if action == "cp":
        cid, _colon, path = rest[0].partition(":")
        files = state["images"][find(state, cid)["image"]].get("files", {})
        if path not in files:
            fail(f"Error: No such container:path: {rest[0]}")
        archive, content = io.BytesIO(), files[path].encode()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            member = tarfile.TarInfo(os.path.basename(path))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        sys.stdout.buffer.write(archive.getvalue())
        return
    if action == "inspect":
        found = [container for container in (find(state, name) for name in rest) if container]
        if dict(options).get("--format"):
            print(*(f"{str(c['State']['Running']).lower()} {c['RestartCount']}" for c in found), sep="\n")
        else:
            print(json.dumps(found))
        if len(found) != len(rest):
            fail("Error: No such container")
        return
    if action == "rename":
        find(state, rest[0])["Name"] = "/" + rest[1]
        return
    if action == "exec":
        code = execute(find(state, rest[0]), rest[1:])
        if code:
            sys.exit(code)
        return
    if action == "commit":
        return
    for name in rest:
        container = find(state, name)
        if container is None:
            fail(f"Error: No such container: {name}")
        if action == "start":
            set_running(container, ("--attach", "") not in options)
            if ("--attach", "") in options and execute(container, container["command"]):
                sys.exit(1)
        elif action in ("stop", "kill"):
            set_running(container, False)
        elif action == "rm":
            state["containers"].pop(container["Id"])


def network_command(state: dict, action: str, args: list[str]) -> None:
    options, rest = split(args)
    known = {**{name: {} for name in NETWORKS}, **state["networks"]}
    if action == "create":
        if rest[0] in known:
            fail(f"Error response from daemon: network with name {rest[0]} already exists")
        state["networks"][rest[0]] = dict(value.partition("=")[::2] for name, value in options if name == "--label")
        print(new_id(state))
    elif action == "rm":
        if state["networks"].pop(rest[0], None) is None:
            fail(f"Error response from daemon: network {rest[0]} not found")
    elif action == "ls":
        print("\n".join(known))
    elif action == "inspect":
        if any(name not in known for name in rest):
            fail("Error: No such network")
        print(json.dumps([{"Name": name, "Id": hashlib.sha256(name.encode()).hexdigest(), "Created": "2024-02-25T01:55:24.275184461Z",
                           "Driver": {"host": "host", "none": "null"}.get(name, "bridge"), "Internal": False, "EnableIPv6": False,
                           "Scope": "local", "Labels": known[name]} for name in rest]))


def build(state: dict, args: list[str]) -> None:
    options, _rest = split(args)
    text = sys.stdin.read()
    source = state["images"].get(text.split()[1])
    if source is None:
        fail(f"pull access denied for {text.split()[1]}")
    image = json.loads(json.dumps(source))
    image["Id"] = "sha256:" + new_id(state)
    alternate = text.partition("alternate-tags=")[2].split()[0].replace('\\"', '"')
    image["Config"]["Labels"] = {"com.dokku.docker-image-labeler/alternate-tags": alternate}
    state["images"][dict(options)["--tag"]] = image
    print(f"Successfully built {image['Id'][7:19]}\nSuccessfully tagged {dict(options)['--tag']}")


def main(argv: list[str]) -> None:
    # One command at a time, as a real engine would have it: Dokku's commands run side by side, each with dockers of its own.
    with open(os.environ["FAKE_DOCKER_STATE"] + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        serve(argv)


def serve(argv: list[str]) -> None:
    state = load()
    if argv[0] == "build":
        build(state, argv[1:])
    elif argv[0] in ("image", "container", "network"):
        {"image": image_command, "container": container_command, "network": network_command}[argv[0]](state, argv[1], argv[2:])
    elif argv[0] == "login":
        sys.stdin.read()
    save(state)


if __name__ == "__main__":
    main(sys.argv[1:])
