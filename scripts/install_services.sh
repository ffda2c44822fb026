#!/bin/sh
# Installs what the tests on distributed Airflow need beside Python: PostgreSQL and Redis. Only the programs are used;
# the services that the packages may start are not.
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
    echo "Needed, and not to be had here by apt-get: $missing. Install it as your system does." >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "Needed: $missing. Install it: sudo apt-get install --no-install-recommends $missing" >&2
        exit 1
    fi
    as_root="sudo -n"
fi
echo "Installing $missing."
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 (words are to be split)
install="$as_root apt-get install --yes --quiet --quiet --no-install-recommends $missing"
$install >/dev/null 2>&1 || { $as_root apt-get update --quiet --quiet && $install; }
