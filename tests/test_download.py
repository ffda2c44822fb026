"""The download: whole or absent, from fresh links, and never with the token or a link where others can read it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_realtimekit.downloads import open_file
from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.exceptions import (
    DownloadError,
    RealtimeKitInputError,
    RecordingUnavailableError,
)
from airflow_provider_realtimekit.hooks import RealtimeKitHook
from airflow_provider_realtimekit.transfers import RealtimeKitDownloadRecordingOperator
from tests.conftest import TOKEN
from tests.tasks import Ended, run_task


def fetch(recording_id: str, destination: Any) -> Ended:
    make = lambda: RealtimeKitDownloadRecordingOperator(  # noqa: E731
        task_id="fetch", recording_id=recording_id, destination=destination
    )
    return run_task(make)


@pytest.fixture
def uploaded(emulator: EmulatorServer) -> str:
    (recording_id,) = emulator.world.seed(1, status="UPLOADED")
    return str(recording_id)


def test_the_file_arrives_whole(uploaded: str, tmp_path: Path, emulator: EmulatorServer) -> None:
    ended = fetch(uploaded, f"file://{tmp_path}/in/folder")
    assert ended.state == "success", ended.error
    assert ended.result["id"] == uploaded
    (file,) = ended.result["files"]
    (found,) = (tmp_path / "in" / "folder").iterdir()
    assert (file["name"], file["size"], file["kind"]) == (found.name, found.stat().st_size, "video")
    with RealtimeKitHook() as hook:
        assert hook.get_recording(uploaded).file_size == file["size"]
    assert emulator.ledger.file_host_saw_authorization == 0


def test_a_plain_local_path_and_a_templated_one(uploaded: str, tmp_path: Path) -> None:
    ended = fetch("{{ '" + uploaded + "' }}", f"{tmp_path}/{{{{ 'deep' }}}}")
    assert ended.state == "success", ended.error
    assert Path(ended.result["files"][0]["path"].removeprefix("file://")).parent == tmp_path / "deep"


def test_object_storage(uploaded: str, emulator: EmulatorServer) -> None:
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach
    from fsspec.implementations.memory import MemoryFileSystem

    attach("memory", fs=MemoryFileSystem())
    ended = fetch(uploaded, ObjectStoragePath("memory://bucket/recordings"))
    assert ended.state == "success", ended.error
    (file,) = ended.result["files"]
    assert ObjectStoragePath(file["path"]).stat().st_size == file["size"]
    assert [path.name for path in ObjectStoragePath("memory://bucket/recordings").iterdir()] == [file["name"]]


def test_all_files_of_a_track_recording(emulator: EmulatorServer, tmp_path: Path) -> None:
    emulator.world.open_meeting("m", participants=("ann", "bob"))
    with RealtimeKitHook() as hook:
        recording = hook.start_track_recording(meeting_id="m")
        emulator.world.jump(recording.id, "UPLOADED")
        names = {file.name for file in hook.get_recording(recording.id).files}
    ended = fetch(recording.id, str(tmp_path))
    assert ended.state == "success", ended.error
    assert {path.name for path in tmp_path.rglob("*.webm")} == names
    assert len(names) == 2


@pytest.mark.parametrize("fault", [{"cut": 100}, {"status": 403}, {"status": 500}, {"reset": True}], ids=str)
def test_what_does_not_arrive_whole_leaves_nothing(
    uploaded: str, tmp_path: Path, emulator: EmulatorServer, fault: dict[str, Any]
) -> None:
    emulator.faults.add(operation="download", count=1, **fault)
    ended = fetch(uploaded, str(tmp_path))
    assert ended.state == "up_for_retry"
    assert isinstance(ended.error, DownloadError)
    assert "?" not in str(ended.error)
    assert list(tmp_path.iterdir()) == []


def test_a_retry_replaces_the_file(uploaded: str, tmp_path: Path) -> None:
    assert fetch(uploaded, str(tmp_path)).state == "success"
    (found,) = tmp_path.iterdir()
    found.write_bytes(b"old")
    assert fetch(uploaded, str(tmp_path)).state == "success"
    assert found.stat().st_size > 3


def test_another_size_than_the_api_announced(uploaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_realtimekit import downloads

    monkeypatch.setattr(downloads, "_write", lambda response, part: part.write_bytes(b"xx") or 2)
    ended = fetch(uploaded, str(tmp_path))
    assert isinstance(ended.error, DownloadError)
    assert "2 bytes arrived of" in str(ended.error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "why"), [("RECORDING", "it is RECORDING, not UPLOADED"), ("ERRORED", "it is ERRORED, not UPLOADED")]
)
def test_what_has_no_file_says_why(emulator: EmulatorServer, tmp_path: Path, status: str, why: str) -> None:
    (recording_id,) = emulator.world.seed(1, status=status)
    ended = fetch(recording_id, str(tmp_path))
    assert isinstance(ended.error, RecordingUnavailableError)
    assert why in str(ended.error)


def test_an_expired_recording_says_when(uploaded: str, tmp_path: Path, emulator: EmulatorServer) -> None:
    emulator.world.expire(uploaded)
    ended = fetch(uploaded, str(tmp_path))
    assert isinstance(ended.error, RecordingUnavailableError)


def test_an_empty_destination_is_named_before_any_call(uploaded: str, emulator: EmulatorServer) -> None:
    ended = fetch(uploaded, "{{ '' }}")
    assert isinstance(ended.error, RealtimeKitInputError)
    assert "destination='' is not allowed" in str(ended.error)
    assert emulator.ledger.count() == 0


@pytest.mark.parametrize("url", ["http://example.org/file?sig=S3CRET", "ftp://127.0.0.2/file?sig=S3CRET"])
def test_links_must_be_https(url: str) -> None:
    with pytest.raises(DownloadError, match="which is not https") as raised, open_file(url, 1):
        pass
    assert "S3CRET" not in str(raised.value)


def test_no_log_holds_a_link_or_the_token(uploaded: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with RealtimeKitHook() as hook:
        url = hook.get_recording(uploaded).files[0].url.get_secret_value()
    with caplog.at_level(logging.INFO, logger="httpx"):
        assert fetch(uploaded, str(tmp_path)).state == "success"
    client_lines = [record for record in caplog.records if not record.name.startswith("uvicorn")]
    told = "\n".join(record.getMessage() for record in client_lines)
    assert "/files/" in told, "httpx logs what it asks for"
    assert url.partition("?")[2][:20] not in told
    assert TOKEN not in told
