"""Complete runs of the examples in this process, against the emulator."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from airflow_provider_realtimekit.emulator import EmulatorServer
from tests.support.example_media import read_pcm
from tests.support.examples import EXAMPLES, Page, result_of, states_of
from tests.support.tasks import when

# Airflow runs in this process, and some of its libraries warn.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.usefixtures("database")]


@pytest.fixture(autouse=True)
def _temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the test's folder the default destination of the examples."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def load(dag_id: str) -> Any:
    """Import an example as Airflow does, and return its DAG. Its default destination is the test's folder."""
    bag = DagBag(EXAMPLES / f"{dag_id}.py")
    assert bag.import_errors == {}
    return bag.dags[dag_id]


def run_manually(dag: Any, **conf: Any) -> Any:
    """Run a DAG as when a user triggers it: without a logical date, so that `{{ ds }}` has no value."""
    return dag.test(logical_date=None, run_conf=conf)


def test_the_quickstart_records_waits_and_downloads(
    emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dag = load("example_quickstart")
    monkeypatch.setattr(dag.get_task("record"), "poll_interval", 0.05)
    emulator.world.open_meeting("standup", participants=("ann",))
    world, ledger = emulator.world, emulator.ledger
    # Once the triggerer polls, the recording ends.
    when(lambda: ledger.count("get") > 1, lambda: world.jump(world.recordings()[0].id, "UPLOADED"))
    run = run_manually(dag, meeting_id="standup")
    assert states_of(run) == {"record": "success", "download": "success"}
    assert len(world.recordings()) == ledger.count("start") == 1
    (file,) = tmp_path.glob("realtimekit/????-??-??/*.mp4")
    assert file.parent.name == result_of(run, "record")["invoked_time"][:10]
    assert [file["path"] for file in result_of(run, "download")["files"]] == [str(file)]


def test_a_meeting_is_recorded_and_its_report_written(emulator: EmulatorServer, tmp_path: Path) -> None:
    run = run_manually(load("example_record_meeting"), meeting_id="standup", minutes=0.001)
    assert set(states_of(run).values()) == {"success"}, states_of(run)
    recording = result_of(run, "wait_for_file")
    page = Path(result_of(run, "page"))
    assert page == tmp_path / "realtimekit-recordings" / recording["id"] / "report.html"
    measured = json.loads((page.parent / "measurements.json").read_text())
    assert measured == result_of(run, "measurements")
    shown = Page(page.read_text())
    assert recording["id"] in shown.words
    assert {"contact-sheet.png", "waveform.png", "speech.wav", measured["file"]} == set(shown.links())
    for link in shown.links():
        assert (page.parent / link).exists(), link


def test_tracks_are_recorded_and_put_on_one_page(emulator: EmulatorServer, tmp_path: Path) -> None:
    people = ["ann", "ben"]
    emulator.world.open_meeting("standup", participants=people)
    run = run_manually(load("example_track_recording"), meeting_id="standup", minutes=0.001)
    assert set(states_of(run).values()) == {"success"}, states_of(run)
    page = Path(result_of(run, "page"))
    assert page.name == "speakers.html"
    assert page.is_relative_to(tmp_path / "realtimekit-tracks" / result_of(run, "stop_recording")["id"])
    shown = Page(page.read_text())
    assert [str(svg["aria-label"]).partition(" ")[0] for svg in shown.all("svg")] == people
    wavs = sorted(page.parent.glob("*.wav"))
    assert sorted(str(audio["src"]) for audio in shown.all("audio")) == [wav.name for wav in wavs]
    for wav in wavs:
        assert read_pcm(wav)[0].framerate == 16_000, wav


@pytest.mark.parametrize("fail", [False, True], ids=["work succeeds", "work fails"])
def test_the_recording_is_stopped_after_success_and_failure_of_the_work(emulator: EmulatorServer, fail: bool) -> None:
    run = run_manually(load("example_setup_teardown"), meeting_id="webinar", fail=fail)
    assert states_of(run) == {
        "start_recording": "success",
        "hold_webinar": "failed" if fail else "success",
        "stop_recording": "success",
    }
    assert emulator.ledger.count("start") == 1
    assert [recording for recording in emulator.world.recordings() if recording.status == "RECORDING"] == []
