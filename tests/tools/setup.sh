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

apt_install() {
    say "Installing with apt: $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=600 update -qq
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

start_engine() {
    engine_answers && return 0
    if ! command -v dockerd >/dev/null; then
        root || fail "Docker Engine is needed. Install it (sudo apt-get install docker.io) and add yourself to the group docker."
        apt_install docker.io iptables
    fi
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

install_browser() {
    if command -v chromium google-chrome >/dev/null && command -v chromedriver >/dev/null; then return 0; fi
    root || fail "Chromium is needed. Install it: sudo apt-get install chromium chromium-driver"
    apt_install chromium chromium-driver
}

case "${1:-}" in
    "") make_environment; link_checkout ;;
    engine) start_engine ;;
    browser) install_browser ;;
    *) fail "usage: setup.sh [engine|browser]" ;;
esac
