"""Hundreds of waits at once, which Airflow's scheduler hands to the triggerer by itself.

A worker's process for each would take minutes of both cores. Deferred, triggered and polled is as ever; only the
way in, and for most the way out, costs no worker.
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
    # In the triggerer, which imports this on its loop: from before anything of the package is there.
    loop_watch.start(Path(os.environ["SYSTEM_MANY_WAITS"]).with_name("loop.jsonl"))

from airflow_provider_realtimekit.sensors import RealtimeKitRecordingSensor
from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger

# One task in so many ends in a worker, as usual.
ENDS_IN_A_WORKER = 20
PLAN: dict[str, Any] = {"ids": [], "invoked_after": None, "deadline": None, "poll_interval": 30}
if "SYSTEM_MANY_WAITS" in os.environ:
    PLAN = json.loads(Path(os.environ["SYSTEM_MANY_WAITS"]).read_text())


class OneOfMany(RealtimeKitRecordingTrigger):
    """Waits for the recording of its place among the mapped tasks, and ends most tasks by itself.

    As skipped, since that is the one end for which Airflow does not have the DAG processor run callbacks.
    """

    async def run(self) -> AsyncIterator[TriggerEvent]:
        place = self.task_instance.map_index
        self._wait["recording_id"] = PLAN["ids"][place]
        async for event in super().run():
            yield event if place % ENDS_IN_A_WORKER == 0 else TaskSkippedEvent(xcoms={"return_value": event.payload})


class SensorInTheTriggerer(RealtimeKitRecordingSensor):
    """Begins in the triggerer."""

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
