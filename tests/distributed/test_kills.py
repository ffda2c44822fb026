"""Only what a user does to a task stops its recording, on workers and triggerers; a frozen process stops none."""

from __future__ import annotations

import pytest

from scripts.distributed_airflow import WORKERS, DistributedAirflow
from scripts.local_emulator import LocalEmulator
from tests.distributed.monitored_run import MonitoredRun

KILLS = [f"{end}-{kind}" for end in ("fail", "succeed", "clear") for kind in ("worker", "triggerer")]
WAITING = [f"worker-{number}" for number in range(4)]
MARKS = {"fail": "failed", "succeed": "success"}


def make_run(
    cluster: DistributedAirflow, emulator: LocalEmulator, dag_id: str, capsys: pytest.CaptureFixture[str]
) -> MonitoredRun:
    emulator.control.post("reset").raise_for_status()
    return MonitoredRun(cluster, emulator, dag_id, capsys)


def test_a_task_ended_by_a_user_stops_its_recording_and_a_cleared_one_starts_another(
    cluster: DistributedAirflow, emulator: LocalEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(cluster, emulator, "distributed_kills", capsys)
    run.begin()
    run.wait_for(lambda: set(KILLS) <= run.waiting(), "all tasks wait for a recording", 180)
    first = {task_id: recordings[0]["id"] for task_id, recordings in run.by_task().items()}
    for task_id in KILLS:
        end, _ = task_id.split("-")
        run.clear(task_id) if end == "clear" else run.mark(task_id, MARKS[end])
    run.report("all tasks were ended or cleared")

    cleared = [task_id for task_id in KILLS if task_id.startswith("clear")]
    run.wait_for(
        lambda: len(run.ledger()["running"]) == len(cleared), "the recordings of the other tasks are stopped", 120
    )
    run.wait_for(lambda: set(cleared) <= run.waiting(), "the cleared tasks wait again", 180)
    # A process of an earlier try that had not noticed the clear yet notices it during these polls.
    run.wait_for(lambda: are_polled(run, cleared, times=8), "the new recordings are polled", 60)
    recordings = run.by_task()
    active = {
        task_id: [r["id"] for r in recordings[task_id] if r["id"] in run.ledger()["running"]] for task_id in KILLS
    }
    assert {task_id: len(ids) for task_id, ids in active.items()} == {
        task_id: int(task_id in cleared) for task_id in KILLS
    }
    assert {task_id: len(recordings[task_id]) for task_id in KILLS} == {
        task_id: 1 + (task_id in cleared) for task_id in KILLS
    }
    for task_id in cleared:
        assert active[task_id] != [first[task_id]], f"{task_id} still has its first recording"

    run.end_recordings(run.ledger()["running"])
    run.finish(timeout=120)
    run.report("the run is over. The ledger:", *run.table())
    for task_id in cleared:
        assert (run.result(task_id) or {}).get("id") == active[task_id][0]
    states = {task["task_id"]: task["state"] for task in run.tasks()}
    wanted = {task_id: MARKS.get(task_id.split("-")[0], "success") for task_id in KILLS}
    assert states == wanted
    assert run.ledger()["running"] == []


def test_workers_that_freeze_and_resume_stop_no_recording(
    cluster: DistributedAirflow, emulator: LocalEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(cluster, emulator, "distributed_freezes", capsys)
    run.begin()
    run.wait_for(lambda: set(WAITING) <= run.waiting(), "all tasks wait for a recording", 180)
    with cluster.frozen(*WORKERS):
        run.report("the workers freeze")
        # Airflow takes the tasks for dead and queues them again. No worker can run them until the processes resume.
        run.wait_for(lambda: {task["state"] for task in run.tasks()} == {"queued"}, "all are queued again", 120)
    run.report("the workers resume")
    run.wait_for(lambda: set(WAITING) <= run.waiting(), "all tasks wait again", 180)
    assert len(run.started()) == len(run.ledger()["running"]) == len(WAITING)
    run.end_recordings(run.started())
    state = run.finish(timeout=120)
    run.report(f"the run is over: {state}. The ledger:", *run.table())
    assert len(run.started()) == len(WAITING)
    assert "action" not in run.ledger()["counts"]
    assert state == "success"


def are_polled(run: MonitoredRun, task_ids: list[str], times: int) -> bool:
    """Return whether each task's latest recording was polled at least this many times."""
    recordings, polls = run.by_task(), run.polls()
    return all(len(polls.get(recordings[task_id][-1]["id"], [])) >= times for task_id in task_ids)
