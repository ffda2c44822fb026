"""The operations start, start tracks, get, active and action over HTTP: what is accepted, and the shape of answers."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer, Settings
from airflow_provider_realtimekit.emulator.http.errors import status_of
from airflow_provider_realtimekit.emulator.world.errors import WorldError
from tests.support.emulator import ISO, STORAGES, api_error, bearer, cases, data, get, start

NULLABLE = {
    "audio_download_url",
    "download_url",
    "download_url_expiry",
    "file_size",
    "session_id",
    "started_time",
    "stopped_time",
}
NOT_NULLABLE = {"id", "invoked_time", "output_file_name", "start_reason", "status", "storage_config"}
R2 = STORAGES["cloudflare"]


def test_a_new_recording_has_every_field_and_null_for_unknown_values(
    api: httpx.Client, emulator: EmulatorServer
) -> None:
    emulator.settings.invoked_seconds = 60
    recording = start(api)
    assert set(recording) == NULLABLE | NOT_NULLABLE
    assert {name for name in NULLABLE if recording[name] is None} == NULLABLE - {"session_id"}
    assert recording["status"] == "INVOKED"
    assert ISO.fullmatch(recording["invoked_time"])
    assert recording["start_reason"]["reason"] == "API_CALL"
    assert set(recording["start_reason"]["caller"]) == {"name", "type", "user_Id"}


def test_a_recording_is_started_paused_resumed_stopped_and_uploaded(
    api: httpx.Client, emulator: EmulatorServer
) -> None:
    emulator.settings.uploading_seconds = 60
    recording_id = start(api, file_name_prefix="daily")["id"]
    assert data(api.get("/recordings/active-recording/standup"))["id"] == recording_id
    for action, status in [("pause", "PAUSED"), ("resume", "RECORDING"), ("stop", "UPLOADING")]:
        assert data(api.put(f"/recordings/{recording_id}", json={"action": action}))["status"] == status, action
    emulator.world.finish_uploads()
    recording = get(api, recording_id)
    assert recording["status"] == "UPLOADED"
    assert recording["stop_reason"]["reason"] == "API_CALL"
    assert recording["output_file_name"].startswith("daily_standup_")
    for name in ("invoked_time", "started_time", "stopped_time"):
        assert ISO.fullmatch(recording[name]), name
    assert api.get("/recordings/active-recording/standup").status_code == 404


def test_a_failed_recording_has_a_reason(api: httpx.Client, emulator: EmulatorServer) -> None:
    recording_id = start(api)["id"]
    emulator.world.jump(recording_id, "ERRORED", "the recorder crashed")
    recording = get(api, recording_id)
    assert recording["err_message"] == "the recorder crashed"
    assert recording["stop_reason"] == {"reason": "INTERNAL_ERROR"}


def test_the_duration_grows_during_the_recording(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.settings.speed = 10_000
    recording_id = start(api)["id"]
    first = get(api, recording_id)["recording_duration"]
    while (later := get(api, recording_id)["recording_duration"]) == first:
        pass
    assert isinstance(later, int)
    assert later > first


#: The body of a start, besides its meeting, and what the error says.
INVALID_STARTS: dict[str, tuple[Any, str]] = {
    "meeting_id empty": ({"meeting_id": ""}, "meeting_id: "),
    "meeting_id no text": ({"meeting_id": 7}, "meeting_id: "),
    "max_seconds too small": ({"max_seconds": 59}, "max_seconds: .* 60"),
    "max_seconds too large": ({"max_seconds": 86_401}, "max_seconds: .* 86400"),
    "max_seconds no number": ({"max_seconds": "60"}, "max_seconds: "),
    "allow_multiple_recordings no bool": ({"allow_multiple_recordings": "yes"}, "allow_multiple_recordings: "),
    "audio codec": ({"audio_config": {"codec": "OPUS"}}, "audio_config.codec: .*MP3"),
    "audio channel": ({"audio_config": {"channel": "quad"}}, "audio_config.channel: "),
    "video codec": ({"video_config": {"codec": "AV1"}}, "video_config.codec: "),
    "video width": ({"video_config": {"width": 0}}, "video_config.width: "),
    "video height": ({"video_config": {"height": 1921}}, "video_config.height: .*1920"),
    "watermark": ({"video_config": {"watermark": {"position": "middle"}}}, "video_config.watermark.position: "),
    "VP8 with AAC": ({"video_config": {"codec": "VP8"}, "audio_config": {"codec": "AAC"}}, "VP8 or VP9"),
    "VP9 with MP3": ({"video_config": {"codec": "VP9"}, "audio_config": {"codec": "MP3"}}, "VP8 or VP9"),
    "interactive": ({"interactive_config": {"type": "ID4"}}, "interactive_config.type: "),
    "bucket": ({"realtimekit_bucket_config": {}}, "realtimekit_bucket_config.enabled: Field required"),
    "storage without type": ({"storage_config": {}}, "storage_config.type: Field required"),
    "storage of unknown type": ({"storage_config": {"type": "ftp"}}, "storage_config.type: "),
    "aws": ({"storage_config": {"type": "aws"}}, "aws needs access_key, secret, bucket, region"),
    "digitalocean": ({"storage_config": {"type": "digitalocean", "bucket": "b"}}, "digitalocean needs access_key"),
    "azure": ({"storage_config": {"type": "azure"}}, "azure needs access_key, bucket"),
    "gcs": ({"storage_config": {"type": "gcs"}}, "gcs needs secret, bucket"),
    "cloudflare": ({"storage_config": {**R2, "account_id": ""}}, "cloudflare needs account_id"),
    "sftp with key": ({"storage_config": {"type": "sftp", "auth_method": "KEY"}}, "host, username, private_key"),
    "sftp with password": ({"storage_config": {"type": "sftp", "auth_method": "PASSWORD"}}, "username, password"),
}


@pytest.mark.parametrize(("body", "message"), cases(INVALID_STARTS))
def test_an_invalid_start_is_refused(api: httpx.Client, body: dict[str, Any], message: str) -> None:
    status, text = api_error(api.post("/recordings", json={"meeting_id": "m", **body}))
    assert status == 400
    assert re.search(message, text), text


@pytest.mark.parametrize(
    ("request_body", "message"),
    cases(
        {
            "empty object": ({"json": {}}, "meeting_id: Field required"),
            "list": ({"json": []}, "dictionary"),
            "half an object": ({"content": b"{"}, ""),
            "nothing": ({}, ""),
        }
    ),
)
def test_a_body_without_a_meeting_is_refused(api: httpx.Client, request_body: dict[str, Any], message: str) -> None:
    status, text = api_error(api.post("/recordings", **request_body))
    assert status == 400
    assert message in text


def test_an_error_does_not_repeat_secrets(api: httpx.Client) -> None:
    storage = {"type": "aws", "secret": "hush-hush", "access_key": 4711}
    response = api.post("/recordings", json={"meeting_id": "m", "storage_config": storage})
    assert response.status_code == 400
    assert "hush-hush" not in response.text
    assert "4711" not in response.text


@pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)
def test_every_storage_is_accepted_and_echoed(
    api: httpx.Client, emulator: EmulatorServer, storage: dict[str, Any]
) -> None:
    recording = start(api, storage_config=storage)
    assert recording["storage_config"] == storage
    emulator.settings.hide_secrets = True
    shown = get(api, recording["id"])["storage_config"]
    hidden = {"access_key", "secret", "password", "private_key"}
    assert shown == {key: value for key, value in storage.items() if key not in hidden}


def test_documented_and_unknown_fields_of_a_start_are_accepted(api: httpx.Client) -> None:
    start(
        api,
        allow_multiple_recordings=True,
        audio_config={"codec": "AAC", "channel": "mono", "export_file": True},
        video_config={
            "codec": "H264",
            "width": 1,
            "height": 1920,
            "export_file": True,
            "watermark": {"url": "http://x/y.png", "position": "left top", "size": {"height": 1, "width": 1}},
        },
        interactive_config={"type": "ID3"},
        rtmp_out_config={"rtmp_url": "rtmp://x"},
        realtimekit_bucket_config={"enabled": True},
        storage_config=None,
        max_seconds=60,
        file_name_prefix="a/b c",
        url="https://recorder.example",
        gained_since={"by": "the API"},
    )


# Track recordings


INVALID_TRACK_STARTS: dict[str, tuple[Any, str]] = {
    "no meeting_id": ({}, "meeting_id: Field required"),
    "prefix": (
        {"meeting_id": "m", "layers": {"default": {"file_name_prefix": "a/b"}}},
        "layers.default.file_name_prefix: ",
    ),
    "media_kind": ({"meeting_id": "m", "layers": {"default": {"media_kind": "video"}}}, "layers.default.media_kind: "),
    "outputs": ({"meeting_id": "m", "layers": {"default": {"outputs": [{"type": "FTP"}]}}}, "outputs.0.type: "),
    "layers no object": ({"meeting_id": "m", "layers": ["default"]}, "layers: "),
    "101 users": ({"meeting_id": "m", "user_ids": [str(number) for number in range(101)]}, "user_ids: .*100"),
    "max_seconds": ({"meeting_id": "m", "max_seconds": 1}, "max_seconds: "),
}


@pytest.mark.parametrize(("body", "message"), cases(INVALID_TRACK_STARTS))
def test_an_invalid_track_start_is_refused(api: httpx.Client, body: Any, message: str) -> None:
    status, text = api_error(api.post("/recordings/track", json=body))
    assert status == 400
    assert re.search(message, text), text


OLD_TRACKS = {"default": {"file_name_prefix": "talk", "outputs": [{"type": "REALTIMEKIT_BUCKET"}]}}
NEW_TRACKS = {"default": {"file_name_prefix": "talk", "media_kind": "audio"}}


@pytest.mark.parametrize(
    "body", [{"layers": OLD_TRACKS, "max_seconds": 60}, {"layers": NEW_TRACKS}], ids=["older form", "today's form"]
)
def test_a_track_recording_has_layers_with_a_file_for_each_participant(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer, body: dict[str, Any]
) -> None:
    emulator.world.open_meeting("standup", participants=["ann", "bob"])
    started = data(api.post("/recordings/track", json={"meeting_id": "standup", **body}))["recording"]
    emulator.world.join("standup", "cid")
    emulator.world.jump(started["id"], "UPLOADED")
    recording = get(api, started["id"])
    ((layer),) = recording["download_url"]
    assert layer["layer_name"] == "default"
    participants = [re.fullmatch(r"talk_(\w+)_\d+\.webm", name)[1] for name in layer["download_urls"]]
    assert participants == ["ann", "bob", "cid"]
    sizes = [len(http.get(file["download_url"]).content) for file in layer["download_urls"].values()]
    assert recording["file_size"] == sum(sizes) > 0
    assert recording["download_url_expiry"]


def test_tracks_of_some_users_only(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.world.open_meeting("standup", participants=["ann", "bob"])
    body = {"meeting_id": "standup", "user_ids": ["bob"]}
    recording_id = data(api.post("/recordings/track", json=body))["recording"]["id"]
    emulator.world.jump(recording_id, "UPLOADED")
    ((layer),) = get(api, recording_id)["download_url"]
    assert [name.split("_")[1] for name in layer["download_urls"]] == ["bob"]


def test_a_layer_with_a_storage_has_no_links(api: httpx.Client, emulator: EmulatorServer) -> None:
    to_storage = {"outputs": [{"type": "STORAGE_CONFIG", "storage_config": R2}]}
    body = {"meeting_id": "standup", "layers": {"in bucket": {}, "in storage": to_storage}}
    recording_id = data(api.post("/recordings/track", json=body))["recording"]["id"]
    emulator.world.jump(recording_id, "UPLOADED")
    layers = get(api, recording_id)["download_url"]
    assert [layer["layer_name"] for layer in layers] == ["in bucket"]


def test_the_answer_to_a_track_start_can_lack_its_timestamps(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.settings.sparse_track_answers = True
    recording = data(api.post("/recordings/track", json={"meeting_id": "standup"}))["recording"]
    assert not {"invoked_time", "started_time", "stopped_time"} & set(recording)
    assert recording["id"]


# Errors


@pytest.mark.parametrize("body", [{}, {"action": "rewind"}, {"action": None}], ids=["missing", "unknown", "null"])
def test_an_invalid_action_is_refused(api: httpx.Client, body: Any) -> None:
    recording_id = start(api)["id"]
    status, message = api_error(api.put(f"/recordings/{recording_id}", json=body))
    assert status == 400
    assert message.startswith("action: ")


def test_an_action_that_the_status_does_not_allow_is_a_conflict(api: httpx.Client) -> None:
    recording_id = start(api)["id"]
    response = api.put(f"/recordings/{recording_id}", json={"action": "resume"})
    assert api_error(response) == (409, "Cannot resume a recording that is RECORDING")


def test_a_second_start_is_a_conflict(api: httpx.Client) -> None:
    start(api)
    assert api_error(api.post("/recordings", json={"meeting_id": "standup"}))[0] == 409


@pytest.mark.parametrize(("setting", "status"), [("conflict", 409), ("bad-request", 400)])
def test_settings_choose_the_status_of_undocumented_errors(
    api: httpx.Client, emulator: EmulatorServer, setting: str, status: int
) -> None:
    emulator.configure(second_start=setting, idle_action=setting)
    recording_id = start(api)["id"]
    second = api.post("/recordings", json={"meeting_id": "standup"})
    assert api_error(second) == (status, "The meeting is being recorded already")
    action = api.put(f"/recordings/{recording_id}", json={"action": "resume"})
    assert api_error(action) == (status, "Cannot resume a recording that is RECORDING")


def test_a_track_start_in_an_empty_meeting_is_a_bad_request(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.world.open_meeting("standup")
    response = api.post("/recordings/track", json={"meeting_id": "standup"})
    assert api_error(response) == (400, "The meeting has no live session")


def test_every_error_of_the_world_has_a_status() -> None:
    errors = WorldError.__subclasses__()
    assert len(errors) == 5
    statuses = {error.__name__: status_of(error(), Settings()) for error in errors}
    assert set(statuses.values()) <= {400, 404, 409}, statuses


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/recordings/unheard-of"), ("PUT", "/recordings/unheard-of"), ("GET", "/recordings/active-recording/m")],
)
def test_an_unknown_meeting_or_recording_is_404_in_realtimekits_form(api: httpx.Client, method: str, path: str) -> None:
    body = {"action": "stop"} if method == "PUT" else None
    assert api_error(api.request(method, path, json=body))[0] == 404


def test_undocumented_fields_are_there_only_with_their_setting(api: httpx.Client, emulator: EmulatorServer) -> None:
    assert not {"meeting_id", "type"} & set(start(api, "one"))
    emulator.settings.undocumented_fields = True
    recording = start(api, "two")
    assert (recording["meeting_id"], recording["type"]) == ("two", "COMPOSITE")


def test_record_on_start_uses_the_configuration_of_the_meeting(api: httpx.Client, emulator: EmulatorServer) -> None:
    config = {"file_name_prefix": "auto", "video_config": {"codec": "VP8"}}
    emulator.world.open_meeting("standup", record_on_start=True, recording_config=config, participants=["ann"])
    recording = data(api.get("/recordings/active-recording/standup"))
    assert re.fullmatch(r"auto_standup_\d+\.webm", recording["output_file_name"])
    assert get(api, recording["id"])["start_reason"] == {"reason": "RECORD_ON_START"}


def test_an_app_does_not_see_the_recordings_of_another(api: httpx.Client, http: httpx.Client) -> None:
    recording_id = start(api)["id"]
    path = "/client/v4/accounts/account/realtime/kit/other/recordings"
    assert http.get(path, headers=bearer("token")).json()["paging"]["total_count"] == 0
    assert http.get(f"{path}/{recording_id}", headers=bearer("token")).status_code == 404
