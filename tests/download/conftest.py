"""A recording whose file has known bytes. Stores that need more packages are tested only on request."""

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
    """A recording of just over 20 MiB: several parts of a multipart upload, and a smaller last one."""
    return record(emulator, tmp_path_factory.mktemp("recordings"), 20 * MIB + 1234)


@pytest.fixture
def short_retry_timeout(emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make downloads fail after a second without progress."""
    connect(emulator, monkeypatch, retry_timeout=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "fetched"
