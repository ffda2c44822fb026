"""Helpers for the tests of the emulator: a world whose clock the test sets, and short calls of the API."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_realtimekit.emulator.media.specs import MediaSpec
from airflow_provider_realtimekit.emulator.settings import Settings
from airflow_provider_realtimekit.emulator.world.models import Owner
from airflow_provider_realtimekit.emulator.world.world import World

OWNER = Owner("account", "app")

#: Timestamps as the API writes them.
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

#: A valid storage of each kind, as the body of a start has it.
STORAGES: dict[str, dict[str, Any]] = {
    "aws": {"type": "aws", "access_key": "AK", "secret": "SK", "bucket": "b", "region": "us-east-1", "path": "p"},
    "digitalocean": {"type": "digitalocean", "access_key": "AK", "secret": "SK", "bucket": "b", "region": "ams3"},
    "azure": {"type": "azure", "access_key": "connection string", "bucket": "container"},
    "gcs": {"type": "gcs", "secret": "{}", "bucket": "b", "region": "eu"},
    "sftp-password": {
        "type": "sftp",
        "host": "h",
        "port": 22,
        "username": "u",
        "path": "p",
        "auth_method": "PASSWORD",
        "password": "pw",
    },
    "sftp-key": {
        "type": "sftp",
        "host": "h",
        "username": "u",
        "auth_method": "KEY",
        "private_key": "-----",
        "password": "pw",
    },
    "cloudflare": {"type": "cloudflare", "access_key": "AK", "secret": "SK", "bucket": "b", "account_id": "c"},
}


def cases(table: dict[str, tuple[Any, ...]]) -> list[Any]:
    """Return the rows of a table as parameters of a test, each named by its key."""
    return [pytest.param(*row, id=name) for name, row in table.items()]


class Clock:
    """A clock that moves only when the test moves it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeEncoder:
    """Encodes nothing. With `is_instant`, a file is finished at once; otherwise the test finishes its future."""

    def __init__(self) -> None:
        self.is_instant = True
        self.requests: list[tuple[MediaSpec, Future[Path]]] = []

    def encode(self, spec: MediaSpec) -> Future[Path]:
        future: Future[Path] = Future()
        self.requests.append((spec, future))
        if self.is_instant:
            future.set_result(Path(__file__))
        return future


class EmulatedWorld:
    """A world with its clock, encoder and settings."""

    def __init__(self, **settings: object) -> None:
        self.clock = Clock()
        self.encoder = FakeEncoder()
        self.settings = Settings(**settings)
        self.world = World(self.settings, self.encoder, self.clock)

    def start(self, meeting_id: str = "standup", **config: object) -> str:
        """Start a recording and return its id."""
        return self.world.start(OWNER, {"meeting_id": meeting_id, **config}).id

    def status_after(self, seconds: float, recording_id: str) -> str:
        """Let time pass, and return the status of a recording."""
        self.clock.advance(seconds)
        return self.world.get(recording_id).status


def data(response: httpx.Response) -> Any:
    """Return the data of a successful answer."""
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["success"] is True, body
    return body["data"]


def api_error(response: httpx.Response) -> tuple[int, str]:
    """Return status and message of an error in RealtimeKit's shape."""
    body = response.json()
    assert body == {"success": False, "error": {"code": response.status_code, "message": body["error"]["message"]}}
    return response.status_code, body["error"]["message"]


def gateway_error(response: httpx.Response) -> tuple[int, int]:
    """Return status and code of an error in the gateway's shape."""
    body = response.json()
    assert body["success"] is False, body
    assert body["messages"] == [], body
    ((error),) = body["errors"]
    assert set(error) == {"code", "message"}
    return response.status_code, error["code"]


def file_error(response: httpx.Response) -> tuple[int, str]:
    """Return status and code of an error in the shape of an object store."""
    assert response.headers["content-type"] == "application/xml", response.text
    return response.status_code, response.text.split("<Code>")[1].split("</Code>")[0]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def start(api: httpx.Client, meeting_id: str = "standup", **body: Any) -> Any:
    """Start a recording and return it."""
    return data(api.post("/recordings", json={"meeting_id": meeting_id, **body}))


def get(api: httpx.Client, recording_id: str) -> Any:
    """Return a recording."""
    return data(api.get(f"/recordings/{recording_id}"))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; after 20 seconds, fail and name it by `what`."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"waited 20 s without success for {what}"
        time.sleep(0.01)
