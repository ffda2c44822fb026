"""Functions that read and write local files, on files in object storage."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from example_dags.realtimekit_report.object_storage import process_file


@pytest.fixture(params=["memory", "local"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty folder."""
    if request.param == "local":
        return f"file://{tmp_path}"
    attach("memory", fs=MemoryFileSystem())
    return f"memory://{tmp_path.name}/recordings"


def test_the_result_is_stored_in_the_folder_of_the_file(folder: str) -> None:
    def shout(source: Path, target: Path) -> int:
        return target.write_text(source.read_text().upper())

    recording = ObjectStoragePath(folder) / "talk.mp4"
    recording.parent.mkdir(parents=True, exist_ok=True)
    recording.write_text("hello")
    assert process_file(str(recording), "loud.txt", shout) == 5
    assert (recording.parent / "loud.txt").read_text() == "HELLO"
    assert sorted(path.name for path in recording.parent.iterdir()) == ["loud.txt", "talk.mp4"]


def test_a_function_may_write_nothing(folder: str) -> None:
    recording = ObjectStoragePath(folder) / "talk.mp4"
    recording.parent.mkdir(parents=True, exist_ok=True)
    recording.write_text("hello")
    assert process_file(str(recording), "none.png", lambda source, target: source.name) == "talk.mp4"
    assert [path.name for path in recording.parent.iterdir()] == ["talk.mp4"]
