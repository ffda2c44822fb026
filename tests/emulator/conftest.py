"""One emulator for all tests of this folder, reset before each."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer, Settings
from tests.support.emulator import bearer


@pytest.fixture(scope="session")
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(Settings(invoked_seconds=0, uploading_seconds=0, media="tiny")) as server:
        yield server


@pytest.fixture
def emulator(server: EmulatorServer) -> EmulatorServer:
    server.reset()
    return server


@pytest.fixture(scope="session")
def clients(server: EmulatorServer) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    # For all tests, because each new client reads the certificates of the system again.
    address = f"{server.base_url}/accounts/account/realtime/kit/app"
    with (
        httpx.Client(base_url=server.url, timeout=60) as http,
        httpx.Client(base_url=address, headers=bearer("token"), timeout=60) as api,
    ):
        yield http, api


@pytest.fixture
def http(clients: tuple[httpx.Client, httpx.Client], emulator: EmulatorServer) -> httpx.Client:
    """A client without a token, for the file host and the control routes."""
    return clients[0]


@pytest.fixture
def api(clients: tuple[httpx.Client, httpx.Client], emulator: EmulatorServer) -> httpx.Client:
    """A client with a token, whose paths begin after the app's id."""
    return clients[1]
