"""Downloads to the local disk: the whole suite, and what only a disk can do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_realtimekit.downloads.sinks import open_sink
from airflow_provider_realtimekit.exceptions import DownloadError
from tests.download.suite import ROOT, StoreSuite, assert_absent
from tests.support.downloads import MIB, Recorded, Store, fetch


class LocalStore(Store):
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "fetched"
        self.folder.mkdir()
        self.destination = str(self.folder)
        (folder / "file").touch()
        self.forbidden = f"{folder}/file/below"

    def listing(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


class TestLocalDisk(StoreSuite):
    """Local disk."""


def test_a_full_disk(store: LocalStore, recorded: Recorded) -> None:
    """The system lets the process write no larger file than half of it."""
    command = [sys.executable, "-m", "tests.support.downloads", recorded.id, store.destination, str(10 * MIB)]
    ran = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=90, check=False)
    assert ran.returncode == 3, ran.stderr
    assert "DownloadError" in ran.stdout
    assert "it is full" in ran.stdout
    assert_absent(store)


def test_a_disk_that_is_too_small_is_found_out_at_the_start(store: LocalStore) -> None:
    from airflow.sdk import ObjectStoragePath

    with pytest.raises(DownloadError, match="has no room"):
        open_sink(ObjectStoragePath(f"{store.destination}/file.mp4"), 1 << 60)
    assert_absent(store)


def test_a_name_that_is_a_folder_already(store: LocalStore, recorded: Recorded) -> None:
    (store.folder / recorded.name).mkdir()
    (store.folder / recorded.name / "kept").touch()
    with pytest.raises(DownloadError, match="cannot be stored"):
        fetch(recorded, store.destination)
    assert [path.name for path in store.folder.iterdir()] == [recorded.name]


def test_parts_of_other_files_are_left_alone(store: LocalStore, recorded: Recorded) -> None:
    mine, others = f"{recorded.name}.0123abcd.part", "other.mp4.0123abcd.part"
    for name in (mine, others, f"{recorded.name}.part"):
        (store.folder / name).touch()
    fetch(recorded, store.destination)
    assert mine not in store.listing()
    assert {others, f"{recorded.name}.part"} < set(store.listing())
