"""Hundreds of deferred tasks of one run in Airflow's own triggerer, and what the API sees of them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scripts.local_airflow import LocalAirflow
from scripts.local_emulator import LocalEmulator
from tests.system.conftest import ACCOUNT_ID, APP_ID, HERE, TOKEN

DAG_ID = "system_many_waits"
WAITS = 500
INTERVAL = 5
PAGES = WAITS // 100
# Airflow's triggerer writes logs to a pipe that is not read while it stores events: many at once hold up its loop.
ENDS_A_SECOND = 25
BLOCKED = "Triggerer's async thread was blocked"


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[LocalEmulator]:
    """An emulator that makes a recording's files in no time."""
    with LocalEmulator(tmp_path / "emulator", ["--media", "tiny"]) as emulator:
        yield emulator


@pytest.fixture
def recordings(emulator: LocalEmulator) -> list[str]:
    order = {"count": WAITS, "status": "RECORDING", "account_id": ACCOUNT_ID, "app_id": APP_ID}
    ids: list[str] = emulator.control.post("recordings", json=order).raise_for_status().json()["ids"]
    return ids


@pytest.fixture
def airflow(recordings: list[str], emulator: LocalEmulator, tmp_path: Path) -> Iterator[LocalAirflow]:
    """An Airflow for this one DAG, whose triggerer holds more than by default."""
    dags, plan, now = tmp_path / "dags", tmp_path / "plan.json", time.time()
    dags.mkdir()
    shutil.copy(HERE / "dags" / f"{DAG_ID}.py", dags)
    since = datetime.fromtimestamp(now - 60, UTC).isoformat()
    plan.write_text(
        json.dumps({"ids": recordings, "invoked_after": since, "deadline": now + 3600, "poll_interval": INTERVAL})
    )
    environment = {
        "AIRFLOW_CONN_REALTIMEKIT_DEFAULT": emulator.connection(ACCOUNT_ID, APP_ID, TOKEN),
        "AIRFLOW__TRIGGERER__CAPACITY": "2000",
        # A machine that has other work to do keeps any process from its turn for longer than the 0.2 s of the default.
        "AIRFLOW__TRIGGERER__BLOCKED_MAIN_THREAD_WARNING_THRESHOLD": "1.0",
        "PYTHONPATH": str(dags),
        "SYSTEM_MANY_WAITS": str(plan),
    }
    with LocalAirflow(tmp_path / "airflow", dags, environment=environment) as airflow:
        yield airflow


def count(airflow: LocalAirflow, run_id: str, *states: str) -> int:
    path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances"
    return int(airflow.api.request("GET", path, params={"state": list(states), "limit": 1})["total_entries"])


def polls(emulator: LocalEmulator) -> list[float]:
    """When each look at recordings came in."""
    requests = emulator.control.get("ledger").json()["requests"]
    return [entry["at"] for entry in requests if entry["operation"] in ("get", "list")]


def wait_for_rounds(airflow: LocalAirflow, emulator: LocalEmulator, count: int) -> None:
    enough = len(polls(emulator)) + count * PAGES
    airflow.wait_for(lambda: len(polls(emulator)) >= enough, f"{count} more rounds", timeout=120)


def test_five_hundred_waits_of_one_run_share_one_poll(
    airflow: LocalAirflow, emulator: LocalEmulator, recordings: list[str]
) -> None:
    airflow.wait_for_dag(DAG_ID)
    airflow.api.unpause(DAG_ID)
    run_id = airflow.api.trigger(DAG_ID)
    airflow.wait_for(lambda: count(airflow, run_id, "deferred") == WAITS, "all are deferred", timeout=120)
    # The triggerer takes some seconds to take them all up.
    wait_for_rounds(airflow, emulator, 2)
    told = blocked(airflow)
    wait_for_rounds(airflow, emulator, 3)
    assert blocked(airflow) == told, "the loop stood still while nothing but the poll went on"
    for recording_id in recordings:
        time.sleep(1 / ENDS_A_SECOND)
        emulator.control.post(f"recordings/{recording_id}/status", json={"status": "UPLOADED"}).raise_for_status()
    airflow.wait_for(lambda: count(airflow, run_id, "success", "skipped") == WAITS, "all end", timeout=120)

    ended = time.time()
    assert airflow.wait_for_run(DAG_ID, run_id) == "success"
    check_results(airflow, run_id, recordings)
    seen = polls(emulator)
    one_each = WAITS * (ended - seen[0]) / INTERVAL
    assert len(seen) <= 0.02 * one_each + 10, f"{len(seen)} requests in {ended - seen[0]:.0f} s"


def check_results(airflow: LocalAirflow, run_id: str, recordings: list[str]) -> None:
    path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/wait/xcomEntries/return_value"
    in_worker: Any = airflow.api.request("GET", path, params={"map_index": 20})["value"]
    in_triggerer: Any = json.loads(airflow.api.request("GET", path, params={"map_index": 21})["value"])
    assert (in_worker["id"], in_worker["status"]) == (recordings[20], "UPLOADED")
    assert (in_triggerer["outcome"], in_triggerer["recording"]["id"]) == ("uploaded", recordings[21])


def blocked(airflow: LocalAirflow) -> list[str]:
    """The triggerer's warnings of a loop that stood still."""
    return [line for line in (airflow.home / "triggerer.log").read_text().splitlines() if BLOCKED in line]
