#!/bin/sh
# Builds the wheel, installs it into an empty environment, and checks that it works without the sources.
set -eu

sources=$(pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

echo "Building the wheel"
PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    .venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir "$folder" .
PYTHON=.venv/bin/python sh scripts/make_venv.sh "$folder/venv"
wheel=$(echo "$folder"/*.whl)
sh scripts/install.sh "$folder/venv" "${wheel}[emulator]"

# Outside the sources, so that Python can import the package from the wheel only.
cd "$folder"
export AIRFLOW_HOME="$folder/airflow"
python="$folder/venv/bin/python"

echo "airflow providers list:"
"$python" -m airflow providers list --output plain >providers.txt
grep airflow-provider-realtimekit providers.txt
"$python" -m airflow_provider_realtimekit.emulator --help >help.txt
grep -q -e --port help.txt
echo "The emulator shows its --help."
"$python" - "$sources" <<'PYTHON'
import sys
from pathlib import Path

import airflow_provider_realtimekit as package

folder = Path(package.__file__).parent
assert not folder.is_relative_to(sys.argv[1]), f"imported from the sources: {folder}"
assert (folder / "py.typed").exists(), "the wheel has no py.typed"
others = {"tests", "scripts", "benchmarks", "example_dags", "docs"} & {path.name for path in folder.parent.iterdir()}
assert not others, f"the wheel installs {others} next to the package"
PYTHON
echo "The wheel is complete."
