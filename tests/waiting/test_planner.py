"""A poll round against random lists: it shows recordings as they are, misses none, and costs little."""

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


def play(flow: Any, kit: Kit) -> Any:
    """Run a flow against a kit."""
    try:
        step = next(flow)
        while True:
            step = flow.send(kit.answer(step)) if isinstance(step, httpx.Request) else next(flow)
    except StopIteration as stop:
        return stop.value


def make_kit(lives: Sequence[Life], cap: int, first_page: int = 1) -> Kit:
    """Return a kit in which time passes by a second with each request."""
    kit = Kit({life.id: life for life in lives}, lambda: 0.0, cap, first_page)
    kit.clock = lambda: float(len(kit.asked))
    return kit


def round_of(targets: Sequence[PollTarget], model: ListCostModel, kit: Kit) -> dict[PollTarget, Any]:
    """Poll all targets as the poller does; those that are not there are left out."""
    seen: dict[PollTarget, Any] = {}
    to_get, to_list = plan(targets, model)
    if to_list:
        play(poll_list(API, to_list, model, seen.__setitem__), kit)
    for target in [*to_get, *(target for target in to_list if target not in seen)]:
        try:
            seen[target] = play(fetch_awaited(API, target), kit)
        except RealtimeKitNotFoundError:
            continue
    return seen


@st.composite
def some_lives(draw: st.DrawFn, *, steady: bool) -> list[Life]:
    """Draw recordings; in a world that is not steady they appear, late and out of order, during the walk."""
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
    """Return the ids that may be the newest: several where two were invoked at once."""
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
    """What a round shows must have been true at some time during it."""
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
def test_a_round_shows_recordings_as_they_are_and_misses_none(
    data: Any, cap: int, first_page: int, steady: bool
) -> None:
    lives = data.draw(some_lives(steady=steady))
    targets = data.draw(some_targets(lives))
    kit, model = make_kit(lives, cap, first_page), ListCostModel()
    for _ in range(3):
        began = kit.clock()
        seen = round_of(targets, model, kit)
        check_seen(seen, kit, began)
        for target in set(targets) - set(seen):
            life = kit.lives.get(str(target.recording_id))
            assert life is None or not life.is_shown(began), "it was there to be seen"


def pages(lives: Sequence[Life], since: float, cap: int) -> int:
    begin = since - CLOCK_SLACK.total_seconds() - START.timestamp()
    rows = sum(life.listed and life.invoked >= begin for life in lives)
    return max(1, math.ceil(rows / cap))


def cheapest(targets: Sequence[PollTarget], kit: Kit) -> int:
    """Return what the best plan costs if one knows the whole list."""
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
        before = len(kit.asked)
        round_of(targets, model, kit)
        costs.append(len(kit.asked) - before)
    return costs


def crowd(name: str, count: int, oldest: float, newest: float, *, listed: bool = True) -> list[Life]:
    """Recordings that were invoked at an even pace."""
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
    """Draw crowds of recordings here and there in the last day, of which some are waited for."""
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
    _, *learnt = costs = rounds_cost(targets, kit)
    assert max(learnt) <= cheapest(targets, kit) * 2 + 2, costs


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
    round_of(awaited(lives[:1]), ListCostModel(), kit)
    assert kit.kinds == {"get": 1}


def test_a_row_that_moved_up_while_others_disappeared_is_not_missed() -> None:
    goes = Life("goes", meeting="m-2", invoked=-500, gone=0.5)
    old = Life("old", meeting="m-1", invoked=-400, ends=-1.0)
    others = [Life(f"r{number}", meeting="m-2", invoked=-300 + number) for number in range(10)]
    new = Life("new", meeting="m-1", invoked=-297.5)  # the first of the second page, until one of the first goes
    target = PollTarget.of(Wait(meeting_id="m-1", invoked_after=at(-450)))
    kit, model = make_kit([goes, old, *others, new], 5), ListCostModel()
    first = {target: None}
    play(poll_list(API, [target, *awaited(others)], model, first.__setitem__), kit)
    assert (first[target] or new).id == "new", "either it is seen, or it has to be got by itself"
    assert round_of([target, *awaited(others)], model, kit)[target].id == "new"


def test_the_cost_model_remembers_a_bounded_number_of_rows() -> None:
    model = ListCostModel()
    for day in range(60):
        begin = day * DAY
        model.learn(begin, [begin + second for second in range(0, int(DAY), 60)], 100)
    assert len(model.invoked) <= 22_000


def test_a_meeting_whose_rows_do_not_name_it_is_polled_by_itself(monkeypatch: Any) -> None:
    monkeypatch.setattr(Life, "row", lambda life, now, row=Life.row: row(life, now) | {"meeting": None})
    lives = [Life("a", meeting="m-1", final="ERRORED", ends=-1.0), Life("b", meeting="m-2")]
    targets = [PollTarget.of(Wait(meeting_id=meeting, invoked_after=at(-100))) for meeting in ("m-1", "m-2")]
    seen = round_of(targets, ListCostModel(), make_kit(lives, 100))
    assert [seen[target].id for target in targets] == ["a", "b"]
