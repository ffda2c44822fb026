"""A start that is sent once and whose recording is found again: crashes, retries, clears, other tasks."""

from __future__ import annotations

import re
import threading
import time
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer, Settings
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitInputError,
    RecordingActiveError,
    StartOutcomePendingError,
    StartOutcomeUnknownError,
)
from airflow_provider_realtimekit.hooks import RealtimeKitHook
from airflow_provider_realtimekit.operators import (
    RealtimeKitStartRecordingOperator,
    RealtimeKitStartTrackRecordingOperator,
)
from airflow_provider_realtimekit.start.checkpoint import STATE_KEY, Checkpoint
from tests.conftest import connect
from tests.support.start import checkpoint_in, running, started
from tests.support.tasks import Ended, StateStore, TaskInstance, make_context, run_task, when

START = RealtimeKitStartRecordingOperator
TRACKS = RealtimeKitStartTrackRecordingOperator


class Crash(BaseException):
    """The worker is gone: nothing after this runs."""


class CrashingStore(StateStore):
    """Crashes when a checkpoint is about to be saved, with or without the recording's id."""

    def __init__(self, at_id: bool) -> None:
        super().__init__()
        self.at_id = at_id

    def set(self, key: str, value: Any, **more: Any) -> None:
        if bool(value.get("recording_id")) == self.at_id:
            raise Crash
        super().set(key, value, **more)


def run(
    store: StateStore | None = None, operator: Any = START, ti: TaskInstance | None = None, **arguments: Any
) -> Ended:
    more = {"task_state_store": store} if store is not None else {}
    context = make_context(ti=ti or TaskInstance(), **more)
    return run_task(lambda: operator(**{"task_id": "task", "meeting_id": "m", **arguments}), context)


def test_a_checkpoint_is_saved_before_and_after_the_start(quick: EmulatorServer) -> None:
    before = CrashingStore(at_id=False)
    with pytest.raises(Crash):
        run(before)
    assert started(quick) == [], "nothing is sent before the checkpoint is saved"
    after = CrashingStore(at_id=True)
    with pytest.raises(Crash):
        run(after)
    assert checkpoint_in(after).recording_id is None
    assert len(started(quick)) == 1


@pytest.mark.parametrize("operator", [START, TRACKS])
@pytest.mark.parametrize("several", [False, True])
def test_the_next_try_finds_the_recording_of_a_worker_that_died_before_it_knew_the_id(
    quick: EmulatorServer, operator: Any, several: bool
) -> None:
    arguments: dict[str, Any] = {"allow_multiple_recordings": True, "file_name_prefix": "p"} if several else {}
    if operator is TRACKS:
        arguments = {"layers": {"default": {"file_name_prefix": "p"}}}
    store = CrashingStore(at_id=True)
    with pytest.raises(Crash):
        run(store, operator, **arguments)
    if several and operator is START:
        quick.world.seed(1, "RECORDING")
    survivor = StateStore(store.values)
    ended = run(survivor, operator, ti=TaskInstance(try_number=2, max_tries=0), **arguments)
    assert ended.state == "success", ended.error
    assert ended.result["id"] == started(quick)[0]
    assert quick.ledger.count("start") + quick.ledger.count("start_track") == 1
    assert checkpoint_in(survivor).is_owned


def test_the_next_try_starts_when_a_worker_died_before_the_server_acted(quick: EmulatorServer) -> None:
    store = StateStore()
    store.set(STATE_KEY, Checkpoint("m", pendulum.now("UTC").isoformat()).to_json())
    ended = run(store)
    assert ended.state == "success", ended.error
    assert started(quick) == [ended.result["id"]]
    assert quick.ledger.count("active") > 2, "it has looked for as long as the start could still be under way"


@pytest.mark.parametrize("is_active", [False, True])
def test_a_recording_long_after_an_interrupted_start_is_not_owned(quick: EmulatorServer, is_active: bool) -> None:
    with RealtimeKitHook() as hook:
        other = hook.start_recording(meeting_id="m")
        if not is_active:
            hook.stop_recording(other.id)
    store = StateStore()
    store.set(STATE_KEY, Checkpoint("m", pendulum.now("UTC").subtract(hours=20).isoformat()).to_json())
    ended = run(store)
    assert ended.state == "success", ended.error
    assert checkpoint_in(store).is_owned != is_active
    assert (ended.result["id"] == other.id) == is_active


@pytest.mark.parametrize("status", ["RECORDING", "PAUSED", "UPLOADING", "UPLOADED"])
def test_a_retry_resumes_the_recording_of_the_first_try(quick: EmulatorServer, status: str) -> None:
    store = StateStore()
    first = run(store)
    quick.world.jump(first.result["id"], status)
    again = run(store, ti=TaskInstance(try_number=2))
    assert again.result["id"] == first.result["id"]
    assert len(started(quick)) == 1


@pytest.mark.parametrize("wait", [False, True])
def test_a_retry_starts_another_recording_after_an_errored_one(quick: EmulatorServer, wait: bool) -> None:
    quick.settings.empty_seconds = 0.01
    store = StateStore()
    first = run(store)
    quick.world.jump(first.result["id"], "ERRORED")
    quick.world.leave("m")
    again = run(store, ti=TaskInstance(try_number=2), wait_for_completion=wait, poll_interval=0.05)
    assert again.state == "success", again.error
    assert again.result["id"] != first.result["id"]


def test_another_meeting_gets_another_recording(quick: EmulatorServer) -> None:
    store = StateStore()
    first = run(store)
    other = run(store, meeting_id="m-2", ti=TaskInstance(try_number=2))
    assert other.result["id"] != first.result["id"]
    assert set(running(quick)) == {first.result["id"], other.result["id"]}, "a start that does not wait stops nothing"


def test_an_active_recording_is_reused_unless_if_active_is_fail(quick: EmulatorServer) -> None:
    mine = run(meeting_id="m").result["id"]
    others = TaskInstance(task_id="another")
    assert run(meeting_id="m", ti=others).result["id"] == mine
    refused = run(meeting_id="m", if_active="fail", ti=others)
    assert isinstance(refused.error, RecordingActiveError)
    assert mine in str(refused.error)
    assert isinstance(run(meeting_id="m", if_active="{{ 'never' }}").error, RealtimeKitInputError)
    assert quick.ledger.count("start") == 1


def test_a_reused_recording_is_not_owned(quick: EmulatorServer) -> None:
    with RealtimeKitHook() as hook:
        other = hook.start_recording(meeting_id="m")
    store = StateStore()
    assert run(store).result["id"] == other.id
    assert not checkpoint_in(store).is_owned


def test_several_recordings_are_started_if_allowed(quick: EmulatorServer) -> None:
    tasks = [TaskInstance(task_id=f"task-{number}") for number in range(2)]
    ids = {run(meeting_id="m", allow_multiple_recordings="{{ true }}", ti=ti).result["id"] for ti in tasks}
    assert set(running(quick)) == ids


def test_a_composite_does_not_reuse_tracks_nor_tracks_a_composite(quick: EmulatorServer) -> None:
    tasks = [TaskInstance(task_id=f"task-{number}") for number in range(4)]
    tracks = run(operator=TRACKS, ti=tasks[0]).result["id"]
    composite = run(ti=tasks[1]).result["id"]
    assert tracks != composite
    assert set(running(quick)) == {tracks, composite}
    # Of each there is one now; a second task finds the right one.
    assert run(operator=TRACKS, ti=tasks[2]).result["id"] == tracks
    assert run(ti=tasks[3]).result["id"] == composite


@pytest.mark.parametrize("manner", ["conflict", "bad-request", "accept", "start"])
@pytest.mark.parametrize("operator", [START, TRACKS])
def test_tasks_that_start_at_once_end_with_one_recording(quick: EmulatorServer, manner: Any, operator: Any) -> None:
    quick.settings.second_start = manner
    quick.faults.add(operation="active", count=3, when="after", delay=0.1)
    ended: list[Ended] = []

    def start(number: int) -> None:
        ended.append(run(StateStore(), operator, ti=TaskInstance(task_id=f"task-{number}")))

    tasks = [threading.Thread(target=start, args=(number,)) for number in range(3)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert [one.state for one in ended] == ["success"] * 3, [one.error for one in ended]
    (survivor,) = running(quick)
    assert {one.result["id"] for one in ended} == {survivor}


def test_a_start_that_is_answered_with_an_older_recording_does_not_own_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ago = 3600.0
    settings = Settings(second_start="accept", empty_seconds=7200, media="tiny")
    with EmulatorServer(settings, clock=lambda: time.time() - ago) as server:
        connect(server, monkeypatch)
        with RealtimeKitHook() as hook:
            tracks = hook.start_track_recording(meeting_id="m")
            hook.start_recording(meeting_id="m")  # which hides the tracks from who asks for what is active
        ago = 0.0
        store = StateStore()
        assert run(store, operator=TRACKS).result["id"] == tracks.id
        assert not checkpoint_in(store).is_owned
        refused = run(operator=TRACKS, if_active="fail")
        assert isinstance(refused.error, RecordingActiveError)


def test_the_next_try_reconciles_a_start_whose_outcome_is_unknown(
    quick: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick.faults.add(operation="start", when="after", status=502)
    quick.faults.add(operation="active", count=None, skip=1, status=503)
    store = StateStore()
    first = run(store)
    assert isinstance(first.error, StartOutcomePendingError)
    assert first.state == "up_for_retry"
    quick.faults.clear()
    again = run(store, ti=TaskInstance(try_number=2))
    assert again.state == "success", again.error
    assert started(quick) == [again.result["id"]]


def test_a_start_that_is_refused_twice_fails_the_try_with_the_refusal(quick: EmulatorServer) -> None:
    quick.faults.add(operation="start", count=None, status=502)
    ended = run(StateStore())
    assert (ended.state, type(ended.error)) == ("up_for_retry", RealtimeKitAPIError)
    assert quick.ledger.count("start") == 2, "one start, and one more after the first took no effect"


def test_a_deploy_that_changes_the_retries_does_not_count_as_a_clear(quick: EmulatorServer) -> None:
    store = StateStore()
    waits = {"wait_for_completion": True, "timeout": 0.05, "poll_interval": 0.05, "stop_on_kill": True}
    first = run(store, ti=TaskInstance(max_tries=2), retries=2)
    again = run(store, ti=TaskInstance(max_tries=2, try_number=2), retries=3, **waits)
    assert first.result["id"] in str(again.error)
    assert len(started(quick)) == 1


def test_without_a_state_store_an_unknown_outcome_fails_at_once(quick: EmulatorServer) -> None:
    quick.faults.add(operation="start", when="after", status=502)
    quick.faults.add(operation="active", count=None, skip=1, status=503)
    ended = run()
    assert (ended.state, type(ended.error)) == ("failed", StartOutcomeUnknownError)
    assert quick.ledger.count("start") == 1


def test_a_start_without_an_answer_is_not_sent_again_where_several_are_allowed(quick: EmulatorServer) -> None:
    quick.faults.add(operation="start", when="before", reset=True)
    ended = run(allow_multiple_recordings=True)
    assert isinstance(ended.error, StartOutcomeUnknownError)
    assert quick.ledger.count("start") == 1


def test_a_refusal_is_raised_and_leaves_no_checkpoint(quick: EmulatorServer) -> None:
    quick.settings.strict_meetings = True
    store = StateStore()
    ended = run(store)
    assert isinstance(ended.error, RealtimeKitAPIError)
    assert ended.state == "up_for_retry"
    assert Checkpoint.from_json(store.get(STATE_KEY)) is None


def test_an_unreadable_checkpoint_counts_as_none(quick: EmulatorServer) -> None:
    for value in ("id", {}, {"recording_id": "r"}, {"meeting_id": "m", "since": "whenever"}, None):
        assert Checkpoint.from_json(value) is None
    checkpoint = Checkpoint("m", "2026-11-20T10:00:00+00:00", 2, "r", is_owned=True)
    assert Checkpoint.from_json({**checkpoint.to_json(), "from_the_future": 1}) == checkpoint


def test_ensure_recording_of_the_hook_starts_once_too(quick: EmulatorServer) -> None:
    quick.faults.add(operation="start", when="after", status=502)
    with RealtimeKitHook() as hook:
        recording = hook.ensure_recording(meeting_id="m")
        assert hook.ensure_recording(meeting_id="m").id == recording.id
        with pytest.raises(RecordingActiveError):
            hook.ensure_recording(meeting_id="m", if_active="fail")
    assert quick.ledger.count("start") == 1


# The mark in the name


def prefix_of(quick: EmulatorServer, recording_id: str) -> str:
    return str(quick.world.get(recording_id).config.get("file_name_prefix"))


def test_a_start_carries_a_mark_behind_the_prefix_of_the_user(quick: EmulatorServer) -> None:
    marks = set()
    for number, (prefix, expected) in enumerate([(None, r"rtk-[a-z2-7]{10}"), ("a b", r"a b_rtk-[a-z2-7]{10}")]):
        ended = run(ti=TaskInstance(map_index=number), file_name_prefix=prefix, meeting_id=f"m-{number}")
        sent = prefix_of(quick, ended.result["id"])
        assert re.fullmatch(expected, sent)
        assert ended.result["output_file_name"].startswith(sent)
        marks.add(sent[-14:])
    assert len(marks) == 2, "each task has marks of its own"
    with RealtimeKitHook() as hook:
        assert re.fullmatch(r"rtk-[a-z2-7]{10}", prefix_of(quick, hook.ensure_recording(meeting_id="m-3").id))


def test_each_layer_of_tracks_carries_the_mark(quick: EmulatorServer) -> None:
    ended = run(operator=TRACKS, layers={"default": {"file_name_prefix": "p"}, "b": {}})
    layers = quick.world.get(ended.result["id"]).config["layers"]
    assert re.fullmatch(r"p_rtk-[a-z2-7]{10}", layers["default"]["file_name_prefix"])
    assert layers["b"]["file_name_prefix"] == layers["default"]["file_name_prefix"][2:]


@pytest.mark.parametrize("prefix", [None, "p"])
def test_the_mark_can_be_left_out(quick: EmulatorServer, prefix: str | None) -> None:
    store = StateStore()
    quick.faults.add(operation="start", when="after", status=502)
    ended = run(store, mark_name=False, file_name_prefix=prefix)
    assert ended.state == "success", ended.error
    assert prefix_of(quick, ended.result["id"]) == str(prefix)
    assert checkpoint_in(store).is_owned
    assert len(started(quick)) == 1


def test_an_undisturbed_start_sends_few_requests(quick: EmulatorServer) -> None:
    run(StateStore())
    assert [request.operation for request in quick.ledger.requests] == ["active", "start", "list", "list"]


@pytest.mark.parametrize("wait", [False, True])
def test_what_others_start_while_a_start_is_in_doubt_is_not_owned(quick: EmulatorServer, wait: bool) -> None:
    quick.faults.add(operation="start", when="before", status=502)

    def start_others() -> None:
        with RealtimeKitHook() as hook:
            hook.start_recording(meeting_id="m", file_name_prefix="theirs")

    when(lambda: quick.ledger.count("start") == 1, start_others)
    store = StateStore()
    waits = {"wait_for_completion": True, "timeout": 0.2, "poll_interval": 0.05} if wait else {}
    ended = run(store, **waits)
    assert ended.state == ("failed" if wait else "success"), ended.error
    (theirs,) = running(quick)
    assert prefix_of(quick, theirs) == "theirs"
    assert (checkpoint_in(store).recording_id, checkpoint_in(store).is_owned) == (theirs, False)


def test_without_a_state_store_the_next_try_recognises_its_recording_by_the_mark(quick: EmulatorServer) -> None:
    first = run()
    waits = {"wait_for_completion": True, "timeout": 0.2, "poll_interval": 0.05}
    again = run(ti=TaskInstance(try_number=2, max_tries=0), if_active="fail", **waits)
    assert again.state == "failed"
    assert first.result["id"] in str(again.error)
    assert running(quick) == [], "it was its own, and was stopped"


def test_without_a_state_store_a_clear_stops_the_recording_of_before(quick: EmulatorServer) -> None:
    first = run()
    again = run(ti=TaskInstance(try_number=2, max_tries=1), stop_on_kill=True)
    assert again.result["id"] != first.result["id"]
    assert running(quick) == [again.result["id"]]


@pytest.mark.parametrize(("status", "clears"), [("UPLOADED", 0), ("UPLOADED", 1), ("RECORDING", 1)])
def test_a_clear_that_leaves_max_tries_makes_nothing_of_before_a_success(
    quick: EmulatorServer, status: str, clears: int
) -> None:
    store = StateStore()

    def run_after(clears: int, try_number: int) -> Ended:
        ti = TaskInstance(try_number=try_number, max_tries=1)
        context = make_context(ti=ti, task_state_store=store, dag_run=SimpleNamespace(clear_number=clears))
        return run_task(lambda: START(task_id="task", meeting_id="m"), context)

    first = run_after(0, 1)
    quick.world.jump(first.result["id"], status)
    again = run_after(clears, 2)
    assert again.state == "success", again.error
    is_same = again.result["id"] == first.result["id"]
    assert is_same == (status == "RECORDING" or clears == 0), "another task of the run may have been cleared"


def test_a_recording_that_ended_by_itself_is_a_success_although_another_task_was_cleared(quick: EmulatorServer) -> None:
    store = StateStore()

    def run_after(clears: int, try_number: int) -> Ended:
        ti = TaskInstance(try_number=try_number, max_tries=1)
        context = make_context(ti=ti, task_state_store=store, dag_run=SimpleNamespace(clear_number=clears))
        return run_task(lambda: START(task_id="task", meeting_id="m"), context)

    first = run_after(0, 1)
    quick.world.jump(first.result["id"], "UPLOADED")
    (recording,) = quick.world.contents()[1]
    recording.stop_reason = {"reason": "ALL_PEERS_LEFT"}
    assert run_after(1, 2).result["id"] == first.result["id"]
    assert len(started(quick)) == 1


def test_a_refused_second_start_leaves_the_first_in_doubt(quick: EmulatorServer) -> None:
    quick.faults.add(operation="start", count=1, when="before", status=502)
    quick.faults.add(operation="start", count=1, when="before", status=409)
    store = StateStore()
    ended = run(store)
    assert isinstance(ended.error, StartOutcomePendingError), ended.error
    assert checkpoint_in(store).recording_id is None
    assert run(store, ti=TaskInstance(try_number=2)).state == "success"
    assert len(started(quick)) == 1
