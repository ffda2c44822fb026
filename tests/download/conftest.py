"""Recordings with a file of known bytes; stores that need more than the development extra are asked for by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from tests.conftest import connect
from tests.support.downloads import MIB, Recorded, record

# `make test-stores` installs what these need, and asks for them.
collect_ignore = [] if os.environ.get("REALTIMEKIT_TEST_STORES") else ["stores"]


@pytest.fixture
def recorded(emulator: EmulatorServer, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A recording of 20 MiB and a bit: some parts of an upload, and an odd rest."""
    return record(emulator, tmp_path_factory.mktemp("recordings"), 20 * MIB + 1234)


@pytest.fixture
def impatient(emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that gives up after a second without a good answer."""
    connect(emulator, monkeypatch, retry_timeout=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "fetched"
