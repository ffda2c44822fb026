"""The rate limiter against the quota of the emulator, which counts the requests over loopback."""

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


def test_two_thousand_waits_do_not_exceed_the_quota(emulator: EmulatorServer) -> None:
    # A round needs 20 pages and is due ten times a second. The quota allows 20 requests a second, and the rate limiter
    # uses half of it for polling. That is five times Cloudflare's quota, 1,200 requests in 300 s.
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
    assert emulator.ledger.count("start", status=200) == 20, "starts must succeed while the waits poll"
    assert emulator.ledger.count() > 60, "too few requests to reach the quota of one window"


def finish(emulator: EmulatorServer, ids: list[str]) -> None:
    for recording_id in ids:
        emulator.world.jump(recording_id, "UPLOADED")


def start_some(count: int) -> None:
    with RealtimeKitHook() as hook:
        for number in range(count):
            hook.start_recording(meeting_id=f"meeting-{number}")


def test_after_each_429_no_request_is_sent_before_retry_after_and_no_wait_fails(emulator: EmulatorServer) -> None:
    ids = emulator.world.seed(250, status="RECORDING")
    when(lambda: emulator.ledger.count("list", 200) >= 6, lambda: refuse(emulator))
    when(lambda: emulator.ledger.count(status=429) == 3, lambda: finish(emulator, ids))
    events = asyncio.run(wait_for_all(ids))

    assert {event["outcome"] for event in events} == {"uploaded"}
    requests = emulator.ledger.requests
    refused = [index for index, request in enumerate(requests) if request.status == 429]
    assert len(refused) == 3
    for index in refused:
        assert requests[index + 1].at - requests[index].at >= 1.0, "a request was sent before Retry-After"
    assert requests[-1].status == 200


def refuse(emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="any", count=3, status=429, headers={"retry-after": "1"})
