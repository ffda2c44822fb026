"""The download operator: templates, results, asset events, and that no log or result has a token or a signed URL."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat import sdk
from airflow.sdk import Asset, AssetAlias, ObjectStoragePath
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_realtimekit.downloads import recording as recording_module
from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.exceptions import (
    DownloadError,
    RealtimeKitInputError,
    RecordingExpiredError,
    RecordingUnavailableError,
)
from airflow_provider_realtimekit.hooks import RealtimeKitHook
from airflow_provider_realtimekit.transfers import RealtimeKitDownloadRecordingOperator
from tests.conftest import TOKEN, connect
from tests.support.tasks import Ended, make_context, run_task


def download(recording_id: str, destination: Any, context: dict[str, Any] | None = None, **options: Any) -> Ended:
    make = lambda: RealtimeKitDownloadRecordingOperator(  # noqa: E731
        task_id="fetch", recording_id=recording_id, destination=destination, **options
    )
    return run_task(make, context)


def media(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".manifest.json")]


@pytest.fixture
def uploaded(emulator: EmulatorServer) -> str:
    (recording_id,) = emulator.world.seed(1, status="UPLOADED")
    return str(recording_id)


@pytest.fixture
def with_audio(emulator: EmulatorServer) -> str:
    """A recording with a video file and an audio file."""
    with RealtimeKitHook() as hook:
        recording = hook.start_recording(meeting_id="m", audio_config={"codec": "AAC", "export_file": True})
    emulator.world.jump(recording.id, "UPLOADED")
    return recording.id


def test_the_file_is_stored_completely(uploaded: str, tmp_path: Path, emulator: EmulatorServer) -> None:
    ended = download(uploaded, f"file://{tmp_path}/in/folder")
    assert ended.state == "success", ended.error
    assert ended.result["id"] == uploaded
    (file,) = ended.result["files"]
    (found,) = media(tmp_path / "in" / "folder")
    assert (file["name"], file["size"], file["kind"]) == (found.name, found.stat().st_size, "video")
    with RealtimeKitHook() as hook:
        recording = hook.get_recording(uploaded)
    assert (recording.file_size, recording.recording_duration) == (file["size"], ended.result["duration"])
    assert emulator.ledger.file_host_saw_authorization == 0


def test_a_destination_can_be_a_templated_local_path(uploaded: str, tmp_path: Path) -> None:
    ended = download("{{ '" + uploaded + "' }}", f"{tmp_path}/{{{{ 'deep' }}}}", files="{{ 'video' }}")
    assert ended.state == "success", ended.error
    assert Path(ended.result["files"][0]["path"].removeprefix("file://")).parent == tmp_path / "deep"


def test_a_destination_can_be_an_object_storage_path(uploaded: str, emulator: EmulatorServer) -> None:
    attach("memory", fs=MemoryFileSystem())
    ended = download(uploaded, ObjectStoragePath("memory://bucket/recordings"))
    assert ended.state == "success", ended.error
    (file,) = ended.result["files"]
    assert ObjectStoragePath(file["path"]).stat().st_size == file["size"]
    names = {path.name for path in ObjectStoragePath("memory://bucket/recordings").iterdir()}
    assert names == {file["name"], f"{uploaded}.manifest.json"}
    assert download(uploaded, "memory://bucket/recordings").result["files"][0]["skipped"] is True


def test_a_destination_can_have_fields_of_the_recording(
    uploaded: str, tmp_path: Path, emulator: EmulatorServer
) -> None:
    # Only lists have the meeting of a recording, so the operator reads a list.
    ended = download(uploaded, f"{tmp_path}/{{meeting_id}}/{{invoked_time:%Y}}/{{recording_id}}{{suffix}}")
    assert ended.state == "success", ended.error
    recording = emulator.world.get(uploaded)
    (found,) = media(tmp_path)
    meeting, year, name = found.relative_to(tmp_path).parts
    assert (meeting, name) == (recording.meeting.id, f"{uploaded}.mp4")
    assert year.startswith("20")
    assert ended.result["meeting_id"] == meeting


@pytest.mark.parametrize(
    ("destination", "options"), [("{nothing}", {}), ("{recording_id", {}), ("x", {"files": "subtitles"})]
)
def test_a_wrong_argument_is_named_before_any_request(
    uploaded: str, tmp_path: Path, emulator: EmulatorServer, destination: str, options: dict[str, Any]
) -> None:
    ended = download(uploaded, f"{tmp_path}/{destination}", **options)
    assert isinstance(ended.error, RealtimeKitInputError)
    assert "is not allowed" in str(ended.error)
    assert ended.state == "failed"
    assert emulator.ledger.count() == 0


@pytest.mark.parametrize(("files", "kinds"), [("all", ["video", "audio"]), ("video", ["video"]), ("audio", ["audio"])])
def test_the_argument_files_selects_the_kinds(with_audio: str, tmp_path: Path, files: str, kinds: list[str]) -> None:
    ended = download(with_audio, str(tmp_path), files=files)
    assert ended.state == "success", ended.error
    assert [file["kind"] for file in ended.result["files"]] == kinds
    assert sorted(str(path) for path in media(tmp_path)) == sorted(file["path"] for file in ended.result["files"])


def test_files_that_are_downloaded_separately_are_in_one_manifest(with_audio: str, tmp_path: Path) -> None:
    download(with_audio, str(tmp_path), files="video")
    assert download(with_audio, str(tmp_path), files="audio").state == "success"
    ended = download(with_audio, str(tmp_path))
    assert [file["skipped"] for file in ended.result["files"]] == [True, True]
    assert len(json.loads(Path(ended.result["manifest"]).read_text())["files"]) == 2


def test_a_recording_without_the_wanted_kind_of_file_is_an_error(uploaded: str, tmp_path: Path) -> None:
    ended = download(uploaded, str(tmp_path), files="audio")
    assert isinstance(ended.error, RecordingUnavailableError)
    assert "has no audio file" in str(ended.error)


def test_all_files_of_a_track_recording_are_downloaded(emulator: EmulatorServer, tmp_path: Path) -> None:
    emulator.world.open_meeting("m", participants=("ann", "bob"))
    with RealtimeKitHook() as hook:
        recording = hook.start_track_recording(meeting_id="m")
        emulator.world.jump(recording.id, "UPLOADED")
        names = {file.name for file in hook.get_recording(recording.id).files}
    ended = download(recording.id, str(tmp_path))
    assert ended.state == "success", ended.error
    assert {path.name for path in media(tmp_path)} == names
    assert {file["participant"] for file in ended.result["files"]} == {"ann", "bob"}
    manifest = json.loads((tmp_path / f"{recording.id}.manifest.json").read_text())
    assert {(file["participant"], file["layer"]) for file in manifest["files"]} == {
        ("ann", "default"),
        ("bob", "default"),
    }
    for file in manifest["files"]:
        assert file["started_at"].startswith("20")


@pytest.mark.parametrize("fault", [{"cut": 100}, {"status": 403}, {"status": 500}, {"reset": True}], ids=str)
def test_a_fault_that_happens_once_is_retried(
    uploaded: str, tmp_path: Path, emulator: EmulatorServer, fault: dict[str, Any]
) -> None:
    emulator.faults.add(operation="download", count=1, **fault)
    ended = download(uploaded, str(tmp_path))
    assert ended.state == "success", ended.error
    assert media(tmp_path)[0].stat().st_size == ended.result["files"][0]["size"]


@pytest.mark.parametrize("fault", [{"cut": 0}, {"status": 403}, {"status": 500}, {"reset": True}], ids=str)
def test_a_failed_download_leaves_no_file(
    uploaded: str, tmp_path: Path, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    connect(emulator, monkeypatch, retry_timeout=1)
    emulator.faults.add(operation="download", count=None, **fault)
    ended = download(uploaded, str(tmp_path))
    assert ended.state == "up_for_retry"
    assert isinstance(ended.error, DownloadError)
    assert ended.error.recording_id == uploaded
    assert "?" not in str(ended.error)
    assert list(tmp_path.iterdir()) == []


def test_a_retry_replaces_a_file_of_another_size(uploaded: str, tmp_path: Path) -> None:
    assert download(uploaded, str(tmp_path)).state == "success"
    (found,) = media(tmp_path)
    found.write_bytes(b"old")
    assert download(uploaded, str(tmp_path)).state == "success"
    assert found.stat().st_size > 3


@pytest.mark.parametrize("content", ["", "[]", "{", '{"files": 1}', '{"files": [1, {"path": "x"}]}'])
def test_a_malformed_manifest_is_replaced(uploaded: str, tmp_path: Path, content: str) -> None:
    manifest = tmp_path / f"{uploaded}.manifest.json"
    manifest.write_text(content)
    assert download(uploaded, str(tmp_path)).result["files"][0]["skipped"] is False
    assert json.loads(manifest.read_text())["recording_id"] == uploaded


@pytest.mark.parametrize(
    ("status", "reason"), [("RECORDING", "it is RECORDING, not UPLOADED"), ("ERRORED", "it is ERRORED, not UPLOADED")]
)
def test_the_error_for_a_recording_that_is_not_uploaded_names_its_status(
    emulator: EmulatorServer, tmp_path: Path, status: str, reason: str
) -> None:
    (recording_id,) = emulator.world.seed(1, status=status)
    ended = download(recording_id, str(tmp_path))
    assert isinstance(ended.error, RecordingUnavailableError)
    assert reason in str(ended.error)


def test_the_error_for_an_expired_recording_names_the_time(
    uploaded: str, tmp_path: Path, emulator: EmulatorServer
) -> None:
    emulator.world.expire(uploaded)
    ended = download(uploaded, str(tmp_path))
    assert ended.state == "failed", "no retry can help"
    assert isinstance(ended.error, RecordingExpiredError)
    assert f"its files expired at {str(ended.error.expired_at)[:10]}" in str(ended.error)


def test_a_file_that_is_there_already_is_skipped_after_the_recording_has_expired(
    uploaded: str, tmp_path: Path, emulator: EmulatorServer
) -> None:
    first = download(uploaded, str(tmp_path))
    emulator.world.expire(uploaded)
    again = download(uploaded, str(tmp_path))
    assert again.state == "success", again.error
    assert [file["skipped"] for file in again.result["files"]] == [True]
    assert again.result["files"][0]["path"] == first.result["files"][0]["path"]
    media(tmp_path)[0].unlink()
    assert isinstance(download(uploaded, str(tmp_path)).error, RecordingExpiredError)


def test_an_empty_destination_is_named_before_any_request(uploaded: str, emulator: EmulatorServer) -> None:
    ended = download(uploaded, "{{ '' }}")
    assert isinstance(ended.error, RealtimeKitInputError)
    assert "destination='' is not allowed" in str(ended.error)
    assert emulator.ledger.count() == 0


def test_asset_events_name_what_was_written(uploaded: str, tmp_path: Path) -> None:
    asset, alias = Asset("s3://bucket/recordings"), AssetAlias("recordings")
    events = OutletEventAccessors()
    ended = download(uploaded, str(tmp_path), make_context(outlet_events=events), outlets=[asset, alias])
    assert ended.state == "success", ended.error
    (file,) = ended.result["files"]
    assert events[asset].extra == {"recording_id": uploaded, "files": [file["path"]]}
    (event,) = events[alias].asset_alias_events
    assert event.dest_asset_key.uri == f"file://{file['path']}"
    assert event.extra["sha256"] == file["sha256"]


def test_lineage_names_source_and_target(uploaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = sdk.HookLineageCollector()
    monkeypatch.setattr(recording_module, "get_hook_lineage_collector", lambda: collector)
    ended = download(uploaded, str(tmp_path))
    assert ended.state == "success", ended.error
    (source,), (target,) = collector.collected_assets.inputs, collector.collected_assets.outputs
    assert source.asset.uri.endswith(f"/recordings/{uploaded}")
    assert target.asset.uri == f"file://{ended.result['files'][0]['path']}"
    assert "ignature" not in f"{source}{target}"


def test_no_log_holds_a_signed_url_or_the_token(
    uploaded: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RealtimeKitHook() as hook:
        url = hook.get_recording(uploaded).files[0].url.get_secret_value()
    with caplog.at_level(logging.DEBUG):
        ended = download(uploaded, str(tmp_path))
    client_lines = [record for record in caplog.records if not record.name.startswith("uvicorn")]
    logged = "\n".join(record.getMessage() for record in client_lines)
    assert "MB/s" in logged, "the log has no line with the speed"
    for text in (logged, json.dumps(ended.result)):
        assert url.partition("?")[2][:20] not in text
        assert "Signature" not in text
        assert TOKEN not in text
