"""A model of Airflow for one task: it crashes, kills, clears and retries the task at chosen moments.

What Airflow does here is what its code says: which states it gives, when it counts tries, in what sequence it calls
``on_kill`` and starts a new try. Everything runs on one thread; a moment is chosen by the request, or the note in
the task's state store, that it lies before or after.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from typing import Any

import httpx
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout, TaskDeferred

from airflow_provider_realtimekit.api import client, retry
from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.emulator.world.models import Owner
from airflow_provider_realtimekit.operators import RealtimeKitStartRecordingOperator
from airflow_provider_realtimekit.start import on_kill
from airflow_provider_realtimekit.start.checkpoint import STATE_KEY
from tests.conftest import ACCOUNT, APP
from tests.support.tasks import StateStore, TaskInstance, first_event, make_context

MEETING = "m"
OWNER = Owner(ACCOUNT, APP)
ACTIVE = ("INVOKED", "RECORDING", "PAUSED")
RETRIES = 3
# After so many polls of a recording a worker dies, if nothing else happens.
MAX_POLLS = 8


class Crash(BaseException):
    """The process is gone: nothing after this runs."""


@dataclass(frozen=True)
class Moment:
    """A moment in a process that runs a task: before or after its n-th request for an operation.

    ``store`` counts as an operation, too. ``more`` is how many requests a process that is being killed still makes.
    """

    operation: str
    is_after: bool
    number: int = 1
    more: int = 0


class Scene:
    """A meeting at the local RealtimeKit, its recordings and whose they are, and forbidden events that occurred."""

    def __init__(self, server: EmulatorServer) -> None:
        self.server = server
        self.others: set[str] = set()
        #: Those of others that were started while the task was about to start one.
        self.rivals: set[str] = set()
        self.started_beside: list[str] = []
        self.ghosts: list[str] = []
        server.world.open_meeting(MEETING, participants=["ann"], owner=OWNER)
        (self.elsewhere,) = server.world.seed(1, "RECORDING", meeting_id="elsewhere", owner=OWNER)

    def recordings(self) -> dict[str, str]:
        """Return the meeting's recordings by their ids, with their statuses."""
        of_all = self.server.world.recordings()
        return {recording.id: str(recording.status) for recording in of_all if recording.meeting.id == MEETING}

    def active(self) -> set[str]:
        return {recording_id for recording_id, status in self.recordings().items() if status in ACTIVE}

    def ours(self) -> set[str]:
        return self.active() - self.others

    def theirs(self) -> set[str]:
        return self.active() & self.others

    def start_by_others(self, *, is_rival: bool = False) -> None:
        if not self.active():
            started = {self.server.world.start(OWNER, {"meeting_id": MEETING}).id}
            self.others |= started
            self.rivals |= started if is_rival else set()

    def finish(self, status: str) -> None:
        for recording_id in self.active():
            self.server.world.jump(recording_id, status)

    def act(self, action: str) -> None:
        for recording_id in self.active():
            with contextlib.suppress(Exception):  # not every status allows every action
                self.server.world.act(OWNER, recording_id, action)

    def age(self, seconds: float) -> None:
        """Let time pass for the recordings."""
        for recording in self.server.world.contents()[1]:
            for name in ("invoked_at", "state_since", "started_at", "stopped_at", "uploaded_at"):
                if (moment := getattr(recording, name)) is not None:
                    setattr(recording, name, moment - seconds)


@dataclass
class Store(StateStore):
    """The task's state store, which reports when it is used, and is closed to a process whose task was cleared."""

    meet: Callable[[str, bool], None] = lambda operation, is_after: None
    is_closed: Callable[[], bool] = lambda: False

    def set(self, key: str, value: Any, **more: Any) -> None:
        self.meet("store", False)
        if self.is_closed():
            raise RuntimeError("the task instance is not known")
        super().set(key, value, **more)
        self.meet("store", True)


@dataclass
class Settings:
    """The arguments of the task."""

    waits: bool = True
    deferrable: bool = True
    stop_reused: bool = False


@dataclass
class Deferred:
    """What Airflow's database holds of a deferred task, as JSON."""

    path: str
    kwargs: str
    method: str
    method_kwargs: str

    def trigger(self, **changes: Any) -> Any:
        module, _, name = self.path.rpartition(".")
        return getattr(import_module(module), name)(**{**json.loads(self.kwargs), **changes})


@dataclass
class Airflow:
    """Runs the task, and acts on it as Airflow and people do."""

    scene: Scene
    settings: Settings
    state: str = "none"
    ti: TaskInstance = field(default_factory=lambda: TaskInstance(max_tries=RETRIES, try_number=0))
    deferred: Deferred | None = None
    result: Any = None
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.store = Store(meet=self._meet, is_closed=lambda: self.state == "restarting")
        self._at: tuple[Moment, Callable[[], None]] | None = None
        self._seen = 0
        self._left: int | None = None
        self.is_dead = False
        self._polls = 0
        self._task: Any = None
        #: Whether what was to happen at a moment did.
        self.has_happened = False

    # What Airflow does by itself

    def run(self, at: tuple[Moment, Callable[[], None]] | None = None) -> None:
        """Try the task; something may happen to its process at a moment."""
        self.ti.try_number += 1
        self.deferred, self.result, self.error = None, None, None
        self._go(at, lambda task, context: task.execute(context))

    def resume(self, at: tuple[Moment, Callable[[], None]] | None = None, **changes: Any) -> None:
        """Run the trigger to its event, and resume the task."""
        assert self.deferred
        deferred, self.deferred = self.deferred, None
        event = asyncio.run(first_event(deferred.trigger(**changes), 30))
        kwargs = {**json.loads(deferred.method_kwargs), "event": json.loads(json.dumps(event))}
        self._go(at, lambda task, context: task.resume_execution(deferred.method, kwargs, context))

    def restart_triggerer(self) -> None:
        """End the trigger as a triggerer does that restarts."""
        assert self.deferred
        asyncio.run(_run_and_cancel(self.deferred.trigger()))

    # What people do

    def mark(self, state: str) -> None:
        """Mark the deferred task as failed or successful; the triggerer notices."""
        deferred, self.deferred = self.deferred, None
        self.state = state
        self._kill_trigger(deferred)

    def clear(self, at: tuple[Moment, Callable[[], None]] | None = None, *, is_run_first: bool = False) -> None:
        """Clear the task; where it was deferred, the new try may run before or after the triggerer notices."""
        deferred, self.deferred = self.deferred, None
        self.state, self.ti.max_tries = "none", self.ti.try_number + RETRIES
        if not is_run_first:
            self._kill_trigger(deferred)
        self.run(at)
        if is_run_first:
            self._kill_trigger(deferred)

    def kill(self, state: str) -> None:
        """Mark the running task, whose process is asked to end and, some requests later, is killed."""
        self.state = state
        self._task.on_kill()
        if not self._left:
            self.crash()

    def crash(self) -> None:
        """Kill the process, as when its machine is lost."""
        self.is_dead = True
        raise Crash

    def run_out_of_time(self) -> None:
        raise AirflowTaskTimeout("execution_timeout")

    def age(self, seconds: float = 60.0) -> None:
        """Let time pass."""
        self.scene.age(seconds)
        if (checkpoint := self.store.values.get(STATE_KEY)) and checkpoint.get("since"):
            checkpoint["since"] = _earlier(checkpoint["since"], seconds)
        if self.deferred:
            kwargs = json.loads(self.deferred.kwargs)
            if kwargs.get("invoked_after"):
                self.deferred.kwargs = json.dumps(
                    {**kwargs, "invoked_after": _earlier(kwargs["invoked_after"], seconds)}
                )

    # How it is done

    def task_state(self, **_: Any) -> dict[str, dict[str, str | None]]:
        """Answer the question for the task's state as Airflow's API does."""
        return {self.ti.run_id: {self.ti.task_id: None if self.state == "none" else self.state}}

    def _make(self) -> Any:
        return RealtimeKitStartRecordingOperator(
            task_id=self.ti.task_id,
            meeting_id=MEETING,
            retries=RETRIES,
            wait_for_completion=self.settings.waits,
            deferrable=self.settings.deferrable,
            stop_reused=self.settings.stop_reused,
            poll_interval=0.01,
            timeout=3600,
        )

    def _go(self, at: tuple[Moment, Callable[[], None]] | None, execute: Callable[[Any, Any], Any]) -> None:
        self.state = "running"
        self._at, self._seen, self._left, self._polls = at, 0, None, 0
        self.is_dead = self.has_happened = False
        task = self._task = self._make()
        context: Any = make_context(ti=self.ti, task_state_store=self.store)
        try:
            task.render_template_fields(context)
            self._end("success", execute(task, context))
        except TaskDeferred as deferred:
            self._defer(deferred)
        except Crash:
            self._end("up_for_retry")
        except AirflowTaskTimeout as error:
            task.on_kill()
            self._end("up_for_retry", error=error)
        except AirflowFailException as error:
            self._end("failed", error=error)
        except Exception as error:
            self._end("up_for_retry", error=error)
        finally:
            self._at = self._task = None
            if "hook" in vars(task):
                task.hook.close()

    def _end(self, state: str, result: Any = None, error: BaseException | None = None) -> None:
        if self.state != "running":
            # A person was faster; a task that was cleared while it ran is tried again.
            self.state = "up_for_retry" if self.state == "restarting" else self.state
            return
        is_last = self.ti.try_number > self.ti.max_tries
        self.state = "failed" if state == "up_for_retry" and is_last else state
        self.result, self.error = result and json.loads(json.dumps(result)), error

    def _defer(self, deferred: TaskDeferred) -> None:
        if self.state == "running":
            path, kwargs = deferred.trigger.serialize()
            self.deferred = Deferred(path, json.dumps(kwargs), deferred.method_name, json.dumps(deferred.kwargs))
            self.state = "deferred"
        else:
            self._end(self.state)

    def _kill_trigger(self, deferred: Deferred | None) -> None:
        if deferred:
            trigger = deferred.trigger()
            trigger.task_instance = self.ti
            asyncio.run(trigger.on_kill())

    def send(self, send: Callable[..., httpx.Response], *args: Any, **kwargs: Any) -> httpx.Response:
        """Send a request of the task; the moments before and after it are counted."""
        operation = str(args[1].extensions.get("operation"))
        self._meet(operation, False)
        if operation == "start":
            self.scene.started_beside += self.scene.active() - self.scene.rivals
        response = send(*args, **kwargs)
        self._meet(operation, True)
        return response

    def _meet(self, operation: str, is_after: bool) -> None:
        if self._task is None or threading.current_thread() is not threading.main_thread():
            return
        if self.is_dead:
            self.scene.ghosts.append(operation)
            raise Crash
        self._polls += operation == "get" and is_after
        if self._polls > MAX_POLLS:
            self.crash()
        if self._left is not None:
            self._left -= not is_after
            if self._left < 0:
                self.crash()
            return
        if self._at is None or (self._at[0].operation, self._at[0].is_after) != (operation, is_after):
            return
        self._seen += 1
        if self._seen == self._at[0].number:
            moment, happen = self._at
            self._at, self._left, self.has_happened = None, moment.more or None, True
            happen()


def _earlier(moment: str, seconds: float) -> str:
    return (datetime.fromisoformat(moment).astimezone(UTC) - timedelta(seconds=seconds)).isoformat()


async def _run_and_cancel(trigger: Any) -> None:
    running = asyncio.ensure_future(anext(aiter(trigger.run())))
    await asyncio.sleep(0.02)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await trigger.cleanup()


@contextlib.contextmanager
def stage(airflow: Airflow) -> Iterator[None]:
    """Route the task's requests through the model, answer its questions for the state, and shorten all pauses."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    impatient = partial(retry.RetryPolicy, base=0.005)
    with pytest.MonkeyPatch.context() as patch:
        send = httpx.Client.send
        patch.setattr(httpx.Client, "send", lambda *args, **kwargs: airflow.send(send, *args, **kwargs))
        patch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(airflow.task_state))
        patch.setattr(client, "RetryPolicy", impatient)
        patch.setattr(on_kill, "RetryPolicy", impatient)
        yield
