# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Dokku stand-in in a machine of its own: real Docker, real nginx, a real app, and a client that counts every request."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
from containers import need_image

REPOSITORY = Path(__file__).resolve().parents[2]
MACHINE, IMAGE, NETWORK = "paas-test-dokku", "paas-lab/dokku:trixie", "paas-test-dokku"
SUBNET, ADDRESS = "198.18.205.0/24", "198.18.205.21"
CAPABILITIES = (
    "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE "
    "LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW SETFCAP SETGID SETPCAP SETUID SYSLOG "
    "SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_TIME SYS_TTY_CONFIG WAKE_ALARM"
).split()
# A root file system with Python, made of the machine's own files, and three releases of a small app on it.
IMAGES = r"""
set -eu
mkdir -p /opt/app; cd /opt/app
libraries=$(ldd /usr/bin/python3 /bin/sh /usr/bin/sleep /usr/lib/python3*/lib-dynload/*.so 2>/dev/null | grep -o '/[^ )]*' | grep -v ':$' | sort -u)
tar -ch --exclude=test --exclude=__pycache__ /usr/bin/python3 /bin/sh /usr/bin/sleep $(ls -d /usr/lib/python3.[0-9]*) $libraries 2>/dev/null \
  | docker import - base/python:1 >/dev/null
cat > server.py <<'PYTHON'
import http.server, os, signal, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        status = int(os.environ["HEALTH"]) if self.path == "/health" else 200
        body = "%s %s %s\n" % (os.environ["RELEASE"], os.environ["DYNO"], os.environ.get("SETTING", "none"))
        self.send_response(status); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body.encode())
    def log_message(self, *arguments): pass
server = http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *arguments: threading.Thread(target=server.shutdown).start())
server.serve_forever()
PYTHON
printf 'web: python3 server.py\nworker: sleep 1000\n' > Procfile
for release in 1 2 bad; do
  health=200 attempts=90; if [ $release = bad ]; then health=500 attempts=2; fi
  echo '{"healthchecks": {"web": [{"type": "startup", "name": "web", "path": "/health", "attempts": '$attempts', "wait": 0.5, "timeout": 3}]}}' > app.json
  printf 'FROM base/python:1\nWORKDIR /app\nENV RELEASE=%s HEALTH=%s\nCOPY server.py app.json Procfile ./\nEXPOSE 5000\nCMD ["python3", "server.py"]\n' \
    $release $health > Dockerfile
  DOCKER_BUILDKIT=0 docker build --quiet --tag local/demo:$release . 2>/dev/null
done
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=demo.example.test -addext subjectAltName=DNS:demo.example.test \
  -keyout server.key -out server.crt 2>/dev/null
openssl genpkey -algorithm RSA -out other.key 2>/dev/null
chmod 644 *.key; tar -cf certs.tar server.crt server.key
"""
# Every answer that is not 200 is written down; a file ends the loop.
CLIENT = r"""
rm -f /tmp/stop; good=0
while [ ! -e /tmp/stop ]; do
  answer=$(curl -sk --max-time 10 -o /dev/null -w '%{http_code}' --resolve demo.example.test:443:127.0.0.1 https://demo.example.test/)
  if [ "$answer" = 200 ]; then good=$((good+1)); else echo "bad $answer"; fi
  sleep 0.03
done
echo "good $good"
"""


def docker(*arguments: str, stdin: bytes | None = None, check: bool = True) -> str:
    source = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=600, **source)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(arguments[:6])}: {done.stdout.decode()[-2000:]}{done.stderr.decode()[-2000:]}")
    return done.stdout.decode()


class Machine:
    def shell(self, script: str) -> str:
        return docker("exec", "-i", MACHINE, "bash", "-s", stdin=script.encode())

    def dokku(self, line: str, rc: int = 0) -> str:
        done = subprocess.run(["docker", "exec", MACHINE, "bash", "-c", f"dokku {line} 2>&1"], capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == rc, f"dokku {line}: rc {done.returncode}\n{done.stdout}"
        return done.stdout

    def get(self) -> str:
        return self.shell("curl -sk --resolve demo.example.test:443:127.0.0.1 https://demo.example.test/ -L").split(" ")[0]

    def wait(self, script: str, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while subprocess.run(["docker", "exec", MACHINE, "sh", "-c", script], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, f"not within {seconds} s: {script}"
            time.sleep(1)


class Client:
    """Request after request for as long as the block lasts; afterwards the number of good and the list of bad ones."""

    def __enter__(self) -> Client:
        self.process = subprocess.Popen(["docker", "exec", "-i", MACHINE, "bash", "-c", CLIENT], stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_failure: object) -> None:
        docker("exec", MACHINE, "touch", "/tmp/stop")
        lines = self.process.communicate(timeout=60)[0].splitlines()
        self.bad = [line for line in lines if line.startswith("bad")]
        self.good = int(lines[-1].split()[1])


@pytest.fixture(scope="module")
def machine():
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker is running here")
    need_image(IMAGE)
    remove()
    docker("network", "create", "--subnet", SUBNET, NETWORK)
    capabilities = [word for name in CAPABILITIES for word in ("--cap-add", name)]
    docker("run", "--detach", "--name", MACHINE, "--hostname", MACHINE, "--network", NETWORK, "--ip", ADDRESS, *capabilities, "--cgroupns=private",
           "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--security-opt", "systempaths=unconfined",
           "--stop-signal", "SIGRTMIN+3", "--tmpfs", "/run", "--tmpfs", "/run/lock", "--volume", f"{MACHINE}:/var/lib/docker", IMAGE)
    box = Machine()
    try:
        box.wait("docker info")
        packed = subprocess.run(["tar", "-C", str(REPOSITORY / "tests/lab/dokku"), "-c", "install.sh", "rootfs"], capture_output=True, check=True)
        docker("exec", "-i", MACHINE, "sh", "-c", "mkdir -p /opt/standin && tar -C /opt/standin -x", stdin=packed.stdout)
        said = box.shell("/opt/standin/install.sh")
        assert "It is not Dokku" in said
        assert box.shell("/opt/standin/install.sh") == "", "installing it again changes something"
        box.shell("systemctl restart nginx")
        box.shell(IMAGES)
        box.dokku("domains:set-global example.test")
        box.dokku("apps:create demo")
        box.dokku("checks:set demo wait-to-retire 2")
        box.dokku("ports:set demo http:80:5000")
        box.dokku("git:from-image demo local/demo:1")
        box.dokku("certs:add demo < /opt/app/certs.tar")
        # A reload of nginx is asked for, not waited for: old workers may still answer for a moment.
        box.wait("curl -skf -o /dev/null --resolve demo.example.test:443:127.0.0.1 https://demo.example.test/")
        yield box
    finally:
        remove()


def remove() -> None:
    docker("rm", "--force", "--volumes", MACHINE, check=False)
    docker("volume", "rm", MACHINE, check=False)
    docker("network", "rm", NETWORK, check=False)


def test_it_serves_over_http2_and_sends_http_there(machine: Machine) -> None:
    answer = machine.shell("curl -sk --http2 -D - --resolve demo.example.test:443:127.0.0.1 https://demo.example.test/")
    assert answer.startswith("HTTP/2 200") and "max-age=15724800" in answer and "1 web.1 none" in answer
    redirect = machine.shell("curl -s -o /dev/null -w '%{http_code} %{redirect_url}' -H 'Host: demo.example.test' http://127.0.0.1/x")
    assert redirect == "301 https://demo.example.test:443/x"


def test_unknown_names_get_no_answer(machine: Machine) -> None:
    assert machine.shell("curl -s http://127.0.0.1/; echo $?") == "52\n"
    assert machine.shell("curl -sk --resolve nobody.test:443:127.0.0.1 https://nobody.test/; echo $?") == "35\n"


def test_deploys_scale_and_config_drop_nothing_and_a_failing_deploy_changes_nothing(machine: Machine) -> None:
    with Client() as client:
        machine.dokku("ps:scale demo web=2")
        assert machine.dokku("ps:report demo --processes") == "2\n"
        machine.dokku("git:from-image demo local/demo:2")
        assert machine.get() == "2"
        machine.dokku("config:set demo SETTING=one")
        assert "Could not start due to 1 failed checks (web.1)" in machine.dokku("git:from-image demo local/demo:bad", rc=1)
        assert machine.get() == "2"
        assert machine.dokku("apps:report demo --app-deploy-source-metadata") == "local/demo:2\n"
        assert "No changes detected" in machine.dokku("git:from-image demo local/demo:2", rc=1)
        machine.dokku("ps:rebuild demo")
        assert machine.get() == "2"
        machine.dokku("ps:scale demo web=1")
    print(f"{client.good} requests")
    assert client.bad == []
    assert client.good > 20


def test_retired_containers_stop_and_are_swept(machine: Machine) -> None:
    """SIGTERM at once, so they exit by themselves; the timer's command removes them."""
    machine.wait("[ $(docker ps -q --filter label=com.dokku.app-name=demo | wc -l) = 1 ]", 60)
    time.sleep(2)
    machine.dokku("ps:retire")
    assert machine.shell("docker ps -a --format '{{.Names}}' --filter label=com.dokku.app-name=demo") == "demo.web.1\n"


def test_a_foreign_key_breaks_every_reload_on_the_host(machine: Machine) -> None:
    output = machine.dokku("certs:add demo /opt/app/server.crt /opt/app/other.key", rc=1)
    assert "key values mismatch" in output and "Failed to validate nginx config for demo" in output
    assert machine.get() == "2", "nginx goes on with what it has"
    assert "key values mismatch" in machine.dokku("apps:create neighbour", rc=1)
    machine.dokku("certs:update demo /opt/app/server.crt /opt/app/server.key")
    machine.dokku("nginx:validate-config")
    machine.dokku("--force apps:destroy neighbour")


def test_values_reach_the_app_through_no_command_line(machine: Machine) -> None:
    machine.shell("printf '{\"SETTING\": \"two\\\\nlines\"}' | dokku --quiet config:import --format json demo - >/dev/null")
    program = "import os; print(repr(os.environ['SETTING']))"
    assert machine.dokku(f'enter demo web.1 python3 -c "{program}"') == "'two\\nlines'\n"


def test_storage_is_mounted_for_its_owner(machine: Machine) -> None:
    machine.dokku("storage:ensure-directory --chown 1234 demo-data")
    machine.dokku("storage:mount demo /var/lib/dokku/data/storage/demo-data:/data:ro")
    machine.dokku("ps:restart demo")
    assert machine.shell("stat -c %u:%g /var/lib/dokku/data/storage/demo-data") == "1234:1234\n"
    assert "/data:ro" in machine.shell("docker inspect -f '{{.HostConfig.Binds}}' demo.web.1")


def test_the_exit_status_of_a_one_off_command_passes(machine: Machine) -> None:
    machine.dokku("run demo python3 -c 'raise SystemExit(7)'", rc=7)
    assert machine.shell("echo hello | dokku run demo python3 -c 'print(input())'") == "hello\n"


def test_an_app_without_checks_needs_ten_seconds(machine: Machine) -> None:
    recipe = "FROM base/python:1\\nCMD [\"sleep\", \"1000\"]\\n"
    machine.shell(f"printf '{recipe}' | DOCKER_BUILDKIT=0 docker build -q -t local/plain:1 - 2>/dev/null")
    machine.dokku("apps:create plain")
    start = time.monotonic()
    output = machine.dokku("git:from-image plain local/plain:1")
    assert time.monotonic() - start >= 10
    assert "Healthcheck succeeded name='default'" in output
    machine.dokku("--force apps:destroy plain")


def test_it_works_as_a_sudoer_and_over_ssh(machine: Machine) -> None:
    machine.shell("id op >/dev/null 2>&1 || useradd -m op; echo 'op ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/op")
    assert "demo" in machine.shell("su op -c 'dokku --quiet apps:list'")
    machine.shell("rm -f /root/key; ssh-keygen -q -t ed25519 -N '' -f /root/key; dokku ssh-keys:remove test; dokku ssh-keys:add test /root/key.pub")
    machine.shell("ssh-keygen -A; mkdir -p /run/sshd; systemctl start ssh")
    ssh = "ssh -n -i /root/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR dokku@127.0.0.1"
    assert machine.shell(f"{ssh} config:set --no-restart demo \"'SSH=two words'\" >/dev/null; {ssh} config:get demo SSH") == "two words\n"
    assert machine.shell(f"{ssh} apps:exists nobody 2>/dev/null; echo $?") == "20\n"


def test_the_app_is_back_after_a_boot(machine: Machine) -> None:
    docker("restart", MACHINE)
    machine.wait("curl -sk --max-time 5 --resolve demo.example.test:443:127.0.0.1 https://demo.example.test/ | grep -q web.1", 120)
    machine.wait("[ $(systemctl is-active dokku-redeploy.service) != activating ]", 60)
    assert re.fullmatch(r"running \(CID: [0-9a-f]{11}\)\n", machine.dokku("ps:report demo --status-web.1"))
