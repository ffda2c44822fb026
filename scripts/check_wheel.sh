#!/bin/sh
# Builds the wheel, installs it into an empty environment, and looks whether it is all there.
set -eu

root=$(pwd)
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

echo "Building the wheel"
PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    .venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir "$room" .
PYTHON=.venv/bin/python sh scripts/make_venv.sh "$room/venv"
wheel=$(echo "$room"/*.whl)
sh scripts/install.sh "$room/venv" "${wheel}[emulator]"

# From here on away from the sources, so that only the wheel can be found.
cd "$room"
export AIRFLOW_HOME="$room/airflow"
python="$room/venv/bin/python"

echo "airflow providers list:"
"$python" -m airflow providers list --output plain >providers.txt
grep airflow-provider-realtimekit providers.txt
"$python" -m airflow_provider_realtimekit.emulator --help >help.txt
grep -q -e --port help.txt
echo "The emulator has its --help."
"$python" - "$root" <<'PYTHON'
import sys
from pathlib import Path

import airflow_provider_realtimekit as package

folder = Path(package.__file__).parent
assert not folder.is_relative_to(sys.argv[1]), f"imported from the sources: {folder}"
assert (folder / "py.typed").exists(), "the wheel lacks py.typed"
beside = {"tests", "scripts", "benchmarks", "example_dags"} & {path.name for path in folder.parent.iterdir()}
assert not beside, f"the wheel installs {beside} for all to see"
PYTHON
echo "The wheel is whole."
