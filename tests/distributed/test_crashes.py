"""Whatever dies, each meeting is recorded once, to its end, and its task names that recording."""

from __future__ import annotations

import time

import pytest

from scripts.distributed_airflow import TRIGGERERS, WORKERS, DistributedAirflow
from scripts.local_emulator import LocalEmulator
from scripts.services import Services
from tests.distributed.stage import Json, Stage

TASKS = 50
# Within the connection's timeout for one request, 30 s: a call that is held back has not failed.
HELD_SECONDS = 25
LATE = {"operation": "start", "count": None, "when": "before", "delay": HELD_SECONDS}
LOST = LATE | {"reset": True}
ANSWERED_LATE = LATE | {"when": "after"}
# How many tasks each crash is to hit at least.
HIT = 3
REDIS_AWAY_SECONDS = 20
EMULATOR_AWAY_SECONDS = 8


@pytest.fixture
def stage(cluster: DistributedAirflow, emulator: LocalEmulator, capsys: pytest.CaptureFixture[str]) -> Stage:
    emulator.control.post("reset").raise_for_status()
    return Stage(cluster, emulator, "distributed_meetings", capsys)


def test_fifty_meetings_are_recorded_once_each_whatever_dies(stage: Stage, services: Services) -> None:
    # Some starts are lost with their senders; the others are under way, and are acted on when nobody waits any more.
    since = stage.faults(LOST | {"count": HIT}, LATE)
    stage.begin()
    kill_a_worker_that_starts(stage, since, has_acted=False)
    since = stage.faults(ANSWERED_LATE)
    kill_a_worker_that_starts(stage, since, has_acted=True)
    stage.faults()
    stage.wait_for(lambda: len(stage.started()) >= TASKS, "all meetings are recorded", 360)

    kill_a_worker_that_polls(stage)
    kill_a_triggerer_that_waits(stage)
    restart_the_scheduler(stage)
    stop_redis(stage, services)
    restart_the_emulator(stage)

    stage.wait_for(lambda: len(stage.waiting()) == TASKS, "all tasks wait again", 360)
    stage.tell("the recordings end by themselves")
    stage.end_recordings(stage.ledger()["running"])
    state = stage.finish(timeout=240)
    ledger, recordings = stage.ledger(), stage.by_task()
    stage.tell(f"the run is over: {state}. The ledger:", *stage.table())

    assert len(ledger["started"]) == TASKS
    assert ledger["running"] == []
    assert ledger["by_status"].keys() == {"UPLOADED"}
    assert "action" not in ledger["counts"], "nobody stopped a recording"
    assert [len(recordings[task["task_id"]]) for task in stage.tasks()] == [1] * TASKS
    results = {task["task_id"]: (stage.result(task["task_id"]) or {}).get("id") for task in stage.tasks()}
    assert results == {task_id: recordings[task_id][0]["id"] for task_id in results}
    assert {task["state"] for task in stage.tasks()} == {"success"}
    assert state == "success"


def kill_a_worker_that_starts(stage: Stage, since: float, *, has_acted: bool) -> None:
    """Kill one whose start calls hang, the server having acted on them or not."""

    def hanging(worker: str) -> list[Json]:
        # Those that have just begun: they are to hang still when their worker is dead.
        return stage.unanswered_starts(worker, max(since, time.time() - HELD_SECONDS / 2))

    def victim() -> str:
        return next((worker for worker in WORKERS if len(hanging(worker)) >= HIT), "")

    stage.wait_for(victim, f"a worker waits for the answers to {HIT} starts", 180)
    worker = victim() or WORKERS[0]
    calls, started = hanging(worker), len(stage.started())
    stage.cluster.kill(worker)
    killed = time.time()
    stage.cluster.start_component(worker)
    assert len(calls) >= HIT
    # Nobody's answer was on its way yet.
    assert killed < min(call["at"] for call in calls) + HELD_SECONDS
    # The server acts at once, or only after so long.
    assert started >= len(calls) if has_acted else started == 0
    acted = "the server had acted on" if has_acted else "the server had yet to act on"
    stage.tell(f"{worker} was killed in the middle of {len(calls)} starts, which {acted}")


def kill_a_worker_that_polls(stage: Stage) -> None:
    """Kill one while tasks wait on it."""

    def waiting_on(worker: str) -> set[str]:
        return stage.waiting() & stage.running_on(worker)

    stage.wait_for(lambda: any(len(waiting_on(worker)) >= HIT for worker in WORKERS), f"{HIT} tasks wait on a worker")
    worker = max(WORKERS, key=lambda worker: len(waiting_on(worker)))
    waiting = waiting_on(worker)
    stage.cluster.kill(worker)
    stage.tell(f"{worker} was killed, on which {len(waiting)} tasks waited")
    stage.cluster.start_component(worker)


def kill_a_triggerer_that_waits(stage: Stage) -> None:
    """Kill the one with more waits, and start it again only when the other has taken all over."""
    stage.wait_for(lambda: max(len(stage.deferred_to(triggerer)) for triggerer in TRIGGERERS) >= HIT, "waits")
    victim, other = sorted(TRIGGERERS, key=lambda triggerer: -len(stage.deferred_to(triggerer)))
    waits = stage.deferred_to(victim)
    stage.cluster.kill(victim)
    stage.tell(f"{victim} was killed, which held {len(waits)} waits")
    stage.wait_for(lambda: waits <= stage.deferred_to(other), f"{other} takes them over")
    stage.tell(f"{other} has taken them over")
    stage.cluster.start_component(victim)


def restart_the_scheduler(stage: Stage) -> None:
    """End it as a deployment does, and start it again."""
    stage.cluster.stop_component("scheduler")
    stage.cluster.start_component("scheduler")
    stage.tell("the scheduler was restarted")
    stage.cluster.wait_healthy()


def stop_redis(stage: Stage, services: Services) -> None:
    """Leave Celery without its broker for a while."""
    services.stop_redis()
    stage.tell("Redis was stopped")
    time.sleep(REDIS_AWAY_SECONDS)
    services.start_redis()
    stage.tell(f"Redis is back after {REDIS_AWAY_SECONDS} s")


def restart_the_emulator(stage: Stage) -> None:
    """Leave everybody without the API for a while."""
    before = stage.started()
    stage.emulator.interrupt()
    time.sleep(EMULATOR_AWAY_SECONDS)
    stage.emulator.start()
    stage.tell(f"the emulator was away for {EMULATOR_AWAY_SECONDS} s")
    assert stage.started()[: len(before)] == before
