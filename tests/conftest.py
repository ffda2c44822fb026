"""Settings that must stand before anything imports Airflow, the emulator that tests share, and the table of faults."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

_ROOT = Path(__file__).parent.parent
_HOME = tempfile.TemporaryDirectory(prefix="realtimekit-tests-")
os.environ |= {
    "AIRFLOW_HOME": _HOME.name,
    "AIRFLOW__CORE__DAGS_FOLDER": str(_ROOT / "example_dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    # Hypothesis and matplotlib would otherwise store what they compute in the working directory and at home.
    "HYPOTHESIS_STORAGE_DIRECTORY": f"{_HOME.name}/hypothesis",
    "MPLCONFIGDIR": f"{_HOME.name}/matplotlib",
    "NO_PROXY": "127.0.0.1,localhost",
}

import httpx  # noqa: E402 (after the settings)
import pytest  # noqa: E402 (after the settings)
from hypothesis import HealthCheck, Phase, settings  # noqa: E402
from hypothesis.internal.conjecture import engine  # noqa: E402

if TYPE_CHECKING:
    from airflow_provider_realtimekit.emulator import EmulatorServer

# Every run draws the same examples, so that a result depends on the code alone. How long an example takes depends on
# the machine, so no example has a deadline.
_STEADY: dict[str, Any] = {"database": None, "deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("fixed", derandomize=True, **_STEADY)
# `make search` draws others. It stops at the first failure and explains nothing.
_SEARCH = {"phases": [Phase.generate, Phase.shrink], "report_multiple_bugs": False, "print_blob": False}
settings.register_profile("search", derandomize=False, **_SEARCH, **_STEADY)
settings.load_profile("fixed")
# Hypothesis allows five minutes to make a failing example simpler. Most of that is won in the first seconds.
_SHRINKING_SECONDS = 20

FAULT_ROW = "row of the table of faults"
FAULT_TABLE_HEAD = [
    "fault | operation | waits | what the user sees | recordings started | left running",
    "--- | --- | --- | --- | --- | ---",
]

TOKEN = "token-that-nobody-may-see"
ACCOUNT = "account-1"
APP = "app-1"


@pytest.fixture(autouse=True)
def _fixed_chance() -> None:
    """Each test meets the same jitter in each run."""
    random.seed(0)


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
    reset(emulator_server)
    connect(emulator_server, monkeypatch)
    return emulator_server


def reset(server: EmulatorServer) -> None:
    """Empty the local RealtimeKit, once it is done with all requests of before.

    A client that did not wait for the answer may have left a start behind, which must take effect before this.
    """
    # The server has read by then what was sent to it earlier.
    httpx.get(f"{server.url}/_emulator/settings", timeout=30).raise_for_status()
    deadline = time.monotonic() + 30
    while server._server.server_state.tasks and time.monotonic() < deadline:
        time.sleep(0.005)
    server.reset()


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


#: Folders whose tests share what takes long to start: one process runs all of a folder.
_TOGETHER = ("tests/system/", "tests/once/worlds/")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let each process of ``-n`` run the test that comes next, and the folders above as a whole."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((folder for folder in _TOGETHER if nodeid.startswith(folder)), nodeid)

    return Scheduling(config, log)


class FaultTable:
    """Prints a table of what the rows of `once/test_table.py` saw, when all tests are done.

    A test reports its row as a property, because it may run in another process than the one that prints.
    """

    def __init__(self) -> None:
        self.rows: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.rows += [str(row) for name, row in report.user_properties if name == FAULT_ROW]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.rows:
            terminalreporter.section(f"faults, {len(self.rows)} rows")
            for row in [*FAULT_TABLE_HEAD, *sorted(self.rows)]:
                terminalreporter.write_line(f"| {row} |")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FaultTable())
    engine.MAX_SHRINKING_SECONDS = _SHRINKING_SECONDS
