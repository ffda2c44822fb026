"""A person's word stops a recording, on every worker and triggerer; a process that only seemed dead stops none."""

from __future__ import annotations

import pytest

from scripts.distributed_airflow import WORKERS, DistributedAirflow
from scripts.local_emulator import LocalEmulator
from tests.distributed.stage import Stage

KILLS = [f"{end}-{kind}" for end in ("fail", "succeed", "clear") for kind in ("worker", "triggerer")]
WAITING = [f"worker-{number}" for number in range(4)]
MARKS = {"fail": "failed", "succeed": "success"}


def make_stage(
    cluster: DistributedAirflow, emulator: LocalEmulator, dag_id: str, capsys: pytest.CaptureFixture[str]
) -> Stage:
    emulator.control.post("reset").raise_for_status()
    return Stage(cluster, emulator, dag_id, capsys)


def test_what_a_person_ends_is_stopped_and_what_is_cleared_is_recorded_anew(
    cluster: DistributedAirflow, emulator: LocalEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = make_stage(cluster, emulator, "distributed_kills", capsys)
    stage.begin()
    stage.wait_for(lambda: set(KILLS) <= stage.waiting(), "all are recorded and waited for", 180)
    first = {task_id: recordings[0]["id"] for task_id, recordings in stage.by_task().items()}
    for task_id in KILLS:
        end, _ = task_id.split("-")
        stage.clear(task_id) if end == "clear" else stage.mark(task_id, MARKS[end])
    stage.tell("a person has ended or cleared all tasks")

    cleared = [task_id for task_id in KILLS if task_id.startswith("clear")]
    stage.wait_for(lambda: len(stage.ledger()["running"]) == len(cleared), "all else is stopped", 120)
    stage.wait_for(lambda: set(cleared) <= stage.waiting(), "the cleared ones are waited for again", 180)
    # Whoever is still to learn of the clear learns of it meanwhile.
    stage.wait_for(lambda: are_looked_at(stage, cleared, times=8), "they go on", 60)
    recordings = stage.by_task()
    active = {
        task_id: [r["id"] for r in recordings[task_id] if r["id"] in stage.ledger()["running"]] for task_id in KILLS
    }
    assert {task_id: len(ids) for task_id, ids in active.items()} == {
        task_id: int(task_id in cleared) for task_id in KILLS
    }
    assert {task_id: len(recordings[task_id]) for task_id in KILLS} == {
        task_id: 1 + (task_id in cleared) for task_id in KILLS
    }
    assert all(active[task_id] != [first[task_id]] for task_id in cleared)

    stage.end_recordings(stage.ledger()["running"])
    stage.finish(timeout=120)
    stage.tell("the run is over. The ledger:", *stage.table())
    for task_id in cleared:
        assert (stage.result(task_id) or {}).get("id") == active[task_id][0]
    states = {task["task_id"]: task["state"] for task in stage.tasks()}
    wanted = {task_id: MARKS.get(task_id.split("-")[0], "success") for task_id in KILLS}
    assert states == wanted
    assert stage.ledger()["running"] == []


def test_workers_that_freeze_and_come_back_stop_nothing(
    cluster: DistributedAirflow, emulator: LocalEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = make_stage(cluster, emulator, "distributed_freezes", capsys)
    stage.begin()
    stage.wait_for(lambda: set(WAITING) <= stage.waiting(), "all are recorded and waited for", 180)
    with cluster.frozen(*WORKERS):
        stage.tell("the workers freeze")
        # Airflow has given the tasks up by then, and nobody can take them on: their old processes wake up first.
        stage.wait_for(lambda: {task["state"] for task in stage.tasks()} == {"queued"}, "all are queued again", 120)
    stage.tell("the workers come back")
    stage.wait_for(lambda: set(WAITING) <= stage.waiting(), "all are waited for again", 180)
    assert len(stage.started()) == len(stage.ledger()["running"]) == len(WAITING)
    stage.end_recordings(stage.started())
    state = stage.finish(timeout=120)
    stage.tell(f"the run is over: {state}. The ledger:", *stage.table())
    assert len(stage.started()) == len(WAITING)
    assert "action" not in stage.ledger()["counts"]
    assert state == "success"


def are_looked_at(stage: Stage, task_ids: list[str], times: int) -> bool:
    """Whether each task's latest recording was looked at so often."""
    recordings, looks = stage.by_task(), stage.looks()
    return all(len(looks.get(recordings[task_id][-1]["id"], [])) >= times for task_id in task_ids)
