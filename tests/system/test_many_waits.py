"""Hundreds of deferred tasks of one run in Airflow's own triggerer, and what the API sees of them."""

from __future__ import annotations

import asyncio
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
from tests.system.dags import loop_watch

pytestmark = pytest.mark.alone

DAG_ID = "system_many_waits"
WAITS = 500
INTERVAL = 5
PAGES = WAITS // 100
BLOCKED = "Triggerer's async thread was blocked"


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[LocalEmulator]:
    """An emulator whose files are made at once."""
    with LocalEmulator(tmp_path / "emulator", ["--media", "tiny"]) as emulator:
        yield emulator


@pytest.fixture
def recordings(emulator: LocalEmulator) -> list[str]:
    request = {"count": WAITS, "status": "RECORDING", "account_id": ACCOUNT_ID, "app_id": APP_ID}
    ids: list[str] = emulator.control.post("recordings", json=request).raise_for_status().json()["ids"]
    return ids


@pytest.fixture
def airflow(recordings: list[str], emulator: LocalEmulator, tmp_path: Path) -> Iterator[LocalAirflow]:
    """An Airflow for this DAG, whose triggerer accepts all waits at once."""
    dags, plan, now = tmp_path / "dags", tmp_path / "plan.json", time.time()
    dags.mkdir()
    for module in (DAG_ID, "loop_watch"):
        shutil.copy(HERE / "dags" / f"{module}.py", dags)
    since = datetime.fromtimestamp(now - 60, UTC).isoformat()
    plan.write_text(
        json.dumps({"ids": recordings, "invoked_after": since, "deadline": now + 3600, "poll_interval": INTERVAL})
    )
    environment = {
        "AIRFLOW_CONN_REALTIMEKIT_DEFAULT": emulator.connection(ACCOUNT_ID, APP_ID, TOKEN),
        "AIRFLOW__TRIGGERER__CAPACITY": "2000",
        "PYTHONPATH": str(dags),
        "SYSTEM_MANY_WAITS": str(plan),
    }
    with LocalAirflow(tmp_path / "airflow", dags, environment=environment) as airflow:
        yield airflow


def count(airflow: LocalAirflow, run_id: str, *states: str) -> int:
    path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances"
    return int(airflow.api.request("GET", path, params={"state": list(states), "limit": 1})["total_entries"])


def polls(emulator: LocalEmulator) -> list[float]:
    """Return the time of each poll."""
    requests = emulator.control.get("ledger").json()["requests"]
    return [request["at"] for request in requests if request["operation"] in ("get", "list")]


def wait_for_rounds(airflow: LocalAirflow, emulator: LocalEmulator, count: int) -> None:
    enough = len(polls(emulator)) + count * PAGES
    airflow.wait_for(lambda: len(polls(emulator)) >= enough, f"{count} more rounds", timeout=120)


def test_five_hundred_waits_of_one_run_share_one_poll(
    airflow: LocalAirflow, emulator: LocalEmulator, recordings: list[str], tmp_path: Path
) -> None:
    airflow.wait_for_dag(DAG_ID)
    airflow.api.unpause(DAG_ID)
    run_id = airflow.api.trigger(DAG_ID)
    airflow.wait_for(lambda: count(airflow, run_id, "deferred") == WAITS, "all are deferred", timeout=120)
    wait_for_rounds(airflow, emulator, 5)
    ends_from = time.time()
    for recording_id in recordings:
        emulator.control.post(f"recordings/{recording_id}/status", json={"status": "UPLOADED"}).raise_for_status()
    airflow.wait_for(lambda: count(airflow, run_id, "success", "skipped") == WAITS, "all end", timeout=120)

    ended = time.time()
    assert airflow.wait_for_run(DAG_ID, run_id) == "success"
    check_results(airflow, run_id, recordings)
    seen = polls(emulator)
    one_each = WAITS * (ended - seen[0]) / INTERVAL
    assert len(seen) <= 0.02 * one_each + 10, f"{len(seen)} requests in {ended - seen[0]:.0f} s"
    check_loop(warnings(airflow), loop_watch.read(tmp_path / "loop.jsonl"), ends_from)


def check_results(airflow: LocalAirflow, run_id: str, recordings: list[str]) -> None:
    path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/wait/xcomEntries/return_value"
    in_worker: Any = airflow.api.request("GET", path, params={"map_index": 20})["value"]
    in_triggerer: Any = json.loads(airflow.api.request("GET", path, params={"map_index": 21})["value"])
    assert (in_worker["id"], in_worker["status"]) == (recordings[20], "UPLOADED")
    assert (in_triggerer["outcome"], in_triggerer["recording"]["id"]) == ("uploaded", recordings[21])


def check_loop(warned: list[str], turns: list[dict[str, Any]], ends_from: float) -> None:
    """Check that no warning of a blocked loop is caused by our package.

    Airflow warns when a sleep of 0.1 s took more than 0.2 s. So our package causes a warning when it alone had the
    loop for more than 0.1 s before anything else got a turn. Other warnings have other causes: Airflow starts hundreds
    of tasks at once, and the machine may be busy, so that tasks which wait for nothing cause some, too.
    """
    late = [turn for turn in turns if turn["held"] > loop_watch.LATE]
    assert len(warned) <= len(late), f"the watch recorded {len(late)} late turns, but Airflow warned: {warned}"
    assert any(turn["ours"] and turn["at"] > ends_from for turn in turns), "no sample shows our package"
    longest = [max(turn["stacks"]) for turn in late if turn["ours"] > loop_watch.LATE]
    assert not warned or longest == [], f"Airflow warned: {warned}"


def warnings(airflow: LocalAirflow) -> list[str]:
    """Return the triggerer's warnings of a blocked loop."""
    return [line for line in (airflow.home / "triggerer.log").read_text().splitlines() if BLOCKED in line]


@pytest.mark.parametrize(
    ("module", "is_ours"), [(f"{loop_watch.PACKAGE}.waiting.poller", True), ("other.module", False)]
)
def test_the_watch_finds_the_package_that_blocks_a_loop(module: str, is_ours: bool, tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": module, "time": time}
    exec("def block(): time.sleep(0.5)", names)

    async def be_blocked() -> None:
        loop_watch.start(tmp_path / "loop.jsonl")
        await asyncio.sleep(0.1)
        names["block"]()
        await asyncio.sleep(0.1)

    asyncio.run(be_blocked())
    worst = max(loop_watch.read(tmp_path / "loop.jsonl"), key=lambda turn: turn["held"])
    assert worst["held"] > 0.5
    assert (worst["ours"] > loop_watch.LATE) is is_ours
