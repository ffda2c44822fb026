"""Poll rounds against random lists: they find every recording with its true status, and need few requests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_realtimekit.api.recordings import CLOCK_SLACK
from airflow_provider_realtimekit.exceptions import RealtimeKitNotFoundError
from airflow_provider_realtimekit.waiting.outcome import Wait, fetch_awaited
from airflow_provider_realtimekit.waiting.planner import ListCostModel, PollTarget, plan, poll_list
from tests.support.api import API
from tests.support.waiting import START, Kit, Life, at

DAY = 86_400.0
FINALS = ["UPLOADED", "ERRORED", "PAUSED"]
MEETINGS = ["m-1", "m-2", "m-3"]


def run_flow(flow: Any, kit: Kit) -> Any:
    """Run a flow against a kit."""
    try:
        step = next(flow)
        while True:
            step = flow.send(kit.answer(step)) if isinstance(step, httpx.Request) else next(flow)
    except StopIteration as stop:
        return stop.value


def make_kit(lives: Sequence[Life], cap: int, first_page: int = 1) -> Kit:
    """Return a kit in which each request takes a second."""
    kit = Kit({life.id: life for life in lives}, lambda: 0.0, cap, first_page)
    kit.clock = lambda: float(len(kit.received))
    return kit


def poll_round(targets: Sequence[PollTarget], model: ListCostModel, kit: Kit) -> dict[PollTarget, Any]:
    """Poll all targets as the poller does, and return what was found."""
    seen: dict[PollTarget, Any] = {}
    to_get, to_list = plan(targets, model)
    if to_list:
        run_flow(poll_list(API, to_list, model, seen.__setitem__), kit)
    for target in [*to_get, *(target for target in to_list if target not in seen)]:
        try:
            seen[target] = run_flow(fetch_awaited(API, target), kit)
        except RealtimeKitNotFoundError:
            continue
    return seen


@st.composite
def some_lives(draw: st.DrawFn, *, steady: bool) -> list[Life]:
    """Draw recordings. If the world is not steady, they appear late and out of order, between two pages."""
    moments = st.just(0.0) if steady else st.sampled_from([0.0, 1.0, 2.0, 4.0])
    return [
        Life(
            f"r{number}",
            meeting=draw(st.sampled_from(MEETINGS)),
            invoked=-float(draw(st.integers(1, 40))) * 20,
            shown=draw(moments) - 0.5,
            final=draw(st.sampled_from(FINALS)),
            ends=-1.0,
            listed=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 25)))
    ]


@st.composite
def some_targets(draw: st.DrawFn, lives: list[Life]) -> list[PollTarget]:
    waits = [Wait(recording_id="nowhere")] if draw(st.booleans()) else []
    for life in lives:
        if draw(st.booleans()):
            waits.append(Wait(recording_id=life.id, invoked_after=draw(st.none() | st.just(life.invoked_time))))
    for meeting in draw(st.lists(st.sampled_from(MEETINGS), max_size=3)):
        waits.append(Wait(meeting_id=meeting, invoked_after=at(-20.0 * draw(st.integers(0, 40)))))
    return list(dict.fromkeys(map(PollTarget.of, waits)))


def newest(lives: Sequence[Life], target: PollTarget, now: float) -> set[str | None]:
    """Return the ids of the newest recordings, several if they were invoked at the same time."""
    since = target.since - START.timestamp()
    candidates = [
        life
        for life in lives
        if life.meeting == target.meeting_id and life.listed and life.is_shown(now)
        if life.invoked >= since
    ]
    last = max((life.invoked for life in candidates), default=None)
    return {life.id for life in candidates if life.invoked == last} or {None}


def check_seen(seen: dict[PollTarget, Any], kit: Kit, began: float) -> None:
    """Check that each result of a round was true at some time during the round."""
    lives = list(kit.lives.values())
    moments = [began + step for step in range(int(kit.clock() - began) + 1)]
    for target, recording in seen.items():
        if target.recording_id:
            assert (recording.id, recording.status) == (target.recording_id, kit.lives[recording.id].final)
        else:
            possible = set().union(*(newest(lives, target, now) for now in moments))
            assert (recording and recording.id) in possible


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 12), st.sampled_from([0, 1]), st.booleans())
def test_a_round_finds_every_recording_with_its_true_status(data: Any, cap: int, first_page: int, steady: bool) -> None:
    lives = data.draw(some_lives(steady=steady))
    targets = data.draw(some_targets(lives))
    kit, model = make_kit(lives, cap, first_page), ListCostModel()
    for _ in range(3):
        began = kit.clock()
        seen = poll_round(targets, model, kit)
        check_seen(seen, kit, began)
        for target in set(targets) - set(seen):
            life = kit.lives.get(str(target.recording_id))
            assert life is None or not life.is_shown(began), f"{target} was not found, although it was listed"


def pages(lives: Sequence[Life], since: float, cap: int) -> int:
    begin = since - CLOCK_SLACK.total_seconds() - START.timestamp()
    rows = sum(life.listed and life.invoked >= begin for life in lives)
    return max(1, math.ceil(rows / cap))


def cheapest(targets: Sequence[PollTarget], kit: Kit) -> int:
    """Return the cost of the best plan for somebody who knows the complete list."""
    lives = list(kit.lives.values())
    by_age = sorted(targets, key=lambda target: target.since)
    costs = [len(by_age)]
    for cut, oldest in enumerate(by_age):
        hidden = sum(not kit.lives[str(target.recording_id)].listed for target in by_age[cut:])
        costs.append(cut + pages(lives, oldest.since, kit.cap) + hidden)
    return min(costs)


def rounds_cost(targets: Sequence[PollTarget], kit: Kit, rounds: int = 4) -> list[int]:
    model, costs = ListCostModel(), []
    for _ in range(rounds):
        before = len(kit.received)
        poll_round(targets, model, kit)
        costs.append(len(kit.received) - before)
    return costs


def crowd(name: str, count: int, oldest: float, newest: float, *, listed: bool = True) -> list[Life]:
    """Return recordings that were invoked at equal intervals."""
    step = (newest - oldest) / max(1, count)
    return [Life(f"{name}{number}", invoked=round(oldest + number * step), listed=listed) for number in range(count)]


def awaited(lives: Sequence[Life], *, hint: bool = True) -> list[PollTarget]:
    waits = (Wait(recording_id=life.id, invoked_after=life.invoked_time if hint else None) for life in lives)
    return [PollTarget.of(wait) for wait in waits]


World = Callable[[], tuple[list[Life], list[PollTarget]]]


def one_old_among_many_recent() -> tuple[list[Life], list[PollTarget]]:
    past, recent = crowd("past", 200, -DAY, -7200), crowd("now", 49, -600, -60)
    return past + recent, awaited(past[:1] + recent)


def one_without_a_hint_among_many_recent() -> tuple[list[Life], list[PollTarget]]:
    past, recent = crowd("past", 300, -DAY, -7200), crowd("now", 49, -600, -60)
    return past + recent, awaited(past[150:151], hint=False) + awaited(recent)


def many_that_no_list_shows() -> tuple[list[Life], list[PollTarget]]:
    past, hidden = crowd("past", 150, -DAY, -60), crowd("hidden", 20, -DAY, -60, listed=False)
    return past + hidden, awaited(hidden)


def few_in_a_crowd() -> tuple[list[Life], list[PollTarget]]:
    past = crowd("past", 200, -DAY, -60)
    return past, awaited(past[::80])


WORLDS: list[World] = [
    one_old_among_many_recent,
    one_without_a_hint_among_many_recent,
    many_that_no_list_shows,
    few_in_a_crowd,
]


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Life], list[PollTarget]]:
    """Draw groups of recordings of the last day, and waits for some of them."""
    lives: list[Life] = []
    targets: list[PollTarget] = []
    for name in "abc":
        oldest = -float(draw(st.integers(120, int(DAY))))
        own = crowd(name, draw(st.integers(0, 60)), oldest, oldest / 2, listed=draw(st.booleans()))
        lives += own
        targets += awaited(own[:: draw(st.integers(1, 50))], hint=draw(st.booleans()))
    return lives, targets


def check_costs(lives: list[Life], targets: list[PollTarget], cap: int) -> None:
    kit = make_kit(lives, cap)
    costs = rounds_cost(targets, kit)
    # The first round learns the costs, so only the others count.
    assert max(costs[1:]) <= cheapest(targets, kit) * 2 + 2, costs


@pytest.mark.parametrize("cap", [10, 50])
@pytest.mark.parametrize("make", WORLDS)
def test_a_round_costs_no_more_than_twice_the_cheapest_plan(make: World, cap: int) -> None:
    check_costs(*make(), cap)


@settings(max_examples=20, deadline=None)
@given(crowds(), st.sampled_from([3, 10, 100]))
def test_a_round_costs_no_more_than_twice_the_cheapest_plan_in_random_worlds(
    world: tuple[list[Life], list[PollTarget]], cap: int
) -> None:
    check_costs(*world, cap)


def test_a_thousand_recent_recordings_cost_ten_pages() -> None:
    lives = crowd("r", 1000, -DAY / 2, -60)
    assert rounds_cost(awaited(lives), make_kit(lives, 100), 2) == [10] * 2


def test_one_recording_costs_one_get_and_no_list() -> None:
    lives = crowd("r", 1000, -DAY / 2, -60)
    kit = make_kit(lives, 100)
    poll_round(awaited(lives[:1]), ListCostModel(), kit)
    assert kit.kinds == {"get": 1}


def test_a_row_that_moved_up_while_others_disappeared_is_not_missed() -> None:
    goes = Life("goes", meeting="m-2", invoked=-500, gone=0.5)
    old = Life("old", meeting="m-1", invoked=-400, ends=-1.0)
    others = [Life(f"r{number}", meeting="m-2", invoked=-300 + number) for number in range(10)]
    new = Life(
        "new", meeting="m-1", invoked=-297.5
    )  # the first row of page 2, and the last of page 1 once "goes" is gone
    target = PollTarget.of(Wait(meeting_id="m-1", invoked_after=at(-450)))
    kit, model = make_kit([goes, old, *others, new], 5), ListCostModel()
    first = {target: None}
    run_flow(poll_list(API, [target, *awaited(others)], model, first.__setitem__), kit)
    assert (first[target] or new).id == "new", "the round must find the new recording or leave it to a GET"
    assert poll_round([target, *awaited(others)], model, kit)[target].id == "new"


def test_the_cost_model_remembers_a_bounded_number_of_rows() -> None:
    model = ListCostModel()
    for day in range(60):
        begin = day * DAY
        model.learn(begin, [begin + second for second in range(0, int(DAY), 60)], 100)
    assert len(model.invoked) <= 22_000


def test_a_meeting_whose_rows_do_not_name_it_is_polled_separately(monkeypatch: Any) -> None:
    monkeypatch.setattr(Life, "row", lambda life, now, row=Life.row: row(life, now) | {"meeting": None})
    lives = [Life("a", meeting="m-1", final="ERRORED", ends=-1.0), Life("b", meeting="m-2")]
    targets = [PollTarget.of(Wait(meeting_id=meeting, invoked_after=at(-100))) for meeting in ("m-1", "m-2")]
    seen = poll_round(targets, ListCostModel(), make_kit(lives, 100))
    assert [seen[target].id for target in targets] == ["a", "b"]
