"""Downloads to the local disk: the tests of every store, and the cases of a disk only."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_realtimekit.downloads.sinks import Sink
from airflow_provider_realtimekit.exceptions import DownloadError
from tests.download.suite import ROOT, StoreSuite, assert_absent
from tests.support.downloads import MIB, Recorded, Store, fetch, list_folder


class LocalStore(Store):
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "fetched"
        self.folder.mkdir()
        self.destination = str(self.folder)
        (folder / "file").touch()
        self.forbidden = f"{folder}/file/below"

    def listing(self) -> dict[str, bytes]:
        return list_folder(self.folder)


def watch_listings(monkeypatch: pytest.MonkeyPatch, owner: Any, *names: str) -> set[str]:
    """Return a set to which every listed folder is added."""
    listed: set[str] = set()

    def watch(list_: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            listed.update(str(arg) for arg in args if isinstance(arg, str | Path))
            return list_(*args, **kwargs)

        return wrapper

    for name in names:
        monkeypatch.setattr(owner, name, watch(getattr(owner, name)))
    return listed


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


class TestLocalDisk(StoreSuite):
    """Local disk."""


def test_a_full_disk_is_an_error(store: LocalStore, recorded: Recorded) -> None:
    # The process may write no file above 10 MiB, half of the recording.
    command = [sys.executable, "-m", "tests.support.downloads", recorded.id, store.destination, str(10 * MIB)]
    ran = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=90, check=False)
    assert ran.returncode == 3, ran.stderr
    assert "DownloadError" in ran.stdout
    assert "is full" in ran.stdout
    assert_absent(store)


def test_a_disk_that_is_too_small_fails_before_the_download(store: LocalStore) -> None:
    with pytest.raises(DownloadError, match="has no room"):
        Sink(ObjectStoragePath(f"{store.destination}/file.mp4"), 1 << 60)
    assert_absent(store)


def test_a_folder_with_the_files_name_is_an_error(store: LocalStore, recorded: Recorded) -> None:
    (store.folder / recorded.name).mkdir()
    (store.folder / recorded.name / "kept").touch()
    with pytest.raises(DownloadError, match="cannot be stored"):
        fetch(recorded, store.destination)
    assert [path.name for path in store.folder.iterdir()] == [recorded.name]


def test_parts_of_other_files_are_left_alone(store: LocalStore, recorded: Recorded) -> None:
    mine, others = f"{recorded.name}.parts/0123abcd.part", "other.mp4.parts/0123abcd.part"
    for name in (mine, others, f"{recorded.name}.part"):
        (store.folder / name).parent.mkdir(exist_ok=True)
        (store.folder / name).touch()
    fetch(recorded, store.destination)
    assert mine not in store.listing()
    assert {others, f"{recorded.name}.part"} < set(store.listing())


def test_foreign_files_in_the_folder_of_the_parts_are_left_alone(store: LocalStore, recorded: Recorded) -> None:
    folder = store.folder / f"{recorded.name}.parts"
    folder.mkdir()
    (folder / "notes.txt").touch()
    fetch(recorded, store.destination)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_the_folder_of_an_archive_is_never_listed(
    store: LocalStore, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With n recordings in the folder, a listing for each of them would take n * n steps.
    listed = watch_listings(monkeypatch, os, "listdir", "scandir")
    fetch(recorded, store.destination)
    assert store.destination not in listed
    assert (store.folder / recorded.name).stat().st_size == recorded.size


def test_no_folder_of_another_store_is_listed(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    attach("memory", fs=MemoryFileSystem())
    listed = watch_listings(monkeypatch, MemoryFileSystem, "ls")
    fetched = fetch(recorded, "memory://archive/flat")
    assert fetched["files"][0]["size"] == recorded.size
    assert "/archive/flat" not in listed
    assert listed <= {f"/archive/flat/{recorded.name}.parts", f"/archive/flat/{recorded.id}.manifest.json.parts"}
