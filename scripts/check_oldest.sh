#!/bin/sh
# Runs the tests that need no running Airflow on the oldest Airflow that the package supports.
# PYTHON names the Python to use (default: that of .venv, or else the first usable one on the PATH).
# Warnings do not fail these tests: this Airflow warns about its own code, and it does not warn where later ones do.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

if [ -z "${PYTHON:-}" ] && [ -x .venv/bin/python ]; then
    PYTHON=.venv/bin/python
fi
PYTHON=${PYTHON:-} sh scripts/make_venv.sh "$folder/venv"
CONSTRAINTS=constraints-oldest.txt sh scripts/install.sh "$folder/venv" '.[emulator,examples]' --group test
"$folder/venv/bin/python" -c 'from importlib.metadata import version; print("Airflow", version("apache-airflow"))'
# Left out is what does not depend on the version of Airflow, or uses a later one by itself.
"$folder/venv/bin/python" -m pytest -q -p no:cacheprovider -o filterwarnings=default -n 2 \
    -m "not alone" --ignore tests/system --ignore tests/examples --ignore tests/emulator --ignore tests/once/worlds \
    "$@"
