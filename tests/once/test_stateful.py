"""Start, pause, resume, stop, crash, retry, kill and clear in any sequence, with random faults: one recording is
started, and none is left running."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from airflow_provider_realtimekit.api.rate_limit import reset_rate_limiters
from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.exceptions import RecordingFailedError
from tests.conftest import reset
from tests.support.task_model import Airflow, Moment, Scene, Settings, stage

KINDS = ["late", "reset", "error", "limit", "garbage", "refusal", "cut"]
OPERATIONS = ["active", "start", "list", "get", "action"]
# How often a try asks for each operation, about.
NUMBERS = {"active": 1, "start": 1, "store": 2, "list": 1, "get": 3}
MOMENTS = st.sampled_from(["active", "start", "start", "store", "store", "get", "list"]).flatmap(
    lambda operation: st.builds(
        Moment,
        operation=st.just(operation),
        is_after=st.booleans(),
        number=st.integers(1, NUMBERS[operation]),
        # A process that is asked to end has some seconds left: enough for a start that is under way.
        more=st.sampled_from([0, 40]) if operation == "get" else st.just(40),
    )
)
KILLS = ("failed", "success", "restarting")
# A worker whose heartbeat Airflow misses: its try is given up. In the second case a person has cleared it before.
LOSSES = ("lost heartbeat", "cleared, lost heartbeat")
BY_OTHERS = ("UPLOADED", "ERRORED", "pause", "resume", "stop")
EVENTS = st.sampled_from(["crash", "crash", *KILLS, *LOSSES, "out of time", "others start", *BY_OTHERS])
# In each run of the tests, and in each run of `make search`.
EXAMPLES, EXAMPLES_OF_SEARCH = 60, 400
HAPPENS = st.none() | st.tuples(MOMENTS, EVENTS)


def step(do: Callable[..., None]) -> Callable[..., None]:
    """Have a failure tell the steps that led to it, as a test in `test_found.py` has them.

    Hypothesis prints them only for a failure that occurs again with the same steps.
    """

    @functools.wraps(do)
    def run(self: Recording, **arguments: object) -> None:
        named = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        if do.__name__ != "one_at_a_time":
            self.steps.append(f"state.{do.__name__}({named})")
        try:
            do(self, **arguments)
        except Exception as error:
            error.add_note("\n".join(["Steps:", *self.steps]))
            raise

    return run


class Recording(RuleBasedStateMachine):
    """One task that records one meeting, and all that may happen to it."""

    server: EmulatorServer

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []

    @initialize(
        wait=st.sampled_from(["triggerer", "triggerer", "worker", "worker", "none"]),
        stop_reused=st.booleans(),
        seed=st.integers(0, 99),
        probability=st.sampled_from([0.0, 0.15]),
    )
    @step
    def begin(self, wait: str, stop_reused: bool, seed: int, probability: float) -> None:
        reset(self.server)
        reset_rate_limiters()
        self.server.faults.randomly(seed=seed, probability=probability, operations=OPERATIONS, kinds=KINDS, seconds=0.4)
        self.scene = Scene(self.server)
        self.task = Airflow(self.scene, Settings(wait != "none", wait == "triggerer", stop_reused))
        self.exits = contextlib.ExitStack()
        self.exits.enter_context(stage(self.task))
        #: What a person has ended, or the task when it failed for good.
        self.doomed: set[str] = set()
        #: What a clear did not stop before Airflow gave its try up: the next try may resume it, or start another.
        self.released: set[str] = set()

    # What Airflow does. No rule asks whether it applies: which rules are drawn must not depend on what chance and time
    # made of those before.

    @rule(happens=HAPPENS, at_once=st.booleans(), status=st.sampled_from(["UPLOADED", "ERRORED"]))
    @step
    def go_on(self, happens: tuple[Moment, str] | None, at_once: bool, status: str) -> None:
        """Try the task, for the first time or again; if it is deferred, its recording ends, and the task goes on."""
        if self.task.state == "deferred":
            self.finish(status)
        elif self.task.state in ("none", "up_for_retry"):
            self.run(happens, at_once)

    def run(self, happens: tuple[Moment, str] | None = None, at_once: bool = True) -> None:
        if not at_once or self.scene.recordings().keys() - self.scene.ours():
            self.task.age()
        mine = self.scene.ours() - self.doomed - self.released
        known = self.scene.recordings().keys()
        with self.watched(happens):
            self.task.run(self.plan(happens))
        if happens is None or happens[1] != "ERRORED":
            assert not isinstance(self.task.error, RecordingFailedError), "a failed recording is not resumed"
        if mine:
            started = self.scene.recordings().keys() - known - self.scene.others
            assert not started, f"there was {mine}, and a try started {started} all the same"
        if self.task.settings.waits and self.task.state in ("deferred", "success"):
            assert not self.doomed & self.scene.active(), "the recording of before the clear runs on"
            self.released.clear()

    def finish(self, status: str) -> None:
        self.scene.finish(status)
        with self.watched():
            self.task.resume()
        assert self.task.state in ("success", "failed"), self.task.error

    @rule()
    @step
    def run_out_of_time_in_triggerer(self) -> None:
        if self.is_deferred():
            with self.watched(ends=True):
                self.task.resume(deadline=1.0)

    @rule()
    @step
    def restart_triggerer(self) -> None:
        if self.is_deferred():
            with self.watched():
                self.task.restart_triggerer()

    # What people do

    @rule(state=st.sampled_from(["failed", "success"]))
    @step
    def mark(self, state: str) -> None:
        if self.is_deferred():
            with self.watched(ends=True):
                self.task.mark(state)

    @rule(happens=HAPPENS, is_run_first=st.booleans())
    @step
    def clear(self, happens: tuple[Moment, str] | None, is_run_first: bool) -> None:
        if not self.is_deferred() and self.task.state not in ("failed", "success"):
            return
        self.task.age()
        old = self.scene.ours()
        if self.task.settings.waits:
            self.doomed |= old
        with self.watched(happens, stops=True):
            self.task.clear(self.plan(happens), is_run_first=is_run_first)
        if self.task.settings.waits and self.task.state in ("deferred", "success"):
            assert not old & self.scene.active(), "the recording of before the clear runs on"

    @rule()
    @step
    def clear_another_task(self) -> None:
        self.task.clear_another()

    @rule(retries=st.sampled_from([1, 2, 3]))
    @step
    def deploy(self, retries: int) -> None:
        """Deploy a DAG in which the task has another number of retries."""
        self.task.deploy(retries)

    @rule(what=st.sampled_from(["start", "fail", "fail", "pause", "resume", "stop"]))
    @step
    def others(self, what: str) -> None:
        if what == "start":
            self.scene.start_by_others()
        elif what == "fail":
            self.scene.finish("ERRORED")
        else:
            self.scene.act(what)

    def is_deferred(self) -> bool:
        """Have the task defer, if it is up to that."""
        if self.task.state in ("none", "up_for_retry") and self.task.settings.deferrable:
            self.run()
        return self.task.state == "deferred"

    # What must be true

    @invariant()
    @step
    def one_at_a_time(self) -> None:
        assert len(self.scene.active()) <= 1
        assert not self.scene.started_beside, "a start was sent while the meeting was being recorded"
        assert not self.scene.ghosts, "a process that was dead did something"
        assert self.server.world.get(self.scene.elsewhere).status == "RECORDING"

    @contextlib.contextmanager
    def watched(self, happens: tuple[Moment, str] | None = None, *, ends: bool = False, stops: bool = False) -> Any:
        """See that only that is stopped which may be, and that which must."""
        self.scene.rivals.clear()
        ours, theirs, known = self.scene.ours(), self.scene.theirs(), self.scene.recordings().keys()
        yield
        event = self.event = happens[1] if happens and self.task.has_happened else ""
        ends = ends or self.is_over(event)
        stops = stops or ends or event in ("restarting", "cleared, lost heartbeat")
        by_others = event in ("stop", "UPLOADED", "ERRORED")
        active = self.scene.active()
        of_now = ours | (self.scene.recordings().keys() - known - self.scene.others)
        if ends or (event == "restarting" and self.task.settings.waits):
            self.doomed |= of_now
        elif event == "cleared, lost heartbeat":
            self.doomed |= of_now - active
            self.released |= of_now & active
        may_go = self.doomed | self.released if self.task.settings.waits else set()
        may_go_too = stops and self.task.settings.stop_reused
        assert by_others or not ours - active - may_go, "the task's recording was stopped by no kill"
        assert by_others or not theirs - active or may_go_too, "others' was stopped"
        if ends and self.task.settings.waits:
            assert not self.scene.ours(), f"left running after {event or self.task.state}"
        self.check_result()

    def is_over(self, event: str) -> bool:
        """Whether the task has ended for good, or its try ran out of time, so that its recording must be stopped."""
        if event == "lost heartbeat":
            # Its process is asked to end, and finds that the task has failed.
            return self.task.state == "failed"
        # Where a worker dies in the last try, nothing is left that could stop anything.
        has_failed = self.task.state == "failed" and not self.task.is_dead
        return event in ("failed", "success", "out of time") or has_failed

    def check_result(self) -> None:
        """See that a success is one."""
        if self.task.state != "success" or not self.task.result:
            return
        recordings, recording_id = self.scene.recordings(), self.task.result["id"]
        assert recording_id in recordings
        assert recordings[recording_id] != "ERRORED" or self.event == "ERRORED"
        if self.task.settings.waits:
            assert recordings[recording_id] == "UPLOADED"
            assert recording_id not in self.doomed, "a recording that was stopped by a kill is no success"

    def plan(self, happens: tuple[Moment, str] | None) -> tuple[Moment, Callable[[], None]] | None:
        if happens is None:
            return None
        moment, event = happens
        if event in KILLS:
            return moment, lambda: self.task.kill(event)
        if event in LOSSES:
            is_cleared = event.startswith("cleared")
            return moment, lambda: self.task.lose_heartbeat(is_cleared=is_cleared)
        if event in ("UPLOADED", "ERRORED"):
            return moment, lambda: self.scene.finish(event)
        if event in ("pause", "resume", "stop"):
            return moment, lambda: self.scene.act(event)
        return moment, {
            "crash": self.task.crash,
            "out of time": self.task.run_out_of_time,
            "others start": partial(self.scene.start_by_others, is_rival=True),
        }[event]

    @step
    def teardown(self) -> None:
        if not hasattr(self, "exits"):
            return
        with self.exits:
            self.server.faults.clear()
            if self.task.settings.waits:
                self.end_all()
                assert not self.scene.ours(), "left running when all was ended"

    def end_all(self) -> None:
        if self.task.state == "deferred":
            self.task.mark("failed")
        elif self.scene.ours():
            self.task.age()
            self.task.clear((Moment("get", False), lambda: self.task.kill("failed")))
            if self.task.state == "deferred":
                self.task.mark("failed")


@pytest.mark.hypothesis
@pytest.mark.timeout(600)
def test_one_recording_and_none_left_running_whatever_happens(quick: EmulatorServer) -> None:
    machine = type("Machine", (Recording,), {"server": quick})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES if settings().derandomize else EXAMPLES_OF_SEARCH,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
