"""Record a meeting for as long as some work takes, and stop recording however the work ends.

The start is a *setup* and the stop its *teardown*: Airflow runs the stop once the work has ended, also when it failed,
and clears both together with the work. Everything in between belongs to the recording.

Run it with `{"fail": true}` to see the recording stopped although the work fails.
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
    "fail": Param(False, type="boolean", description="whether the work fails, to see what becomes of the recording"),
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
    """Put work between the start of a recording and its stop."""
    start = RealtimeKitStartRecordingOperator(
        task_id="start_recording",
        meeting_id="{{ params.meeting_id }}",
        # The bound behind all else: the recording ends by itself after two hours.
        max_seconds=7200,
    )
    stop = RealtimeKitStopRecordingOperator(
        task_id="stop_recording", recording_id="{{ ti.xcom_pull('start_recording')['id'] }}"
    )

    @task(retries=0)
    def hold_webinar() -> str:
        """Stand in for what is to be recorded: start the slides, open the poll, thank everybody."""
        if get_current_context()["params"]["fail"]:
            raise RuntimeError("the webinar fell through")
        return "held"

    with stop.as_teardown(setups=start):
        hold_webinar()


example_setup_teardown()
