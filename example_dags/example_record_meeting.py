"""Record a meeting, wait for the file without holding a worker, fetch it, and make a report of it.

Runs as it is against the local RealtimeKit (``make demo``) and, with a connection ``realtimekit_default``,
against Cloudflare's. The processing needs ``pip install 'airflow-provider-realtimekit[examples]'``.
"""

from __future__ import annotations

import json
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

# Airflow puts the root of a DAG bundle on sys.path, and no folder below it; a DAG file cannot import relatively. With
# this line the package beside this file is found wherever the folder lies.
sys.path.append(str(Path(__file__).parent))

from realtimekit_report.drawing import draw_contact_sheet, draw_waveform
from realtimekit_report.measurements import read_facts
from realtimekit_report.media import write_speech_wav
from realtimekit_report.object_storage import beside, local_copy
from realtimekit_report.report_page import CONTACT_SHEET, FACTS, PAGE, SPEECH, WAVEFORM, write_page

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
        f"{tempfile.gettempdir()}/realtimekit-recordings",
        type="string",
        minLength=1,
        title="Destination",
        description="A local folder, or any path of object storage, such as s3://conn_id@bucket/recordings.",
    ),
}


def main_file(download: dict[str, Any]) -> str:
    """Return the path of the recording itself, among the files that were fetched."""
    return str(download["files"][0]["path"])


@dag(
    schedule=None,
    catchup=False,
    params=PARAMS,
    tags=["realtimekit", "example"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
)
def example_record_meeting() -> None:
    """Chain the recording of a meeting to its processing."""
    start = RealtimeKitStartRecordingOperator(
        task_id="start_recording",
        meeting_id="{{ params.meeting_id }}",
        # Should nobody stop it, it ends by itself ten minutes after it was to.
        max_seconds="{{ [params.minutes * 60 + 600, 86400] | min | int }}",
        file_name_prefix="{{ dag.dag_id }}",
    )
    meeting_runs = DateTimeSensorAsync(
        task_id="meeting_runs",
        target_time="{{ macros.datetime.fromisoformat(ti.xcom_pull('start_recording')['invoked_time'])"
        " + macros.timedelta(minutes=params.minutes) }}",
    )
    recording_id = "{{ ti.xcom_pull('start_recording')['id'] }}"
    stop = RealtimeKitStopRecordingOperator(task_id="stop_recording", recording_id=recording_id)
    wait = RealtimeKitRecordingSensor(
        task_id="wait_for_file",
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
    def contact_sheet(fetched: dict[str, Any]) -> None:
        """Draw frames of the whole length onto one picture."""
        with local_copy(main_file(fetched)) as media, beside(main_file(fetched), CONTACT_SHEET) as png:
            draw_contact_sheet(media, png)

    @task
    def waveform(fetched: dict[str, Any]) -> None:
        """Draw the sound and its loudness."""
        with local_copy(main_file(fetched)) as media, beside(main_file(fetched), WAVEFORM) as png:
            draw_waveform(media, png)

    @task
    def speech_wav(fetched: dict[str, Any]) -> None:
        """Write the sound as speech-to-text wants it: 16 kHz, mono, 16 bit."""
        with local_copy(main_file(fetched)) as media, beside(main_file(fetched), SPEECH) as wav:
            write_speech_wav(media, wav)

    @task
    def facts(fetched: dict[str, Any]) -> dict[str, Any]:
        """Measure duration, codecs, loudness and silence."""
        with local_copy(main_file(fetched)) as media, beside(main_file(fetched), FACTS) as path:
            measured = read_facts(media)
            path.write_text(json.dumps(measured, indent=2))
        return measured

    @task
    def page(fetched: dict[str, Any], measured: dict[str, Any], recording: dict[str, Any]) -> str:
        """Bind everything into one page."""
        folder = ObjectStoragePath(main_file(fetched)).parent
        with beside(main_file(fetched), PAGE) as local:
            # The page shows what lies beside it; only the names matter while it is written.
            for name in (CONTACT_SHEET, WAVEFORM, SPEECH):
                if (folder / name).exists():
                    local.with_name(name).touch()
            write_page(local.parent, measured, recording, local.with_name(fetched["files"][0]["name"]))
        return str(folder / PAGE)

    start >> meeting_runs >> stop >> wait >> download
    fetched: Any = download.output
    measured = facts(fetched)
    results = [contact_sheet(fetched), waveform(fetched), speech_wav(fetched), measured]
    results >> page(fetched, measured, wait.output)  # type: ignore[arg-type]


example_record_meeting()
