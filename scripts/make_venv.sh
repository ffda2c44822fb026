#!/bin/sh
# Makes a virtual environment, unless it is there and works: make_venv.sh FOLDER
# PYTHON names the Python to take; without it the first usable one is taken.
set -eu

usable() {
    # Run, since a name on the PATH may be a stub that only says where to get Python.
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

first_usable() {
    for name in python3.13 python3.12 python3.11 python3 python; do
        if usable "$name"; then
            echo "$name"
            return
        fi
    done
}

# Without pip, its making was cut short.
if usable "$1/bin/python" && "$1/bin/python" -m pip --version >/dev/null 2>&1; then
    exit
fi
python=${PYTHON:-$(first_usable)}
if [ -z "$python" ] || ! usable "$python"; then
    echo "Needed is a Python of at least 3.11 with its venv module (Debian and Ubuntu: python3-venv);" >&2
    echo "${PYTHON:-what the PATH holds} is none. Name another: make PYTHON=/path/to/python ..." >&2
    exit 1
fi
rm -rf "$1"
"$python" -m venv "$1"
