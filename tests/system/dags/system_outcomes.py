"""Sensors in every mode, for what only Airflow's own scheduler, workers and triggerer can show."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_realtimekit.sensors import RealtimeKitRecordingSensor

MODES = {
    "poke": {"mode": "poke", "deferrable": False},
    # Airflow takes a task that is queued again within moments, after a reschedule or a deferral, for one that its
    # executor lost. So nothing here comes back that soon.
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
        for subject, timeout in (("uploaded", 600), ("errored", 600), ("running", 15)):
            for soft_fail in (False, True):
                RealtimeKitRecordingSensor(
                    task_id=f"{mode}-{subject}-{'soft' if soft_fail else 'plain'}",
                    recording_id=f"{{{{ params.{subject} }}}}",
                    timeout=timeout,
                    soft_fail=soft_fail,
                    **{"poke_interval": 1, **settings},
                )
