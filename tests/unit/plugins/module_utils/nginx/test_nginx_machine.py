# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts that touch a machine, on folders and processes of the test."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.multiregion.paas.plugins.module_utils._nginx import apt, machine, runner, server
from ansible_collections.multiregion.paas.plugins.module_utils._nginx.errors import AptFailed, CommandFailed, InvalidInput, ProofFailed

NGINX_V = """nginx version: nginx/1.26.3
built with OpenSSL 3.5.0 8 Apr 2025 (running with OpenSSL 3.5.7 1 Oct 2026)
TLS SNI support enabled
configure arguments: --with-cc-opt='-g -O2' --prefix=/usr/share/nginx --with-http_ssl_module --with-http_v2_module --with-http_v3_module
"""


def answers(text, code=0):
    return lambda argv, **kwargs: (code, "", text)


def information(text=NGINX_V):
    return server.build_information(answers(text), "nginx")


def test_what_a_binary_says_of_itself():
    seen = information()
    assert (seen["version"], seen["tls_library"], seen["tls_version"]) == ("1.26.3", "OpenSSL", "3.5.7")
    assert "--with-http_v2_module" in seen["flags"]
    server.prove_build(seen, ["http2", "http3"], "1.26.3")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("--with-http_v2_module ", "", "without --with-http_v2_module, so it has no http2"),
        ("nginx/1.26.3", "nginx/1.26.2", "the binary says 1.26.2"),
        ("OpenSSL 3.5.7", "OpenSSL 1.0.1u", r"OpenSSL 1\.0\.1, which has no ALPN"),
        ("with OpenSSL 3.5.0 8 Apr 2025 (running with OpenSSL 3.5.7 1 Oct 2026)", "by gcc", "without a TLS library"),
    ],
)
def test_what_a_binary_must_not_say(old, new, message):
    with pytest.raises(ProofFailed, match=message):
        server.prove_build(information(NGINX_V.replace(old, new)), ["http2"], "1.26.3")


def test_a_binary_that_does_not_run():
    with pytest.raises(ProofFailed, match="not found"):
        server.build_information(answers("libpcre2-8.so.0: not found", 127), "nginx")


def test_a_file_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "folder" / "file"
    machine.write_text(str(target), "one")
    machine.write_text(str(target), "two", 0o600)
    assert target.read_text() == "two"
    assert target.stat().st_mode & 0o777 == 0o600
    assert os.listdir(target.parent) == ["file"]


def test_a_program_that_cannot_be_executed_does_not_end_the_module(tmp_path):
    cut = tmp_path / "nginx"
    cut.write_bytes(b"\x7fELF")
    cut.chmod(0o755)
    with patch_module_args({}):
        run = machine.command_runner(AnsibleModule({}).run_command)
    for path, rc in ((cut, errno.ENOEXEC), (tmp_path / "none", errno.ENOENT)):
        with pytest.raises(CommandFailed, match=f"{path} cannot be executed") as failure:
            server.build_information(run, str(path))
        assert failure.value.rc == rc


@pytest.mark.parametrize("before", [None, "#!/bin/sh\nexit 104\n"])
def test_services_are_left_alone_only_while_it_lasts(tmp_path, before):
    policy = tmp_path / "policy-rc.d"
    if before:
        policy.write_text(before)
        policy.chmod(0o755)
    with apt.services_left_alone(machine.Paths(policy_rc_d=str(policy))):
        assert subprocess.run([policy, "nginx", "restart"], check=False).returncode == 101
        assert subprocess.run([policy, "nginx.service", "restart"], check=False).returncode == 101
        assert subprocess.run([policy, "ssh", "restart"], check=False).returncode == (104 if before else 0)
        # A kill leaves the file; its process being gone, it denies nothing any more.
        left = tmp_path / "left"
        left.write_text(policy.read_text().replace(str(os.getpid()), "4194305"))
        left.chmod(0o755)
        assert subprocess.run([left, "nginx", "restart"], check=False).returncode == (104 if before else 0)
    assert (policy.read_text() if policy.exists() else None) == before
    assert [name for name in os.listdir(tmp_path) if name.startswith("policy")] == (["policy-rc.d"] if before else [])


def test_a_lock_is_waited_for_and_its_holder_named(tmp_path):
    lock = tmp_path / "lock"
    lock.touch()
    assert apt.wait_for_locks(5, [str(lock), str(tmp_path / "none")]) > 4
    holder = subprocess.Popen(
        ["python3", "-c", f"import fcntl,time; f=open({str(lock)!r},'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); time.sleep(1.5)"],
        stdout=subprocess.PIPE,
    )
    with holder:
        holder.stdout.readline()
        with pytest.raises(AptFailed, match=rf"process {holder.pid} \(python3.*\) has held {lock} for longer than 0.2 seconds"):
            apt.wait_for_locks(0.2, [str(lock)])
        assert apt.wait_for_locks(10, [str(lock)]) < 10
    with open(lock, "w", encoding="utf-8") as handle:
        fcntl.lockf(handle, fcntl.LOCK_EX)


def test_apt_get_is_told_what_it_may_do():
    calls = []

    def run(argv, **kwargs):
        calls.append((argv, kwargs))
        return (0, "", "")

    apt.install(run, ["nginx=1-1", "nginx-common=1-1"], 5, downgrade=True)
    argv, kwargs = calls[0]
    assert argv[0] == "apt-get" and argv[-3:] == ["install", "nginx=1-1", "nginx-common=1-1"]
    assert {"--yes", "--no-remove", "--allow-downgrades"} <= set(argv)
    assert kwargs["environ_update"]["DEBIAN_FRONTEND"] == "noninteractive"


def test_a_failure_of_apt_get_is_shown_shortly():
    err = "W: something\nE: Unable to fetch some archives\n"
    with pytest.raises(AptFailed, match="(?s)apt-get install nginx=1 failed:\nE: Unable to fetch some archives$"):
        apt.install(lambda argv, **kwargs: (100, "Reading package lists...\n", err), ["nginx=1"], 5)


def test_installed_modules():
    out = "installed libnginx-mod-stream\nconfig-files libnginx-mod-old\ninstalled libnginx-mod-http-geoip2\n"
    assert apt.installed_modules(lambda argv, **kwargs: (0, out, "")) == ["libnginx-mod-http-geoip2", "libnginx-mod-stream"]
    assert apt.installed_modules(lambda argv, **kwargs: (1, "", "no packages found")) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "x"}, "cannot be understood"),
        ({"verify": {"server_names": [], "address": "127.0.0.1", "port": 443, "path": "/", "post": True}}, "at least one of server_names"),
    ],
)
def test_options_that_cannot_be_understood(change, message):
    options = dict(version="*", features=["http2"], known_bad=[], allow_downgrade=False, pin_priority=1001, pin_to="upstream", verify=None)
    with pytest.raises(InvalidInput, match=message):
        runner.desired_from({**options, **change}, ["nginx"])
    with pytest.raises(InvalidInput, match="packages has to contain nginx"):
        runner.desired_from(options, ["nginx-common"])
