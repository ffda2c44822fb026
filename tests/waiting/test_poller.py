"""One poller for many waits: recordings end, fail or are not listed; waits start late, are cancelled or time out."""

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
from tests.support.waiting import ROUND, Life, WaitRunner, at, deadline, lives


def test_a_thousand_waits_at_once_read_the_connection_once_and_need_one_round() -> None:
    runner = WaitRunner(lives(*(Life(f"r{number}") for number in range(1000))))

    async def main() -> None:
        waits = [Wait(recording_id=f"r{number}", invoked_after=at(-60)) for number in range(1000)]
        tasks = [asyncio.create_task(runner.wait(wait)) for wait in waits]
        await asyncio.sleep(10)
        (poller,) = runner.pollers
        not_polled = [waiter for waiter in poller.registry if not waiter.has_been_polled]
        assert not_polled == [], "the first round must poll all"
        assert runner.logged == []
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    runner.run(main)
    assert runner.connection_reads == 1
    assert runner.kit.kinds == {"list": 10}
    assert len(runner.clients) == 1


def test_later_waits_are_polled_within_their_interval_and_with_few_requests() -> None:
    runner = WaitRunner(lives(Life("old"), *(Life(f"r{number}", ends=0) for number in range(100))))

    async def late(number: int) -> float:
        await asyncio.sleep(5 + number / 10)
        began = runner.loop.time()
        assert (await runner.wait(f"r{number}", 30))["outcome"] == "uploaded"
        return runner.loop.time() - began

    async def main() -> list[float]:
        old = asyncio.create_task(runner.wait("old", 30))
        delays = await asyncio.gather(*(late(number) for number in range(100)))
        old.cancel()
        await asyncio.wait([old])
        return delays

    assert max(runner.run(main)) <= 30 + ROUND
    assert len(runner.kit.received) <= 10


@st.composite
def worlds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw waits, each for a recording of its own."""
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


async def one_wait(runner: WaitRunner, of: dict[str, Any]) -> None:
    """Run one drawn wait, and check its outcome and the time at which it ends."""
    life, joined = of["life"], of["joins"]
    await asyncio.sleep(joined)
    until = None if of["deadline"] is None else deadline(of["deadline"])
    hint = life.invoked_time if of["hint"] else None
    wait = asyncio.create_task(
        runner.wait(Wait(recording_id=life.id, invoked_after=hint, deadline=until), of["interval"])
    )
    if of["cancelled"] is not None:
        await asyncio.wait([wait], timeout=of["cancelled"])
        wait.cancel()
    await asyncio.wait([wait])
    if wait.cancelled():
        return
    now, event = runner.loop.time(), wait.result()
    if event["outcome"] == "timeout":
        assert of["deadline"] <= now <= max(joined, of["deadline"]) + ROUND
        assert life.ends >= now - ROUND, "the recording ended in time, but the wait timed out"
    else:
        assert event["outcome"] == life.final.lower()
        assert life.ends <= now <= max(joined, life.ends) + of["interval"] + ROUND


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, 4))
def test_every_wait_ends_once_with_the_right_outcome_and_in_time(world: list[dict[str, Any]], cap: int) -> None:
    runner = WaitRunner(lives(*(of["life"] for of in world)), cap=cap)

    async def main() -> None:
        await asyncio.gather(*(one_wait(runner, of) for of in world))

    runner.run(main)


def test_an_unknown_recording_fails_its_own_wait_only_and_at_once() -> None:
    runner = WaitRunner(lives(Life("good", ends=50)))

    async def main() -> list[Any]:
        bad, good = asyncio.create_task(runner.wait("nowhere")), asyncio.create_task(runner.wait("good"))
        await asyncio.wait([bad], timeout=35)
        assert bad.result()["error"]["type"] == "RealtimeKitNotFoundError"
        return await good

    assert runner.run(main)["outcome"] == "uploaded"


def test_a_recording_of_a_meeting_that_appears_late_is_waited_for() -> None:
    runner = WaitRunner(
        lives(Life("late", meeting="m-1", invoked=20, shown=70, ends=100), Life("other", meeting="m-2"))
    )
    wait = Wait(meeting_id="m-1", invoked_after=at(0))
    event = runner.run(lambda: runner.wait(wait))
    assert (event["outcome"], event["recording"]["id"]) == ("uploaded", "late")
    assert runner.logged == ["Recording late is RECORDING", "Recording late is UPLOADED"]


def test_a_wait_cancelled_at_any_step_leaves_nothing_behind() -> None:
    for steps in range(200):
        runner = WaitRunner(lives(Life("a", ends=40)))
        if runner.run(lambda runner=runner, steps=steps: _cancel_after(runner, steps)):
            break
    else:
        pytest.fail("the wait did not end within 200 steps")
    assert steps > 20


def rotate_token(runner: WaitRunner) -> None:
    runner.kit.token = "cfTok-the-next-one"
    runner.credentials = replace(CREDENTIALS, token=runner.kit.token)


async def _cancel_after(runner: WaitRunner, steps: int) -> bool:
    """Cancel a wait after this many steps of the loop, and return whether it had ended before."""
    runner.loop.call_later(20, rotate_token, runner)
    wait = asyncio.create_task(runner.wait("a"))
    for _ in range(steps):
        await _step(runner)
    ended = wait.done()
    wait.cancel()
    await asyncio.wait([wait])
    return ended


async def _step(runner: WaitRunner) -> None:
    """Run all callbacks that are ready, or move the time to the next timer if none is."""
    if runner.loop._ready:  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    else:
        next_time = min((timer.when() for timer in runner.loop._scheduled), default=0)  # type: ignore[attr-defined]
        await asyncio.sleep(next_time - runner.loop.time())


def test_a_malformed_wait_leaves_nothing_behind() -> None:
    runner = WaitRunner()

    async def main() -> None:
        with pytest.raises(ValueError, match="yesterday"):
            await runner.wait(Wait(meeting_id="m", invoked_after="yesterday"))

    runner.run(main)


@pytest.mark.parametrize("interval", [0, -1.0, math.nan, math.inf])
def test_an_interval_that_is_not_a_positive_number_is_refused(interval: float) -> None:
    runner = WaitRunner(lives(Life("a")))

    async def main() -> None:
        with pytest.raises(RealtimeKitInputError, match="poll_interval"):
            await runner.wait("a", interval)

    runner.run(main)
    assert runner.kit.received == []


def test_the_first_poll_of_a_single_wait_comes_soon() -> None:
    runner = WaitRunner(lives(Life("a", ends=0)))
    runner.run(lambda: runner.wait("a", 600))
    assert runner.loop.time() <= GATHER_SECONDS + ROUND


def test_each_loop_has_a_shared_polling_of_its_own() -> None:
    async def call_twice() -> SharedPolling:
        assert shared_polling() is shared_polling()
        return shared_polling()

    assert asyncio.run(call_twice()) is not asyncio.run(call_twice())
