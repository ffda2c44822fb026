"""The example of track recordings on real Airflow: from a meeting of three to a page with their voices."""

from __future__ import annotations

import wave
from pathlib import Path

import httpx

from scripts.local_airflow import LocalAirflow

DAG_ID = "example_track_recording"


def test_each_speaker_gets_a_wav_and_a_place_on_the_page(
    airflow_stack: LocalAirflow, emulator_control: httpx.Client, tmp_path: Path
) -> None:
    emulator_control.patch("settings", json={"speed": 10}).raise_for_status()
    people = ["ann", "ben", "cleo"]
    emulator_control.put("meetings/weekly", json={"title": "The weekly", "participants": people}).raise_for_status()
    airflow_stack.wait_for_dag(DAG_ID)
    airflow_stack.api.unpause(DAG_ID)
    conf = {"meeting_id": "weekly", "minutes": 0.02, "destination": str(tmp_path)}
    run_id = airflow_stack.api.trigger(DAG_ID, conf)
    assert airflow_stack.wait_for_run(DAG_ID, run_id, timeout=300) == "success"

    page = Path(airflow_stack.api.xcom(DAG_ID, run_id, "page").removeprefix("file://"))
    recording = airflow_stack.api.xcom(DAG_ID, run_id, "stop_recording")
    text = page.read_text()
    assert page.is_relative_to(tmp_path / recording["id"])
    assert [text.count(f'aria-label="{name} speaks ') for name in people] == [1, 1, 1]
    files = sorted(page.parent.glob("*.wav"))
    assert [path.name.split("_")[1] for path in files] == people
    for path in files:
        with wave.open(str(path)) as sound:
            assert (sound.getnchannels(), sound.getframerate()) == (1, 16_000)
            assert abs(sound.getnframes() / 16_000 - recording["recording_duration"]) < 1
        assert f'src="{path.name}"' in text
    ledger = emulator_control.get("ledger").json()
    assert (ledger["started"], ledger["running"]) == ([recording["id"]], [])
