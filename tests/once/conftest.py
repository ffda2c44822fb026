"""A local RealtimeKit with little retry_timeout, and the table of what the rows of `test_table` saw."""

from __future__ import annotations

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from tests.conftest import connect

TABLE = pytest.StashKey[list[str]]()
HEAD = [
    "fault | operation | waits | what the user sees | recordings started | left running",
    "--- | --- | --- | --- | --- | ---",
]
#: Seconds for a request; as long, a start without an answer is looked for.
TIMEOUT = 0.3


@pytest.fixture
def quick(emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> EmulatorServer:
    """The local RealtimeKit, behind a connection whose requests time out soon and are tried again for 3 seconds."""
    connect(emulator, monkeypatch, timeout=TIMEOUT, retry_timeout=3)
    return emulator


@pytest.fixture
def table(request: pytest.FixtureRequest) -> list[str]:
    """The rows that are printed when all tests are done."""
    return request.config.stash.setdefault(TABLE, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    rows = config.stash.get(TABLE, [])
    if rows:
        terminalreporter.section(f"faults, {len(rows)} rows")
        for row in [*HEAD, *sorted(rows)]:
            terminalreporter.write_line(f"| {row} |")
