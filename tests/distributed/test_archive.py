"""A week of recordings, archived by real Airflow as it catches up, and again after everything was cleared."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer, Settings
from scripts.local_airflow import LocalAirflow

EXAMPLE_DAGS = Path(__file__).parents[2] / "example_dags"
DAG_ID = "example_archive_recordings"
DAYS, RECORDINGS = 7, 200
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
START = "datetime(2026, 11, 14, tzinfo=UTC)"


class Clock:
    """The emulator's clock, put back while the past is made."""

    behind = timedelta()

    def __call__(self) -> float:
        return time.time() - self.behind.total_seconds()


@pytest.fixture
def emulator() -> Iterator[EmulatorServer]:
    """An emulator whose recordings were made in the course of the last week, some of them around midnight."""
    month = 30 * 86_400  # longer than a week, so that nothing expires on the way
    clock, settings = Clock(), Settings(media="tiny", empty_seconds=month, file_seconds=month, link_seconds=month)
    with EmulatorServer(settings, clock=clock) as server:
        for number in range(RECORDINGS):
            began = TODAY - timedelta(days=DAYS) + number * timedelta(days=DAYS) / RECORDINGS
            clock.behind = datetime.now(UTC) - began
            (recording_id,) = server.world.seed(1, status="RECORDING")
            clock.behind -= timedelta(minutes=40)
            server.world.jump(recording_id, "UPLOADED")
        clock.behind = timedelta()
        yield server


@pytest.fixture
def airflow(emulator: EmulatorServer, tmp_path: Path) -> Iterator[LocalAirflow]:
    """An Airflow with the DAG, which began a week ago."""
    (tmp_path / "dags").mkdir()
    text = (EXAMPLE_DAGS / f"{DAG_ID}.py").read_text()
    assert START in text
    began = TODAY - timedelta(days=DAYS)
    text = text.replace(START, f"datetime({began.year}, {began.month}, {began.day}, tzinfo=UTC)")
    (tmp_path / "dags" / f"{DAG_ID}.py").write_text(text)
    environment = {
        "AIRFLOW_CONN_REALTIMEKIT_DEFAULT": emulator.connection_json(),
        # The default destination lies in the folder for temporary files.
        "TMPDIR": str(tmp_path),
    }
    with LocalAirflow(tmp_path / "airflow", tmp_path / "dags", environment=environment, parallelism=4) as airflow:
        yield airflow


def runs(airflow: LocalAirflow) -> list[dict[str, Any]]:
    """Give the runs of the week: where midnight passes meanwhile, there is one more."""
    found = airflow.api.request("GET", f"/dags/{DAG_ID}/dagRuns")["dag_runs"]
    return [run for run in found if datetime.fromisoformat(run["data_interval_end"]) <= TODAY]


def wait_for_week(airflow: LocalAirflow, after: datetime) -> None:
    """Wait until each day of the week has a run that ended after a moment."""

    def has_ended() -> bool:
        ended = [run for run in runs(airflow) if run["end_date"] and datetime.fromisoformat(run["end_date"]) > after]
        return len(ended) == DAYS

    # Just after midnight the last run waits for a quarter of an hour.
    airflow.wait_for(has_ended, f"{DAYS} runs have ended", timeout=1400)
    assert Counter(run["state"] for run in runs(airflow)) == {"success": DAYS}


def downloads(emulator: EmulatorServer) -> Counter[str]:
    return Counter(entry.path for entry in emulator.ledger.requests if entry.operation == "download")


@pytest.mark.timeout(3000)
def test_a_week_is_archived_once(airflow: LocalAirflow, emulator: EmulatorServer, tmp_path: Path) -> None:
    began = datetime.now(UTC)
    airflow.wait_for_dag(DAG_ID)
    airflow.api.unpause(DAG_ID)
    wait_for_week(airflow, began)
    expected = {recording.id for recording in emulator.world.recordings()}
    assert len(expected) == RECORDINGS
    archive = tmp_path / "realtimekit-archive"
    assert {path.parent.name for path in archive.glob("????-??-??/*/*.mp4")} == expected
    assert set(downloads(emulator).values()) == {1}
    assert len(downloads(emulator)) == len(expected)

    again = datetime.now(UTC)
    for run in runs(airflow):
        airflow.api.clear(DAG_ID, run["dag_run_id"], "settle")
    wait_for_week(airflow, again)
    assert set(downloads(emulator).values()) == {1}
    assert len(downloads(emulator)) == len(expected)
