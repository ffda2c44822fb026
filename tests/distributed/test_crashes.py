"""Workers, a triggerer, the scheduler, Redis and the API fail: each meeting is still recorded exactly once."""

from __future__ import annotations

import time

import pytest

from scripts.distributed_airflow import TRIGGERERS, WORKERS, DistributedAirflow
from scripts.local_emulator import LocalEmulator
from scripts.services import Services
from tests.distributed.monitored_run import Json, MonitoredRun

TASKS = 50
# Less than the connection's timeout for one request, 30 s, so that a delayed call does not fail.
DELAY_SECONDS = 25
LATE = {"operation": "start", "count": None, "when": "before", "delay": DELAY_SECONDS}
LOST = LATE | {"reset": True}
ANSWERED_LATE = LATE | {"when": "after"}
# Each crash hits at least this many tasks.
MIN_HIT = 3
REDIS_DOWN_SECONDS = 20
EMULATOR_DOWN_SECONDS = 8


@pytest.fixture
def run(cluster: DistributedAirflow, emulator: LocalEmulator, capsys: pytest.CaptureFixture[str]) -> MonitoredRun:
    emulator.control.post("reset").raise_for_status()
    return MonitoredRun(cluster, emulator, "distributed_meetings", capsys)


def test_fifty_meetings_are_recorded_once_each_despite_all_crashes(run: MonitoredRun, services: Services) -> None:
    # Some starts never take effect; the others take effect late, when their senders are dead.
    since = run.faults(LOST | {"count": MIN_HIT}, LATE)
    run.begin()
    kill_a_worker_that_starts(run, since, has_acted=False)
    since = run.faults(ANSWERED_LATE)
    kill_a_worker_that_starts(run, since, has_acted=True)
    run.faults()
    run.wait_for(lambda: len(run.started()) >= TASKS, "all meetings are recorded", 360)

    kill_a_worker_that_polls(run)
    kill_a_triggerer_that_waits(run)
    restart_the_scheduler(run)
    stop_redis(run, services)
    restart_the_emulator(run)

    run.wait_for(lambda: len(run.waiting()) == TASKS, "all tasks wait again", 360)
    run.report("all recordings end")
    run.end_recordings(run.ledger()["running"])
    state = run.finish(timeout=240)
    ledger, recordings = run.ledger(), run.by_task()
    run.report(f"the run is over: {state}. The ledger:", *run.table())

    assert len(ledger["started"]) == TASKS
    assert ledger["running"] == []
    assert ledger["by_status"].keys() == {"UPLOADED"}
    assert "action" not in ledger["counts"], "nobody stopped a recording"
    assert [len(recordings[task["task_id"]]) for task in run.tasks()] == [1] * TASKS
    results = {task["task_id"]: (run.result(task["task_id"]) or {}).get("id") for task in run.tasks()}
    assert results == {task_id: recordings[task_id][0]["id"] for task_id in results}
    assert {task["state"] for task in run.tasks()} == {"success"}
    assert state == "success"


def kill_a_worker_that_starts(run: MonitoredRun, since: float, *, has_acted: bool) -> None:
    """Kill a worker with unanswered start calls, before or after the server has carried them out."""

    def hanging(worker: str) -> list[Json]:
        # Only calls that have just begun, because they must still be unanswered when the worker is dead.
        return run.unanswered_starts(worker, max(since, time.time() - DELAY_SECONDS / 2))

    def victim() -> str:
        return next((worker for worker in WORKERS if len(hanging(worker)) >= MIN_HIT), "")

    run.wait_for(victim, f"a worker waits for the answers to {MIN_HIT} starts", 180)
    worker = victim() or WORKERS[0]
    calls, started = hanging(worker), len(run.started())
    run.cluster.kill(worker)
    killed = time.time()
    run.cluster.start_component(worker)
    assert len(calls) >= MIN_HIT
    # No call was answered before the kill.
    assert killed < min(call["at"] for call in calls) + DELAY_SECONDS
    # The fault decides whether the server starts a recording before the delay or after it.
    assert started >= len(calls) if has_acted else started == 0
    when = "after" if has_acted else "before"
    run.report(f"{worker} was killed during {len(calls)} starts, {when} the server carried them out")


def kill_a_worker_that_polls(run: MonitoredRun) -> None:
    """Kill a worker while tasks wait on it."""

    def waiting_on(worker: str) -> set[str]:
        return run.waiting() & run.running_on(worker)

    run.wait_for(
        lambda: any(len(waiting_on(worker)) >= MIN_HIT for worker in WORKERS), f"{MIN_HIT} tasks wait on a worker"
    )
    worker = max(WORKERS, key=lambda worker: len(waiting_on(worker)))
    waiting = waiting_on(worker)
    run.cluster.kill(worker)
    run.report(f"{worker} was killed while {len(waiting)} tasks waited on it")
    run.cluster.start_component(worker)


def kill_a_triggerer_that_waits(run: MonitoredRun) -> None:
    """Kill the triggerer with more waits, and start it again when the other one has all of them."""
    run.wait_for(lambda: max(len(run.deferred_to(triggerer)) for triggerer in TRIGGERERS) >= MIN_HIT, "waits")
    victim, other = sorted(TRIGGERERS, key=lambda triggerer: -len(run.deferred_to(triggerer)))
    waits = run.deferred_to(victim)
    run.cluster.kill(victim)
    run.report(f"{victim} was killed with {len(waits)} waits")
    run.wait_for(lambda: waits <= run.deferred_to(other), f"{other} has the waits of {victim}")
    run.report(f"{other} has the waits of {victim}")
    run.cluster.start_component(victim)


def restart_the_scheduler(run: MonitoredRun) -> None:
    """Restart the scheduler with SIGTERM, as a deployment does."""
    run.cluster.stop_component("scheduler")
    run.cluster.start_component("scheduler")
    run.report("the scheduler was restarted")
    run.cluster.wait_healthy()


def stop_redis(run: MonitoredRun, services: Services) -> None:
    """Stop Celery's broker, and start it again."""
    services.stop_redis()
    run.report("Redis was stopped")
    time.sleep(REDIS_DOWN_SECONDS)
    services.start_redis()
    run.report(f"Redis is back after {REDIS_DOWN_SECONDS} s")


def restart_the_emulator(run: MonitoredRun) -> None:
    """Stop the API, and start it again."""
    before = run.started()
    run.emulator.interrupt()
    time.sleep(EMULATOR_DOWN_SECONDS)
    run.emulator.start_and_wait()
    run.report(f"the emulator was down for {EMULATOR_DOWN_SECONDS} s")
    assert run.started()[: len(before)] == before
