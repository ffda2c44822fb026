"""Tell a kill by a person from a process that ends for reasons of its own, and stop recordings in the triggerer.

Airflow calls ``on_kill`` in more cases than it says: of a task's process also when its machine is shut down or
deployed anew, or wakes after a new try has begun elsewhere; of a trigger also when it was moved to another triggerer
while its own one hung. So the state that Airflow keeps of the task decides.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from airflow_provider_realtimekit.hooks import RealtimeKitHook

log = logging.getLogger(__name__)

#: States of a task that goes on, here or elsewhere, or is tried again with its recording. A cleared task is on its
#: way through some of them, too: its new try stops the old recording by itself.
UNTOUCHED = frozenset({"running", "deferred", "up_for_retry", "up_for_reschedule", "scheduled", "queued"})
# Airflow ends a task's process for good 5 seconds after it asked it to end.
_KILL_SECONDS = 4.0
# How many recordings are stopped at a time when thousands of waits are killed at once.
_IN_FLIGHT = 10


def task_state(ti: Any) -> str:
    """Ask Airflow for the state of a task instance; ``"none"`` when it was cleared, ``"unknown"`` without an answer."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    try:
        states = RuntimeTaskInstance.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id])
    except Exception:
        log.exception("Airflow does not tell the state of task %s", ti.task_id)
        return "unknown"
    name = ti.task_id if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    found = states.get(ti.run_id, {})
    return str(found[name] or "none") if name in found else "unknown"


def is_kill(state: str) -> bool:
    """Whether a task in this state was ended by a person: marked as failed or successful, or cleared."""
    return state != "unknown" and state not in UNTOUCHED


def on_worker(act: Callable[[], None]) -> None:
    """Do something while a worker's process is being ended.

    It is done on a thread of its own: the main one was interrupted in the middle of whatever it was about, and may
    hold any lock.
    """
    thread = threading.Thread(target=act, name="realtimekit-on-kill", daemon=True)
    thread.start()
    thread.join(_KILL_SECONDS)


@dataclass(eq=False)
class _Shared:
    """The hook on a connection that all stops on it share while there are any."""

    hook: RealtimeKitHook
    users: int = 0
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_IN_FLIGHT))


_under_way: set[asyncio.Task[Any]] = set()


async def finish(stopping: Coroutine[Any, Any, Any]) -> None:
    """Wait for a stop, which goes on to its end when the waiting is cancelled.

    Airflow cancels a trigger again about each second until it has ended, and so breaks off its ``on_kill``.
    """
    task = asyncio.create_task(stopping, name="realtimekit-stop")
    _under_way.add(task)
    task.add_done_callback(_end)
    await asyncio.shield(task)


def _end(task: asyncio.Task[Any]) -> None:
    _under_way.discard(task)
    if task.cancelled():
        log.warning("The triggerer ended before a recording could be stopped")
    elif error := task.exception():
        log.error("A recording could not be stopped: %s", error)


_shared: dict[tuple[int, str, str | None], _Shared] = {}


@asynccontextmanager
async def _shared_hook(realtimekit_conn_id: str, app_id: str | None) -> AsyncIterator[_Shared]:
    from airflow_provider_realtimekit.api.retry import RetryPolicy
    from airflow_provider_realtimekit.hooks import RealtimeKitHook

    key = (id(asyncio.get_running_loop()), realtimekit_conn_id, app_id)
    if key not in _shared:
        # Airflow gives on_kill 30 seconds.
        _shared[key] = _Shared(RealtimeKitHook(realtimekit_conn_id, app_id, policy=RetryPolicy(retry_timeout=25.0)))
    shared = _shared[key]
    shared.users += 1
    try:
        yield shared
    finally:
        shared.users -= 1
        if not shared.users:
            del _shared[key]
            await shared.hook.aclose()


async def stop_if_killed(ti: Any, recording_id: str, realtimekit_conn_id: str, app_id: str | None) -> bool:
    """Stop a recording (``PUT …/recordings/{recording_id}``) if a person ended its task; return whether.

    :param ti: the task instance, as the triggerer knows it
    """
    from airflow_provider_realtimekit.models import Action

    async with _shared_hook(realtimekit_conn_id, app_id) as shared, shared.turns:
        state = await asyncio.to_thread(task_state, ti)
        if not is_kill(state):
            _tell(logging.WARNING, "Recording %s is not stopped: its task is %s", recording_id, state)
            return False
        recording = await shared.hook.aapply_action(recording_id, Action.STOP)
    _tell(logging.INFO, "The task is %s: recording %s was stopped and is %s", state, recording_id, recording.status)
    return True


def _tell(level: int, line: str, *details: object) -> None:
    """Write to the log on a thread, since its pipe may stand still, and wait for nothing.

    A stop that is done is not to be broken off for its line in the log.
    """
    write = partial(copy_context().run, log.log, level, line, *details)
    asyncio.get_running_loop().run_in_executor(None, write)
