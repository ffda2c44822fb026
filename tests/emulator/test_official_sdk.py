"""The official SDK against the emulator: it calls all six operations, and gets every field that it declares."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_args

import cloudflare
import pytest
from cloudflare.types import realtime_kit as kit
from pydantic import BaseModel, TypeAdapter

from airflow_provider_realtimekit.emulator import EmulatorServer
from tests.support.emulator import STORAGES

IDS = {"account_id": "account", "app_id": "app"}
# Together, these set every field of a storage that the SDK declares.
DECLARED_STORAGES = [STORAGES[name] for name in ("aws", "gcs", "sftp-password")]
MEETING_CONFIG = {
    "audio_config": {"channel": "mono", "codec": "AAC", "export_file": True},
    "file_name_prefix": "auto",
    "live_streaming_config": {"rtmp_url": "rtmp://example"},
    "max_seconds": 90.0,
    "realtimekit_bucket_config": {"enabled": True},
    "storage_config": STORAGES["sftp-password"] | {"region": "eu"},
    "video_config": {
        "codec": "H264",
        "export_file": True,
        "height": 36,
        "width": 64,
        "watermark": {
            "position": "left top",
            "size": {"height": 1, "width": 1},
            "url": "https://example/w.png",
        },
    },
}
RESPONSES = {
    "list": kit.RecordingGetRecordingsResponse,
    "start": kit.RecordingStartRecordingsResponse,
    "active": kit.RecordingGetActiveRecordingsResponse,
    "get": kit.RecordingGetOneRecordingResponse,
    "action": kit.RecordingPauseResumeStopRecordingResponse,
    "start_track": kit.RecordingStartTrackRecordingResponse,
}


class Driver:
    """The SDK, sync or async, and the answers that it returned."""

    def __init__(self, client: cloudflare.Cloudflare | cloudflare.AsyncCloudflare, run: Callable[[Any], Any]) -> None:
        self._recordings = client.realtime_kit.recordings
        self._run = run
        self.answers: list[tuple[str, Any]] = []

    def call(self, operation: str, method: str, *args: Any, **kwargs: Any) -> Any:
        answer = getattr(self._recordings, method)(*args, **IDS, **kwargs)
        answer = self._run(answer) if inspect.isawaitable(answer) else answer
        assert isinstance(answer, RESPONSES[operation])
        assert answer.success is True
        self.answers.append((operation, answer))
        return answer.data

    def start(self, meeting_id: str, **body: Any) -> Any:
        return self.call("start", "start_recordings", meeting_id=meeting_id, **body)

    def act(self, recording_id: str, action: str) -> Any:
        return self.call("action", "pause_resume_stop_recording", recording_id, action=action)

    def get(self, recording_id: str) -> Any:
        return self.call("get", "get_one_recording", recording_id)

    def active(self, meeting_id: str) -> Any:
        return self.call("active", "get_active_recordings", meeting_id)

    def start_track(self, meeting_id: str, **body: Any) -> Any:
        return self.call("start_track", "start_track_recording", meeting_id=meeting_id, **body).recording

    def list(self, **query: Any) -> Any:
        return self.call("list", "get_recordings", **query)


@pytest.fixture(params=["sync", "async"])
def driver(request: pytest.FixtureRequest, emulator: EmulatorServer) -> Iterator[Driver]:
    options = {"api_token": "token", "base_url": emulator.base_url, "max_retries": 0}
    if request.param == "sync":
        with cloudflare.Cloudflare(**options) as client:
            yield Driver(client, lambda answer: answer)
    else:
        with asyncio.Runner() as runner:
            client = cloudflare.AsyncCloudflare(**options)
            yield Driver(client, runner.run)
            runner.run(client.close())


def use_every_operation(driver: Driver, emulator: EmulatorServer) -> None:
    """Call every operation so that each field has a value in at least one answer."""
    emulator.settings.idle_action = "accept"
    for number, storage in enumerate(DECLARED_STORAGES):
        meeting_id = f"meeting-{number}"
        emulator.world.open_meeting(meeting_id, recording_config={"storage_config": storage}, participants=["ann"])
        started = driver.start(meeting_id, audio_config={"codec": "AAC"}, storage_config=storage, max_seconds=60)
        assert driver.active(meeting_id).id == started.id
        assert driver.act(started.id, "pause").status == "PAUSED"
        assert driver.act(started.id, "resume").status == "RECORDING"
        assert driver.act(started.id, "stop").stop_reason.reason == "API_CALL"
        emulator.world.jump(started.id, "UPLOADED")
        assert driver.get(started.id).status == "UPLOADED"
        assert driver.act(started.id, "stop").status == "UPLOADED"
    emulator.world.open_meeting("standup", record_on_start=True, recording_config=MEETING_CONFIG, participants=["a"])
    assert driver.get(driver.active("standup").id).start_reason.reason == "RECORD_ON_START"
    driver.start_track("standup", layers={"default": {"file_name_prefix": "x", "media_kind": "audio"}})


def test_the_official_sdk_calls_all_six_operations(driver: Driver, emulator: EmulatorServer) -> None:
    use_every_operation(driver, emulator)
    listed = driver.list(
        status=["UPLOADED", "ERRORED"],
        search="meeting",
        expired=False,
        start_time="2020-01-01T00:00:00Z",
        end_time="2999-01-01T00:00:00Z",
        page_no=1,
        per_page=2,
        sort_by="invokedTime",
        sort_order="ASC",
    )
    assert [recording.meeting.id for recording in listed] == ["meeting-0", "meeting-1"]
    paging = driver.answers[-1][1].paging
    assert (paging.start_offset, paging.end_offset, paging.total_count) == (1, 2, 3)
    assert driver.list(meeting_id="meeting-2")[0].status == "UPLOADED"


def test_every_declared_field_has_a_value_of_its_type(driver: Driver, emulator: EmulatorServer) -> None:
    use_every_operation(driver, emulator)
    driver.list()
    seen: dict[str, set[str]] = {operation: set() for operation in RESPONSES}
    for operation, answer in driver.answers:
        seen[operation] |= set(fields_with_values(answer))
    for operation, response in RESPONSES.items():
        assert set(declared_fields(response)) - seen[operation] == NEVER_SET[operation], operation
    assert len(set(declared_fields(RESPONSES["list"]))) > 60


def test_the_sdk_raises_its_own_errors(driver: Driver, emulator: EmulatorServer) -> None:
    with pytest.raises(cloudflare.NotFoundError):
        driver.get("unheard-of")
    with pytest.raises(cloudflare.NotFoundError):
        driver.active("unheard-of")
    with pytest.raises(cloudflare.BadRequestError):
        driver.start("standup", max_seconds=1)
    emulator.tokens.set_state("token", "refused")
    with pytest.raises(cloudflare.AuthenticationError) as refused:
        driver.list()
    assert refused.value.errors[0].code == 1000
    emulator.tokens.set_state("token", "denied")
    with pytest.raises(cloudflare.PermissionDeniedError):
        driver.list()
    emulator.faults.add(status=429, headers={"retry-after": "1"})
    with pytest.raises(cloudflare.RateLimitError):
        driver.list()


# The fields of types and of answers, as paths without list indices and without the members of unions.

ENDED = {"audio_download_url", "download_url", "download_url_expiry", "file_size", "stopped_time"}
STARTED = {"recording_duration", "started_time"}
STOPPED = {
    "stop_reason" + rest for rest in ("", ".reason", ".caller", ".caller.name", ".caller.type", ".caller.user_id")
}

#: The fields that no answer of an operation has, because its recording has not started or not ended yet.
NEVER_SET = {
    "list": set(),
    "get": set(),
    "action": set(),
    "active": {f"data.{name}" for name in ENDED},
    "start": {f"data.{name}" for name in ENDED | STARTED | STOPPED},
    "start_track": {f"data.recording.{name}" for name in ENDED | STARTED},
}


def declared_fields(annotation: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every field that a response type declares."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            here = f"{path}.{name}".lstrip(".")
            yield here
            yield from declared_fields(field.annotation, here)
    for argument in get_args(annotation):
        yield from declared_fields(argument, path)


def fields_with_values(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every declared field that has a value, and check the type of the value."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, BaseModel):
            for name, field in type(item).model_fields.items():
                here, content = f"{path}.{name}".lstrip("."), getattr(item, name)
                if content is not None:
                    TypeAdapter(field.annotation).validate_python(content)
                    yield here
                    yield from fields_with_values(content, here)
