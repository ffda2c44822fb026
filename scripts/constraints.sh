#!/bin/sh
# Updates constraints.txt to the newest versions that work with one version of Airflow on every supported Python.
# AIRFLOW names that version.
set -eu

airflow=${AIRFLOW:-3.3.2}
wanted=$(mktemp)
trap 'rm -f "$wanted" "$wanted.out"' EXIT

.venv/bin/python -m pip install --quiet --disable-pip-version-check uv

# pip, uv and hatchling are not requirements of the project, but install and build it.
printf '%s\n' "apache-airflow==$airflow" pip uv hatchling >"$wanted"
# Wheels only, so that no installation needs a compiler.
.venv/bin/python -m uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --upgrade \
    --only-binary :all: --no-header --no-annotate \
    --extra emulator --extra examples --group dev --group system \
    --output-file "$wanted.out" pyproject.toml "$wanted"
# The markers can go: a constraint on a package that is not installed has no effect.
sed 's/ *;.*//' "$wanted.out" >constraints.txt
echo "constraints.txt fixes $(wc -l <constraints.txt) packages for Airflow $airflow."
