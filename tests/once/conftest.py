"""A local RealtimeKit with little retry_timeout."""

from __future__ import annotations

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from tests.conftest import connect

#: Seconds for a request; as long, a start without an answer is looked for.
TIMEOUT = 0.3


@pytest.fixture
def quick(emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> EmulatorServer:
    """The local RealtimeKit, behind a connection whose requests time out soon and are tried again for 3 seconds."""
    connect(emulator, monkeypatch, timeout=TIMEOUT, retry_timeout=3)
    return emulator
