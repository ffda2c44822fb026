#!/bin/sh
# Creates a virtual environment, unless a working one exists: make_venv.sh FOLDER
# PYTHON names the Python to use (default: the first usable one on the PATH).
set -eu

is_usable() {
    # Running it is the only sure check: a name on the PATH may be a stub that only says how to install Python.
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

first_usable() {
    for name in python3.13 python3.12 python3.11 python3 python; do
        if is_usable "$name"; then
            echo "$name"
            return
        fi
    done
}

# An environment without pip is the rest of an interrupted installation.
if is_usable "$1/bin/python" && "$1/bin/python" -m pip --version >/dev/null 2>&1; then
    exit
fi
python=${PYTHON:-$(first_usable)}
if [ -z "$python" ] || ! is_usable "$python"; then
    echo "This needs a Python of at least 3.11 with its venv module (Debian and Ubuntu: python3-venv)." >&2
    echo "Not usable: ${PYTHON:-every Python on the PATH}. Name another one: make PYTHON=/path/to/python ..." >&2
    exit 1
fi
rm -rf "$1"
"$python" -m venv "$1"
