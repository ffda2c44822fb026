#!/bin/sh
# Runs the tests that need no running Airflow on the oldest Airflow that the package promises to work with.
# Warnings are no errors here: this Airflow gives some of its own, and takes a connection that warns for none.
set -eu

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

PYTHON=.venv/bin/python sh scripts/make_venv.sh "$room/venv"
CONSTRAINTS=constraints-oldest.txt sh scripts/install.sh "$room/venv" '.[dev]'
"$room/venv/bin/python" -c 'from importlib.metadata import version; print("Airflow", version("apache-airflow"))'
"$room/venv/bin/python" -m pytest -q -p no:cacheprovider -o filterwarnings=default tests/api tests/once tests/download/test_signed_urls.py tests/download/test_progress.py tests/download/test_destination.py \
    tests/test_download.py tests/test_list_operator.py tests/test_storages.py tests/test_hook.py \
    tests/test_operators.py tests/test_provider.py tests/test_sensor.py tests/test_trigger.py
