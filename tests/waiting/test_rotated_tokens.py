"""Tokens that the API refuses: each connection is read again, and a rotated token is used."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_realtimekit.api.client import Credentials
from tests.support.api import CREDENTIALS, no
from tests.support.waiting import Life, Stage

ROTATED = replace(CREDENTIALS, token="cfTok-the-next-one")


def stage_of(*ids: str) -> Stage:
    return Stage({id_: Life(id_, ends=100) for id_ in ids})


def test_a_token_that_was_rotated_is_picked_up() -> None:
    stage = stage_of("a", "b")

    async def main() -> list[Any]:
        waits = asyncio.gather(stage.wait("a"), stage.wait("b"))
        await asyncio.sleep(40)
        stage.kit.token, stage.credentials = ROTATED.token, ROTATED
        return await waits

    for event in stage.run(main):
        assert event["outcome"] == "uploaded"
        assert [status for _, status in event["status_history"]] == ["RECORDING", "UPLOADED"], "the history goes on"
    assert stage.connection_reads == 2
    assert len(stage.clients) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_stays_refused_fails_the_waits_at_once(status: int) -> None:
    stage = stage_of("a", "b")
    stage.kit.fault = lambda request, now: no(status) if now > 40 else None

    async def main() -> list[Any]:
        return await asyncio.gather(stage.wait("a"), stage.wait("b"))

    assert [event["error"]["type"] for event in stage.run(main)] == ["RealtimeKitAuthError"] * 2
    assert stage.connection_reads == 2
    assert stage.loop.time() < 75


@pytest.mark.parametrize("rotated", ["one", "two"])
def test_two_connections_with_the_same_token_are_each_read_again(rotated: str) -> None:
    stage = stage_of("one", "two")

    async def main() -> Any:
        waits = {conn_id: asyncio.create_task(stage.wait(conn_id, conn_id=conn_id)) for conn_id in ("one", "two")}
        await asyncio.sleep(40)
        assert len(stage.pollers) == 1, "they share a poller"
        stage.kit.token, stage.others = ROTATED.token, {rotated: ROTATED}
        return {conn_id: await wait for conn_id, wait in waits.items()}

    events = stage.run(main)
    (other,) = {"one", "two"} - {rotated}
    assert events[rotated]["outcome"] == "uploaded"
    assert events[other]["error"]["type"] == "RealtimeKitAuthError"


def test_a_connection_that_returns_two_wrong_tokens_in_turn_ends_its_waits() -> None:
    stage = stage_of("a")

    def fault(request: Any, now: float) -> Any:
        stage.credentials = replace(CREDENTIALS, token=f"cfTok-{len(stage.kit.asked) % 2}")
        return no(401)

    stage.kit.fault = fault
    assert stage.run(lambda: stage.wait("a"))["error"]["type"] == "RealtimeKitAuthError"
    assert stage.connection_reads <= 4


def test_a_token_that_was_accepted_again_may_be_refused_again() -> None:
    stage = stage_of("a")
    tokens: list[Credentials] = [CREDENTIALS, ROTATED] * 2

    async def main() -> Any:
        wait = asyncio.create_task(stage.wait("a", 10))
        for credentials in tokens:
            stage.kit.token, stage.credentials = credentials.token, credentials
            await asyncio.sleep(20)
        return await wait

    assert stage.run(main)["outcome"] == "uploaded"
    assert stage.connection_reads == 4


def test_a_connection_that_cannot_be_read_again_ends_its_waits_and_no_others() -> None:
    stage = stage_of("one", "two")

    async def main() -> Any:
        waits = {conn_id: asyncio.create_task(stage.wait(conn_id, conn_id=conn_id)) for conn_id in ("one", "two")}
        await asyncio.sleep(40)
        stage.kit.token, stage.others = ROTATED.token, {"one": ROTATED}
        stage.break_connection("two")
        return {conn_id: await wait for conn_id, wait in waits.items()}

    events = stage.run(main)
    assert events["one"]["outcome"] == "uploaded"
    assert events["two"]["error"]["message"] == "the backend is away"
