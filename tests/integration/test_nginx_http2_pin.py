# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx_http2_pin against Debian's real packages, one story a machine: the tests of a file build on one another, in order."""

from __future__ import annotations

import re

import pytest
from containers import docker, need_image
from nginx_machines import NETWORK, Failed, Machine, ensure_network

PIN = "/etc/apt/preferences.d/00-nginx-http2-pin"
# How the program names what it offers in ALPN; a browser does not find HTTP/2 behind the other name.
ALPN, NO_ALPN = r"\x02h2\x08http/1.1", r"\x02hx\x08http/1.1"
SITE = """
server {
  listen 443 ssl;
  listen 8443 ssl;
  http2 on;
  server_name site.example;
  ssl_certificate /etc/nginx/site.crt;
  ssl_certificate_key /etc/nginx/site.key;
  location / { return 200 "hello"; }
  location /slow/ { alias /srv/slow/; limit_rate 400k; }
}
server {
  listen 9443 ssl;
  server_name old.example;
  ssl_certificate /etc/nginx/site.crt;
  ssl_certificate_key /etc/nginx/site.key;
  location / { return 200 "hello"; }
}
"""


def run_machine(suite):
    need_image(f"paas-lab/machine:{suite}")
    ensure_network()
    machine = Machine(suite)
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()
        docker("network", "rm", NETWORK, check=False)


@pytest.fixture(scope="module")
def trixie():
    yield from run_machine("trixie")


@pytest.fixture(scope="module")
def bookworm():
    yield from run_machine("bookworm")


class TestBookworm:
    def test_the_oldest_supported_one_is_proven(self, bookworm):
        result = bookworm.module(version=">=1.11.5")
        assert result["version"] == "1.22.1"
        assert result["proof"]["post"] == 200
        assert "CVE-2023-44487" in str(result["warnings"])
        again = bookworm.module(version=">=1.11.5")
        assert (again["changed"], again["proof"], again.get("warnings", [])) == (False, {}, [])

    def test_what_the_distribution_has_not(self, bookworm):
        with pytest.raises(Failed, match=r"1\.22\.1.*does not satisfy >=1\.25\.1") as failure:
            bookworm.module(version=">=1.25.1", features=["http2", "http3"])
        assert "has no http3" in str(failure.value)


class TestTrixie:
    def test_bad_input_changes_nothing(self, trixie):
        with pytest.raises(Failed, match="cannot be understood at 'newest'"):
            trixie.module(version="newest")
        with pytest.raises(Failed, match="No source that apt knows has a package libnginx-mod-nowhere"):
            trixie.module(packages=["nginx", "nginx-common", "libnginx-mod-nowhere"])
        with pytest.raises(Failed, match="needs versions and a source"):
            trixie.module(known_bad=[{"id": "mine"}])
        assert trixie.installed() == "" and trixie.read(PIN) is None

    def test_check_mode_names_the_version(self, trixie):
        result = trixie.module(check=True, version="1.26.*")
        assert result["changed"] and result["version"] == "1.26.3" and result["previous_version"] is None
        assert f"nginx {result['package_version']}\n" in result["diff"][0]["after"]
        assert "Pin: version 1.26.3-*" in result["diff"][1]["after"]
        assert trixie.installed() == "" and trixie.read(PIN) is None

    def test_a_source_that_does_not_answer(self, trixie):
        trixie.write("/etc/apt/sources.list.d/dead.list", "deb [trusted=yes] http://127.0.0.1:9/debian trixie main\n")
        trixie.run("echo 'Acquire::Retries \"0\";' > /etc/apt/apt.conf.d/99retries")
        with pytest.raises(Failed, match=r"(?s)a source is unreachable or wrong:.*127\.0\.0\.1"):
            trixie.module(update_cache=True, cache_valid_time=0)
        trixie.run("rm /etc/apt/sources.list.d/dead.list /etc/apt/apt.conf.d/99retries; apt-get update -q")

    def test_apt_is_locked(self, trixie):
        hold = "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); time.sleep(8)"
        holder = trixie.background(f'exec python3 -c "{hold}"')
        holder.stdout.readline()
        with pytest.raises(Failed, match=r"apt is locked: process \d+ \(python3\) has held /var/lib/dpkg/lock-frontend for longer than 1 seconds"):
            trixie.module(lock_timeout=1)
        holder.wait()
        assert trixie.installed() == "" and trixie.read(PIN) is None

    def test_a_first_installation_fails_and_leaves_nothing(self, trixie):
        distribution = trixie.candidate()
        bad = trixie.repack(distribution, "+bad1", ALPN, NO_ALPN)
        with pytest.raises(Failed, match="ALPN selected http/1.1 instead of h2") as failure:
            trixie.module()
        assert "which had not been there, was removed again" in str(failure.value)
        assert trixie.installed() == "" and trixie.read(PIN) is None
        assert trixie.run("ls /usr/sbin/policy-rc.d", check=False) == ""
        assert bad.endswith("+bad1")

    def test_first_installation_past_a_version_known_to_be_bad(self, trixie):
        bad = [{"id": "TEST-1", "versions": [f"={trixie.candidate()}"], "source": "this test", "reason": "made bad"}]
        result = trixie.module(version="1.26.*", known_bad=bad)
        assert result["changed"] and not result["package_version"].endswith("+bad1")
        assert result["proof"] == {**result["proof"], "alpn": "h2", "get": 200, "post": 200}
        assert result["candidates"][0]["reasons"] == ["TEST-1: made bad (this test)"]
        assert trixie.installed() == trixie.candidate() == result["package_version"]
        assert trixie.run("apt-get -s dist-upgrade | grep '^Inst nginx'", check=False) == ""
        assert trixie.run("systemctl is-active nginx").strip() == "active"
        again = trixie.module(version="1.26.*", known_bad=bad)
        assert (again["changed"], again["installed"], again["proof"]) == (False, [], {})

    def test_a_bad_upgrade_is_taken_back_and_nobody_notices(self, trixie):
        trixie.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=site.example -keyout /etc/nginx/site.key "
            "-out /etc/nginx/site.crt 2>/dev/null; mkdir -p /srv/slow; head -c 4000000 /dev/urandom > /srv/slow/file"
        )
        trixie.write("/etc/nginx/conf.d/site.conf", SITE)
        trixie.run("systemctl reload nginx")
        version, master, preferences = trixie.installed(), trixie.master(), trixie.read(PIN)
        download = trixie.background("curl -sk --http2 -o /dev/null -w '%{size_download} %{http_version}' https://127.0.0.1/slow/file")
        with pytest.raises(Failed, match="ALPN selected http/1.1 instead of h2") as failure:
            trixie.module(version="1.26.*")
        assert f"nginx {version}" in str(failure.value) and "is installed again" in str(failure.value)
        assert (trixie.installed(), trixie.installed("nginx-common")) == (version, version)
        assert (trixie.master(), trixie.read(PIN)) == (master, preferences)
        assert download.communicate(timeout=60)[0].decode() == "4000000 2"

    def test_a_program_that_cannot_even_be_executed_is_taken_back(self, trixie):
        version, master, preferences = trixie.installed(), trixie.master(), trixie.read(PIN)
        trixie.run("rm -r /srv/repo /tmp/packages")
        # Less than the header of a program: the kernel refuses it.
        trixie.repack(version, "+cut1", length="32")
        with pytest.raises(Failed, match="/usr/sbin/nginx cannot be executed") as failure:
            trixie.module(version="1.26.*")
        assert f"nginx {version}" in str(failure.value) and "is installed again" in str(failure.value)
        assert (trixie.installed(), trixie.installed("nginx-common")) == (version, version)
        assert (trixie.master(), trixie.read(PIN)) == (master, preferences)
        assert trixie.run("nginx -t -q && echo fine").strip() == "fine"
        assert trixie.run("curl -sk --max-time 10 --http2 https://127.0.0.1/ -w ' %{http_version}'") == "hello 2"

    def test_a_site_that_fails_is_taken_back_with_the_process(self, trixie):
        version, master = trixie.installed(), trixie.master()
        trixie.run("rm -r /srv/repo /tmp/packages")
        trixie.repack(version, "+good1")
        with pytest.raises(Failed, match="old.example at 127.0.0.1 port 9443: ALPN selected http/1.1 instead of h2"):
            trixie.module(version="1.26.*", verify={"server_names": ["old.example"], "port": 9443})
        assert (trixie.installed(), trixie.master()) == (version, master)
        assert trixie.run("curl -sk --max-time 10 --http2 https://127.0.0.1/ -w ' %{http_version}'") == "hello 2"

    def test_the_old_process_comes_back_however_often(self, trixie):
        trixie.write(
            "/tmp/undo.py",
            "import sys\nsys.path.insert(0, '/opt/paas-test')\n"
            "from ansible_collections.multiregion.paas.plugins.module_utils._nginx.server import Swap\n"
            "for _number in range(6):\n    swap = Swap('/run/nginx.pid')\n    swap.begin()\n    swap.undo()\n",
        )
        master = trixie.master()
        trixie.run("python3 /tmp/undo.py")
        assert trixie.master() == master
        assert trixie.run("curl -sk --max-time 10 --http2 https://127.0.0.1/ -w ' %{http_version}'") == "hello 2"

    def test_an_upgrade_ends_no_connection(self, trixie):
        master = trixie.master()
        download = trixie.background("curl -sk --http2 -o /dev/null -w '%{size_download} %{http_version}' https://127.0.0.1/slow/file")
        loop = trixie.background(
            "rm -f /tmp/enough; bad=0; n=0; while [ ! -e /tmp/enough ] && [ $n -lt 5000 ]; do "
            "curl -sk --max-time 20 https://127.0.0.1/ | grep -q hello || bad=$((bad+1)); n=$((n+1)); done; echo $bad $n"
        )
        result = trixie.module(version="1.26.*", verify={"server_names": ["site.example"]})
        assert result["changed"] and result["package_version"].endswith("+good1")
        assert result["proof"]["sites"] == [{"server_name": "site.example", "alpn": "h2", "get": 200, "post": 200}]
        assert trixie.master() != master
        assert "(deleted)" not in trixie.run("readlink /proc/$(cat /run/nginx.pid)/exe")
        assert download.communicate(timeout=60)[0].decode() == "4000000 2"
        trixie.run("touch /tmp/enough")
        failed, asked = loop.communicate(timeout=60)[0].decode().split()
        assert (int(failed), int(asked) > 5) == (0, True)
        trixie.run("systemctl reload nginx")
        assert trixie.run("systemctl is-active nginx").strip() == "active"
        assert trixie.module(version="1.26.*", verify={"server_names": ["site.example"]})["changed"] is False

    def test_a_run_killed_before_the_proof_is_healed(self, trixie):
        trixie.run("rm /var/lib/paas/nginx_http2_pin.json; cp /usr/sbin/nginx /usr/sbin/nginx.new; mv /usr/sbin/nginx.new /usr/sbin/nginx")
        master = trixie.master()
        assert "(deleted)" in trixie.run("readlink /proc/$(cat /run/nginx.pid)/exe")
        result = trixie.module(version="1.26.*")
        assert result["changed"] and result["installed"] == [] and result["proof"]["post"] == 200
        assert trixie.master() != master
        assert trixie.module(version="1.26.*")["changed"] is False

    def test_a_broken_configuration_is_not_blamed_on_the_new_version(self, trixie):
        trixie.write("/etc/nginx/conf.d/broken.conf", "no_such_directive on;\n")
        with pytest.raises(Failed, match="Before anything was changed: nginx -t refuses the configuration"):
            trixie.module(version="1.26.*", features=["http2", "http3"])
        trixie.run("rm /etc/nginx/conf.d/broken.conf")

    def test_a_downgrade_only_when_it_is_allowed(self, trixie):
        older = re.findall(r"^ {1,5}(?:\*\*\* )?(1\.26\.3-3\+deb13u\d+) \d+$", trixie.run("apt-cache policy nginx"), re.MULTILINE)[-1]
        with pytest.raises(Failed, match="older than the installed .* and allow_downgrade is false"):
            trixie.module(version=f"={older}")
        result = trixie.module(version=f"={older}", allow_downgrade=True)
        assert trixie.installed() == result["package_version"] == older
        # Pinned to nginx's own number, what must not come in is kept out by name.
        assert trixie.candidate() == older
        assert trixie.run("apt-get -s dist-upgrade | grep '^Inst nginx'", check=False) == ""

    def test_somebody_elses_preferences(self, trixie):
        ours = trixie.read(PIN)
        trixie.write(PIN, "Package: nginx\nPin: version 1.26.*\nPin-Priority: 900\n")
        with pytest.raises(Failed, match=f"{PIN}: .* somebody else wrote it"):
            trixie.module(version="1.26.*")
        trixie.write(PIN, ours)
        trixie.write("/etc/apt/preferences.d/00-another", f"Package: nginx\nPin: version {trixie.installed()}\nPin-Priority: 1500\n")
        with pytest.raises(Failed, match="/etc/apt/preferences.d/00-another pins it too"):
            trixie.module(version="1.26.*")
        trixie.run("rm /etc/apt/preferences.d/00-another")
        assert trixie.read(PIN) == ours

    def test_the_newest_from_another_release_with_what_it_needs(self, trixie):
        source = trixie.run("grep -h '^deb .* trixie main' /etc/apt/sources.list").strip()
        newer = source.replace(" trixie ", " forky ").replace("deb ", "deb [check-valid-until=no] ", 1)
        trixie.write("/etc/apt/sources.list.d/forky.list", newer + "\n")
        trixie.write("/etc/apt/preferences.d/50-forky", "Package: *\nPin: release n=forky\nPin-Priority: 1\n")
        result = trixie.module(
            version=">=1.30,<1.31",
            features=["http2", "upstream_resolve"],
            packages=["nginx", "nginx-common", "libpcre2-8-0"],
            update_cache=True,
            cache_valid_time=0,
        )
        assert result["version"].startswith("1.30.")
        assert {entry["name"] for entry in result["installed"]} == {"nginx", "nginx-common", "libpcre2-8-0"}
        assert result["proof"]["post"] == 200
        assert trixie.run("curl -sk --max-time 10 --http2 https://127.0.0.1/ -w ' %{http_version}'") == "hello 2"
        assert trixie.run("apt-get -s dist-upgrade | grep -c '^Inst'", check=False).strip() == "0"

    def test_the_pin_is_removed_and_the_package_stays(self, trixie):
        version = trixie.installed()
        assert trixie.module(state="absent", check=True)["changed"] and trixie.read(PIN)
        assert trixie.module(state="absent")["changed"]
        assert trixie.read(PIN) is None and trixie.installed() == version
        assert trixie.module(state="absent")["changed"] is False
