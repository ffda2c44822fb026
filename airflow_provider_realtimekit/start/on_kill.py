"""Whether a person ended a task, or only its process ends; and how ``on_kill`` stops a recording.

Airflow calls ``on_kill`` in more cases than its name says. A worker calls it also when the machine is shut down or a
deploy replaces it, and when it wakes up after a new try has begun elsewhere. A triggerer calls it also when the trigger
was moved to another triggerer. So ``on_kill`` asks Airflow for the task's state, and only that decides.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.connection import get_async_connection

from airflow_provider_realtimekit.api.client import AsyncClient
from airflow_provider_realtimekit.api.recordings import RecordingsAPI
from airflow_provider_realtimekit.api.retry import RetryPolicy
from airflow_provider_realtimekit.connections.realtimekit import read_credentials
from airflow_provider_realtimekit.start.stop import stop_and_confirm

log = logging.getLogger(__name__)

# A task in one of these goes on, here or elsewhere, or is tried again with the same recording. A cleared task passes
# through some of them, too: its new try stops the old recording.
_CONTINUING_STATES = frozenset({"running", "deferred", "up_for_retry", "up_for_reschedule", "scheduled", "queued"})
_UNKNOWN = "unknown"
# Airflow gives a trigger's on_kill 30 seconds: no request is tried again after this.
_TRIGGER_SECONDS = 25.0
# Airflow may be busy for a moment: it is asked again after so many seconds, and so often.
_STATE_PAUSE, _STATE_QUESTIONS = 0.5, 4
# Seconds between two attempts of one request at most.
_LONGEST_PAUSE = 2.0
# How long a process that is about to be killed tries one request: the next attempt may be better than a long pause.
KILL_POLICY = RetryPolicy(retry_timeout=3.0, base=0.25, cap=0.5)
# Recordings that are stopped at a time on one connection, when a person ends thousands of waits at once.
_CONCURRENT_STOPS = 10


class TaskState(NamedTuple):
    """The state of a task instance.

    :param name: Airflow's name of it; ``cleared`` when a person cleared the task, ``unknown`` without an answer
    :param is_ended_by_person: whether a person marked the task as failed or successful, or cleared it
    """

    name: str
    is_ended_by_person: bool

    @property
    def is_known(self) -> bool:
        """Whether Airflow answered."""
        return self.name != _UNKNOWN


def read_known_task_state(ti: Any) -> TaskState:
    """Ask Airflow for the state of a task instance, several times if it does not answer."""
    for question in range(_STATE_QUESTIONS):
        if question:
            time.sleep(_STATE_PAUSE)
        state = read_task_state(ti)
        if state.is_known:
            break
    return state


def read_task_state(ti: Any) -> TaskState:
    """Ask Airflow for the state of a task instance."""
    # Takes a moment to import, and only a process that ends needs it.
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    try:
        states = RuntimeTaskInstance.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id])
    except Exception:
        log.exception("Airflow did not answer what state task %s is in", ti.task_id)
        return TaskState(_UNKNOWN, is_ended_by_person=False)
    is_mapped = ti.map_index is not None and ti.map_index >= 0
    key = f"{ti.task_id}_{ti.map_index}" if is_mapped else ti.task_id
    found = states.get(ti.run_id, {})
    if key not in found:
        return TaskState(_UNKNOWN, is_ended_by_person=False)
    name = str(found[key] or "cleared")
    return TaskState(name, name not in _CONTINUING_STATES)


async def stop_if_ended_by_person(ti: Any, recording_id: str, realtimekit_conn_id: str, app_id: str | None) -> None:
    """Stop a recording in the triggerer if a person ended its task (``PUT …/recordings/{recording_id}``).

    The stop goes on when the caller is cancelled.

    :param ti: the task instance, as the triggerer has it
    """
    # While a trigger ends, Airflow cancels it again about every second, and with it the on_kill that waits here.
    await asyncio.shield(_stops_of_this_loop().begin(ti, recording_id, realtimekit_conn_id, app_id))


@dataclass(eq=False)
class _SharedClient:
    """The client of all stops that run on one connection at the same time."""

    conn_id: str
    app_id: str | None
    users: int = 0
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CONCURRENT_STOPS))
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _opened: tuple[AsyncClient, RecordingsAPI] | None = None

    async def open(self) -> tuple[AsyncClient, RecordingsAPI]:
        """Return the client and the flows of its app; the first call reads the connection."""
        async with self._opening:
            if self._opened is None:
                credentials = read_credentials(await get_async_connection(self.conn_id), self.app_id)
                policy = RetryPolicy(retry_timeout=_TRIGGER_SECONDS, cap=_LONGEST_PAUSE)
                self._opened = AsyncClient(credentials, policy), credentials.api
        return self._opened

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened[0].close()


class _LoopStops:
    """The stops that run on one event loop."""

    def __init__(self) -> None:
        self.clients: dict[tuple[str, str | None], _SharedClient] = {}
        # The loop itself holds its tasks weakly only.
        self.tasks: set[asyncio.Task[None]] = set()

    def begin(self, ti: Any, recording_id: str, conn_id: str, app_id: str | None) -> asyncio.Task[None]:
        task = asyncio.create_task(self._stop(ti, recording_id, conn_id, app_id), name=f"stop {recording_id}")
        self.tasks.add(task)
        task.add_done_callback(partial(self._end, recording_id))
        return task

    async def _stop(self, ti: Any, recording_id: str, conn_id: str, app_id: str | None) -> None:
        async with self._share_client(conn_id, app_id) as shared, shared.slots:
            state = await asyncio.to_thread(read_task_state, ti)
            for _ in range(1, _STATE_QUESTIONS):
                if state.is_known:
                    break
                await asyncio.sleep(_STATE_PAUSE)
                state = await asyncio.to_thread(read_task_state, ti)
            if not state.is_ended_by_person:
                _log_on_thread(
                    logging.WARNING,
                    "Recording %s is not stopped: the state of task %s is %s",
                    recording_id,
                    ti.task_id,
                    state.name,
                )
                return
            client, api = await shared.open()
            recording = await client.run(stop_and_confirm(api, recording_id, _TRIGGER_SECONDS))
        _log_on_thread(
            logging.INFO,
            "Recording %s was stopped and is %s: the state of task %s is %s",
            recording_id,
            recording.status,
            ti.task_id,
            state.name,
        )

    @asynccontextmanager
    async def _share_client(self, conn_id: str, app_id: str | None) -> AsyncIterator[_SharedClient]:
        key = conn_id, app_id
        shared = self.clients.setdefault(key, _SharedClient(conn_id, app_id))
        shared.users += 1
        try:
            yield shared
        finally:
            shared.users -= 1
            if not shared.users:
                del self.clients[key]
                await shared.close()

    def _end(self, recording_id: str, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if task.cancelled():
            log.warning(
                "The triggerer ended before recording %s was stopped, and it may still run: "
                "stop it with RealtimeKitStopRecordingOperator",
                recording_id,
            )
        elif error := task.exception():
            log.error(
                "Recording %s could not be stopped and may still run: %s; "
                "stop it with RealtimeKitStopRecordingOperator",
                recording_id,
                error,
            )


_stops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopStops] = WeakKeyDictionary()


def _stops_of_this_loop() -> _LoopStops:
    loop = asyncio.get_running_loop()
    if loop not in _stops:
        _stops[loop] = _LoopStops()
    return _stops[loop]


def _log_on_thread(level: int, line: str, *details: object) -> None:
    """Write to the log without waiting for it."""
    # The log goes through a pipe that Airflow may not read for seconds. It must hold up neither the loop nor the stops
    # that wait for a slot.
    write = partial(copy_context().run, log.log, level, line, *details)
    asyncio.get_running_loop().run_in_executor(None, write)
