"""Record the sound of each participant, and make a WAV for each speaker and a page that shows who speaks when.

*Shows* the start of a track recording, a stop that waits for the files without holding a worker, the download of
several files, and a task that is mapped over them.

*Needs* a connection `realtimekit_default`, and `pip install 'airflow-provider-realtimekit[examples]'` for the page.
The meeting needs a participant when the recording starts.

*Run it* by triggering the DAG with the id of a meeting. Copy the whole folder of this file into your DAGs folder.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import ObjectStoragePath, Param, dag, task

from airflow_provider_realtimekit.operators import (
    RealtimeKitStartTrackRecordingOperator,
    RealtimeKitStopRecordingOperator,
)
from airflow_provider_realtimekit.transfers import RealtimeKitDownloadRecordingOperator

# Airflow puts the root of a DAG bundle on sys.path, and no folder below it. With this line, the package beside this
# file is found in any folder.
sys.path.append(str(Path(__file__).parent))

from realtimekit_report.object_storage import process_file
from realtimekit_report.speakers_page import SPEAKERS_PAGE, render_speakers_page
from realtimekit_report.speech import write_voice

PARAMS = {
    "meeting_id": Param("example-meeting", type="string", minLength=1, description="the meeting to record"),
    "minutes": Param(30, type="number", exclusiveMinimum=0, maximum=24 * 60, description="how long to record"),
    "destination": Param(
        f"{tempfile.gettempdir()}/realtimekit-tracks",
        type="string",
        minLength=1,
        description="a local folder, or a path of object storage, such as s3://conn_id@bucket/tracks",
    ),
}
RECORDING_ID = "{{ ti.xcom_pull('start_tracks')['id'] }}"


@task
def tracks(downloaded: dict[str, Any]) -> list[dict[str, Any]]:
    """Select the files that hold one speaker each."""
    return [file for file in downloaded["files"] if file["kind"] == "track"]


@task
def voice(file: dict[str, Any]) -> dict[str, Any]:
    """Write the sound of one speaker for speech-to-text, and measure when there is talk."""
    wav = Path(file["name"]).with_suffix(".wav").name
    speaker = {"speaker": file["participant"] or file["name"], "started_at": file["started_at"], "wav": wav}
    return speaker | process_file(file["path"], wav, write_voice)


@task
def page(files: list[dict[str, Any]], voices: list[dict[str, Any]], recording: dict[str, Any]) -> str:
    """Show all speakers on one page, and return its path."""
    target = ObjectStoragePath(files[0]["path"]).parent / SPEAKERS_PAGE
    target.write_text(render_speakers_page(voices, recording), encoding="utf-8")
    return str(target)


@dag(
    schedule=None,
    catchup=False,
    params=PARAMS,
    tags=["realtimekit", "example"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
)
def example_track_recording() -> None:
    """Record the tracks of a meeting, download them, and show who speaks when."""
    start = RealtimeKitStartTrackRecordingOperator(
        task_id="start_tracks",
        meeting_id="{{ params.meeting_id }}",
        # A recording that nobody stops ends ten minutes late. The API allows 86,400 seconds at most.
        max_seconds="{{ [params.minutes * 60 + 600, 86400] | min | int }}",
    )
    meeting_runs = DateTimeSensorAsync(
        task_id="meeting_runs",
        # The answer to a start of tracks may lack the time of the start.
        target_time="{{ macros.datetime.fromisoformat(ti.xcom_pull('start_tracks')['invoked_time']"
        " or ti.start_date.isoformat()) + macros.timedelta(minutes=params.minutes) }}",
    )
    stop = RealtimeKitStopRecordingOperator(
        task_id="stop_recording",
        recording_id=RECORDING_ID,
        wait_for_completion=True,
        deferrable=True,
        poll_interval=5,
    )
    download = RealtimeKitDownloadRecordingOperator(
        task_id="download",
        recording_id=RECORDING_ID,
        destination="{{ params.destination }}/{recording_id}",
    )

    start >> meeting_runs >> stop >> download
    files: Any = tracks(download.output)  # type: ignore[arg-type]
    page(files, voice.expand(file=files), stop.output)  # type: ignore[arg-type]


example_track_recording()
