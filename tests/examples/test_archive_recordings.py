"""The daily archive: which run archives which recording, that no file is downloaded twice, and what is reported."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer, Settings
from example_dags import example_archive_recordings as archive
from tests.support.examples import result_of, states_of
from tests.support.tasks import when

DAG = archive.example_archive_recordings()

# Not today: a run waits until 15 minutes after midnight.
YESTERDAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


def on(days: int, hour: float) -> datetime:
    """Return the time of an hour of a day; yesterday is day 0."""
    return YESTERDAY + timedelta(days=days, hours=hour)


# ---- what a run selects ---------------------------------------------------------------------------------


def listed(status: str = "UPLOADED", **fields: Any) -> dict[str, Any]:
    """Return a recording that was invoked yesterday at one o'clock, with these fields."""
    times = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
    return {"id": "r", **dict.fromkeys(archive.FIELDS), "status": status, "invoked_time": on(0, 1).isoformat(), **times}


@pytest.mark.parametrize(
    ("recording", "expected"),
    [
        (listed(stopped_time=on(0, 3), started_time=on(0, 1), recording_duration=60), on(0, 3)),
        (listed(started_time=on(0, 2), recording_duration=1800), on(0, 2.5)),
        (listed(), on(0, 1)),
        (listed("ERRORED"), on(0, 1)),
        (listed("UPLOADING", stopped_time=on(0, 4)), on(0, 4)),
        (listed("UPLOADING", started_time=on(0, 4)), None),
    ],
    ids=["stopped", "started and lasted", "only invoked", "errored", "uploading, stopped", "uploading, end unknown"],
)
def test_when_a_recording_finished(recording: dict[str, Any], expected: datetime | None) -> None:
    assert archive.finished_at(recording) == expected


@pytest.mark.parametrize(
    ("recording", "runs"),
    [
        (listed(stopped_time=on(0, 0)), [0]),
        (listed(stopped_time=on(0, 24)), [1]),
        (listed(stopped_time=on(0, 24) - timedelta(microseconds=1)), [0]),
        (listed(stopped_time="2020-01-01T00:00:00Z"), []),
        (listed("UPLOADING"), [0, 1]),
    ],
    ids=["first moment", "end", "last moment", "long ago", "end unknown"],
)
def test_each_recording_belongs_to_one_run(recording: dict[str, Any], runs: list[int]) -> None:
    # A recording whose end is not known belongs to several runs, so that none is missed.
    intervals = [(str(on(day, 0)), str(on(day, 24))) for day in (0, 1)]
    assert [day for day in (0, 1) if list(archive.finished_between([recording], *intervals[day]))] == runs


def test_what_expires_first_is_downloaded_first() -> None:
    now = on(0, 0)
    recordings = [
        listed(id="later", download_url_expiry=on(3, 0)),
        listed(id="gone", download_url_expiry=on(0, 0)),
        listed(id="sooner", download_url_expiry=on(2, 0)),
        listed("UPLOADING", id="uploads"),
        listed("ERRORED", id="broken"),
    ]
    groups = archive.group_by_state(recordings, now)
    assert {name: archive.ids_of(group) for name, group in groups.items()} == {
        "uploaded": ["sooner", "later"],
        "uploading": ["uploads"],
        "errored": ["broken"],
        "expired": ["gone"],
    }


UNTIMED = {"invoked_time": None, "stopped_time": None, "started_time": None, "recording_duration": None}


@pytest.mark.parametrize("status", ["UPLOADED", "ERRORED", "UPLOADING"])
def test_a_recording_without_any_time_belongs_to_every_run(status: str) -> None:
    # The API always sends the invocation time, but the models accept a recording without it.
    recording = listed(status) | UNTIMED
    assert archive.finished_at(recording) is None, status
    assert list(archive.finished_between([recording], str(on(0, 0)), str(on(0, 24)))) == [recording], status


def test_a_recording_without_its_time_has_no_path_in_the_archive(tmp_path: Path) -> None:
    assert archive.is_archived(str(tmp_path), "r", None) is False


def test_recordings_without_their_time_do_not_stop_the_others(tmp_path: Path) -> None:
    ready = listed(id="ready", stopped_time=on(0, 1)) | {"invoked_time": None}
    gone = listed(id="gone", stopped_time=on(0, 2), download_url_expiry=on(0, 3)) | {"invoked_time": None}
    select = DAG.get_task("select_uploaded").python_callable
    assert select([ready, gone], str(on(0, 0)), str(on(0, 24)), str(tmp_path)) == ["ready"]


# ---- complete runs, in this process -------------------------------------------------------------------

# Airflow runs in this process, and some of its libraries warn.
whole_run = pytest.mark.filterwarnings("default")


class Clock:
    """The emulator's clock, which a test can set."""

    behind = 0.0

    def __call__(self) -> float:
        return time.time() - self.behind

    def set(self, moment: datetime) -> None:
        self.behind = time.time() - moment.timestamp()


class World:
    """An emulator with recordings of past days, and the archive that the DAG writes."""

    def __init__(self, server: EmulatorServer, clock: Clock, folder: Path) -> None:
        self.server, self.clock, self.folder = server, clock, folder

    def record(self, began: datetime, ended: datetime, status: str = "UPLOADED") -> str:
        """Make a recording that began and ended in the past."""
        self.clock.set(began)
        (recording_id,) = self.server.world.seed(1, status="RECORDING")
        self.clock.set(ended)
        self.server.world.jump(recording_id, status)
        self.clock.behind = 0.0
        return str(recording_id)

    def run_day(self, day: int) -> Any:
        """Run the DAG for a day, as a backfill does."""
        run = DAG.test(logical_date=on(day + 1, 0), run_conf={"destination": str(self.folder)})
        assert (run.data_interval_start, run.data_interval_end) == (on(day, 0), on(day + 1, 0))
        assert run.state == "success", states_of(run)
        return run

    @property
    def archived(self) -> set[str]:
        """Return the ids of the archived recordings."""
        return {path.parent.name for path in self.folder.glob("????-??-??/*/*.mp4")}

    def downloads(self) -> list[str]:
        """Return the path of each download."""
        return [request.path for request in self.server.ledger.requests if request.operation == "download"]


@pytest.fixture
def world(database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    clock = Clock()
    settings = Settings(invoked_seconds=0, uploading_seconds=10**6, empty_seconds=10**9, media="tiny")
    with EmulatorServer(settings, clock=clock) as server:
        monkeypatch.setenv("AIRFLOW_CONN_REALTIMEKIT_DEFAULT", server.connection_json())
        yield World(server, clock, tmp_path / "archive")


@whole_run
def test_runs_in_any_order_and_again_download_each_recording_once(world: World) -> None:
    made = {
        -3: [world.record(on(-3, hour), on(-3, hour + 1)) for hour in (1, 12)],
        -2: [world.record(on(-2, 12), on(-2, 13)), world.record(on(-2, 20), on(-2, 24) - timedelta(seconds=1))],
        # It began the day before.
        -1: [world.record(on(-2, 23), on(-1, 0)), world.record(on(-1, 12), on(-1, 13))],
    }
    world.record(on(-1, 14), on(-1, 15), "ERRORED")
    world.record(on(-1, 16), on(0, 0))  # it belongs to the next day, because an interval does not include its end

    seen: set[str] = set()
    for day in (-1, -3, -2):
        world.run_day(day)
        seen |= set(made[day])
        assert world.archived == seen, f"day {day}"
    assert len(world.downloads()) == len(set(world.downloads())) == 6
    for day in (-3, -1):
        world.run_day(day)
    assert (len(world.downloads()), world.archived) == (6, seen)


@whole_run
def test_a_run_waits_for_recordings_that_are_still_uploading(world: World) -> None:
    ready = world.record(on(-1, 10), on(-1, 11))
    late, broken = (world.record(on(-1, hour), on(-1, 23), "UPLOADING") for hour in (12, 13))

    def finish() -> None:
        world.server.world.jump(late, "UPLOADED")
        world.server.world.jump(broken, "ERRORED")

    when(lambda: world.server.ledger.count("get") >= 1, finish)
    world.run_day(-1)
    assert world.archived == {ready, late}


@whole_run
def test_recordings_that_expire_soon_and_are_not_archived_are_reported(world: World) -> None:
    near = [world.record(on(-5, hour), on(-5, hour + 1)) for hour in (1, 2)]
    world.record(on(-3, 1), on(-3, 2))
    assert result_of(world.run_day(-1), "report_expiring") == near
    assert result_of(world.run_day(-5), "report_expiring") == []
