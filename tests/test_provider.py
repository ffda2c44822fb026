"""What Airflow reads of the provider: metadata, connection form and link; and which modules import which."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import airflow_provider_realtimekit
from airflow_provider_realtimekit.connections.form import CONN_FIELDS
from airflow_provider_realtimekit.extra_links import RealtimeKitAppLink
from airflow_provider_realtimekit.get_provider_info import get_provider_info
from airflow_provider_realtimekit.operators import RealtimeKitStopRecordingOperator
from tests.conftest import ACCOUNT, APP

PACKAGE = Path(airflow_provider_realtimekit.__file__).parent


def schema(name: str) -> Any:
    return json.loads(files("airflow").joinpath(name).read_text())


def test_metadata_is_valid_against_airflows_schema() -> None:
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


def test_connection_type_is_valid_against_the_stricter_schema() -> None:
    items = schema("provider.yaml.schema.json")["properties"]["connection-types"]
    jsonschema.validate(get_provider_info()["connection-types"], items)


def test_entry_point_gives_the_metadata() -> None:
    (entry,) = [e for e in entry_points(group="apache_airflow_provider") if "realtimekit" in e.value]
    assert entry.load()() == get_provider_info()


@pytest.mark.parametrize("kind", ["operators", "sensors", "hooks", "triggers"])
def test_named_modules_exist(kind: str) -> None:
    for integration in get_provider_info()[kind]:
        for module in integration["python-modules"]:
            __import__(module)


def test_named_classes_exist() -> None:
    info = get_provider_info()
    named = [*info["extra-links"], *(kind["hook-class-name"] for kind in info["connection-types"])]
    assert len(named) == 2
    for path in named:
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name).__name__ == name


def test_the_connection_form_shows_our_fields() -> None:
    code = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
(meta,) = [m for m in HookMetaService.hook_meta_data() if m.connection_type == "realtimekit"]
print("FORM" + meta.model_dump_json())
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    form = json.loads(next(line for line in ran.stdout.splitlines() if line.startswith("FORM"))[4:])
    assert form["hook_name"] == "Cloudflare RealtimeKit"
    assert set(form["extra_fields"]) == set(CONN_FIELDS)
    assert form["standard_fields"]["password"]["title"] == "API token"
    assert form["standard_fields"]["port"]["hidden"] is True


def test_link_leads_to_the_app_and_shows_no_secret(emulator: Any) -> None:
    task = RealtimeKitStopRecordingOperator(task_id="stop", recording_id="r")
    link = RealtimeKitAppLink().get_link(task, ti_key=None)
    assert link == f"https://dash.cloudflare.com/{ACCOUNT}/realtime/kit/{APP}"


def test_light_modules_import_nothing_heavy() -> None:
    code = """
import sys
from airflow.sdk import BaseOperator, BaseSensorOperator
before = set(sys.modules)
import airflow_provider_realtimekit.operators, airflow_provider_realtimekit.sensors
import airflow_provider_realtimekit.transfers, airflow_provider_realtimekit.triggers
ours = {m.removeprefix("airflow_provider_realtimekit.") for m in set(sys.modules) - before if "realtimekit" in m}
print("OURS", *sorted(ours))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = set(ran.stdout.rpartition("OURS")[2].split())
    assert {"operators", "sensors", "triggers", "transfers"} <= ours
    assert not ours & {"models", "api", "hooks", "waiting", "emulator", "downloads", "start"}


# The table of the rooms: a module may import from lower levels only.
LEVELS = {
    "exceptions": 0, "redaction": 0, "metrics": 0, "models": 0, "defaults": 0,
    "api": 1,
    "connections": 2, "start": 2, "downloads": 2,
    "hooks": 3,
    "waiting": 4,
    "triggers": 5,
    "extra_links": 6, "sensors": 6, "operators": 6, "transfers": 6,
    "get_provider_info": 7,
}  # fmt: skip
# Uses a hook of its own to stop recordings in the triggerer.
LEVEL_OF_FILE = {"start/on_kill.py": 4}


def imported(path: Path) -> set[str]:
    """Name the rooms of ours that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name):
            rest = (node.module or "").removeprefix(PACKAGE.name).strip(".")
            found |= {rest.partition(".")[0]} if rest else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith(PACKAGE.name + ".")}
    return found - {"__version__"}


def sources() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if path.parent.name != "emulator"]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_import_downwards_only(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        assert not imported(path)
        return
    level = LEVEL_OF_FILE.get(str(path.relative_to(PACKAGE)), LEVELS[room])
    assert {other for other in imported(path) if LEVELS[other] > level} == set()


@pytest.mark.parametrize("path", list((PACKAGE / "emulator").rglob("*.py")), ids=lambda path: path.name)
def test_the_emulator_imports_nothing_of_the_client(path: Path) -> None:
    assert imported(path) <= {"emulator"}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_models_compare_statuses(path: Path) -> None:
    statuses = {"INVOKED", "RECORDING", "PAUSED", "UPLOADING", "UPLOADED", "ERRORED"}
    compared = {
        part.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare)
        for part in ast.walk(node)
        if isinstance(part, ast.Constant)
    }
    assert path.parent.name == "models" or not compared & statuses
