#!/bin/sh
# Installs PostgreSQL and Redis for the tests on distributed Airflow, where they are missing. The tests start servers of
# their own from these programs; they do not use the services that the system packages may start.
set -eu

has_postgres() {
    command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

missing=""
has_postgres || missing="postgresql"
command -v redis-server >/dev/null || missing="${missing:+$missing }redis-server"
if [ -z "$missing" ]; then
    exit
fi

if ! command -v apt-get >/dev/null; then
    echo "Missing: $missing. There is no apt-get here; install it with your system's package manager." >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "Missing: $missing. Install it: sudo apt-get install --no-install-recommends $missing" >&2
        exit 1
    fi
    as_root="sudo -n"
fi
echo "Installing $missing."
export DEBIAN_FRONTEND=noninteractive
# The words must be split.
# shellcheck disable=SC2086
install="$as_root apt-get install --yes --quiet --quiet --no-install-recommends $missing"
$install >/dev/null 2>&1 || { $as_root apt-get update --quiet --quiet && $install; }
