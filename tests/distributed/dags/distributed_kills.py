"""Meetings whose recording tasks a user ends or clears while they wait."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_realtimekit.operators import RealtimeKitStartRecordingOperator

with DAG(
    "distributed_kills",
    schedule=None,
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=2)},
):
    for end in ("fail", "succeed", "clear"):
        for kind in ("worker", "triggerer"):
            RealtimeKitStartRecordingOperator(
                task_id=f"{end}-{kind}",
                meeting_id=f"meeting-of-{end}-{kind}",
                wait_for_completion=True,
                deferrable=kind == "triggerer",
                poll_interval=2,
                timeout=1800,
            )

with DAG(
    "distributed_freezes",
    schedule=None,
    catchup=False,
    default_args={"retries": 5, "retry_delay": timedelta(seconds=2)},
):
    for number in range(4):
        RealtimeKitStartRecordingOperator(
            task_id=f"worker-{number}",
            meeting_id=f"meeting-of-worker-{number}",
            wait_for_completion=True,
            deferrable=False,
            poll_interval=2,
            timeout=1800,
        )
