"""Record a meeting while some work runs, and stop recording after its success or failure.

*Shows* a start as *setup* and a stop as its *teardown*: Airflow runs the stop when the work has ended, also when it has
failed, and clears both together with the work.

*Needs* a connection `realtimekit_default`; no other packages, and no other file of this folder.

*Run it* by triggering the DAG with the id of a meeting; with `{"fail": true}`, to see the recording stopped although
the work fails.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task

from airflow_provider_realtimekit.operators import (
    RealtimeKitStartRecordingOperator,
    RealtimeKitStopRecordingOperator,
)

PARAMS = {
    "meeting_id": Param("webinar", type="string", description="the meeting to record"),
    "fail": Param(False, type="boolean", description="whether the work fails"),
}


@dag(
    schedule=None,
    catchup=False,
    params=PARAMS,
    tags=["realtimekit", "example"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=15)},
    doc_md=__doc__,
)
def example_setup_teardown() -> None:
    """Put the work between the start of a recording and its stop."""
    start = RealtimeKitStartRecordingOperator(
        task_id="start_recording",
        meeting_id="{{ params.meeting_id }}",
        # If the stop fails, too, the recording ends after two hours.
        max_seconds=7200,
    )
    stop = RealtimeKitStopRecordingOperator(
        task_id="stop_recording", recording_id="{{ ti.xcom_pull('start_recording')['id'] }}"
    )

    # So that the example fails at once; real work may be tried again.
    @task(retries=0)
    def hold_webinar() -> str:
        """Put here what is to be recorded: start the slides, open the poll, thank everybody."""
        if get_current_context()["params"]["fail"]:
            raise RuntimeError("the webinar failed, as the parameter `fail` demands")
        return "held"

    with stop.as_teardown(setups=start):
        hold_webinar()


example_setup_teardown()
