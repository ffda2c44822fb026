"""Record a meeting for some minutes, wait for the file without holding a worker, download it, and make a report.

*Shows* start, stop, a deferred wait, the download to any object storage, and how other tasks use the file: a contact
sheet, a waveform, a WAV for speech-to-text, measurements, and one page with all of them.

*Needs* a connection `realtimekit_default`, and `pip install 'airflow-provider-realtimekit[examples]'` for the report.

*Run it* with `make demo`, which brings a local RealtimeKit and Airflow. Or copy the folder of this file anywhere into
your DAGs folder, and trigger the DAG with the id of a meeting.
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
    RealtimeKitStartRecordingOperator,
    RealtimeKitStopRecordingOperator,
)
from airflow_provider_realtimekit.sensors import RealtimeKitRecordingSensor
from airflow_provider_realtimekit.transfers import RealtimeKitDownloadRecordingOperator

# Airflow puts the root of a DAG bundle on sys.path, and no folder below it. With this line, the package beside this
# file is found in any folder.
sys.path.append(str(Path(__file__).parent))

from realtimekit_report.drawing import draw_contact_sheet, draw_waveform
from realtimekit_report.measurements import write_measurements
from realtimekit_report.object_storage import process_file
from realtimekit_report.report_page import CONTACT_SHEET, MEASUREMENTS, PAGE, SPEECH, WAVEFORM, render_report_page
from realtimekit_report.speech import write_speech_wav

PARAMS = {
    "meeting_id": Param("example-meeting", type="string", minLength=1, description="the meeting to record"),
    "minutes": Param(30, type="number", exclusiveMinimum=0, maximum=24 * 60, description="how long to record"),
    "destination": Param(
        f"{tempfile.gettempdir()}/realtimekit-recordings",
        type="string",
        minLength=1,
        description="a local folder, or a path of object storage, such as s3://conn_id@bucket/recordings",
    ),
}
RECORDING_ID = "{{ ti.xcom_pull('start_recording')['id'] }}"
FILE = "{{ ti.xcom_pull('download')['files'][0]['path'] }}"


@task
def contact_sheet(path: str) -> None:
    """Draw frames of the complete recording onto one picture."""
    process_file(path, CONTACT_SHEET, draw_contact_sheet)


@task
def waveform(path: str) -> None:
    """Draw the sound and its loudness."""
    process_file(path, WAVEFORM, draw_waveform)


@task
def speech_wav(path: str) -> None:
    """Write the sound as speech-to-text needs it: 16 kHz, mono, 16 bit."""
    process_file(path, SPEECH, write_speech_wav)


@task
def measurements(path: str) -> dict[str, Any]:
    """Measure duration, codecs, loudness and silence."""
    return process_file(path, MEASUREMENTS, write_measurements)


@task
def page(path: str, measured: dict[str, Any], recording: dict[str, Any]) -> str:
    """Show everything on one page, and return its path."""
    media = ObjectStoragePath(path)
    names = [beside.name for beside in media.parent.iterdir()]
    target = media.parent / PAGE
    target.write_text(render_report_page(measured, recording, names, media.name), encoding="utf-8")
    return str(target)


@dag(
    schedule=None,
    catchup=False,
    params=PARAMS,
    tags=["realtimekit", "example"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
)
def example_record_meeting() -> None:
    """Record a meeting, download the file, and make a report of it."""
    start = RealtimeKitStartRecordingOperator(
        task_id="start_recording",
        meeting_id="{{ params.meeting_id }}",
        # A recording that nobody stops ends ten minutes late. The API allows 86,400 seconds at most.
        max_seconds="{{ [params.minutes * 60 + 600, 86400] | min | int }}",
        file_name_prefix="{{ dag.dag_id }}",
    )
    meeting_runs = DateTimeSensorAsync(
        task_id="meeting_runs",
        target_time="{{ macros.datetime.fromisoformat(ti.xcom_pull('start_recording')['invoked_time'])"
        " + macros.timedelta(minutes=params.minutes) }}",
    )
    stop = RealtimeKitStopRecordingOperator(task_id="stop_recording", recording_id=RECORDING_ID)
    wait = RealtimeKitRecordingSensor(
        task_id="wait_for_file",
        recording_id=RECORDING_ID,
        deferrable=True,
        poke_interval=5,
        timeout=timedelta(hours=6).total_seconds(),
    )
    download = RealtimeKitDownloadRecordingOperator(
        task_id="download",
        recording_id=RECORDING_ID,
        destination="{{ params.destination }}/{recording_id}",
    )

    measured: Any = measurements(FILE)
    results = [contact_sheet(FILE), waveform(FILE), speech_wav(FILE), measured]
    start >> meeting_runs >> stop >> wait >> download >> results >> page(FILE, measured, wait.output)  # type: ignore[arg-type]


example_record_meeting()
