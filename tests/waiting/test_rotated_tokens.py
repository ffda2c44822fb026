"""Tokens that the API refuses: each connection is read again, and a rotated token is used."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_realtimekit.api.client import Credentials
from tests.support.api import CREDENTIALS, no
from tests.support.waiting import Life, WaitRunner

ROTATED = replace(CREDENTIALS, token="cfTok-the-next-one")


def runner_for(*ids: str) -> WaitRunner:
    return WaitRunner({id_: Life(id_, ends=100) for id_ in ids})


def test_a_rotated_token_is_used() -> None:
    runner = runner_for("a", "b")

    async def main() -> list[Any]:
        waits = asyncio.gather(runner.wait("a"), runner.wait("b"))
        await asyncio.sleep(40)
        runner.kit.token, runner.credentials = ROTATED.token, ROTATED
        return await waits

    for event in runner.run(main):
        assert event["outcome"] == "uploaded"
        assert [status for _, status in event["status_history"]] == ["RECORDING", "UPLOADED"], (
            "the history must continue"
        )
    assert runner.connection_reads == 2
    assert len(runner.clients) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_stays_refused_fails_the_waits_at_once(status: int) -> None:
    runner = runner_for("a", "b")
    runner.kit.fault = lambda request, now: no(status) if now > 40 else None

    async def main() -> list[Any]:
        return await asyncio.gather(runner.wait("a"), runner.wait("b"))

    assert [event["error"]["type"] for event in runner.run(main)] == ["RealtimeKitAuthError"] * 2
    assert runner.connection_reads == 2
    assert runner.loop.time() < 75


@pytest.mark.parametrize("rotated", ["one", "two"])
def test_two_connections_with_the_same_token_are_each_read_again(rotated: str) -> None:
    runner = runner_for("one", "two")

    async def main() -> Any:
        waits = {conn_id: asyncio.create_task(runner.wait(conn_id, conn_id=conn_id)) for conn_id in ("one", "two")}
        await asyncio.sleep(40)
        assert len(runner.pollers) == 1, "both connections must share a poller"
        runner.kit.token, runner.others = ROTATED.token, {rotated: ROTATED}
        return {conn_id: await wait for conn_id, wait in waits.items()}

    events = runner.run(main)
    (other,) = {"one", "two"} - {rotated}
    assert events[rotated]["outcome"] == "uploaded"
    assert events[other]["error"]["type"] == "RealtimeKitAuthError"


def test_a_connection_that_returns_two_wrong_tokens_in_turn_ends_its_waits() -> None:
    runner = runner_for("a")

    def fault(request: Any, now: float) -> Any:
        runner.credentials = replace(CREDENTIALS, token=f"cfTok-{len(runner.kit.received) % 2}")
        return no(401)

    runner.kit.fault = fault
    assert runner.run(lambda: runner.wait("a"))["error"]["type"] == "RealtimeKitAuthError"
    assert runner.connection_reads <= 4


def test_a_token_that_was_accepted_again_may_be_refused_again() -> None:
    runner = runner_for("a")
    tokens: list[Credentials] = [CREDENTIALS, ROTATED] * 2

    async def main() -> Any:
        wait = asyncio.create_task(runner.wait("a", 10))
        for credentials in tokens:
            runner.kit.token, runner.credentials = credentials.token, credentials
            await asyncio.sleep(20)
        return await wait

    assert runner.run(main)["outcome"] == "uploaded"
    assert runner.connection_reads == 4


def test_a_connection_that_cannot_be_read_again_ends_its_waits_and_no_others() -> None:
    runner = runner_for("one", "two")

    async def main() -> Any:
        waits = {conn_id: asyncio.create_task(runner.wait(conn_id, conn_id=conn_id)) for conn_id in ("one", "two")}
        await asyncio.sleep(40)
        runner.kit.token, runner.others = ROTATED.token, {"one": ROTATED}
        runner.break_connection("two")
        return {conn_id: await wait for conn_id, wait in waits.items()}

    events = runner.run(main)
    assert events["one"]["outcome"] == "uploaded"
    assert events["two"]["error"]["message"] == "the backend does not answer"
