"""Record each participant's sound, and make of it a WAV for each speaker and one page that shows who spoke when.

Somebody must be in the meeting when it starts. Runs as it is against the local RealtimeKit and, with a connection
``realtimekit_default``, against Cloudflare's. The processing needs
``pip install 'airflow-provider-realtimekit[examples]'``.
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
from airflow_provider_realtimekit.sensors import RealtimeKitRecordingSensor
from airflow_provider_realtimekit.transfers import RealtimeKitDownloadRecordingOperator

# Airflow puts the root of a DAG bundle on sys.path, and no folder below it; a DAG file cannot import relatively. With
# this line the package beside this file is found wherever the folder lies.
sys.path.append(str(Path(__file__).parent))

from realtimekit_report.media import write_speech_wav
from realtimekit_report.object_storage import beside, local_copy
from realtimekit_report.speakers_page import TRACK_PAGE, measure_voice, write_track_page

PARAMS = {
    "meeting_id": Param(
        "example-meeting",
        type="string",
        minLength=1,
        title="Meeting",
        description="The id of the RealtimeKit meeting to record.",
    ),
    "minutes": Param(
        30,
        type="number",
        exclusiveMinimum=0,
        maximum=24 * 60,
        title="Minutes",
        description="How long to record.",
    ),
    "destination": Param(
        f"{tempfile.gettempdir()}/realtimekit-tracks",
        type="string",
        minLength=1,
        title="Destination",
        description="A local folder, or any path of object storage, such as s3://conn_id@bucket/tracks.",
    ),
}


@dag(
    schedule=None,
    catchup=False,
    params=PARAMS,
    tags=["realtimekit", "example"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
)
def example_track_recording() -> None:
    """Chain the recording of the tracks to what is made of them."""
    start = RealtimeKitStartTrackRecordingOperator(
        task_id="start_tracks",
        meeting_id="{{ params.meeting_id }}",
        # Should nobody stop it, it ends by itself ten minutes after it was to.
        max_seconds="{{ [params.minutes * 60 + 600, 86400] | min | int }}",
    )
    meeting_runs = DateTimeSensorAsync(
        task_id="meeting_runs",
        # The answer to a start of tracks may lack the times.
        target_time="{{ macros.datetime.fromisoformat(ti.xcom_pull('start_tracks')['invoked_time']"
        " or ti.start_date.isoformat()) + macros.timedelta(minutes=params.minutes) }}",
    )
    recording_id = "{{ ti.xcom_pull('start_tracks')['id'] }}"
    stop = RealtimeKitStopRecordingOperator(task_id="stop_recording", recording_id=recording_id)
    wait = RealtimeKitRecordingSensor(
        task_id="wait_for_files",
        recording_id=recording_id,
        deferrable=True,
        poke_interval=5,
        timeout=timedelta(hours=6).total_seconds(),
    )
    download = RealtimeKitDownloadRecordingOperator(
        task_id="download",
        recording_id=recording_id,
        destination="{{ params.destination }}/" + recording_id,
    )

    @task
    def tracks(fetched: dict[str, Any]) -> list[dict[str, Any]]:
        """Pick the files that hold one speaker each."""
        return [file for file in fetched["files"] if file["kind"] == "track"]

    @task
    def voice(file: dict[str, Any]) -> dict[str, Any]:
        """Write one speaker's sound as speech-to-text wants it, and measure when it is heard."""
        name = Path(file["name"]).with_suffix(".wav").name
        known = {"speaker": file["participant"] or file["name"], "began": file["started_at"], "wav": name}
        with local_copy(file["path"]) as media, beside(file["path"], name) as wav:
            write_speech_wav(media, wav)
            return known | measure_voice(wav)

    @task
    def page(files: list[dict[str, Any]], voices: list[dict[str, Any]], recording: dict[str, Any]) -> str:
        """Put all speakers on one page."""
        with beside(files[0]["path"], TRACK_PAGE) as local:
            write_track_page(local.parent, list(voices), recording)
        return str(ObjectStoragePath(files[0]["path"]).parent / TRACK_PAGE)

    start >> meeting_runs >> stop >> wait >> download
    files: Any = tracks(download.output)  # type: ignore[arg-type]
    page(files, voice.expand(file=files), wait.output)  # type: ignore[arg-type]


example_track_recording()
