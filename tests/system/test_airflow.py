"""What only real Airflow can show: the example DAG, deferral, skipping, and that no secret is stored or logged."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.local_airflow import LocalAirflow
from tests.system.conftest import ACCOUNT_ID, APP_ID, SECRETS, STORAGES, TOKEN


def state_of(airflow: LocalAirflow, dag_id: str, run_id: str) -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in airflow.api.task_instances(dag_id, run_id)}


def start(airflow: LocalAirflow, dag_id: str, conf: dict[str, Any]) -> str:
    airflow.wait_for_dag(dag_id)
    airflow.api.unpause(dag_id)
    return airflow.api.trigger(dag_id, conf)


def test_the_example_makes_a_report_and_its_deferred_wait_uses_no_worker(
    airflow_stack: LocalAirflow, emulator_control: httpx.Client, tmp_path: Path
) -> None:
    emulator_control.patch("settings", json={"uploading_seconds": 3600, "speed": 5})
    conf = {"meeting_id": "standup", "minutes": 0.1, "destination": str(tmp_path)}
    run_id = start(airflow_stack, "example_record_meeting", conf)

    airflow_stack.wait_for_task("example_record_meeting", run_id, "wait_for_file", "deferred", timeout=180)
    # The process that deferred the task must end, and no other one may start.
    airflow_stack.wait_for(
        lambda: not airflow_stack.task_processes("example_record_meeting", run_id, "wait_for_file"),
        "no worker process exists for the deferred task",
        timeout=30,
    )
    waiting = airflow_stack.api.task_instance("example_record_meeting", run_id, "wait_for_file")
    assert (waiting["state"], waiting["try_number"]) == ("deferred", 1)
    emulator_control.patch("settings", json={"uploading_seconds": 0})
    emulator_control.post("uploads/finish").raise_for_status()

    assert airflow_stack.wait_for_run("example_record_meeting", run_id, timeout=240) == "success"
    report = Path(airflow_stack.api.xcom("example_record_meeting", run_id, "page").removeprefix("file://"))
    assert report.is_relative_to(tmp_path)
    names = {path.name for path in report.parent.iterdir()}
    assert {"report.html", "contact-sheet.png", "waveform.png", "speech.wav", "measurements.json"} <= names
    measurements = json.loads((report.parent / "measurements.json").read_text())
    recording = airflow_stack.api.xcom("example_record_meeting", run_id, "wait_for_file")
    assert recording["status"] == "UPLOADED"
    assert measurements["duration"] == pytest.approx(recording["recording_duration"], abs=1.0)
    ledger = emulator_control.get("ledger").json()
    assert ledger["started"] == [recording["id"]]
    assert ledger["running"] == []
    assert ledger["file_host_saw_authorization"] == 0


def test_outcomes_are_the_same_in_every_mode(airflow_stack: LocalAirflow, emulator_control: httpx.Client) -> None:
    def seed() -> str:
        body = {"count": 1, "status": "RECORDING", "account_id": ACCOUNT_ID, "app_id": APP_ID}
        return str(emulator_control.post("recordings", json=body).raise_for_status().json()["ids"][0])

    recordings = {name: seed() for name in ("uploaded", "errored", "running")}
    run_id = start(airflow_stack, "system_outcomes", recordings)
    for outcome in ("uploaded", "errored"):
        for kind in ("plain", "soft"):
            waiting = f"deferrable-{outcome}-{kind}"
            airflow_stack.wait_for_task("system_outcomes", run_id, waiting, "deferred", timeout=180)
    # During these polls Airflow's scheduler notices all deferrals.
    polls = count_polls(emulator_control)
    airflow_stack.wait_for(lambda: count_polls(emulator_control) > polls + 40, "the sensors poll", timeout=120)
    for name, status in (("uploaded", "UPLOADED"), ("errored", "ERRORED")):
        emulator_control.post(f"recordings/{recordings[name]}/status", json={"status": status}).raise_for_status()

    airflow_stack.wait_for_run("system_outcomes", run_id, timeout=240)
    expected = {"uploaded": ("success", "success"), "errored": ("failed", "skipped"), "running": ("failed", "skipped")}
    wanted = {
        f"{mode}-{outcome}-{kind}": state
        for mode in ("poke", "reschedule", "deferrable")
        for outcome, states in expected.items()
        for kind, state in zip(("plain", "soft"), states, strict=True)
    }
    found = state_of(airflow_stack, "system_outcomes", run_id)
    logs = {
        task_id: airflow_stack.api.task_log("system_outcomes", run_id, task_id)
        for task_id, state in wanted.items()
        if found[task_id] != state
    }
    assert found == wanted, "\n".join(f"{task_id}:\n" + "\n".join(log) for task_id, log in logs.items())


def count_polls(emulator_control: httpx.Client) -> int:
    counts = emulator_control.get("ledger").json()["counts"]
    return sum(sum(counts.get(operation, {}).values()) for operation in ("get", "list"))


def read_output(airflow: LocalAirflow) -> Iterator[tuple[str, str]]:
    """Yield all that Airflow wrote: logs, and its database with XComs, rendered fields, triggers and events."""
    for folder, _, names in os.walk(airflow.home):
        for name in names:
            path = Path(folder, name)
            if path.suffix == ".log" or path.name.startswith("airflow.db"):
                yield str(path.relative_to(airflow.home)), path.read_bytes().decode("utf-8", "replace")


def test_no_secret_is_stored_or_logged(
    airflow_stack: LocalAirflow, emulator_control: httpx.Client, tmp_path: Path
) -> None:
    run_id = start(airflow_stack, "system_secrets", {"destination": str(tmp_path)})
    airflow_stack.wait_for_run("system_secrets", run_id, timeout=240)
    states = state_of(airflow_stack, "system_secrets", run_id)
    assert (states.pop("refused"), states.pop("refused_storage")) == ("failed", "failed")
    assert set(states.values()) == {"success"}, states
    # The secrets were sent to the API, and its answers contained them.
    recording = airflow_stack.api.xcom("system_secrets", run_id, "print_recording")
    assert recording["storage_config"]["type"] == "aws"
    stored = {name: airflow_stack.api.xcom("system_secrets", run_id, name) for name in STORAGES}
    kinds = {name: result["storage_config"]["type"] for name, result in stored.items() if result["storage_config"]}
    assert kinds == {"stored_s3": "aws", "stored_r2": "cloudflare", "stored_gcs": "gcs", "stored_azure": "azure"}

    written = dict(read_output(airflow_stack))
    logs = [text for name, text in written.items() if "task_id=print_storages" in name]
    assert any("a secret is logged on purpose: ***" in text.replace("'", "") for text in logs)
    # Airflow masks these lines in the task's log, but not where its scheduler repeats them. We cannot change that.
    lines = written["scheduler.log"].splitlines()
    written["scheduler.log"] = "\n".join(line for line in lines if "a secret is logged on purpose" not in line)
    assert any("system_secrets" in name for name in written), "no task log was read"
    assert any(recording["id"] in text for text in written.values()), "the recording's id is not in what was read"
    pieces = {TOKEN, *(line for value in SECRETS.values() for line in value.splitlines() if len(line) > 4)}
    found = {(name, piece) for name, text in written.items() for piece in pieces if piece in text}
    assert not found
    signed = re.compile(r"(?:signature|expires|sig|token)=[\w%-]{8,}", re.IGNORECASE)
    assert not {(name, match[0]) for name, text in written.items() for match in signed.finditer(text)}
