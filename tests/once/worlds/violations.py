"""What must be true at the end of a world, by the server's records alone, and the results that Airflow has."""

from __future__ import annotations

from itertools import combinations

from tests.once.worlds.airflow import Task
from tests.once.worlds.model import Recording
from tests.once.worlds.world import World


def find_violations(world: World) -> list[str]:
    """Return what is wrong, nothing if the world held."""
    rows = world.server.model.recordings
    expected = world.row.expected
    ours = [row for row in rows if row.owner != "others"]
    wrong = [f"the event {step.on!r} never came" for step in world.unmet()]
    wrong += [f"recording {_name(row)} of others was stopped by {row.stopped_by}" for row in rows if _is_wronged(row)]
    for first, second in combinations(ours, 2):
        seconds = _overlap(first, second, world.row.lasts)
        if seconds > expected.grace:
            wrong.append(f"recordings {_name(first)} and {_name(second)} ran together for {seconds:.0f} s")
    running = [row for row in ours if row.is_active]
    if expected.goes_on and len(running) != 1:
        wrong.append(f"{len(running)} recordings of ours go on, and one should")
    if running and not expected.goes_on and not expected.may_be_left:
        wrong.append(f"recording {', '.join(map(_name, running))} was left running")
    for task in world.airflow.tasks.values():
        wrong += _check_task(task, rows, world)
    return wrong


def _check_task(task: Task, rows: list[Recording], world: World) -> list[str]:
    expected = world.row.expected
    if expected.state is not None and task.state != expected.state:
        return [f"task {task.name} is {task.state}, and should be {expected.state}"]
    if task.state != "success" or not task.xcom:
        return []
    named = next((row for row in rows if row.id == task.xcom["id"]), None)
    if named is None:
        return [f"task {task.name} names a recording that is not there"]
    wrong = []
    is_ours = named.owner != "others"
    if expected.result != "any" and is_ours != (expected.result == "ours"):
        wrong.append(f"task {task.name} names recording {_name(named)}, which is {'ours' if is_ours else 'of others'}")
    if is_ours and named.stopped_by not in (None, "others"):
        wrong.append(f"task {task.name} names recording {_name(named)}, which was stopped")
    # What none of our processes stopped was recorded.
    kept = [row for row in rows if row.owner != "others" and row.stopped_by in (None, "others")]
    if [row.id for row in kept] != [named.id] * is_ours:
        recorded = ", ".join(map(_name, kept)) or "none"
        wrong.append(f"task {task.name} names recording {_name(named)}; recorded of ours: {recorded}")
    return wrong


def _is_wronged(row: Recording) -> bool:
    return row.owner == "others" and row.stopped_by not in (None, "others")


def _overlap(first: Recording, second: Recording, end: float) -> float:
    if first.meeting != second.meeting:
        return 0.0
    ends = min(end if row.ended is None else row.ended for row in (first, second))
    return ends - max(first.began, second.began)


def _name(row: Recording) -> str:
    return str(int(row.id[:8]))
