"""The two drivers: the token's only place, errors without addresses, sleeps, and what is never followed."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from airflow_provider_realtimekit.api.client import AsyncClient, Client
from airflow_provider_realtimekit.api.retry import RetryPolicy
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitNotFoundError,
    RealtimeKitResponseError,
)
from tests.support.api import API, CREDENTIALS, TOKEN, Face, no, ok, told

CALLS: dict[str, Any] = {
    "get": lambda api: api.get_recording("r"),
    "active": lambda api: api.get_active_recording("m"),
    "stop": lambda api: api.stop_recording("r"),
    "start": lambda api: api.start_recording(meeting_id="m"),
    "tracks": lambda api: api.start_track_recording(meeting_id="m"),
    "page": lambda api: api.list_recordings(search="SEKRETsearch").next_page(),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_token_stands_in_the_header_and_nowhere_else(face: Face, call: str) -> None:
    face.answers(ok([] if call == "page" else {"id": "r"})).run(CALLS[call](API))
    (request,) = face.requests
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in str(request.url)
    assert TOKEN.encode() not in request.content
    assert [key for key, value in request.headers.items() if TOKEN in value] == ["authorization"]
    assert "airflow-provider-realtimekit/" in request.headers["user-agent"]


def test_each_try_carries_the_token(face: Face) -> None:
    face.answers(no(503), httpx.ReadTimeout, ok()).run(API.get_recording("r"))
    assert [request.headers["authorization"] for request in face.requests] == [f"Bearer {TOKEN}"] * 3


def test_every_request_has_the_connections_timeout(face: Face) -> None:
    face.answers(ok()).run(API.get_recording("r"))
    assert set(face.requests[0].extensions["timeout"].values()) == {CREDENTIALS.timeout}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(face: Face, status: int) -> None:
    elsewhere = httpx.Response(status, headers={"location": "https://elsewhere.example/"})
    with pytest.raises(RealtimeKitResponseError):
        face.answers(elsewhere).run(API.get_recording("r"))
    assert [request.url.host for request in face.requests] == ["api.cloudflare.com"]


@pytest.mark.parametrize(
    ("kind", "processed"),
    [
        (httpx.ConnectError, False),
        (httpx.ConnectTimeout, False),
        (httpx.PoolTimeout, False),
        (httpx.ReadTimeout, None),
        (httpx.ReadError, None),
        (httpx.RemoteProtocolError, None),
        (httpx.UnsupportedProtocol, None),
        (httpx.ProxyError, None),
        (httpx.DecodingError, None),
    ],
)
def test_no_answer_is_told_without_address_query_or_header(face: Face, kind: Any, processed: Any) -> None:
    face.policy = RetryPolicy(retry_timeout=0, clock=face.clock)
    with pytest.raises(RealtimeKitConnectionError) as caught:
        face.answers(kind).run(CALLS["page"](API))
    said = told(caught.value)
    assert [part for part in (TOKEN, "SEKRETsearch", "?", "Bearer", "/client/v4") if part in str(caught.value)] == []
    assert TOKEN not in said
    assert "SEKRETsearch" not in said.replace('"SEKRETsearch"', "")
    assert kind.__name__ in str(caught.value)
    assert "api.cloudflare.com" in str(caught.value)
    assert caught.value.processed is processed


def test_a_flow_may_sleep(face: Face) -> None:
    def flow() -> Any:
        first = yield httpx.Request("GET", "https://h.example/1")
        yield 2.5
        yield 3
        second = yield httpx.Request("GET", "https://h.example/2")
        return first.status_code, second.status_code

    assert face.answers(httpx.Response(200), httpx.Response(201)).run(flow()) == (200, 201)
    assert face.slept == [2.5, 3]


def test_a_flow_without_requests_just_returns(face: Face) -> None:
    def flow() -> Any:
        return 7
        yield

    assert face.run(flow()) == 7


def test_a_flow_is_told_of_a_lost_connection_and_may_go_on(face: Face) -> None:
    def flow() -> Any:
        try:
            yield httpx.Request("POST", "https://h.example/")
        except RealtimeKitConnectionError:
            answer = yield httpx.Request("GET", "https://h.example/")
            return answer.status_code
        raise AssertionError("no error came")

    assert face.answers(httpx.ReadTimeout, httpx.Response(200)).run(flow()) == 200
    assert face.methods == ["POST", "GET"]


def test_an_error_of_the_flow_passes_through(face: Face) -> None:
    with pytest.raises(RealtimeKitNotFoundError):
        face.answers(no(404)).run(API.get_recording("r"))


def test_a_clients_calls_share_its_connections() -> None:
    transport = httpx.MockTransport(lambda _: ok())
    with Client(CREDENTIALS, transport=transport) as client:
        assert [client.run(API.get_recording("r")).id for _ in range(3)] == ["rec-1"] * 3

    async def go() -> list[str]:
        async with AsyncClient(CREDENTIALS, transport=transport) as client:
            found = await asyncio.gather(*(client.run(API.get_recording("r")) for _ in range(3)))
            return [recording.id for recording in found]

    assert asyncio.run(go()) == ["rec-1"] * 3


def test_a_cancelled_wait_stops_at_once() -> None:
    async def go() -> None:
        asked = asyncio.Event()

        def busy(_: httpx.Request) -> httpx.Response:
            asked.set()
            return no(429, **{"retry-after": "300"})

        async with AsyncClient(CREDENTIALS, transport=httpx.MockTransport(busy)) as client:
            task = asyncio.create_task(client.run(API.get_recording("r")))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(asyncio.wait_for(go(), 5))


class Loopback(BaseHTTPRequestHandler):
    """A server that answers a 503, then a refusal that echoes the header it was sent."""

    seen: list[str]

    def do_GET(self) -> None:
        auth = self.headers["authorization"]
        self.seen.append(auth)
        body = json.dumps({"success": False, "errors": [{"code": 10000, "message": f"bad header {auth}"}]}).encode()
        self.send_response(503 if len(self.seen) == 1 else 403)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def loopback() -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []
    handler = type("Handler", (Loopback,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/client/v4", seen
        server.shutdown()
        thread.join()


def test_no_log_at_any_level_holds_the_token(
    face: Face, loopback: tuple[str, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    base_url, seen = loopback
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "asyncio", "airflow_provider_realtimekit"):
        caplog.set_level(logging.DEBUG, logger=name)
    face.credentials = replace(CREDENTIALS, base_url=base_url)
    face.transport = httpx.HTTPTransport() if face.kind == "sync" else httpx.AsyncHTTPTransport()
    with pytest.raises(RealtimeKitError) as caught:
        face.run(face.credentials.api.get_recording("r"))
    assert seen == [f"Bearer {TOKEN}"] * 2
    assert TOKEN not in caplog.text
    assert TOKEN not in told(caught.value)


def test_a_closed_port_is_no_answer(face: Face) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Loopback) as server:
        port = server.server_port
    face.policy = RetryPolicy(retry_timeout=0, clock=face.clock)
    face.credentials = replace(CREDENTIALS, base_url=f"http://127.0.0.1:{port}/client/v4")
    face.transport = httpx.HTTPTransport() if face.kind == "sync" else httpx.AsyncHTTPTransport()
    with pytest.raises(RealtimeKitConnectionError) as caught:
        face.run(face.credentials.api.start_recording(meeting_id="m"))
    assert caught.value.processed is False
