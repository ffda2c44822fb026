"""Helpers for the tests of the API: an app, its answers, and a driver that runs either client."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import httpx
import pytest

from airflow_provider_realtimekit.api.client import AsyncClient, Client, Credentials
from airflow_provider_realtimekit.api.recordings import RecordingsAPI
from airflow_provider_realtimekit.api.retry import RetryPolicy

ACCOUNT, APP, TOKEN = "acc-1", "app-1", "cfTok-9f31c7ab02d4e685"
PREFIX = f"/client/v4/accounts/{ACCOUNT}/realtime/kit/{APP}/recordings"
API = RecordingsAPI(ACCOUNT, APP)
CREDENTIALS = Credentials(token=TOKEN, account_id=ACCOUNT, app_id=APP, timeout=7.5)
RECORDING = {"id": "rec-1", "status": "INVOKED", "invoked_time": "2026-11-20T10:00:00Z"}

Handler = Callable[[httpx.Request], httpx.Response]


def ok(data: Any = RECORDING, **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"success": True, "data": data, **more})


def no(status: int, message: str = "no", **headers: str) -> httpx.Response:
    body = {"success": False, "error": {"code": status, "message": message}}
    return httpx.Response(status, json=body, headers=headers)


def fresh(answer: httpx.Response) -> httpx.Response:
    """Copy an answer, because a client can read each answer only once."""
    return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def first_request(flow: Any) -> httpx.Request:
    """Return the first request of a flow. If this raises, nothing was sent."""
    step = next(flow)
    assert isinstance(step, httpx.Request)
    return step


def body_of(request: httpx.Request) -> Any:
    return json.loads(request.content)


def finish(flow: Any, answer: httpx.Response) -> Any:
    """Send the answer to a flow of one request, and return the flow's result."""
    next(flow)
    try:
        flow.send(answer)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the flow sends a second request")


def shown(error: BaseException) -> str:
    """Return everything that a log could show of an error: text, repr, causes and contexts."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))


def leaked(text: str, secret: str, width: int = 8) -> list[str]:
    """Return the pieces of a secret that a text contains. Pieces, because a log may cut or wrap a secret."""
    lines = [line for line in secret.splitlines() if not line.startswith("--")]
    pieces = [line[at : at + width] for line in lines for at in range(max(1, len(line) - width + 1))]
    return [piece for piece in pieces if piece in text]


class Clock:
    """A clock that moves only when a test sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


class Driver:
    """A client, sync or async, with given answers instead of a network. It records the requests and the sleeps."""

    def __init__(self, kind: str, clock: Clock) -> None:
        self.kind = kind
        self.clock = clock
        self.requests: list[httpx.Request] = []
        self.policy = RetryPolicy(draw=lambda: 0.5, clock=clock)
        self.credentials = CREDENTIALS
        self.transport: Any = None
        self._answer: Iterator[Any] = iter(())

    @property
    def slept(self) -> list[float]:
        return self.clock.slept

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def answers(self, *answers: httpx.Response | type[httpx.RequestError] | Handler) -> Driver:
        """Set the answers, in order. An error class is raised; a function answers all further requests."""
        self._answer = iter(answers)
        return self

    def run(self, flow: Any) -> Any:
        if self.kind == "sync":
            with Client(self.credentials, self.policy, self._transport(), self.clock.sleep) as client:
                return client.run(flow)

        async def go() -> Any:
            async with AsyncClient(self.credentials, self.policy, self._transport(), self.clock.asleep) as client:
                return await client.run(flow)

        return asyncio.run(go())

    def walk(self, walk: Any, limit: int | None = None) -> list[Any]:
        """Return the ids of the first ``limit`` rows of a list (default: all)."""
        if self.kind == "sync":
            with Client(self.credentials, self.policy, self._transport(), self.clock.sleep) as client:
                rows = client.walk(walk)
                return [row.id for row in islice(rows, limit)]

        async def go() -> list[Any]:
            async with AsyncClient(self.credentials, self.policy, self._transport(), self.clock.asleep) as client:
                ids = []
                rows = client.walk(walk)
                async for row in rows:
                    ids.append(row.id)
                    if limit and len(ids) == limit:
                        break
                await rows.aclose()  # type: ignore[attr-defined]
                return ids

        return asyncio.run(go())

    def _transport(self) -> Any:
        return self.transport or httpx.MockTransport(self._respond)

    def _respond(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = next(self._answer, None)
        if answer is None:
            pytest.fail(f"an unexpected request was sent: {request.method} {request.url}")
        if isinstance(answer, httpx.Response):
            return fresh(answer)
        if isinstance(answer, type):
            raise answer(f"{request.url} said {request.headers}", request=request)
        self._answer = iter(lambda: answer, None)
        return fresh(answer(request))
