"""A recording is stopped when a person ends its task, and goes on when a process restarts, crashes or moves."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, TaskDeferred
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitError,
    RecordingFailedError,
    RecordingStuckError,
    RecordingTimeoutError,
)
from airflow_provider_realtimekit.hooks import RealtimeKitHook
from airflow_provider_realtimekit.operators import RealtimeKitStartRecordingOperator, RealtimeKitStopRecordingOperator
from airflow_provider_realtimekit.sensors import RealtimeKitRecordingSensor
from airflow_provider_realtimekit.start import on_kill
from airflow_provider_realtimekit.start.checkpoint import STATE_KEY, CheckpointStore
from airflow_provider_realtimekit.start.search import Finder, Marks
from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger
from tests.support.start import checkpoint_in, running, started
from tests.support.tasks import Ended, StateStore, TaskInstance, make_context, run_task, when

KILLED = ("failed", "success", "skipped", "none", "restarting", "removed")
UNTOUCHED = ("running", "deferred", "up_for_retry", "up_for_reschedule", "scheduled", "queued")


class Airflow:
    """Answers Airflow's questions about the state of tasks."""

    def __init__(self) -> None:
        self.state: str | None = "running"
        self.asked = 0

    def get_task_states(self, dag_id: str, task_ids: list[str], run_ids: list[str], **_: Any) -> dict[str, Any]:
        self.asked += 1
        if self.state == "unreachable":
            raise ConnectionError
        state = None if self.state == "none" else self.state
        return {run_ids[0]: {task_ids[0]: state, f"{task_ids[0]}_7": state}}


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Airflow]:
    said = Airflow()
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(said.get_task_states))
    made: list[on_kill._LoopStops] = []

    class WatchedStops(on_kill._LoopStops):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(on_kill, "_LoopStops", WatchedStops)
    yield said
    assert [stops.clients for stops in made if stops.clients] == [], "no client is left behind"
    assert [stops.tasks for stops in made if stops.tasks] == [], "no stop is left behind"


def waiting_start(**arguments: Any) -> RealtimeKitStartRecordingOperator:
    wait = {"wait_for_completion": True, "poll_interval": 0.05, "timeout": 20}
    return RealtimeKitStartRecordingOperator(**{"task_id": "task", "meeting_id": "m", **wait, **arguments})


def run(store: StateStore | None = None, ti: TaskInstance | None = None, **arguments: Any) -> Ended:
    more = {} if store is None else {"task_state_store": store}
    return run_task(lambda: waiting_start(**arguments), make_context(ti=ti or TaskInstance(), **more))


def defer(quick: EmulatorServer, store: StateStore | None = None, **arguments: Any) -> RealtimeKitRecordingTrigger:
    """Run a task until it is deferred; return its trigger, as the triggerer has it."""
    task = waiting_start(deferrable=True, **arguments)
    more = {} if store is None else {"task_state_store": store}
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(make_context(**more))
    _, kwargs = deferred.value.trigger.serialize()
    trigger = RealtimeKitRecordingTrigger(**kwargs)
    trigger.task_instance = TaskInstance()  # type: ignore[assignment]
    return trigger


# The task ends by itself


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("stop_on_kill", [None, False])
def test_a_wait_that_runs_out_of_time_stops_the_recording(
    quick: EmulatorServer, deferrable: bool, stop_on_kill: bool | None
) -> None:
    ended = run(StateStore(), deferrable=deferrable, timeout=0.3, stop_on_kill=stop_on_kill)
    assert isinstance(ended.error, RecordingTimeoutError)
    assert running(quick) == ([] if stop_on_kill is None else started(quick))


@pytest.mark.parametrize("has_store", [False, True])
def test_execution_timeout_ends_a_deferred_wait_and_stops_the_recording(quick: EmulatorServer, has_store: bool) -> None:
    store = StateStore() if has_store else None
    ti = TaskInstance(max_tries=1)
    with pytest.raises(AirflowTaskTimeout, match="did not finish in time: it is RECORDING"):
        run(store, ti, deferrable=True, retries=1, execution_timeout=timedelta(seconds=0.4))
    assert running(quick) == []
    if store:
        assert checkpoint_in(store).is_abandoned, "the next try starts anew"


def test_execution_timeout_on_a_worker_stops_the_recording(
    quick: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_realtimekit.api.client import Client

    def interrupt(self: Client, flow: Any, *, polling: bool = False) -> Any:
        raise AirflowTaskTimeout

    task = waiting_start()
    run_flow = Client.run

    def run_until_polling(self: Client, flow: Any, *, polling: bool = False) -> Any:
        return interrupt(self, flow) if polling else run_flow(self, flow)

    monkeypatch.setattr(Client, "run", run_until_polling)
    with pytest.raises(AirflowTaskTimeout):
        task.execute(make_context(task_state_store=StateStore()))
    task.on_kill()  # Airflow calls it after that
    assert running(quick) == []
    assert quick.ledger.count("action") == 1


def test_execution_timeout_while_a_start_is_in_doubt_stops_what_it_starts_later(
    quick: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick.faults.add(operation="start", count=1, when="before", status=502)
    search = Finder.search
    marks = Marks(("dag", "run", "task", "-1"))

    def take_effect() -> None:
        with RealtimeKitHook() as hook:
            hook.start_recording(meeting_id="m", file_name_prefix=marks.make(marks.serial(0)))

    def run_out_of_time(*_: Any, **__: Any) -> Any:
        monkeypatch.setattr(Finder, "search", search)
        when(lambda: quick.ledger.count("active") >= 3, take_effect)
        raise AirflowTaskTimeout

    monkeypatch.setattr(Finder, "search", run_out_of_time)
    store = StateStore()
    with pytest.raises(AirflowTaskTimeout):
        run(store)
    assert len(started(quick)) == 1
    assert running(quick) == []
    assert checkpoint_in(store).is_abandoned


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_recording_that_never_begins_is_stopped_and_the_retry_starts_another(
    quick: EmulatorServer, deferrable: bool
) -> None:
    quick.settings.hang_invoked = True
    store = StateStore()
    ti = TaskInstance(max_tries=1)
    stuck = run(store, ti, retries=1, deferrable=deferrable, invoked_timeout=0.2)
    assert isinstance(stuck.error, RecordingStuckError)
    assert stuck.state == "up_for_retry"
    assert running(quick) == []
    quick.settings.hang_invoked = False
    quick.settings.empty_seconds = 0.05
    when(lambda: len(running(quick)) == 1, lambda: quick.world.leave("m"))
    again = run(store, TaskInstance(try_number=2, max_tries=1), retries=1, deferrable=deferrable)
    assert again.state == "success", again.error
    assert again.result["id"] == started(quick)[-1] != started(quick)[0]


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("is_last", [False, True])
def test_a_wait_without_answers_stops_the_recording_with_the_last_try_only(
    quick: EmulatorServer, monkeypatch: pytest.MonkeyPatch, deferrable: bool, is_last: bool
) -> None:
    from tests.conftest import connect
    from tests.once.conftest import TIMEOUT

    connect(quick, monkeypatch, timeout=TIMEOUT, retry_timeout=0.2)
    quick.faults.add(operation="get", count=None, skip=1, status=503)
    retries = 0 if is_last else 1
    ended = run(StateStore(), TaskInstance(max_tries=retries), retries=retries, deferrable=deferrable)
    assert isinstance(ended.error, RealtimeKitAPIError), ended.error
    assert running(quick) == ([] if is_last else started(quick))


def test_the_backstop_behind_the_deadline_stops_the_recording(quick: EmulatorServer) -> None:
    store = StateStore()
    defer(quick, store)
    context = make_context(task_state_store=store)
    with pytest.raises(Exception, match="timeout"):
        waiting_start(deferrable=True).resume_execution("__fail__", {"error": "Trigger timeout"}, context)
    assert running(quick) == []


def test_a_failed_recording_is_not_stopped_again(quick: EmulatorServer) -> None:
    when(lambda: quick.ledger.count("get") >= 1, lambda: quick.world.jump(started(quick)[0], "ERRORED"))
    assert isinstance(run(StateStore()).error, RecordingFailedError)
    assert quick.ledger.count("action") == 0


@pytest.mark.parametrize("stop_reused", [False, True])
def test_a_reused_recording_is_stopped_only_with_stop_reused(quick: EmulatorServer, stop_reused: bool) -> None:
    with RealtimeKitHook() as hook:
        other = hook.start_recording(meeting_id="m")
    ended = run(StateStore(), timeout=0.2, stop_reused=stop_reused)
    assert isinstance(ended.error, RecordingTimeoutError)
    assert running(quick) == ([] if stop_reused else [other.id])


# A worker's process is asked to end


def end_process(quick: EmulatorServer, task: Any, store: StateStore | None = None) -> None:
    """Call ``on_kill`` while the task waits on its worker, as the signal's handler does, and let the wait end."""
    more = {} if store is None else {"task_state_store": store}
    errors: list[BaseException] = []

    def execute() -> None:
        try:
            task.execute(make_context(**more))
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=execute)
    worker.start()
    when(lambda: quick.ledger.count("get") >= 1, task.on_kill)
    when(lambda: quick.ledger.count("get") >= 4, lambda: quick.world.leave("m"))
    worker.join(20)
    assert not worker.is_alive()
    assert errors == []


@pytest.mark.parametrize("state", KILLED)
def test_a_recording_is_stopped_when_a_person_ends_its_task_on_a_worker(
    quick: EmulatorServer, airflow: Airflow, state: str
) -> None:
    airflow.state = state
    store = StateStore()
    end_process(quick, waiting_start(), store)
    assert quick.ledger.count("action") == 1
    assert checkpoint_in(store).is_abandoned


@pytest.mark.parametrize("state", [*UNTOUCHED, "unreachable"])
def test_a_recording_goes_on_when_a_deploy_ends_its_process(
    quick: EmulatorServer, airflow: Airflow, state: str
) -> None:
    airflow.state = state
    quick.settings.empty_seconds = 0.05
    store = StateStore()
    end_process(quick, waiting_start(), store)
    assert airflow.asked == 1 or state == "unreachable", "Airflow is asked again only if it does not answer"
    assert quick.ledger.count("action") == 0
    assert not checkpoint_in(store).is_abandoned


def test_a_mapped_task_asks_for_its_own_state(airflow: Airflow) -> None:
    airflow.state = "failed"
    assert on_kill.read_task_state(TaskInstance(map_index=7)) == ("failed", True)
    assert on_kill.read_task_state(TaskInstance(map_index=8)) == ("unknown", False)


def test_a_start_that_is_under_way_is_stopped_too(quick: EmulatorServer, airflow: Airflow) -> None:
    airflow.state = "failed"
    quick.faults.add(operation="start", when="after", delay=0.2)
    quick.settings.empty_seconds = 0.05
    task = waiting_start()
    when(lambda: quick.ledger.count("start") >= 1, task.on_kill)
    when(lambda: quick.ledger.count("action") >= 1, lambda: quick.world.leave("m"))
    task.execute(make_context(task_state_store=StateStore()))
    assert running(quick) == []


def test_a_task_that_is_killed_before_its_start_sends_none(quick: EmulatorServer, airflow: Airflow) -> None:
    airflow.state = "failed"
    task = waiting_start()

    class KilledWhileReading(StateStore):
        def get(self, key: str, default: Any = None) -> Any:
            task.on_kill()
            return super().get(key, default)

    with pytest.raises(RealtimeKitError, match="nothing is started"):
        task.execute(make_context(task_state_store=KilledWhileReading()))
    assert started(quick) == []


def test_a_start_without_an_answer_is_searched_by_its_mark_and_stopped(
    quick: EmulatorServer, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.conftest import connect

    connect(quick, monkeypatch, timeout=30)
    airflow.state = "failed"
    quick.faults.add(operation="start", when="after", delay=1.5)
    task = waiting_start()
    store = StateStore()
    worker = threading.Thread(target=lambda: task.execute(make_context(task_state_store=store)), daemon=True)
    worker.start()
    when(lambda: len(running(quick)) == 1, task.on_kill)
    while quick.ledger.count("action") == 0:
        worker.join(0.01)
        assert worker.is_alive(), "it was stopped before the start was answered"
    quick.world.leave("m")
    worker.join(20)
    assert running(quick) == []
    assert checkpoint_in(store).is_abandoned


def test_a_process_that_is_being_ended_starts_nothing_until_airflow_says_that_its_task_goes_on(
    quick: EmulatorServer, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.state = "unreachable"
    task = waiting_start(deferrable=True)
    monkeypatch.setattr(on_kill, "_STATE_PAUSE", 0.01)

    class EndedWhileReading(StateStore):
        def get(self, key: str, default: Any = None) -> Any:
            task.on_kill()
            return super().get(key, default)

    with pytest.raises(RealtimeKitError, match="nothing is started"):
        task.execute(make_context(task_state_store=EndedWhileReading()))
    assert started(quick) == []
    airflow.state = "running"
    with pytest.raises(TaskDeferred):
        task.execute(make_context(task_state_store=EndedWhileReading()))
    assert len(running(quick)) == 1


def test_a_kill_stops_what_an_earlier_try_started(quick: EmulatorServer, airflow: Airflow) -> None:
    """Also where that one had given it up already."""
    quick.faults.add(operation="start", when="after", status=502)
    quick.faults.add(operation="active", count=None, skip=1, status=503)
    store = StateStore()
    run(store, TaskInstance(max_tries=1))
    quick.faults.clear()
    store.set(STATE_KEY, {**store.get(STATE_KEY), "is_abandoned": True})
    assert len(running(quick)) == 1
    airflow.state = "failed"
    task = waiting_start()

    context = make_context(ti=TaskInstance(try_number=2, max_tries=1), task_state_store=store)
    task._store = CheckpointStore(context, task.log)  # type: ignore[arg-type]
    task._store.load()
    task.on_kill()
    assert running(quick) == []


def test_a_process_that_outlives_its_task_stops_nothing(quick: EmulatorServer, airflow: Airflow) -> None:
    airflow.state = "success"
    task = RealtimeKitStartRecordingOperator(task_id="task", meeting_id="m", stop_on_kill=True)
    task.execute(make_context(task_state_store=StateStore()))
    task.on_kill()
    assert airflow.asked == 0
    assert len(running(quick)) == 1


def test_nothing_is_stopped_before_anything_was_started(quick: EmulatorServer, airflow: Airflow) -> None:
    waiting_start().on_kill()
    assert airflow.asked == 0


def test_the_try_after_a_kill_starts_another_recording(quick: EmulatorServer, airflow: Airflow) -> None:
    """As after a running task was cleared, which raises its max_tries."""
    airflow.state = "restarting"
    quick.settings.empty_seconds = 0.05
    store = StateStore()
    end_process(quick, waiting_start(), store)
    again = run(store, TaskInstance(try_number=2), wait_for_completion=False)
    assert again.state == "success", again.error
    assert running(quick) == [again.result["id"]]


@pytest.mark.parametrize("stop_on_kill", [False, True])
def test_a_sensor_stops_only_with_stop_on_kill(quick: EmulatorServer, airflow: Airflow, stop_on_kill: bool) -> None:
    airflow.state = "failed"
    quick.settings.empty_seconds = 0.05
    with RealtimeKitHook() as hook:
        recording = hook.start_recording(meeting_id="m")
    sensor = RealtimeKitRecordingSensor(
        task_id="task", recording_id=recording.id, poke_interval=0.05, timeout=20, stop_on_kill=stop_on_kill
    )
    end_process(quick, sensor)
    assert quick.ledger.count("action") == int(stop_on_kill)


# A trigger is cancelled


@pytest.mark.parametrize("state", [*KILLED, *UNTOUCHED, "unreachable"])
def test_a_trigger_stops_its_recording_only_when_a_person_ended_the_task(
    quick: EmulatorServer, airflow: Airflow, state: str
) -> None:
    airflow.state = state
    trigger = defer(quick)
    asyncio.run(trigger.on_kill())
    assert running(quick) == ([] if state in KILLED else started(quick))


def test_a_second_cancel_does_not_interrupt_a_stop(quick: EmulatorServer, airflow: Airflow) -> None:
    """Airflow cancels a trigger again and again until it has ended."""
    airflow.state = "failed"
    trigger = defer(quick)
    quick.faults.add(operation="action", delay=0.1)

    async def cancel_twice() -> None:
        killing_it = asyncio.create_task(trigger.on_kill())
        while not airflow.asked:  # noqa: ASYNC110 (asked on another thread)
            await asyncio.sleep(0)
        killing_it.cancel()
        await asyncio.wait([killing_it])
        assert killing_it.cancelled()
        stops = on_kill._stops[asyncio.get_running_loop()]
        await asyncio.wait(stops.tasks)
        assert stops.tasks == set()

    asyncio.run(cancel_twice())
    assert running(quick) == []


class LogThatWaits(logging.Handler):
    """A log that writes a line only after the loop has run on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(logging.INFO)
        self.loop = loop
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        turned = threading.Event()
        self.loop.call_soon_threadsafe(turned.set)
        assert turned.wait(5), "the loop is blocked while a line is written"
        self.lines.append(record.getMessage())


@pytest.mark.parametrize(("state", "line"), [("failed", "was stopped"), ("running", "is not stopped")])
def test_a_slow_log_does_not_block_the_loop(
    quick: EmulatorServer, airflow: Airflow, monkeypatch: pytest.MonkeyPatch, state: str, line: str
) -> None:
    airflow.state = state
    trigger = defer(quick)
    monkeypatch.setattr(on_kill.log, "level", logging.INFO)

    async def kill() -> list[str]:
        log = LogThatWaits(asyncio.get_running_loop())
        monkeypatch.setattr(on_kill.log, "handlers", [log])
        await trigger.on_kill()
        while not log.lines:  # noqa: ASYNC110 (written on another thread)
            await asyncio.sleep(0)
        return log.lines

    assert [line in logged for logged in asyncio.run(kill())] == [True]


def test_a_triggerer_that_restarts_stops_nothing(quick: EmulatorServer, airflow: Airflow) -> None:
    airflow.state = "failed"
    trigger = defer(quick)
    asyncio.run(trigger.cleanup())
    assert len(running(quick)) == 1


@pytest.mark.parametrize("arguments", [{"stop_on_kill": False}, {}])
def test_a_trigger_stops_neither_without_stop_on_kill_nor_a_reused_recording(
    quick: EmulatorServer, airflow: Airflow, arguments: dict[str, Any]
) -> None:
    airflow.state = "failed"
    if not arguments:
        with RealtimeKitHook() as hook:
            hook.start_recording(meeting_id="m")
    asyncio.run(defer(quick, **arguments).on_kill())
    assert len(running(quick)) == 1


def test_many_kills_share_a_client(quick: EmulatorServer, airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    airflow.state = "failed"
    made: list[object] = []
    init = httpx.AsyncClient.__init__

    def count(self: httpx.AsyncClient, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        init(self, *args, **kwargs)

    monkeypatch.setattr(httpx.AsyncClient, "__init__", count)
    ids = quick.world.seed(60, "RECORDING")

    async def kill_all() -> None:
        triggers = [
            RealtimeKitRecordingTrigger(realtimekit_conn_id="realtimekit_default", stop_on_kill=True, recording_id=one)
            for one in ids
        ]
        for trigger in triggers:
            trigger.task_instance = TaskInstance()  # type: ignore[assignment]
        await asyncio.gather(*(trigger.on_kill() for trigger in triggers))

    asyncio.run(kill_all())
    assert running(quick) == []
    assert len(made) == 1


@pytest.mark.parametrize("first", ["new try", "trigger"])
def test_after_a_clear_only_the_recording_of_the_new_try_is_active(
    quick: EmulatorServer, airflow: Airflow, first: str
) -> None:
    store = StateStore()
    trigger = defer(quick, store)
    (old,) = started(quick)
    cleared = TaskInstance(try_number=2, max_tries=1)

    def new_try() -> None:
        airflow.state = "running"
        with pytest.raises(TaskDeferred):
            waiting_start(deferrable=True).execute(make_context(ti=cleared, task_state_store=store))

    def old_trigger() -> None:
        airflow.state = "none" if first == "trigger" else "running"
        asyncio.run(trigger.on_kill())

    for act in (new_try, old_trigger) if first == "new try" else (old_trigger, new_try):
        act()
    (new,) = running(quick)
    assert new != old
    assert checkpoint_in(store).recording_id == new
    assert checkpoint_in(store).is_owned


def test_a_kill_during_a_start_does_not_stop_a_reused_recording(quick: EmulatorServer, airflow: Airflow) -> None:
    airflow.state = "failed"
    with RealtimeKitHook() as hook:
        other = hook.start_recording(meeting_id="m")
    task = waiting_start(deferrable=True)

    class KilledWhileReading(StateStore):
        def get(self, key: str, default: Any = None) -> Any:
            task.on_kill()
            return super().get(key, default)

    with pytest.raises(TaskDeferred):
        task.execute(make_context(task_state_store=KilledWhileReading()))
    assert running(quick) == [other.id]


# There is one way to stop


def stop_by_operator(quick: EmulatorServer, recording_id: str) -> None:
    RealtimeKitStopRecordingOperator(task_id="stop", recording_id=recording_id).execute(make_context())


def stop_by_sensor(quick: EmulatorServer, recording_id: str) -> None:
    sensor = RealtimeKitRecordingSensor(
        task_id="task", recording_id=recording_id, poke_interval=0.05, timeout=20, stop_on_kill=True
    )
    end_process(quick, sensor)


def stop_by_trigger(quick: EmulatorServer, recording_id: str) -> None:
    trigger = RealtimeKitRecordingTrigger(
        realtimekit_conn_id="realtimekit_default", stop_on_kill=True, recording_id=recording_id
    )
    trigger.task_instance = TaskInstance()  # type: ignore[assignment]
    asyncio.run(trigger.on_kill())


def stop_by_failing_start(quick: EmulatorServer, recording_id: str) -> None:
    assert isinstance(run(timeout=0.1, stop_reused=True).error, RecordingTimeoutError)


@pytest.mark.parametrize("stop", [stop_by_operator, stop_by_sensor, stop_by_trigger, stop_by_failing_start])
def test_a_stop_is_repeated_until_the_recording_has_stopped(quick: EmulatorServer, airflow: Airflow, stop: Any) -> None:
    airflow.state = "failed"
    quick.settings.empty_seconds = 3600
    with RealtimeKitHook() as hook:
        recording = hook.start_recording(meeting_id="m")
    answer = {"success": True, "data": {"id": recording.id, "status": "RECORDING"}}
    quick.faults.add(operation="action", count=1, when="before", status=200, body=answer)
    stop(quick, recording.id)
    assert running(quick) == []
    assert quick.ledger.count("action") == 2


@pytest.mark.parametrize("stop", [stop_by_operator, stop_by_sensor, stop_by_trigger, stop_by_failing_start])
@pytest.mark.parametrize("answer", ["UPLOADING", 409, 500])
def test_a_stop_is_believed_only_when_it_shows(
    quick: EmulatorServer, airflow: Airflow, stop: Any, answer: str | int
) -> None:
    airflow.state = "failed"
    quick.settings.empty_seconds = 3600
    with RealtimeKitHook() as hook:
        recording = hook.start_recording(meeting_id="m")
    body = {"success": True, "data": {"id": recording.id, "status": answer}}
    fault: dict[str, Any] = {"status": 200, "body": body} if isinstance(answer, str) else {"status": answer}
    quick.faults.add(operation="action", count=1, when="before", **fault)
    stop(quick, recording.id)
    assert running(quick) == []


def test_a_trigger_asks_again_for_a_state_that_airflow_does_not_give(
    quick: EmulatorServer, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.state = "unreachable"
    monkeypatch.setattr(on_kill, "_STATE_PAUSE", 0.05)
    trigger = defer(quick)
    when(lambda: airflow.asked >= 2, lambda: setattr(airflow, "state", "failed"))
    asyncio.run(trigger.on_kill())
    assert running(quick) == []


def test_airflows_own_timeout_of_a_deferral_stops_the_recording_without_a_state_store(quick: EmulatorServer) -> None:
    """No triggerer noticed the deadline, and Airflow does not pass on what was stored with the deferral."""
    defer(quick)
    ti = TaskInstance(max_tries=1)
    with pytest.raises(Exception, match="timeout"):
        waiting_start(deferrable=True).resume_execution("__fail__", {"error": "Trigger timeout"}, make_context(ti=ti))
    assert running(quick) == []
