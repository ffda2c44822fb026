#!/bin/sh
# Renews constraints.txt: the newest versions of everything that go with one Airflow, on every supported Python.
# Wheels only, so that no installation needs a compiler. AIRFLOW names another Airflow.
set -eu

airflow=${AIRFLOW:-3.3.2}
wanted=$(mktemp)
trap 'rm -f "$wanted" "$wanted.out"' EXIT

.venv/bin/python -m pip install --quiet --disable-pip-version-check uv

# uv and hatchling install and build the project.
printf '%s\n' "apache-airflow==$airflow" uv hatchling >"$wanted"
.venv/bin/python -m uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --upgrade \
    --only-binary :all: --no-header --no-annotate --extra system \
    --output-file "$wanted.out" pyproject.toml "$wanted"
# Constraints on what is not installed do no harm, so the markers go.
sed 's/ *;.*//' "$wanted.out" >constraints.txt
echo "constraints.txt names $(wc -l <constraints.txt) packages for Airflow $airflow."
