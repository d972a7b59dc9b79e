#!/usr/bin/env bash
# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# setup.sh          the virtual environment from the locked requirements, and this checkout in a collections path
# setup.sh engine   a running Docker Engine
# setup.sh browser  Chromium and its driver, for the checks that look at the page
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf '%s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
root() { [ "$(id -u)" = 0 ]; }

apt_update() { apt-get -o DPkg::Lock::Timeout=600 update -qq; }

# A package that is only a name others depend on counts as unknown. grep reads to the end: with -q it would break the pipe.
apt_knows() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep '^  Candidate: [^(]' >/dev/null; }

apt_install() {
    say "Installing with apt: $*"
    export DEBIAN_FRONTEND=noninteractive
    apt_update
    apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "$@" >/dev/null
}

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; assert (3, 11) <= sys.version_info < (3, 14)' 2>/dev/null; then
            printf '%s' "$candidate"
            return 0
        fi
    done
    return 1
}

make_environment() {
    local wanted python
    wanted=$(sha256sum requirements.txt | cut -d' ' -f1)
    [ "$(cat .venv/.requirements 2>/dev/null)" = "$wanted" ] && [ -x .venv/bin/python ] && return 0
    if ! python=$(find_python); then
        root || fail "Python 3.11 to 3.13 with venv is needed. Install it: sudo apt-get install python3 python3-venv"
        apt_install python3 python3-venv
        python=$(find_python) || fail "Python 3.11 to 3.13 is needed; this distribution has $(python3 --version 2>&1)."
    fi
    say "Making the virtual environment (a few minutes)"
    rm -rf .venv
    "$python" -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
    printf '%s' "$wanted" >.venv/.requirements
}

link_checkout() {
    mkdir -p .collections/ansible_collections/multiregion
    ln -sfn "$PWD" .collections/ansible_collections/multiregion/paas
}

engine_answers() { docker info >/dev/null 2>&1; }

install_engine() {
    local packages=()
    # The lab's machines are reached by SSH.
    command -v ssh >/dev/null || packages+=(openssh-client)
    if ! engine_answers; then
        command -v dockerd >/dev/null || packages+=(docker.io iptables)
        if ! command -v docker >/dev/null; then
            if root; then apt_update; fi
            # Since Debian 13 the command is a package of its own, which docker.io only recommends.
            if apt_knows docker-cli; then packages+=(docker-cli); else packages+=(docker.io); fi
        fi
    fi
    [ "${#packages[@]}" = 0 ] && return 0
    root || fail "Something is missing. Install it (sudo apt-get install ${packages[*]}); for Docker, add yourself to the group docker."
    apt_install "${packages[@]}"
    command -v docker >/dev/null || fail "There is no docker command, though these were installed: ${packages[*]}"
}

start_engine() {
    install_engine
    engine_answers && return 0
    root || fail "Docker does not answer. Start it (sudo systemctl start docker), or add yourself to the group docker."
    say "Starting Docker"
    if [ -d /run/systemd/system ]; then
        systemctl start docker
    else
        mkdir -p .lab
        # A pid file that a killed engine left would stop the new one.
        if [ -f /var/run/docker.pid ] && ! kill -0 "$(cat /var/run/docker.pid)" 2>/dev/null; then rm -f /var/run/docker.pid; fi
        setsid nohup dockerd >.lab/dockerd.log 2>&1 </dev/null &
    fi
    local _
    for _ in $(seq 120); do
        engine_answers && return 0
        sleep 1
    done
    fail "Docker did not start within 120 s; see .lab/dockerd.log or: journalctl -u docker"
}

have_browser() {
    { command -v chromium >/dev/null || command -v google-chrome >/dev/null; } && command -v chromedriver >/dev/null
}

install_browser() {
    have_browser && return 0
    root || fail "Chromium is needed. Install it: sudo apt-get install chromium chromium-driver"
    apt_update
    if ! apt_knows chromium || ! apt_knows chromium-driver; then
        fail "This distribution has no package of Chromium (Ubuntu's is a snap). Install Google Chrome and chromedriver of the same" \
            "version, https://googlechromelabs.github.io/chrome-for-testing/, as google-chrome and chromedriver in the PATH." \
            "Only \`make test\` and the scenario estate need them; make lab, lint, sanity, units, integration and the other scenarios do not."
    fi
    apt_install chromium chromium-driver
}

case "${1:-}" in
    "") make_environment; link_checkout ;;
    engine) start_engine ;;
    browser) install_browser ;;
    *) fail "usage: setup.sh [engine|browser]" ;;
esac
