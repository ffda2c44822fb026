"""Outages of the API, for all or some recordings: waits are delayed, fail in the end, and send few requests."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_realtimekit.waiting import poller
from airflow_provider_realtimekit.waiting.outcome import Wait
from tests.support.api import CREDENTIALS, no, ok
from tests.support.waiting import ROUND, Life, WaitRunner, deadline, lives


def crowd(name: str, count: int, *, listed: bool = True) -> list[Life]:
    return [Life(f"{name}{number}", ends=100, listed=listed) for number in range(count)]


def broken(kind: str, request: httpx.Request) -> httpx.Response:
    if kind == "no answer":
        raise httpx.ReadTimeout("nothing", request=request)
    return {"503": no(503), "garbage": ok({"no": "id"})}[kind]


FAULTS = ["503", "no answer", "garbage"]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(FAULTS), st.floats(1, 300), st.lists(st.sampled_from([5.0, 30.0, 90.0]), min_size=1, max_size=5))
def test_failed_rounds_delay_waits_but_fail_none(kind: str, seconds: float, intervals: list[float]) -> None:
    runner = WaitRunner(lives(*(Life(f"r{number}", ends=10) for number in range(len(intervals)))))
    runner.kit.fault = lambda request, now: broken(kind, request) if now < seconds else None

    async def main() -> list[Any]:
        return await asyncio.gather(*(runner.wait(f"r{number}", own) for number, own in enumerate(intervals)))

    assert {event["outcome"] for event in runner.run(main)} == {"uploaded"}
    assert len(runner.kit.received) <= 20 + seconds / 3, "the pauses between failed rounds must grow"


@pytest.mark.parametrize("interval", [5.0, 30.0, 600.0])
@pytest.mark.parametrize("kind", FAULTS)
def test_after_retry_timeout_each_wait_fails_and_the_error_has_the_duration(kind: str, interval: float) -> None:
    runner = WaitRunner(lives(Life("a"), Life("b")), credentials=replace(CREDENTIALS, retry_timeout=100))
    runner.kit.fault = lambda request, now: broken(kind, request)

    async def main() -> list[Any]:
        return await asyncio.gather(runner.wait("a", interval), runner.wait("b", interval))

    for event in runner.run(main):
        assert event["outcome"] == "fault"
        assert "no good answer for 1" in event["error"]["message"]
    first, *_, last = runner.kit.times()
    assert 100 <= last - first <= 100 + 35


def test_one_failed_round_fails_no_wait_however_long_its_interval() -> None:
    runner = WaitRunner(lives(Life("a", ends=10)), credentials=replace(CREDENTIALS, retry_timeout=100))
    runner.kit.fault = lambda request, now: no(503) if now > 2 and len(runner.kit.received) == 2 else None
    assert runner.run(lambda: runner.wait("a", 600))["outcome"] == "uploaded"


def test_a_deadline_that_passes_in_an_outage_causes_few_requests() -> None:
    runner = WaitRunner(lives(Life("a")))
    runner.kit.fault = lambda request, now: no(503)
    event = runner.run(lambda: runner.wait(Wait(recording_id="a", deadline=deadline(40))))
    assert event["outcome"] == "timeout"
    assert len(runner.kit.received) < 20


@pytest.mark.parametrize("kind", FAULTS)
def test_a_recording_whose_polls_always_fail_delays_no_other(kind: str) -> None:
    runner = WaitRunner(lives(*(Life(f"r{number}", ends=50, listed=False) for number in range(20))))
    runner.kit.fault = lambda request, now: broken(kind, request) if request.url.path.endswith("/r0") else None

    async def main() -> Any:
        broken_wait, *others = [asyncio.create_task(runner.wait(f"r{number}")) for number in range(20)]
        events = await asyncio.gather(*others)
        assert runner.loop.time() <= 50 + 30 + ROUND
        assert {event["outcome"] for event in events} == {"uploaded"}
        return await broken_wait

    assert runner.run(main)["outcome"] == "fault"


def test_errors_of_some_recordings_do_not_change_how_often_others_are_polled() -> None:
    listed, hidden = crowd("listed", 50), crowd("hidden", 7, listed=False)
    runner = WaitRunner(lives(*listed, *hidden), credentials=replace(CREDENTIALS, retry_timeout=1000))
    runner.kit.fault = lambda request, now: no(503) if "hidden" in request.url.path and 10 < now < 200 else None

    async def main() -> None:
        others = [asyncio.create_task(runner.wait(life.id, 60)) for life in hidden]
        await asyncio.gather(*(runner.wait(life.id, 60) for life in listed))
        assert runner.loop.time() <= 100 + 60 + ROUND, "a recording was polled too rarely"
        await asyncio.gather(*others)

    runner.run(main)
    lists = [now for now, request in runner.kit.received if request.url.path.endswith("/recordings") and now < 100]
    assert len(lists) <= 20, "the list was polled too often"


def test_in_an_outage_one_request_polls_all_recordings_again() -> None:
    runner = WaitRunner(lives(*crowd("r", 200)))
    runner.kit.fault = lambda request, now: no(503) if now < 100 else None

    async def main() -> None:
        await asyncio.gather(*(runner.wait(f"r{number}", 5) for number in range(200)))

    runner.run(main)
    assert sum(now < 100 for now in runner.kit.times()) <= 16


def test_an_outage_costs_no_more_requests_than_normal_operation() -> None:
    def count(until: float) -> int:
        runner = WaitRunner(lives(*(Life(f"r{number}", ends=120, listed=False) for number in range(100))))
        runner.kit.fault = lambda request, now: no(503) if now < until else None

        async def main() -> None:
            await asyncio.gather(*(runner.wait(f"r{number}") for number in range(100)))

        runner.run(main)
        return sum(now < 100 for now in runner.kit.times())

    assert count(100) <= count(0)


def test_a_malformed_id_fails_its_own_wait_only() -> None:
    runner = WaitRunner(lives(Life("good", ends=50, listed=False)))

    async def main() -> list[Any]:
        return await asyncio.gather(runner.wait("not/an/id"), runner.wait("good"))

    bad, good = runner.run(main)
    assert bad["error"]["type"] == "RealtimeKitInputError"
    assert good["outcome"] == "uploaded"


def test_a_429_stops_every_request_until_retry_after_and_fails_no_wait() -> None:
    runner = WaitRunner(lives(*(Life(f"r{number}", ends=10, listed=False) for number in range(20))))
    refused: list[float] = []

    def fault(request: httpx.Request, now: float) -> httpx.Response | None:
        if now < 5 or (refused and now > refused[0] + 1):
            return None
        refused.append(now)
        return no(429, **{"retry-after": "400"})

    runner.kit.fault = fault

    async def main() -> list[Any]:
        return await asyncio.gather(*(runner.wait(f"r{number}") for number in range(20)))

    assert {event["outcome"] for event in runner.run(main)} == {"uploaded"}
    assert [now for now in runner.kit.times() if refused[-1] < now < refused[-1] + 400] == []
    assert len(refused) <= 5, "only requests that were already sent may get a 429"


def test_a_429_and_then_one_failed_round_fail_no_wait() -> None:
    runner = WaitRunner(lives(Life("a", ends=10)))
    answers = iter([no(429, **{"retry-after": "400"}), no(503)])
    runner.kit.fault = lambda request, now: next(answers, None)
    assert runner.run(lambda: runner.wait("a"))["outcome"] == "uploaded"


def crash(request: httpx.Request, now: float) -> httpx.Response:
    raise RuntimeError("a defect")


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [
        ("answered", lambda request, now: None),
        ("failed", lambda request, now: no(429, **{"retry-after": "1"}) if now < 1 else None),
        ("refused", lambda request, now: no(401)),
        ("crashed", crash),
    ],
)
def test_every_round_is_counted_with_its_outcome(outcome: str, fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Any] = []
    ages: list[float] = []
    stats = SimpleNamespace(
        incr=lambda name, tags: counted.append((name, tags)), gauge=lambda name, value: ages.append(value)
    )
    monkeypatch.setattr(poller, "Stats", stats)
    runner = WaitRunner(lives(Life("a", ends=0)))
    runner.kit.fault = fault
    runner.run(lambda: runner.wait("a"))
    assert counted[0] == ("realtimekit.poll_rounds", {"outcome": outcome})
    assert len(counted) == len(ages)
    assert 0 < ages[0] < 1
