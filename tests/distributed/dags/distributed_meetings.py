"""Fifty meetings, each recorded by a task of its own: half of the tasks wait on a worker, half in the triggerer."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_realtimekit.operators import RealtimeKitStartRecordingOperator

MEETINGS_OF_EACH_KIND = 25

with DAG(
    "distributed_meetings",
    schedule=None,
    catchup=False,
    # More than one crash may hit the same task, and each costs a try.
    default_args={"retries": 5, "retry_delay": timedelta(seconds=2)},
):
    for number in range(MEETINGS_OF_EACH_KIND):
        for kind in ("worker", "triggerer"):
            RealtimeKitStartRecordingOperator(
                task_id=f"{kind}-{number:02}",
                meeting_id=f"meeting-of-{kind}-{number:02}",
                wait_for_completion=True,
                deferrable=kind == "triggerer",
                poll_interval=5,
                timeout=1800,
            )
