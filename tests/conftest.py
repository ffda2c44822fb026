"""Settings that must stand before anything imports Airflow, and the emulator that the tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

_ROOT = Path(__file__).parent.parent
_HOME = tempfile.TemporaryDirectory(prefix="realtimekit-tests-")
os.environ |= {
    "AIRFLOW_HOME": _HOME.name,
    "AIRFLOW__CORE__DAGS_FOLDER": str(_ROOT / "example_dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "NO_PROXY": "127.0.0.1,localhost",
}

import hypothesis  # noqa: E402 (after the settings)
import pytest  # noqa: E402 (after the settings)

if TYPE_CHECKING:
    from airflow_provider_realtimekit.emulator import EmulatorServer

# CI looks for the same examples each time, so that what it says depends on the change alone; a developer's runs
# go on looking for others.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

TOKEN = "token-that-nobody-may-see"
ACCOUNT = "account-1"
APP = "app-1"


@pytest.fixture(autouse=True)
def _fresh_quota() -> None:
    """What one test sent counts against no other."""
    from airflow_provider_realtimekit.api.rate_limit import reset_rate_limiters

    reset_rate_limiters()


@pytest.fixture(autouse=True)
def _short_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local RealtimeKit needs no minute to act, and shows at once what is: no test waits as long as a task does."""
    from airflow_provider_realtimekit.start import bounds

    short = bounds.Bounds(doubt=0.9, view_lag=0.3, rivals=0.02, stop=2.0)
    monkeypatch.setattr(bounds, "BOUNDS", short)


@pytest.fixture(autouse=True)
def _nothing_left_to_watch() -> Iterator[None]:
    yield
    from tests.support.tasks import stop_watching

    stop_watching()


@pytest.fixture(scope="session")
def emulator_server() -> Iterator[EmulatorServer]:
    """One local RealtimeKit for all tests."""
    from airflow_provider_realtimekit.emulator import EmulatorServer, Settings

    with EmulatorServer(Settings(invoked_seconds=0.02, uploading_seconds=0.02, media="tiny")) as server:
        yield server


@pytest.fixture
def emulator(emulator_server: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> EmulatorServer:
    """The local RealtimeKit, empty, behind the connection ``realtimekit_default``."""
    emulator_server.reset()
    connect(emulator_server, monkeypatch)
    return emulator_server


def connect(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch, conn_id: str = "realtimekit_default", **extra: object
) -> None:
    """Point a connection at the local RealtimeKit."""
    import json

    connection = {
        "conn_type": "realtimekit",
        "host": server.base_url,
        "login": ACCOUNT,
        "password": TOKEN,
        "extra": {"app_id": APP, **extra},
    }
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
