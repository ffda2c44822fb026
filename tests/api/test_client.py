"""Both clients: where the token is sent, what errors show, how flows sleep, and that no redirect is followed."""

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

from airflow_provider_realtimekit.api import client
from airflow_provider_realtimekit.api.client import AsyncClient, Client
from airflow_provider_realtimekit.api.retry import RetryPolicy
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitNotFoundError,
    RealtimeKitResponseError,
)
from tests.support.api import API, CREDENTIALS, TOKEN, Driver, no, ok, shown

CALLS: dict[str, Any] = {
    "get": lambda api: api.get_recording("r"),
    "active": lambda api: api.get_active_recording("m"),
    "stop": lambda api: api.stop_recording("r"),
    "start": lambda api: api.start_recording(meeting_id="m"),
    "tracks": lambda api: api.start_track_recording(meeting_id="m"),
    "page": lambda api: api.list_recordings(search="SEKRETsearch").next_page(),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_token_is_in_the_authorization_header_only(driver: Driver, call: str) -> None:
    driver.answers(ok([] if call == "page" else {"id": "r"})).run(CALLS[call](API))
    (request,) = driver.requests
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in str(request.url)
    assert TOKEN.encode() not in request.content
    assert [key for key, value in request.headers.items() if TOKEN in value] == ["authorization"]
    assert "airflow-provider-realtimekit/" in request.headers["user-agent"]


def test_each_attempt_has_the_token(driver: Driver) -> None:
    driver.answers(no(503), httpx.ReadTimeout, ok()).run(API.get_recording("r"))
    assert [request.headers["authorization"] for request in driver.requests] == [f"Bearer {TOKEN}"] * 3


def test_every_request_has_the_connections_timeout(driver: Driver) -> None:
    driver.answers(ok()).run(API.get_recording("r"))
    assert set(driver.requests[0].extensions["timeout"].values()) == {CREDENTIALS.timeout}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(driver: Driver, status: int) -> None:
    elsewhere = httpx.Response(status, headers={"location": "https://elsewhere.example/"})
    with pytest.raises(RealtimeKitResponseError):
        driver.answers(elsewhere).run(API.get_recording("r"))
    assert [request.url.host for request in driver.requests] == ["api.cloudflare.com"]


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
def test_a_connection_error_shows_no_address_query_or_header(driver: Driver, kind: Any, processed: Any) -> None:
    driver.policy = RetryPolicy(retry_timeout=0, clock=driver.clock)
    with pytest.raises(RealtimeKitConnectionError) as caught:
        driver.answers(kind).run(CALLS["page"](API))
    said = shown(caught.value)
    assert [part for part in (TOKEN, "SEKRETsearch", "?", "Bearer", "/client/v4") if part in str(caught.value)] == []
    assert TOKEN not in said
    assert "SEKRETsearch" not in said.replace('"SEKRETsearch"', "")
    assert kind.__name__ in str(caught.value)
    assert "api.cloudflare.com" in str(caught.value)
    assert caught.value.processed is processed


def test_a_flow_may_sleep(driver: Driver) -> None:
    def flow() -> Any:
        first = yield httpx.Request("GET", "https://h.example/1")
        yield 2.5
        yield 3
        second = yield httpx.Request("GET", "https://h.example/2")
        return first.status_code, second.status_code

    assert driver.answers(httpx.Response(200), httpx.Response(201)).run(flow()) == (200, 201)
    assert driver.slept == [2.5, 3]


def test_a_flow_without_requests_returns_its_result(driver: Driver) -> None:
    def flow() -> Any:
        return 7
        yield

    assert driver.run(flow()) == 7


def test_a_flow_can_continue_after_a_lost_connection(driver: Driver) -> None:
    def flow() -> Any:
        try:
            yield httpx.Request("POST", "https://h.example/")
        except RealtimeKitConnectionError:
            answer = yield httpx.Request("GET", "https://h.example/")
            return answer.status_code
        raise AssertionError("no error was raised")

    assert driver.answers(httpx.ReadTimeout, httpx.Response(200)).run(flow()) == 200
    assert driver.methods == ["POST", "GET"]


def test_an_error_of_the_flow_is_raised(driver: Driver) -> None:
    with pytest.raises(RealtimeKitNotFoundError):
        driver.answers(no(404)).run(API.get_recording("r"))


def test_all_calls_of_a_client_share_its_connections() -> None:
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
        sent = asyncio.Event()

        def busy(_: httpx.Request) -> httpx.Response:
            sent.set()
            return no(429, **{"retry-after": "300"})

        async with AsyncClient(CREDENTIALS, transport=httpx.MockTransport(busy)) as client:
            task = asyncio.create_task(client.run(API.get_recording("r")))
            await sent.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(asyncio.wait_for(go(), 5))


class Loopback(BaseHTTPRequestHandler):
    """A server that answers 503, and then with a refusal that repeats the header of the request."""

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
    driver: Driver, loopback: tuple[str, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    base_url, seen = loopback
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "asyncio", "airflow_provider_realtimekit"):
        caplog.set_level(logging.DEBUG, logger=name)
    driver.credentials = replace(CREDENTIALS, base_url=base_url)
    driver.transport = httpx.HTTPTransport() if driver.kind == "sync" else httpx.AsyncHTTPTransport()
    with pytest.raises(RealtimeKitError) as caught:
        driver.run(driver.credentials.api.get_recording("r"))
    assert seen == [f"Bearer {TOKEN}"] * 2
    assert TOKEN not in caplog.text
    assert TOKEN not in shown(caught.value)


def test_a_closed_port_is_a_connection_error(driver: Driver) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Loopback) as server:
        port = server.server_port
    driver.policy = RetryPolicy(retry_timeout=0, clock=driver.clock)
    driver.credentials = replace(CREDENTIALS, base_url=f"http://127.0.0.1:{port}/client/v4")
    driver.transport = httpx.HTTPTransport() if driver.kind == "sync" else httpx.AsyncHTTPTransport()
    with pytest.raises(RealtimeKitConnectionError) as caught:
        driver.run(driver.credentials.api.start_recording(meeting_id="m"))
    assert caught.value.processed is False


def test_each_attempt_is_counted_with_its_operation_and_outcome(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[str, str, str]] = []

    class Stats:
        @staticmethod
        def incr(name: str, *, tags: dict[str, str]) -> None:
            counted.append((name, tags["operation"], tags["outcome"]))

    monkeypatch.setattr(client, "Stats", Stats)
    driver.answers(no(503), httpx.ReadTimeout, ok()).run(API.get_recording("r"))
    outcomes = ["503", "ReadTimeout", "200"]
    assert counted == [("realtimekit.requests", "get", outcome) for outcome in outcomes]
