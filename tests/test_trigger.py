"""The trigger: plain JSON, one event, no client per wait, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from airflow_provider_realtimekit import waiting
from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitError,
    RealtimeKitRateLimitError,
    RealtimeKitResponseError,
)
from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger
from airflow_provider_realtimekit.waiting import Wait, conclude, fault_event
from tests.conftest import TOKEN
from tests.tasks import first_event


def make(recording_id: str, **more: Any) -> RealtimeKitRecordingTrigger:
    return RealtimeKitRecordingTrigger(
        realtimekit_conn_id="realtimekit_default", poll_interval=0.02, recording_id=recording_id, **more
    )


def test_it_is_plain_json_and_can_be_built_again() -> None:
    trigger = make("r-1", deadline=1.5e9)
    path, kwargs = trigger.serialize()
    assert path == "airflow_provider_realtimekit.triggers.RealtimeKitRecordingTrigger"
    again = RealtimeKitRecordingTrigger(**json.loads(json.dumps(kwargs)))
    assert again.serialize() == trigger.serialize()


def test_it_survives_airflows_own_encoding() -> None:
    from airflow.serialization.serialized_objects import BaseSerialization

    _, kwargs = make("r-1", deadline=1.5e9).serialize()
    assert BaseSerialization.deserialize(BaseSerialization.serialize(kwargs)) == kwargs


def test_an_error_becomes_an_event_without_the_token(emulator: EmulatorServer) -> None:
    emulator.tokens.set_state(TOKEN, "refused")
    event = asyncio.run(first_event(make("r-1")))
    assert event["outcome"] == "fault"
    assert event["error"]["type"] == "RealtimeKitAuthError"
    assert TOKEN not in json.dumps(event)


def test_a_missing_connection_becomes_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_REALTIMEKIT_DEFAULT", raising=False)
    event = asyncio.run(first_event(make("r-1")))
    assert event["outcome"] == "fault"
    with pytest.raises(RealtimeKitError, match="realtimekit_default"):
        conclude(event, Wait(recording_id="r-1"))


def test_a_deadline_that_passed_while_nobody_looked_costs_one_look(emulator: EmulatorServer) -> None:
    (recording_id,) = emulator.world.seed(1, status="RECORDING")
    event = asyncio.run(first_event(make(recording_id, deadline=time.time() - 1)))
    assert event["outcome"] == "timeout"
    assert event["recording"]["status"] == "RECORDING"
    assert emulator.ledger.count() == 1


def test_waits_share_one_client_and_the_last_one_closes_it(
    emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []

    class Counted(waiting.AsyncClient):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            built.append(self)

    monkeypatch.setattr(waiting, "AsyncClient", Counted)
    ids = emulator.world.seed(20, status="UPLOADED")

    async def wait_for_all() -> list[Any]:
        return await asyncio.gather(*(first_event(make(recording_id)) for recording_id in ids))

    events = asyncio.run(wait_for_all())
    assert [event["recording"]["id"] for event in events] == ids
    assert len(built) == 1
    assert built[0]._http.is_closed
    assert not waiting._shared


def test_cancelled_waits_leave_nothing_behind(emulator: EmulatorServer) -> None:
    ids = emulator.world.seed(5, status="RECORDING")

    async def cancel() -> None:
        tasks = [asyncio.create_task(first_event(make(recording_id))) for recording_id in ids]
        while emulator.ledger.count("get") < 5:  # noqa: ASYNC110 (the server counts, on a thread of its own)
            await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(cancel())
    assert not waiting._shared


@pytest.mark.parametrize(
    "event",
    [None, {}, {"outcome": "uploaded"}, {"outcome": "banana", "recording": {"id": "r"}}, {"outcome": "fault"}],
)
def test_an_event_that_nobody_understands_is_an_error(event: Any) -> None:
    with pytest.raises(RealtimeKitResponseError, match=r"event that makes no sense|unknown outcome 'banana'"):
        conclude(event, Wait(recording_id="r"))


def test_an_error_keeps_its_class_and_what_it_carries() -> None:
    event = json.loads(json.dumps(fault_event(RealtimeKitRateLimitError("slow down", status=429, retry_after=120))))
    with pytest.raises(RealtimeKitRateLimitError) as raised:
        conclude(event, Wait(recording_id="r"))
    assert (raised.value.status, raised.value.retry_after) == (429, 120)
