"""Record a meeting, wait for the file without holding a worker, and download it.

*Shows* the shortest DAG that does all of it. *Needs* a connection `realtimekit_default`.
*Run it* by triggering the DAG with the id of a running meeting.
"""

import tempfile

from airflow.sdk import DAG, Param

from airflow_provider_realtimekit.operators import RealtimeKitStartRecordingOperator
from airflow_provider_realtimekit.transfers import RealtimeKitDownloadRecordingOperator

with DAG(
    "example_quickstart",
    params={"meeting_id": Param("example-meeting", type="string", description="the meeting to record")},
    tags=["realtimekit", "example"],
    doc_md=__doc__,
):
    record = RealtimeKitStartRecordingOperator(
        task_id="record",
        meeting_id="{{ params.meeting_id }}",
        max_seconds=3600,  # the recording ends after an hour, or when everybody has left
        wait_for_completion=True,
        deferrable=True,
    )
    download = RealtimeKitDownloadRecordingOperator(
        task_id="download",
        recording_id="{{ ti.xcom_pull('record')['id'] }}",
        # The operator fills in what stands in single braces. Instead of a local folder, this may be any path of
        # object storage, such as s3://my_connection@my-bucket/recordings.
        destination=tempfile.gettempdir() + "/realtimekit/{invoked_time:%Y-%m-%d}",
    )
    record >> download
