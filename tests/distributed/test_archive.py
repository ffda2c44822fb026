"""A week of recordings, archived by a backfill of real Airflow; a second backfill downloads nothing again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer, Settings
from scripts.distributed_airflow import PostgresAirflow
from scripts.services import Services

EXAMPLE_DAGS = Path(__file__).parents[2] / "example_dags"
DAG_ID = "example_archive_recordings"
DAYS, RECORDINGS = 7, 200
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
START = "datetime(2026, 11, 14, tzinfo=UTC)"


class Clock:
    """The emulator's clock, which is set back while recordings of past days are made."""

    behind = timedelta()

    def __call__(self) -> float:
        return time.time() - self.behind.total_seconds()


@pytest.fixture
def emulator() -> Iterator[EmulatorServer]:
    """An emulator with recordings of the last week, some of them around midnight."""
    month = 30 * 86_400  # longer than a week, so that nothing expires during the test
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
def airflow(emulator: EmulatorServer, tmp_path: Path) -> Iterator[PostgresAirflow]:
    """An Airflow with the DAG. Its schedule starts today, so that earlier days are run only by a backfill."""
    (tmp_path / "dags").mkdir()
    text = (EXAMPLE_DAGS / f"{DAG_ID}.py").read_text()
    assert START in text
    text = text.replace(START, f"datetime({TODAY.year}, {TODAY.month}, {TODAY.day}, tzinfo=UTC)")
    (tmp_path / "dags" / f"{DAG_ID}.py").write_text(text)
    environment = {
        "AIRFLOW_CONN_REALTIMEKIT_DEFAULT": emulator.connection_json(),
        # The default destination is in the folder for temporary files.
        "TMPDIR": str(tmp_path),
    }
    home, dags = tmp_path / "airflow", tmp_path / "dags"
    with (
        Services() as services,
        PostgresAirflow(home, dags, services, environment=environment, parallelism=8) as airflow,
    ):
        yield airflow


def backfill(airflow: PostgresAirflow, **more: str) -> None:
    """Run the week's days, and wait until all of them have succeeded."""
    body = {
        "dag_id": DAG_ID,
        "from_date": (TODAY - timedelta(days=DAYS)).isoformat(),
        "to_date": (TODAY - timedelta(days=1)).isoformat(),
        **more,
    }
    number = airflow.api.request("POST", "/backfills", json=body)["id"]

    def is_complete() -> bool:
        return bool(airflow.api.request("GET", f"/backfills/{number}")["completed_at"])

    # The DAG waits until 15 minutes after midnight, so the last run may have to wait that long.
    airflow.wait_for(is_complete, f"{DAYS} runs have ended", timeout=1400)
    runs = airflow.api.request("GET", f"/dags/{DAG_ID}/dagRuns", params={"run_type": ["backfill"]})["dag_runs"]
    assert Counter(run["state"] for run in runs) == {"success": DAYS}


def count_gets(emulator: EmulatorServer) -> int:
    """Count the GETs of single recordings."""
    return sum(request.operation == "get" for request in emulator.ledger.requests)


def downloads(emulator: EmulatorServer) -> Counter[str]:
    return Counter(request.path for request in emulator.ledger.requests if request.operation == "download")


@pytest.mark.timeout(3000)
def test_a_week_is_archived_once(airflow: PostgresAirflow, emulator: EmulatorServer, tmp_path: Path) -> None:
    airflow.wait_for_dag(DAG_ID)
    airflow.api.unpause(DAG_ID)
    backfill(airflow)
    expected = {recording.id for recording in emulator.world.recordings()}
    assert len(expected) == RECORDINGS
    archive = tmp_path / "realtimekit-archive"
    assert {path.parent.name for path in archive.glob("????-??-??/*/*.mp4")} == expected
    assert set(downloads(emulator).values()) == {1}
    assert len(downloads(emulator)) == len(expected)

    before = count_gets(emulator)
    backfill(airflow, reprocess_behavior="completed")
    assert count_gets(emulator) >= before + RECORDINGS, "the second backfill did not read every recording"
    assert set(downloads(emulator).values()) == {1}
    assert len(downloads(emulator)) == len(expected)
