"""The rate limiter against the emulator's quota, over loopback: what the server counts."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.hooks import RealtimeKitHook
from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger
from tests.support.tasks import first_event, when

pytestmark = pytest.mark.alone


async def wait_for_all(ids: list[str]) -> list[Any]:
    triggers = [
        RealtimeKitRecordingTrigger(realtimekit_conn_id="realtimekit_default", poll_interval=0.1, recording_id=id_)
        for id_ in ids
    ]
    return await asyncio.gather(*map(first_event, triggers))


def test_two_thousand_waits_stay_inside_a_quota_that_would_block_them(emulator: EmulatorServer) -> None:
    # A round takes 20 pages and is due ten times a second: only the rate limiter keeps that down to ten requests a
    # second. On the scale of Cloudflare's quota, 1,200 requests in 300 s, the interval of 0.1 s is half a second.
    ids = emulator.world.seed(2000, status="RECORDING")
    emulator.configure(quota=60, quota_window=3, quota_block=300)
    lists, starts = partial(emulator.ledger.count, "list"), partial(emulator.ledger.count, "start")
    when(lambda: lists() >= 10, lambda: start_some(20))
    when(lambda: lists() >= 20, lambda: finish(emulator, ids[::2]))
    when(lambda: lists() >= 40 and starts() == 20, lambda: finish(emulator, ids[1::2]))
    events = asyncio.run(wait_for_all(ids))

    assert [event["recording"]["id"] for event in events] == ids
    assert {event["outcome"] for event in events} == {"uploaded"}
    assert emulator.ledger.count(status=429) == 0
    assert emulator.ledger.count("start", status=200) == 20, "starts get through meanwhile"
    assert emulator.ledger.count() > 60, "one window's quota was not enough"


def finish(emulator: EmulatorServer, ids: list[str]) -> None:
    for recording_id in ids:
        emulator.world.jump(recording_id, "UPLOADED")


def start_some(count: int) -> None:
    with RealtimeKitHook() as hook:
        for number in range(count):
            hook.start_recording(meeting_id=f"meeting-{number}")


def test_after_each_429_nothing_is_asked_for_as_long_as_it_says_and_nothing_fails(emulator: EmulatorServer) -> None:
    ids = emulator.world.seed(250, status="RECORDING")
    when(lambda: emulator.ledger.count("list", 200) >= 6, lambda: refuse(emulator))
    when(lambda: emulator.ledger.count(status=429) == 3, lambda: finish(emulator, ids))
    events = asyncio.run(wait_for_all(ids))

    assert {event["outcome"] for event in events} == {"uploaded"}
    requests = emulator.ledger.requests
    refused = [place for place, request in enumerate(requests) if request.status == 429]
    assert len(refused) == 3
    for place in refused:
        assert requests[place + 1].at - requests[place].at >= 1.0, "it was asked within Retry-After"
    assert requests[-1].status == 200


def refuse(emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="any", count=3, status=429, headers={"retry-after": "1"})
