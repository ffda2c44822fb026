"""Recordings with a file of known bytes; stores that need more packages are tested only on request."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from tests.conftest import connect
from tests.support.downloads import MIB, Recorded, record

# `make test-stores` installs what these need, and sets the variable.
collect_ignore = [] if os.environ.get("REALTIMEKIT_TEST_STORES") else ["stores"]


@pytest.fixture
def recorded(emulator: EmulatorServer, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A recording of 20 MiB and a bit: several parts of an upload, and a smaller last one."""
    return record(emulator, tmp_path_factory.mktemp("recordings"), 20 * MIB + 1234)


@pytest.fixture
def impatient(emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that stops retrying after a second without a byte."""
    connect(emulator, monkeypatch, retry_timeout=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "fetched"
