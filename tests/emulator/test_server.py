"""EmulatorServer in a test's own process: its address, its state file, its imports and the pytest fixture."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer, Settings
from airflow_provider_realtimekit.start import bounds
from tests.support.emulator import OWNER, Clock, bearer

pytest_plugins = ["airflow_provider_realtimekit.emulator.fixtures"]


def test_the_fixture_sets_the_default_connection_to_an_emulator(realtimekit_emulator: Any) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_REALTIMEKIT_DEFAULT"])
    assert connection["conn_type"] == "realtimekit"
    address = "{host}/accounts/{login}/realtime/kit/{app_id}/recordings".format(**connection, **connection["extra"])
    response = httpx.post(address, json={"meeting_id": "standup"}, headers=bearer(connection["password"]))
    assert response.status_code == 200
    assert realtimekit_emulator.ledger.count("start", 200) == 1


@pytest.mark.parametrize("value", ["", "six"])
def test_a_pause_that_cannot_be_read_is_the_default(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("REALTIMEKIT_RIVAL_SECONDS", value)
    assert bounds.rival_seconds() == bounds.BOUNDS.rivals > 0


def test_the_fixture_spares_tests_the_pause_after_a_start(realtimekit_emulator: Any) -> None:
    assert bounds.rival_seconds() == 0


def test_the_fixture_is_reset_for_each_test(realtimekit_emulator: Any) -> None:
    assert realtimekit_emulator.ledger.count() == 0
    assert realtimekit_emulator.world.recordings() == []


def test_importing_the_emulator_imports_no_large_library_and_nothing_else_of_ours() -> None:
    code = """
import sys, airflow_provider_realtimekit.emulator
assert not {"fastapi", "uvicorn", "av", "numpy", "pydantic"} & set(sys.modules)
import airflow_provider_realtimekit.emulator.server, airflow_provider_realtimekit.emulator.fixtures
ours = {name for name in sys.modules if name.startswith("airflow_provider_realtimekit.")}
others = {name for name in ours if not name.startswith("airflow_provider_realtimekit.emulator")}
assert not others, others
assert "airflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["url", "base_url"])
def test_before_the_start_the_address_is_an_error_that_names_the_with_block(name: str) -> None:
    server = EmulatorServer(Settings(media="tiny"))
    with pytest.raises(RuntimeError, match="read it inside `with EmulatorServer"):
        getattr(server, name)
    with server:
        assert getattr(server, name).startswith("http://127.0.0.1:")
    with pytest.raises(RuntimeError, match="read it inside `with EmulatorServer"):
        getattr(server, name)


def test_a_recording_that_ends_while_the_server_stops_is_saved_with_its_files(tmp_path: Path) -> None:
    clock, settings, state_path = Clock(), Settings(media="tiny", invoked_seconds=0), tmp_path / "state.json"
    with EmulatorServer(settings, clock=clock, state_path=state_path) as server:
        recording_id = server.world.start(OWNER, {"meeting_id": "standup", "max_seconds": 60}).id
        # The recording is due to end, but nothing reads it before the server stops.
        clock.advance(1000)
    with EmulatorServer(settings, clock=clock, state_path=state_path) as server:
        server.world.finish_uploads()
        recording = server.world.get(recording_id)
    assert (recording.status, recording.recorded_seconds, len(recording.files)) == ("UPLOADED", 60, 1)
