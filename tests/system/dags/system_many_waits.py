"""Hundreds of waits at once, which Airflow's scheduler starts in the triggerer without a worker.

A worker process for each would need minutes of two processors. Deferral, trigger and polls are the usual ones. Only
the start of each task, and the end of most, needs no worker.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import loop_watch
from airflow.sdk import DAG
from airflow.triggers.base import StartTriggerArgs, TaskSkippedEvent, TriggerEvent

if "SYSTEM_MANY_WAITS" in os.environ:
    # The triggerer imports this module on its loop, before any module of the package. So the imports are watched, too.
    loop_watch.start(Path(os.environ["SYSTEM_MANY_WAITS"]).with_name("loop.jsonl"))

from airflow_provider_realtimekit.sensors import RealtimeKitRecordingSensor
from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger

# One task in this many ends in a worker, as is usual.
ENDS_IN_A_WORKER = 20
PLAN: dict[str, Any] = {"ids": [], "invoked_after": None, "deadline": None, "poll_interval": 30}
if "SYSTEM_MANY_WAITS" in os.environ:
    PLAN = json.loads(Path(os.environ["SYSTEM_MANY_WAITS"]).read_text())


class OneOfMany(RealtimeKitRecordingTrigger):
    """Waits for the recording with its map index, and ends most tasks in the triggerer, as skipped."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        index = self.task_instance.map_index
        self._wait["recording_id"] = PLAN["ids"][index]
        async for event in super().run():
            if index % ENDS_IN_A_WORKER == 0:
                yield event
            else:
                # For success and failure, but not for a skip, Airflow makes the DAG processor run callbacks.
                yield TaskSkippedEvent(xcoms={"return_value": event.payload})


class SensorInTheTriggerer(RealtimeKitRecordingSensor):
    """A sensor that starts in the triggerer."""

    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls="system_many_waits.OneOfMany",
        trigger_kwargs={
            "realtimekit_conn_id": "realtimekit_default",
            "poll_interval": PLAN["poll_interval"],
            "invoked_after": PLAN["invoked_after"],
            "deadline": PLAN["deadline"],
        },
        next_method="execute_complete",
        next_kwargs={"wait": {}},
        timeout=None,
    )


with DAG("system_many_waits", schedule=None, default_args={"retries": 0}):
    SensorInTheTriggerer.partial(task_id="wait").expand(recording_id=PLAN["ids"])
