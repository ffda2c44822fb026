"""Sequences of events that the search of `test_stateful` has found, each under a name of its own.

`make search` prints a sequence as the steps of a test here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from tests.once.test_stateful import Recording
from tests.support.task_model import Moment

known_defect = pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="Airflow does not show whether this task or another one was cleared"
)
first_look = Moment(operation="active", is_after=False, number=1, more=40)
before_start = Moment(operation="start", is_after=False, number=1, more=40)
while_waiting = Moment(operation="get", is_after=False, number=2, more=40)


@pytest.fixture
def state(quick: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recording]:
    """A task before its first step, whose recordings are checked after each step."""
    state: Recording = type("Machine", (Recording,), {"server": quick})()
    for name in ("go_on", "run_out_of_time_in_triggerer", "restart_triggerer", "mark", "clear", "others"):
        monkeypatch.setattr(state, name, checked(state, getattr(state, name)))
    yield state
    # A failed test has not come to its teardown.
    state.exits.close()


def checked(state: Recording, step: Callable[..., None]) -> Callable[..., None]:
    def run(**arguments: object) -> None:
        step(**arguments)
        state.one_at_a_time()

    return run


def test_a_try_that_finds_an_abandoned_start_is_marked_as_failed(state: Recording) -> None:
    state.begin(wait="triggerer", stop_reused=False, seed=0, probability=0.0)
    state.go_on(at_once=False, happens=(before_start, "out of time"), status="UPLOADED")
    state.go_on(at_once=False, happens=(first_look, "failed"), status="UPLOADED")
    state.teardown()


def test_a_task_that_ran_out_of_time_is_cleared_and_marked_as_failed(state: Recording) -> None:
    state.begin(wait="triggerer", stop_reused=False, seed=0, probability=0.0)
    state.run_out_of_time_in_triggerer()
    state.clear(happens=(first_look, "failed"), is_run_first=False)
    state.teardown()


def test_a_start_without_an_id_does_not_stop_the_recording_of_others(state: Recording) -> None:
    state.begin(wait="triggerer", stop_reused=False, seed=0, probability=0.0)
    state.go_on(at_once=False, happens=(before_start, "out of time"), status="UPLOADED")
    state.others(what="start")
    state.restart_triggerer()
    state.teardown()


def test_what_a_clear_stopped_is_no_success_although_the_worker_lost_its_heartbeat(state: Recording) -> None:
    state.begin(wait="worker", stop_reused=False, seed=0, probability=0.0)
    state.go_on(at_once=False, happens=(while_waiting, "cleared, lost heartbeat"), status="UPLOADED")
    assert (state.task.state, state.task.ti.max_tries) == ("up_for_retry", 3)
    state.go_on(at_once=False, happens=None, status="UPLOADED")
    state.teardown()


@pytest.mark.parametrize("is_run_first", [False, pytest.param(True, marks=known_defect)])
def test_a_task_is_cleared_after_a_deploy_with_fewer_retries(state: Recording, is_run_first: bool) -> None:
    state.begin(wait="triggerer", stop_reused=False, seed=0, probability=0.0)
    state.go_on(at_once=True, happens=None, status="UPLOADED")
    state.deploy(retries=2)
    state.clear(happens=None, is_run_first=is_run_first)
    state.go_on(at_once=True, happens=None, status="UPLOADED")
    state.teardown()


@known_defect
def test_another_task_is_cleared_before_a_retry_finds_that_the_recording_has_ended(state: Recording) -> None:
    state.begin(wait="worker", stop_reused=True, seed=36, probability=0.0)
    state.go_on(at_once=False, happens=None, status="UPLOADED")
    for _ in range(6):
        state.clear_another_task()
    state.go_on(at_once=True, happens=(Moment("get", is_after=False, number=1), "ERRORED"), status="ERRORED")
    state.teardown()


def test_a_trigger_stops_the_recording_after_two_bad_answers_in_a_row(state: Recording, quick: EmulatorServer) -> None:
    state.begin(wait="triggerer", stop_reused=False, seed=0, probability=0.0)
    state.go_on(at_once=True, happens=None, status="UPLOADED")
    answer = {"success": False, "error": {"code": 500, "message": "Something went wrong"}}
    for operation in ("action", "get"):
        quick.faults.add(operation=operation, body=answer)
    state.mark(state="failed")
    state.teardown()


def test_a_try_is_cleared_before_it_stores_anything(state: Recording) -> None:
    state.begin(wait="worker", stop_reused=False, seed=0, probability=0.0)
    state.go_on(at_once=False, happens=None, status="UPLOADED")
    state.go_on(
        at_once=False, happens=(Moment("store", is_after=False, number=1, more=40), "restarting"), status="UPLOADED"
    )
    state.teardown()


def test_a_try_is_cleared_while_it_resumes_the_recording(state: Recording) -> None:
    state.begin(wait="worker", stop_reused=True, seed=88, probability=0.0)
    state.run_out_of_time_in_triggerer()
    state.go_on(at_once=True, happens=None, status="ERRORED")
    state.others(what="pause")
    state.go_on(at_once=False, happens=(first_look, "success"), status="ERRORED")
    state.mark(state="failed")
    state.restart_triggerer()
    state.go_on(
        at_once=False, happens=(Moment("store", is_after=False, number=1, more=40), "restarting"), status="ERRORED"
    )
    state.teardown()


@pytest.mark.parametrize("wait", ["triggerer", "worker"])
def test_a_failed_recording_is_not_resumed(state: Recording, wait: str) -> None:
    state.begin(wait=wait, stop_reused=False, seed=0, probability=0.0)
    state.go_on(happens=(Moment("store", is_after=True, number=2), "crash"), at_once=True, status="UPLOADED")
    state.others(what="fail")
    state.go_on(happens=None, at_once=True, status="UPLOADED")
    assert len(state.scene.recordings()) == 2
    state.teardown()
