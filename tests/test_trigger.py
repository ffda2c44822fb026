"""The trigger: plain JSON, one event, a client for all waits, and nothing left at the end."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from typing import Any

import pytest
from airflow.serialization.serialized_objects import BaseSerialization

from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitError,
    RealtimeKitRateLimitError,
    RealtimeKitResponseError,
)
from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger
from airflow_provider_realtimekit.waiting import shared
from airflow_provider_realtimekit.waiting.outcome import Wait, fault_event, result_from_event, status_history
from tests.conftest import TOKEN
from tests.support.tasks import first_event, when


def make(recording_id: str, poll_interval: float = 0.02, **more: Any) -> RealtimeKitRecordingTrigger:
    return RealtimeKitRecordingTrigger(
        realtimekit_conn_id="realtimekit_default", poll_interval=poll_interval, recording_id=recording_id, **more
    )


def assert_nothing_is_shared() -> None:
    assert [polling for polling in shared._polling_of_loops.values() if polling.pollers or polling.connections] == []


def test_a_trigger_can_be_built_from_its_json() -> None:
    trigger = make("r-1", deadline=1.5e9)
    path, kwargs = trigger.serialize()
    assert path == "airflow_provider_realtimekit.triggers.RealtimeKitRecordingTrigger"
    again = RealtimeKitRecordingTrigger(**json.loads(json.dumps(kwargs)))
    assert again.serialize() == trigger.serialize()


def test_fields_that_another_version_stored_are_ignored(emulator: EmulatorServer) -> None:
    (recording_id,) = emulator.world.seed(1, status="UPLOADED")
    _, kwargs = make(recording_id).serialize()
    trigger = RealtimeKitRecordingTrigger(**kwargs, of_another_version=1)
    assert trigger.serialize()[1] == kwargs
    assert asyncio.run(first_event(trigger))["outcome"] == "uploaded"


def test_a_wait_without_recording_or_meeting_becomes_an_event(emulator: EmulatorServer) -> None:
    event = asyncio.run(first_event(make("")))
    assert event["error"]["type"] == "RealtimeKitInputError"
    assert "set exactly one of them" in event["error"]["message"]


def test_a_trigger_can_be_built_from_airflows_encoding() -> None:
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
        result_from_event(event, Wait(recording_id="r-1"))


def test_an_import_that_fails_becomes_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow_provider_realtimekit.waiting.shared", None)
    event = asyncio.run(first_event(make("r-1")))
    assert event["error"]["type"] == "ModuleNotFoundError"


class LogThatWaits:
    """A log whose calls return only when the loop has run a callback."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.lines: list[str] = []

    def log(self, level: int, line: str) -> None:
        has_run = threading.Event()
        self.loop.call_soon_threadsafe(has_run.set)
        assert has_run.wait(10), "the loop is blocked while a line is written"
        self.lines.append(line)


async def event_and_log(trigger: RealtimeKitRecordingTrigger) -> tuple[Any, list[str]]:
    log = LogThatWaits()
    trigger._log = log  # type: ignore[assignment]
    return await first_event(trigger), log.lines


def test_a_slow_log_does_not_block_the_loop(emulator: EmulatorServer) -> None:
    (recording_id,) = emulator.world.seed(1, status="RECORDING")
    when(lambda: emulator.ledger.count("get") >= 2, lambda: emulator.world.jump(recording_id, "UPLOADED"))
    event, lines = asyncio.run(event_and_log(make(recording_id)))
    assert event["outcome"] == "uploaded"
    assert lines[-1] == f"Recording {recording_id} is UPLOADED"


def test_a_slow_log_does_not_block_the_loop_when_a_wait_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_REALTIMEKIT_DEFAULT", raising=False)
    event, lines = asyncio.run(event_and_log(make("r-1")))
    assert event["outcome"] == "fault"
    assert [line.partition(":")[0] for line in lines] == ["The wait ended with an error"]


def test_a_deadline_that_passed_before_the_wait_began_allows_one_poll(emulator: EmulatorServer) -> None:
    (recording_id,) = emulator.world.seed(1, status="RECORDING")
    event = asyncio.run(first_event(make(recording_id, deadline=time.time() - 1)))
    assert event["outcome"] == "timeout"
    assert event["recording"]["status"] == "RECORDING"
    assert emulator.ledger.count() == 1


def test_a_thousand_waits_read_the_connection_once_and_need_few_requests(
    emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []
    reads: list[str] = []

    class Counted(shared.AsyncClient):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            built.append(self)

    class Hook(shared.RealtimeKitHook):
        async def get_async_credentials(self) -> Any:
            reads.append(self.realtimekit_conn_id)
            return await super().get_async_credentials()

    monkeypatch.setattr(shared, "AsyncClient", Counted)
    monkeypatch.setattr(shared, "RealtimeKitHook", Hook)
    ids = emulator.world.seed(1000, status="UPLOADED")

    async def wait_for_all() -> list[Any]:
        return await asyncio.gather(*(first_event(make(recording_id, 30.0)) for recording_id in ids))

    events = asyncio.run(wait_for_all())
    assert [event["recording"]["id"] for event in events] == ids
    assert len(reads) == 1
    assert len(built) == 1
    assert built[0]._http.is_closed
    assert emulator.ledger.count() == 10
    assert_nothing_is_shared()


def test_the_event_holds_the_status_history(emulator: EmulatorServer) -> None:
    (recording_id,) = emulator.world.seed(1, status="RECORDING")
    when(lambda: emulator.ledger.count("get") >= 2, lambda: emulator.world.jump(recording_id, "UPLOADED"))
    event = asyncio.run(first_event(make(recording_id)))
    assert [status for _, status in status_history(json.loads(json.dumps(event)))] == ["RECORDING", "UPLOADED"]


def test_a_rotated_token_is_used(emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    (recording_id,) = emulator.world.seed(1, status="RECORDING")

    def rotate() -> None:
        connection = json.loads(os.environ["AIRFLOW_CONN_REALTIMEKIT_DEFAULT"]) | {"password": "the-next-token"}
        monkeypatch.setenv("AIRFLOW_CONN_REALTIMEKIT_DEFAULT", json.dumps(connection))
        emulator.tokens.set_state(TOKEN, "refused")
        emulator.world.jump(recording_id, "UPLOADED")

    when(lambda: emulator.ledger.count("get") >= 2, rotate)
    event = asyncio.run(first_event(make(recording_id)))
    assert event["outcome"] == "uploaded"
    assert emulator.ledger.count(status=401) == 1


def test_429s_stop_all_requests_and_fail_no_wait(emulator: EmulatorServer) -> None:
    ids = emulator.world.seed(50, status="RECORDING")
    emulator.configure(quota=20, quota_window=2, quota_block=2)

    async def wait_for_all() -> list[Any]:
        return await asyncio.gather(*(first_event(make(recording_id)) for recording_id in ids))

    when(lambda: emulator.ledger.count() >= 5, lambda: [emulator.world.jump(i, "UPLOADED") for i in ids])
    emulator.faults.add(operation="list", count=1, status=429, headers={"retry-after": "1"})
    events = asyncio.run(wait_for_all())

    assert {event["outcome"] for event in events} == {"uploaded"}
    refused = [request for request in emulator.ledger.requests if request.status == 429]
    assert len(refused) == 1
    assert not [request for request in emulator.ledger.requests if 0 < request.at - refused[0].at < 0.9]


def test_cancelled_waits_leave_no_poller_and_no_connection(emulator: EmulatorServer) -> None:
    ids = emulator.world.seed(5, status="RECORDING")

    async def cancel() -> None:
        tasks = [asyncio.create_task(first_event(make(recording_id))) for recording_id in ids]
        while not emulator.ledger.count():  # noqa: ASYNC110 (the server counts, on a thread of its own)
            await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(cancel())
    assert_nothing_is_shared()


@pytest.mark.parametrize(
    "event",
    [None, {}, {"outcome": "uploaded"}, {"outcome": "banana", "recording": {"id": "r"}}, {"outcome": "fault"}],
    ids=repr,
)
def test_an_unreadable_event_is_an_error(event: Any) -> None:
    outcome = (event or {}).get("outcome")
    with pytest.raises(RealtimeKitResponseError, match=rf"an event that cannot be read \(outcome {outcome!r}\)"):
        result_from_event(event, Wait(recording_id="r"))


def test_an_error_keeps_its_class_and_its_details() -> None:
    event = json.loads(json.dumps(fault_event(RealtimeKitRateLimitError("slow down", status=429, retry_after=120))))
    with pytest.raises(RealtimeKitRateLimitError) as raised:
        result_from_event(event, Wait(recording_id="r"))
    assert (raised.value.status, raised.value.retry_after) == (429, 120)


def test_details_of_an_error_that_another_version_stored_are_ignored() -> None:
    event = fault_event(RealtimeKitRateLimitError("slow down", status=429))
    event["error"]["details"]["of_another_version"] = 1
    with pytest.raises(RealtimeKitRateLimitError, match="slow down"):
        result_from_event(event, Wait(recording_id="r"))
