"""The six operations over HTTP: shapes, checks, filters and pages."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer, Settings
from airflow_provider_realtimekit.emulator.http.errors import status_of
from airflow_provider_realtimekit.emulator.world.errors import WorldError

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NULLABLE = {
    "audio_download_url",
    "download_url",
    "download_url_expiry",
    "file_size",
    "session_id",
    "started_time",
    "stopped_time",
}
R2 = {"type": "cloudflare", "access_key": "AK", "secret": "SK", "bucket": "b", "account_id": "c"}


def data(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["success"] is True
    return body["data"]


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Return code and message of an error in RealtimeKit's own shape."""
    body = response.json()
    assert body == {"success": False, "error": {"code": response.status_code, "message": body["error"]["message"]}}
    return response.status_code, body["error"]["message"]


def start(api: httpx.Client, meeting_id: str = "standup", **body: Any) -> Any:
    return data(api.post("/recordings", json={"meeting_id": meeting_id, **body}))


def test_a_new_recording_has_every_field_and_null_where_it_knows_nothing(
    api: httpx.Client, emulator: EmulatorServer
) -> None:
    emulator.settings.invoked_seconds = 60
    recording = start(api)
    assert set(recording) == NULLABLE | {
        "id",
        "invoked_time",
        "output_file_name",
        "start_reason",
        "status",
        "storage_config",
    }
    assert {name for name in NULLABLE if recording[name] is None} == NULLABLE - {"session_id"}
    assert recording["status"] == "INVOKED"
    assert ISO.fullmatch(recording["invoked_time"])
    assert recording["start_reason"]["reason"] == "API_CALL"
    assert set(recording["start_reason"]["caller"]) == {"name", "type", "user_Id"}


def test_a_life_over_http(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.settings.uploading_seconds = 60
    recording_id = start(api, file_name_prefix="daily")["id"]
    assert data(api.get("/recordings/active-recording/standup"))["id"] == recording_id
    for action, status in [("pause", "PAUSED"), ("resume", "RECORDING"), ("stop", "UPLOADING")]:
        assert data(api.put(f"/recordings/{recording_id}", json={"action": action}))["status"] == status
    emulator.world.finish_uploads()
    recording = data(api.get(f"/recordings/{recording_id}"))
    assert recording["status"] == "UPLOADED"
    assert recording["stop_reason"]["reason"] == "API_CALL"
    assert recording["output_file_name"].startswith("daily_standup_")
    assert all(ISO.fullmatch(recording[f"{name}_time"]) for name in ("invoked", "started", "stopped"))
    assert api.get("/recordings/active-recording/standup").status_code == 404


def test_a_failed_recording_carries_its_reason(api: httpx.Client, emulator: EmulatorServer) -> None:
    recording_id = start(api)["id"]
    emulator.world.jump(recording_id, "ERRORED", "the recorder crashed")
    recording = data(api.get(f"/recordings/{recording_id}"))
    assert recording["err_message"] == "the recorder crashed"
    assert recording["stop_reason"] == {"reason": "INTERNAL_ERROR"}


def test_the_running_time_grows_with_the_recording(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.settings.speed = 10_000
    recording_id = start(api)["id"]
    first = data(api.get(f"/recordings/{recording_id}"))["recording_duration"]
    while (later := data(api.get(f"/recordings/{recording_id}"))["recording_duration"]) == first:
        pass
    assert isinstance(later, int)
    assert later > first


START_ERRORS: list[tuple[Any, str]] = [
    ({}, "meeting_id: Field required"),
    ({"meeting_id": ""}, "meeting_id: "),
    ({"meeting_id": 7}, "meeting_id: "),
    ({"meeting_id": "m", "max_seconds": 59}, "max_seconds: .* 60"),
    ({"meeting_id": "m", "max_seconds": 86_401}, "max_seconds: .* 86400"),
    ({"meeting_id": "m", "max_seconds": "60"}, "max_seconds: "),
    ({"meeting_id": "m", "allow_multiple_recordings": "yes"}, "allow_multiple_recordings: "),
    ({"meeting_id": "m", "audio_config": {"codec": "OPUS"}}, "audio_config.codec: .*MP3"),
    ({"meeting_id": "m", "audio_config": {"channel": "quad"}}, "audio_config.channel: "),
    ({"meeting_id": "m", "video_config": {"codec": "AV1"}}, "video_config.codec: "),
    ({"meeting_id": "m", "video_config": {"width": 0}}, "video_config.width: "),
    ({"meeting_id": "m", "video_config": {"height": 1921}}, "video_config.height: .*1920"),
    ({"meeting_id": "m", "video_config": {"watermark": {"position": "middle"}}}, "video_config.watermark.position: "),
    ({"meeting_id": "m", "video_config": {"codec": "VP8"}, "audio_config": {"codec": "AAC"}}, "VP8 or VP9"),
    ({"meeting_id": "m", "video_config": {"codec": "VP9"}, "audio_config": {"codec": "MP3"}}, "VP8 or VP9"),
    ({"meeting_id": "m", "interactive_config": {"type": "ID4"}}, "interactive_config.type: "),
    ({"meeting_id": "m", "realtimekit_bucket_config": {}}, "realtimekit_bucket_config.enabled: Field required"),
    ({"meeting_id": "m", "storage_config": {}}, "storage_config.type: Field required"),
    ({"meeting_id": "m", "storage_config": {"type": "ftp"}}, "storage_config.type: "),
    ({"meeting_id": "m", "storage_config": {"type": "aws"}}, "aws needs access_key, secret, bucket, region"),
    ({"meeting_id": "m", "storage_config": {"type": "digitalocean", "bucket": "b"}}, "digitalocean needs access_key"),
    ({"meeting_id": "m", "storage_config": {"type": "azure"}}, "azure needs access_key, bucket"),
    ({"meeting_id": "m", "storage_config": {"type": "gcs"}}, "gcs needs secret, bucket"),
    ({"meeting_id": "m", "storage_config": {**R2, "account_id": ""}}, "cloudflare needs account_id"),
    ({"meeting_id": "m", "storage_config": {"type": "sftp", "auth_method": "KEY"}}, "host, username, private_key"),
    ({"meeting_id": "m", "storage_config": {"type": "sftp", "auth_method": "PASSWORD"}}, "username, password"),
    ([], "dictionary"),
]


@pytest.mark.parametrize(("body", "message"), START_ERRORS)
def test_a_start_is_checked_as_the_reference_says(api: httpx.Client, body: Any, message: str) -> None:
    status, text = refusal(api.post("/recordings", json=body))
    assert status == 400
    assert re.search(message, text), text


def test_a_body_that_is_no_json_is_refused(api: httpx.Client) -> None:
    assert refusal(api.post("/recordings", content=b"{"))[0] == 400
    assert refusal(api.post("/recordings"))[0] == 400


def test_a_refusal_does_not_repeat_secrets(api: httpx.Client) -> None:
    storage = {"type": "aws", "secret": "hush-hush", "access_key": 4711}
    response = api.post("/recordings", json={"meeting_id": "m", "storage_config": storage})
    assert response.status_code == 400
    assert "hush-hush" not in response.text
    assert "4711" not in response.text


GOOD_STORAGES: list[dict[str, Any]] = [
    {"type": "aws", "access_key": "AK", "secret": "SK", "bucket": "b", "region": "us-east-1", "path": "p"},
    {"type": "digitalocean", "access_key": "AK", "secret": "SK", "bucket": "b", "region": "ams3"},
    {"type": "azure", "access_key": "connection string", "bucket": "container"},
    {"type": "gcs", "secret": "{}", "bucket": "b", "region": "eu"},
    {
        "type": "sftp",
        "host": "h",
        "port": 22,
        "username": "u",
        "path": "p",
        "auth_method": "PASSWORD",
        "password": "pw",
    },
    {"type": "sftp", "host": "h", "username": "u", "auth_method": "KEY", "private_key": "-----", "password": "pw"},
    R2,
]


@pytest.mark.parametrize("storage", GOOD_STORAGES, ids=lambda storage: storage["type"])
def test_every_storage_is_taken_and_echoed(
    api: httpx.Client, emulator: EmulatorServer, storage: dict[str, Any]
) -> None:
    recording = start(api, storage_config=storage)
    assert recording["storage_config"] == storage
    emulator.settings.hide_secrets = True
    shown = data(api.get(f"/recordings/{recording['id']}"))["storage_config"]
    hidden = {"access_key", "secret", "password", "private_key"}
    assert shown == {key: value for key, value in storage.items() if key not in hidden}


def test_everything_a_start_may_say_is_accepted(api: httpx.Client) -> None:
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


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "meeting_id: Field required"),
        ({"meeting_id": "m", "layers": {"default": {"file_name_prefix": "a/b"}}}, "layers.default.file_name_prefix: "),
        ({"meeting_id": "m", "layers": {"default": {"media_kind": "video"}}}, "layers.default.media_kind: "),
        ({"meeting_id": "m", "layers": {"default": {"outputs": [{"type": "FTP"}]}}}, "outputs.0.type: "),
        ({"meeting_id": "m", "layers": ["default"]}, "layers: "),
        ({"meeting_id": "m", "user_ids": [str(number) for number in range(101)]}, "user_ids: .*100"),
        ({"meeting_id": "m", "max_seconds": 1}, "max_seconds: "),
    ],
)
def test_a_track_start_is_checked(api: httpx.Client, body: Any, message: str) -> None:
    status, text = refusal(api.post("/recordings/track", json=body))
    assert status == 400
    assert re.search(message, text), text


OLD_TRACKS = {"default": {"file_name_prefix": "talk", "outputs": [{"type": "REALTIMEKIT_BUCKET"}]}}
NEW_TRACKS = {"default": {"file_name_prefix": "talk", "media_kind": "audio"}}


@pytest.mark.parametrize("body", [{"layers": OLD_TRACKS, "max_seconds": 60}, {"layers": NEW_TRACKS}])
def test_tracks_end_as_a_list_of_layers_with_a_file_for_each_participant(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer, body: dict[str, Any]
) -> None:
    emulator.world.open_meeting("standup", participants=["ann", "bob"])
    started = data(api.post("/recordings/track", json={"meeting_id": "standup", **body}))["recording"]
    emulator.world.join("standup", "cid")
    emulator.world.jump(started["id"], "UPLOADED")
    recording = data(api.get(f"/recordings/{started['id']}"))
    ((layer),) = recording["download_url"]
    assert layer["layer_name"] == "default"
    peers = [re.fullmatch(r"talk_(\w+)_\d+\.webm", name)[1] for name in layer["download_urls"]]
    assert peers == ["ann", "bob", "cid"]
    sizes = [len(http.get(file["download_url"]).content) for file in layer["download_urls"].values()]
    assert recording["file_size"] == sum(sizes) > 0
    assert recording["download_url_expiry"]


def test_tracks_of_some_users_only(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.world.open_meeting("standup", participants=["ann", "bob"])
    body = {"meeting_id": "standup", "user_ids": ["bob"]}
    recording_id = data(api.post("/recordings/track", json=body))["recording"]["id"]
    emulator.world.jump(recording_id, "UPLOADED")
    ((layer),) = data(api.get(f"/recordings/{recording_id}"))["download_url"]
    assert [name.split("_")[1] for name in layer["download_urls"]] == ["bob"]


def test_a_layer_that_goes_elsewhere_has_no_links(api: httpx.Client, emulator: EmulatorServer) -> None:
    away = {"outputs": [{"type": "STORAGE_CONFIG", "storage_config": R2}]}
    body = {"meeting_id": "standup", "layers": {"here": {}, "away": away}}
    recording_id = data(api.post("/recordings/track", json=body))["recording"]["id"]
    emulator.world.jump(recording_id, "UPLOADED")
    layers = data(api.get(f"/recordings/{recording_id}"))["download_url"]
    assert [layer["layer_name"] for layer in layers] == ["here"]


def test_the_answer_to_a_track_start_may_lack_its_timestamps(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.settings.sparse_track_answers = True
    recording = data(api.post("/recordings/track", json={"meeting_id": "standup"}))["recording"]
    assert not {"invoked_time", "started_time", "stopped_time"} & set(recording)
    assert recording["id"]


@pytest.mark.parametrize("body", [{}, {"action": "rewind"}, {"action": None}])
def test_an_unknown_action_is_refused(api: httpx.Client, body: Any) -> None:
    recording_id = start(api)["id"]
    status, message = refusal(api.put(f"/recordings/{recording_id}", json=body))
    assert status == 400
    assert message.startswith("action: ")


def test_an_action_out_of_place_is_a_conflict(api: httpx.Client) -> None:
    recording_id = start(api)["id"]
    status, message = refusal(api.put(f"/recordings/{recording_id}", json={"action": "resume"}))
    assert (status, message) == (409, "Cannot resume a recording that is RECORDING")


def test_a_second_start_is_a_conflict(api: httpx.Client) -> None:
    start(api)
    assert refusal(api.post("/recordings", json={"meeting_id": "standup"}))[0] == 409


@pytest.mark.parametrize(("setting", "status"), [("conflict", 409), ("bad-request", 400)])
def test_the_status_of_undocumented_refusals_can_be_chosen(
    api: httpx.Client, emulator: EmulatorServer, setting: str, status: int
) -> None:
    emulator.configure(second_start=setting, idle_action=setting)
    recording_id = start(api)["id"]
    second = api.post("/recordings", json={"meeting_id": "standup"})
    assert refusal(second) == (status, "The meeting is being recorded already")
    out_of_place = api.put(f"/recordings/{recording_id}", json={"action": "resume"})
    assert refusal(out_of_place) == (status, "Cannot resume a recording that is RECORDING")


def test_tracks_of_an_empty_meeting_are_a_bad_request(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.world.open_meeting("standup")
    response = api.post("/recordings/track", json={"meeting_id": "standup"})
    assert refusal(response) == (400, "The meeting has no live session")


def test_every_error_of_the_world_has_a_status() -> None:
    errors = WorldError.__subclasses__()
    assert len(errors) == 5
    statuses = {error.__name__: status_of(error(), Settings()) for error in errors}
    assert set(statuses.values()) <= {400, 404, 409}, statuses


def test_what_is_not_there_is_404_in_realtimekits_shape(api: httpx.Client) -> None:
    assert refusal(api.get("/recordings/unheard-of"))[0] == 404
    assert refusal(api.put("/recordings/unheard-of", json={"action": "stop"}))[0] == 404
    assert refusal(api.get("/recordings/active-recording/unheard-of"))[0] == 404


def test_undocumented_fields_come_only_when_asked_for(api: httpx.Client, emulator: EmulatorServer) -> None:
    assert not {"meeting_id", "type"} & set(start(api, "one"))
    emulator.settings.undocumented_fields = True
    recording = start(api, "two")
    assert (recording["meeting_id"], recording["type"]) == ("two", "COMPOSITE")


# Lists


def listed(api: httpx.Client, **query: Any) -> list[str]:
    return [recording["id"] for recording in data(api.get("/recordings", params=query))]


def test_lists_carry_the_meeting_but_no_reasons(api: httpx.Client, emulator: EmulatorServer) -> None:
    config = {"max_seconds": 90, "storage_config": R2}
    emulator.world.open_meeting("standup", title="Standup", participants=["ann"], recording_config=config)
    start(api)
    ((recording),) = data(api.get("/recordings"))
    assert (recording["meeting"]["id"], recording["meeting"]["title"]) == ("standup", "Standup")
    assert ISO.fullmatch(recording["meeting"]["created_at"])
    assert recording["meeting"]["recording_config"] == config
    assert not {"start_reason", "stop_reason"} & set(recording)
    emulator.settings.hide_secrets = True
    ((recording),) = data(api.get("/recordings"))
    assert "SK" not in str(recording)


def test_record_on_start_takes_the_configuration_of_the_meeting(api: httpx.Client, emulator: EmulatorServer) -> None:
    config = {"file_name_prefix": "auto", "video_config": {"codec": "VP8"}}
    emulator.world.open_meeting("standup", record_on_start=True, recording_config=config, participants=["ann"])
    recording = data(api.get("/recordings/active-recording/standup"))
    assert re.fullmatch(r"auto_standup_\d+\.webm", recording["output_file_name"])
    full = data(api.get(f"/recordings/{recording['id']}"))
    assert full["start_reason"] == {"reason": "RECORD_ON_START"}


def test_lists_are_newest_first_unless_told_otherwise(api: httpx.Client) -> None:
    ids = [start(api, meeting_id)["id"] for meeting_id in "abc"]
    assert listed(api) == listed(api, sort_by="invokedTime", sort_order="DESC") == ids[::-1]
    assert listed(api, sort_order="ASC") == ids


def test_pages_are_counted_from_one_and_offsets_include_both_ends(api: httpx.Client, emulator: EmulatorServer) -> None:
    ids = emulator.world.seed(7, "RECORDING")
    seen: list[str] = []
    offsets = []
    for page_no in (1, 2, 3, 4):
        body = api.get("/recordings", params={"page_no": page_no, "per_page": 3, "sort_order": "ASC"}).json()
        seen += [recording["id"] for recording in body["data"]]
        offsets.append((body["paging"]["start_offset"], body["paging"]["end_offset"]))
        assert body["paging"]["total_count"] == 7
    assert seen == ids
    assert offsets == [(1, 3), (4, 6), (7, 7), (10, 9)]


def test_page_sizes_have_a_default_and_a_silent_cap(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.world.seed(120, "RECORDING")
    assert len(listed(api)) == 25
    assert len(listed(api, per_page=1000)) == 100
    emulator.configure(per_page=10, max_per_page=20)
    assert len(listed(api)) == 10
    assert len(listed(api, per_page=1000)) == 20


def test_pages_can_be_counted_from_zero(api: httpx.Client, emulator: EmulatorServer) -> None:
    ids = emulator.world.seed(3, "RECORDING")
    emulator.settings.first_page = 0
    assert listed(api, page_no=0, per_page=2, sort_order="ASC") == ids[:2]
    assert listed(api, page_no=1, per_page=2, sort_order="ASC") == ids[2:]


def test_lists_filter_by_status_however_several_are_written(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.settings.hang_invoked = True
    ids = {status: emulator.world.seed(1, status)[0] for status in ("INVOKED", "PAUSED", "UPLOADED", "ERRORED")}
    assert listed(api, status="PAUSED") == [ids["PAUSED"]]
    two = {ids["PAUSED"], ids["ERRORED"]}
    assert set(listed(api, status=["PAUSED", "ERRORED"])) == two
    assert set(listed(api, status="PAUSED,ERRORED")) == two
    assert set(listed(api, status=["PAUSED,ERRORED", "INVOKED"])) == two | {ids["INVOKED"]}
    assert listed(api, status="UPLOADING") == []


def test_lists_filter_by_meeting_and_search_its_id_and_title(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.world.open_meeting("m-1", title="Daily Standup", participants=["ann"])
    emulator.world.open_meeting("m-2", title="Retrospective", participants=["ann"])
    first, second = start(api, "m-1")["id"], start(api, "m-2")["id"]
    assert listed(api, meeting_id="m-1") == [first]
    assert listed(api, meeting_id="m-") == []
    assert listed(api, search="standup") == [first]
    assert listed(api, search="M-2") == [second]
    assert set(listed(api, search="m-")) == {first, second}


def test_lists_filter_by_the_time_of_invocation_both_ends_included(api: httpx.Client) -> None:
    first, second = start(api, "one"), start(api, "two")
    between = first["invoked_time"]
    assert first["id"] in listed(api, start_time=between)
    assert listed(api, end_time="2020-01-01") == []
    assert set(listed(api, start_time="2020-01-01T00:00:00Z")) == {first["id"], second["id"]}
    assert listed(api, start_time="2999-01-01T00:00:00+02:00") == []


def test_lists_filter_by_whether_the_files_are_gone(api: httpx.Client, emulator: EmulatorServer) -> None:
    gone, kept = emulator.world.seed(2)
    (running,) = emulator.world.seed(1, "RECORDING")
    emulator.world.expire(gone)
    assert listed(api, expired="true") == [gone]
    assert set(listed(api, expired="false")) == {kept, running}


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"page_no": 0}, "page_no"),
        ({"page_no": "one"}, "page_no"),
        ({"per_page": 0}, "per_page"),
        ({"per_page": -5}, "per_page"),
        ({"status": "DONE"}, "status"),
        ({"status": "UPLOADED,DONE"}, "status"),
        ({"sort_by": "startedTime"}, "sort_by"),
        ({"sort_order": "asc"}, "sort_order"),
        ({"expired": "perhaps"}, "expired"),
        ({"start_time": "yesterday"}, "start_time"),
        ({"end_time": "2026-13-01"}, "end_time"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(api: httpx.Client, query: dict[str, Any], name: str) -> None:
    status, message = refusal(api.get("/recordings", params=query))
    assert status == 400
    assert message.startswith(name)


def test_apps_do_not_see_each_other(api: httpx.Client, http: httpx.Client) -> None:
    recording_id = start(api)["id"]
    path = "/client/v4/accounts/account/realtime/kit/other/recordings"
    headers = {"Authorization": "Bearer token"}
    assert http.get(path, headers=headers).json()["paging"]["total_count"] == 0
    assert http.get(f"{path}/{recording_id}", headers=headers).status_code == 404
