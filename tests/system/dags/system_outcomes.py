"""Sensors in every mode, with and without `soft_fail`, for recordings with each outcome."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_realtimekit.sensors import RealtimeKitRecordingSensor

MODES = {
    "poke": {"mode": "poke", "deferrable": False},
    # If a task is queued again within moments after a reschedule, Airflow believes that its executor has lost it. So
    # the interval is long.
    "reschedule": {"mode": "reschedule", "deferrable": False, "poke_interval": 10},
    "deferrable": {"deferrable": True},
}

with DAG(
    "system_outcomes",
    schedule=None,
    params={name: Param("", type="string") for name in ("uploaded", "errored", "running")},
    default_args={"retries": 0},
):
    for mode, settings in MODES.items():
        for outcome, timeout in (("uploaded", 600), ("errored", 600), ("running", 15)):
            for soft_fail in (False, True):
                RealtimeKitRecordingSensor(
                    task_id=f"{mode}-{outcome}-{'soft' if soft_fail else 'plain'}",
                    recording_id=f"{{{{ params.{outcome} }}}}",
                    timeout=timeout,
                    soft_fail=soft_fail,
                    **{"poke_interval": 1, **settings},
                )
