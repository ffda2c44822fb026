"""What Airflow reads from the provider: metadata, connection form and link; and which modules import which."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

import airflow_provider_realtimekit
from airflow_provider_realtimekit.connections.form import CONN_FIELDS
from airflow_provider_realtimekit.extra_links import RealtimeKitAppLink
from airflow_provider_realtimekit.get_provider_info import get_provider_info
from airflow_provider_realtimekit.hooks import RealtimeKitHook
from airflow_provider_realtimekit.operators import RealtimeKitStartRecordingOperator, RealtimeKitStopRecordingOperator
from airflow_provider_realtimekit.sensors import RealtimeKitRecordingSensor
from tests.conftest import ACCOUNT, APP
from tests.support.tasks import make_context

PACKAGE = Path(airflow_provider_realtimekit.__file__).parent


def schema(name: str) -> Any:
    return json.loads(files("airflow").joinpath(name).read_text())


def test_metadata_is_valid_against_airflows_schema() -> None:
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


def test_connection_type_is_valid_against_the_stricter_schema() -> None:
    items = schema("provider.yaml.schema.json")["properties"]["connection-types"]
    jsonschema.validate(get_provider_info()["connection-types"], items)


def test_entry_point_gives_the_metadata() -> None:
    (entry_point,) = [e for e in entry_points(group="apache_airflow_provider") if "realtimekit" in e.value]
    assert entry_point.load()() == get_provider_info()


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


APP_LINK = f"https://dash.cloudflare.com/{ACCOUNT}/realtime/kit/{APP}"


def link_of(task: Any) -> str:
    return RealtimeKitAppLink().get_link(task, ti_key=None)


def refuse_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the connection was read")

    monkeypatch.setattr(RealtimeKitHook, "get_connection", refuse)


def test_link_leads_to_the_app_and_holds_no_secret(emulator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (recording_id,) = emulator.world.seed(1, status="UPLOADED")
    task = RealtimeKitStopRecordingOperator(task_id="stop", recording_id=recording_id)
    task.execute(make_context())
    refuse_connections(monkeypatch)
    assert link_of(task) == APP_LINK


def test_a_task_that_never_read_its_connection_has_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_connections(monkeypatch)
    assert link_of(RealtimeKitStopRecordingOperator(task_id="stop", recording_id="r")) == ""


@pytest.mark.parametrize("is_sensor", [False, True])
def test_link_survives_a_deferral(emulator: Any, monkeypatch: pytest.MonkeyPatch, is_sensor: bool) -> None:
    def make() -> Any:
        if is_sensor:
            return RealtimeKitRecordingSensor(task_id="wait", recording_id=recording_id, deferrable=True)
        return RealtimeKitStartRecordingOperator(
            task_id="start", meeting_id="m", wait_for_completion=True, deferrable=True
        )

    (recording_id,) = emulator.world.seed(1, status="RECORDING", meeting_id="m")
    with pytest.raises(TaskDeferred) as deferred:
        make().execute(make_context())
    emulator.world.jump(recording_id, "UPLOADED")
    event = {"outcome": "uploaded", "recording": {"id": recording_id, "status": "UPLOADED"}, "error": None}
    kwargs = {**json.loads(json.dumps(deferred.value.kwargs)), "event": event}
    refuse_connections(monkeypatch)
    resumed = make()
    resumed.resume_execution(deferred.value.method_name, kwargs, make_context())
    assert link_of(resumed) == APP_LINK


def test_the_named_link_exists() -> None:
    for path in get_provider_info()["extra-links"]:
        module, _, name = path.rpartition(".")
        assert getattr(import_module(module), name) is RealtimeKitAppLink


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


ARCHITECTURE = Path(__file__).parent.parent / "docs" / "architecture.md"
# The table of rooms, whose rows begin with: | level | `room` |
ROOMS = re.findall(r"^\| (\d) \| `(\w+)` \|", ARCHITECTURE.read_text(), re.MULTILINE)
LEVELS = {room: int(level) for level, room in ROOMS}


def test_the_table_names_each_room_once() -> None:
    """A new module must be added to the table."""
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in sources()} - {"__init__"}
    assert sorted(room for _, room in ROOMS) == sorted(rooms)


def imported(path: Path) -> set[str]:
    """Return our rooms that a file imports, at the top or in functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name):
            rest = (node.module or "").removeprefix(PACKAGE.name).strip(".")
            found |= {rest.partition(".")[0]} if rest else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith(PACKAGE.name + ".")}
    return found - {"__version__"}


def sources() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "emulator"]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_import_downwards_only(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        assert not imported(path)
        return
    level = LEVELS[room]
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
