"""One poller for many waits: recordings end, fail, or are not listed; waits join late, leave, or time out."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.waiting.outcome import Wait
from airflow_provider_realtimekit.waiting.poller import GATHER_SECONDS
from airflow_provider_realtimekit.waiting.shared import SharedPolling, shared_polling
from tests.support.api import CREDENTIALS
from tests.support.waiting import ROUND, Life, Stage, at, deadline, lives


def test_a_thousand_triggers_in_one_second_cost_one_reading_of_the_connection_and_one_round() -> None:
    stage = Stage(lives(*(Life(f"r{number}") for number in range(1000))))

    async def main() -> None:
        waits = [Wait(recording_id=f"r{number}", invoked_after=at(-60)) for number in range(1000)]
        tasks = [asyncio.create_task(stage.wait(wait)) for wait in waits]
        await asyncio.sleep(10)
        (poller,) = stage.pollers
        assert all(waiter.has_been_polled for waiter in poller.registry), "all were polled in the first round"
        assert stage.logged == []
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    stage.run(main)
    assert stage.connection_reads == 1
    assert stage.kit.kinds == {"list": 10}
    assert len(stage.clients) == 1


def test_waits_that_join_later_are_polled_within_their_interval_and_without_a_storm() -> None:
    stage = Stage(lives(Life("old"), *(Life(f"r{number}", ends=0) for number in range(100))))

    async def late(number: int) -> float:
        await asyncio.sleep(5 + number / 10)
        began = stage.loop.time()
        assert (await stage.wait(f"r{number}", 30))["outcome"] == "uploaded"
        return stage.loop.time() - began

    async def main() -> list[float]:
        old = asyncio.create_task(stage.wait("old", 30))
        delays = await asyncio.gather(*(late(number) for number in range(100)))
        old.cancel()
        await asyncio.wait([old])
        return delays

    assert max(stage.run(main)) <= 30 + ROUND
    assert len(stage.kit.asked) <= 10


@st.composite
def worlds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw waits, each with a recording of its own life."""
    moments = st.floats(0, 200)
    return [
        {
            "life": Life(
                f"r{number}",
                ends=draw(moments),
                final=draw(st.sampled_from(["UPLOADED", "ERRORED"])),
                listed=draw(st.booleans()),
            ),
            "joins": draw(moments),
            "interval": draw(st.sampled_from([5.0, 30.0, 90.0])),
            "hint": draw(st.booleans()),
            "cancelled": draw(st.none() | st.floats(0, 100)),
            "deadline": draw(st.none() | st.floats(0, 300)),
        }
        for number in range(draw(st.integers(1, 8)))
    ]


async def one_wait(stage: Stage, of: dict[str, Any]) -> None:
    """Wait as drawn, and check that the wait ends with the right outcome and in time."""
    life, joined = of["life"], of["joins"]
    await asyncio.sleep(joined)
    until = None if of["deadline"] is None else deadline(of["deadline"])
    hint = life.invoked_time if of["hint"] else None
    wait = asyncio.create_task(
        stage.wait(Wait(recording_id=life.id, invoked_after=hint, deadline=until), of["interval"])
    )
    if of["cancelled"] is not None:
        await asyncio.wait([wait], timeout=of["cancelled"])
        wait.cancel()
    await asyncio.wait([wait])
    if wait.cancelled():
        return
    now, event = stage.loop.time(), wait.result()
    if event["outcome"] == "timeout":
        assert of["deadline"] <= now <= max(joined, of["deadline"]) + ROUND
        assert life.ends >= now - ROUND, "a recording that ended in time is not late"
    else:
        assert event["outcome"] == life.final.lower()
        assert life.ends <= now <= max(joined, life.ends) + of["interval"] + ROUND


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, 4))
def test_every_wait_ends_once_with_the_right_outcome_and_in_time(world: list[dict[str, Any]], cap: int) -> None:
    stage = Stage(lives(*(of["life"] for of in world)), cap=cap)

    async def main() -> None:
        await asyncio.gather(*(one_wait(stage, of) for of in world))

    stage.run(main)


def test_an_unknown_recording_fails_its_own_wait_only_and_at_once() -> None:
    stage = Stage(lives(Life("good", ends=50)))

    async def main() -> list[Any]:
        bad, good = asyncio.create_task(stage.wait("nowhere")), asyncio.create_task(stage.wait("good"))
        await asyncio.wait([bad], timeout=35)
        assert bad.result()["error"]["type"] == "RealtimeKitNotFoundError"
        return await good

    assert stage.run(main)["outcome"] == "uploaded"


def test_a_recording_of_a_meeting_that_appears_late_is_waited_for() -> None:
    stage = Stage(lives(Life("late", meeting="m-1", invoked=20, shown=70, ends=100), Life("other", meeting="m-2")))
    wait = Wait(meeting_id="m-1", invoked_after=at(0))
    event = stage.run(lambda: stage.wait(wait))
    assert (event["outcome"], event["recording"]["id"]) == ("uploaded", "late")
    assert stage.logged == ["Recording late is RECORDING", "Recording late is UPLOADED"]


def test_a_wait_cancelled_at_any_step_leaves_nothing_behind() -> None:
    for steps in range(200):
        stage = Stage(lives(Life("a", ends=40)))
        if stage.run(lambda stage=stage, steps=steps: _cancel_after(stage, steps)):
            break
    else:
        pytest.fail("the wait never ended by itself")
    assert steps > 20


def rotate_token(stage: Stage) -> None:
    stage.kit.token = "cfTok-the-next-one"
    stage.credentials = replace(CREDENTIALS, token=stage.kit.token)


async def _cancel_after(stage: Stage, steps: int) -> bool:
    """Cancel a wait after so many steps of the loop; return whether it had ended by then."""
    stage.loop.call_later(20, rotate_token, stage)
    wait = asyncio.create_task(stage.wait("a"))
    for _ in range(steps):
        await _step(stage)
    ended = wait.done()
    wait.cancel()
    await asyncio.wait([wait])
    return ended


async def _step(stage: Stage) -> None:
    """Let everything that is ready run; let time jump once nothing is."""
    if stage.loop._ready:  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    else:
        next_time = min((timer.when() for timer in stage.loop._scheduled), default=0)  # type: ignore[attr-defined]
        await asyncio.sleep(next_time - stage.loop.time())


def test_a_malformed_wait_leaves_nothing_behind() -> None:
    stage = Stage()

    async def main() -> None:
        with pytest.raises(ValueError, match="yesterday"):
            await stage.wait(Wait(meeting_id="m", invoked_after="yesterday"))

    stage.run(main)


@pytest.mark.parametrize("interval", [0, -1.0, math.nan, math.inf])
def test_an_interval_that_is_not_a_time_is_refused(interval: float) -> None:
    stage = Stage(lives(Life("a")))

    async def main() -> None:
        with pytest.raises(RealtimeKitInputError, match="poll_interval"):
            await stage.wait("a", interval)

    stage.run(main)
    assert stage.kit.asked == []


def test_the_first_poll_of_a_single_wait_comes_soon() -> None:
    stage = Stage(lives(Life("a", ends=0)))
    stage.run(lambda: stage.wait("a", 600))
    assert stage.loop.time() <= GATHER_SECONDS + ROUND


def test_each_loop_has_a_shared_polling_of_its_own() -> None:
    async def ask_twice() -> SharedPolling:
        assert shared_polling() is shared_polling()
        return shared_polling()

    assert asyncio.run(ask_twice()) is not asyncio.run(ask_twice())
