"""How long a DAG file needs to import this provider, other providers, and Cloudflare's own SDK.

Prints, for each package, the milliseconds and modules that importing its operators, sensors and triggers adds
over importing the base classes of ``airflow.sdk``: median of ten fresh interpreters each, all in one run.

    python benchmarks/imports.py            # makes a virtual environment of its own for the other packages
    python benchmarks/imports.py --here     # only what is installed here

Exits with 1 if ours adds more than 30 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 10
LIMIT_MS = 30.0

OURS = "airflow-provider-realtimekit"
PACKAGES = {
    OURS: (
        "airflow_provider_realtimekit.operators",
        "airflow_provider_realtimekit.sensors",
        "airflow_provider_realtimekit.triggers",
        "airflow_provider_realtimekit.transfers",
    ),
    "apache-airflow-providers-dbt-cloud": (
        "airflow.providers.dbt.cloud.operators.dbt",
        "airflow.providers.dbt.cloud.sensors.dbt",
        "airflow.providers.dbt.cloud.triggers.dbt",
    ),
    "apache-airflow-providers-databricks": (
        "airflow.providers.databricks.operators.databricks",
        "airflow.providers.databricks.sensors.databricks",
        "airflow.providers.databricks.triggers.databricks",
    ),
    "cloudflare": ("cloudflare",),
}

# First imports what every DAG file with operators, sensors and deferral imports anyway.
PROBE = """
import importlib, json, sys, time
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator
import airflow.sdk.bases.operatorlink, airflow.triggers.base
modules = len(sys.modules)
began = time.perf_counter()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([(time.perf_counter() - began) * 1000, len(sys.modules) - modules]))
"""


def measure(python: str, modules: tuple[str, ...], home: str) -> tuple[float, int]:
    """Import the modules in a fresh interpreter; return milliseconds and the number of modules added."""
    environment = {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PATH": ""}
    ran = subprocess.run(
        [python, "-c", PROBE, *modules], env=environment, capture_output=True, text=True, check=True, cwd=home
    )
    milliseconds, added = json.loads(ran.stdout.splitlines()[-1])
    return milliseconds, added


def make_environment(folder: Path) -> str:
    """Install all packages into a new environment for this run, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    airflow = f"apache-airflow=={version('apache-airflow')}"
    others = [name for name in PACKAGES if name != OURS]
    subprocess.run([python, "-m", "pip", "install", "-q", "uv"], check=True)
    install = [python, "-m", "uv", "pip", "install", "-q", "--python", python]
    subprocess.run([*install, airflow, str(ROOT), *others], check=True)
    return python


def compare(python: str, names: list[str]) -> dict[str, tuple[float, float, int]]:
    """Measure all packages in turn, round by round, so that other load on the machine affects all in the same way."""
    times: dict[str, list[float]] = {name: [] for name in names}
    added: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as home:
        for _ in range(ROUNDS):
            for name in names:
                milliseconds, added[name] = measure(python, PACKAGES[name], home)
                times[name].append(milliseconds)
    return {name: (statistics.median(ms), max(ms), added[name]) for name, ms in times.items()}


def main() -> int:
    """Measure, print the table, and compare our own figure with the limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--here", action="store_true", help="measure only what is installed here")
    with tempfile.TemporaryDirectory() as folder:
        if parser.parse_args().here:
            results = compare(sys.executable, [OURS])
        else:
            results = compare(make_environment(Path(folder)), list(PACKAGES))
    print(f"{'package':<40} {'median ms':>10} {'worst ms':>10} {'modules':>8}")
    for name, (median, worst, modules) in results.items():
        print(f"{name:<40} {median:>10.1f} {worst:>10.1f} {modules:>8}")
    return 0 if results[OURS][0] <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
