"""A pytest fixture for tests of your own DAGs.

In `conftest.py`:

    pytest_plugins = ["airflow_provider_realtimekit.emulator.fixtures"]

and in a test:

    def test_my_dag(realtimekit_emulator):
        realtimekit_emulator.world.open_meeting("standup", participants=["ann", "bob"])
        dag.test()  # its tasks find the connection realtimekit_default
        assert realtimekit_emulator.ledger.count("start") == 1

Recordings spend a tenth of a second in INVOKED and in UPLOADING; `realtimekit_emulator.settings` changes that.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_realtimekit.emulator.server import EmulatorServer
from airflow_provider_realtimekit.emulator.settings import Settings


@pytest.fixture(scope="session")
def _realtimekit_server() -> Iterator[EmulatorServer]:
    # One server for all tests, because to start one takes longer than most tests.
    with EmulatorServer(Settings(invoked_seconds=0.1, uploading_seconds=0.1)) as server:
        yield server


@pytest.fixture
def realtimekit_emulator(_realtimekit_server: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> EmulatorServer:
    """Return an emulator without meetings and recordings, to which the connection `realtimekit_default` leads."""
    _realtimekit_server.reset()
    monkeypatch.setenv("AIRFLOW_CONN_REALTIMEKIT_DEFAULT", _realtimekit_server.connection_json())
    # After a start the operators wait some seconds for views that lag. Those of the emulator never do.
    monkeypatch.setenv("REALTIMEKIT_RIVAL_SECONDS", "0")
    return _realtimekit_server
