"""Which fields each request has."""

from __future__ import annotations

import json
from typing import Any

import pendulum
import pytest

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from tests.support.api import API, PREFIX, body_of, first_request

STORAGE = {"type": "aws", "access_key": "AK", "secret": "SK", "bucket": "b", "region": "eu-1", "path": "a/b"}
FULL_START: dict[str, Any] = {
    "meeting_id": "meet-1",
    "max_seconds": 3600,
    "allow_multiple_recordings": True,
    "file_name_prefix": "weekly",
    "url": "https://recorder.example/page?x=1",
    "audio_config": {"codec": "AAC", "channel": "stereo", "export_file": True},
    "video_config": {
        "codec": "H264",
        "width": 1920,
        "height": 1,
        "export_file": False,
        "watermark": {
            "url": "https://logo.example/l.png",
            "position": "left top",
            "size": {"height": 1920, "width": 1},
        },
    },
    "interactive_config": {"type": "ID3"},
    "rtmp_out_config": {"rtmp_url": "rtmps://live.example/app/key"},
    "realtimekit_bucket_config": {"enabled": False},
    "storage_config": STORAGE,
}
REFERENCE_TRACKS: dict[str, Any] = {
    "meeting_id": "meet-1",
    "max_seconds": 60,
    "layers": {
        "default": {
            "file_name_prefix": "a-b_c 1",
            "outputs": [{"type": "REALTIMEKIT_BUCKET"}, {"type": "STORAGE_CONFIG", "storage_config": STORAGE}],
        }
    },
}
TODAYS_TRACKS: dict[str, Any] = {
    "meeting_id": "meet-1",
    "layers": {"voices": {"file_name_prefix": "v", "media_kind": "audio"}},
    "user_ids": ["u-1", "u-2"],
}


@pytest.mark.parametrize(
    ("flow", "method", "path", "body"),
    [
        pytest.param(lambda: API.get_recording("rec-1"), "GET", "/rec-1", None, id="get"),
        pytest.param(lambda: API.get_active_recording("meet-1"), "GET", "/active-recording/meet-1", None, id="active"),
        pytest.param(lambda: API.pause_recording("rec-1"), "PUT", "/rec-1", {"action": "pause"}, id="pause"),
        pytest.param(lambda: API.resume_recording("rec-1"), "PUT", "/rec-1", {"action": "resume"}, id="resume"),
        pytest.param(lambda: API.stop_recording("rec-1"), "PUT", "/rec-1", {"action": "stop"}, id="stop"),
        pytest.param(lambda: API.start_recording(**FULL_START), "POST", "", FULL_START, id="start-full"),
        pytest.param(
            lambda: API.start_recording(meeting_id="m"), "POST", "", {"meeting_id": "m"}, id="start-only-a-meeting"
        ),
        pytest.param(
            lambda: API.start_track_recording(**REFERENCE_TRACKS), "POST", "/track", REFERENCE_TRACKS, id="tracks"
        ),
        pytest.param(
            lambda: API.start_track_recording(**TODAYS_TRACKS), "POST", "/track", TODAYS_TRACKS, id="tracks-today"
        ),
        pytest.param(
            lambda: API.start_track_recording(meeting_id="m"), "POST", "/track", {"meeting_id": "m"}, id="tracks-bare"
        ),
    ],
)
def test_the_request_has_exactly_the_given_fields(flow: Any, method: str, path: str, body: Any) -> None:
    request = first_request(flow())
    assert (request.method, request.url.path, request.url.query) == (method, PREFIX + path, b"")
    assert request.url.host == "api.cloudflare.com"
    if body is None:
        assert request.content == b""
    else:
        assert request.headers["content-type"] == "application/json"
        assert body_of(request) == body


def test_the_query_of_a_list_has_every_filter() -> None:
    walk = API.list_recordings(
        meeting_id="meet-1",
        status="UPLOADED",
        search="weekly & more",
        expired=False,
        start_time="2026-11-20T10:00:00+02:00",
        end_time=pendulum.datetime(2026, 11, 21, 8),
        sort_order="DESC",
        limit=5,
    )
    request = first_request(walk.next_page())
    query = dict(request.url.params.multi_items())
    per_page = query.pop("per_page")
    assert (request.method, request.url.path) == ("GET", PREFIX)
    assert len(request.url.params.multi_items()) == len(query) + 1, "a key is there twice"
    assert int(per_page) >= 1
    assert pendulum.parse(query.pop("start_time")) == pendulum.datetime(2026, 11, 20, 8)
    assert pendulum.parse(query.pop("end_time")) == pendulum.datetime(2026, 11, 21, 8)
    assert query == {
        "meeting_id": "meet-1",
        "status": "UPLOADED",
        "search": "weekly & more",
        "expired": "false",
        "page_no": "1",
        "sort_by": "invokedTime",
        "sort_order": "DESC",
    }


def test_a_list_without_filters_has_sort_order_and_page() -> None:
    query = dict(first_request(API.list_recordings().next_page()).url.params)
    query.pop("per_page")
    assert query == {"page_no": "1", "sort_by": "invokedTime", "sort_order": "ASC"}


@pytest.mark.parametrize("status", [["UPLOADED", "ERRORED"], ("UPLOADED", "ERRORED"), {"UPLOADED", "ERRORED"}])
def test_several_statuses_are_never_sent(status: Any) -> None:
    assert "status" not in first_request(API.list_recordings(status=status).next_page()).url.params


def test_numbers_and_booleans_rendered_as_text_are_converted() -> None:
    request = first_request(
        API.start_recording(
            meeting_id=" meet-1 ",
            max_seconds="90",  # type: ignore[arg-type]
            allow_multiple_recordings="true",  # type: ignore[arg-type]
            audio_config={"export_file": "False"},
            video_config={"width": "640", "height": "360"},
            realtimekit_bucket_config={"enabled": "true"},
            storage_config={
                "type": "sftp",
                "host": "h",
                "port": "22",
                "username": "u",
                "path": "p",
                "auth_method": "PASSWORD",
                "password": "pw",
            },
        )
    )
    body = body_of(request)
    assert (body["meeting_id"], body["max_seconds"], body["allow_multiple_recordings"]) == ("meet-1", 90, True)
    assert body["audio_config"] == {"export_file": False}
    assert body["video_config"] == {"width": 640, "height": 360}
    assert body["realtimekit_bucket_config"] == {"enabled": True}
    assert body["storage_config"]["port"] == 22
    query = first_request(API.list_recordings(expired="true", limit="5").next_page()).url.params  # type: ignore[arg-type]
    assert query["expired"] == "true"


def test_objects_rendered_as_json_are_converted() -> None:
    rendered = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in FULL_START.items()}
    request = first_request(API.start_recording(**rendered, extra_fields='{"new": {"a": 1}}'))  # type: ignore[arg-type]
    assert body_of(request) == {**FULL_START, "new": {"a": 1}}
    layers = {"d": {"outputs": [{"type": "STORAGE_CONFIG", "storage_config": json.dumps(STORAGE)}]}}
    sent = body_of(first_request(API.start_track_recording(meeting_id="m", layers=layers)))
    assert sent["layers"]["d"]["outputs"][0]["storage_config"] == STORAGE


@pytest.mark.parametrize("argument", ["audio_config", "video_config", "interactive_config", "extra_fields"])
def test_an_empty_object_rendered_as_json_is_an_empty_object(argument: str) -> None:
    plain = body_of(first_request(API.start_recording(meeting_id="m", **{argument: {}})))  # type: ignore[arg-type]
    rendered = body_of(first_request(API.start_recording(meeting_id="m", **{argument: "{}"})))  # type: ignore[arg-type]
    assert rendered == plain


@pytest.mark.parametrize("seconds", [60, 86_400])
def test_max_seconds_includes_its_bounds(seconds: int) -> None:
    assert body_of(first_request(API.start_recording(meeting_id="m", max_seconds=seconds)))["max_seconds"] == seconds


@pytest.mark.parametrize("video", ["VP8", "VP9"])
def test_vp_video_allows_audio_without_a_codec(video: str) -> None:
    flow = API.start_recording(meeting_id="m", video_config={"codec": video}, audio_config={"channel": "mono"})
    assert body_of(first_request(flow))["audio_config"] == {"channel": "mono"}


def test_a_hundred_user_ids_are_sent() -> None:
    users = [f"u{n}" for n in range(100)]
    assert body_of(first_request(API.start_track_recording(meeting_id="m", user_ids=users)))["user_ids"] == users


def test_extra_fields_are_merged_deep_and_win() -> None:
    extra = {"new": [1], "video_config": {"fps": 60, "width": 20, "watermark": {"opacity": 0.5}}, "max_seconds": 5}
    body = body_of(first_request(API.start_recording(**FULL_START, extra_fields=extra)))
    expected = {**FULL_START, "new": [1], "max_seconds": 5}
    expected["video_config"] = {**FULL_START["video_config"], "fps": 60, "width": 20}
    expected["video_config"]["watermark"] = {**FULL_START["video_config"]["watermark"], "opacity": 0.5}
    assert body == expected
    tracks = body_of(first_request(API.start_track_recording(**TODAYS_TRACKS, extra_fields={"layers": {"x": {}}})))
    assert tracks["layers"] == {**TODAYS_TRACKS["layers"], "x": {}}


def test_a_storage_of_a_new_type_can_be_sent_by_extra_fields() -> None:
    flow = API.start_recording(
        meeting_id="m",
        realtimekit_bucket_config={"enabled": False},
        extra_fields={"storage_config": {"type": "new", "secret": "s"}},
    )
    assert body_of(first_request(flow))["storage_config"] == {"type": "new", "secret": "s"}


def test_caller_values_are_not_changed() -> None:
    extra = {"video_config": {"fps": 60}}
    given = {"meeting_id": "m", "video_config": {"width": 640}}
    first_request(API.start_recording(**given, extra_fields=extra))
    assert given == {"meeting_id": "m", "video_config": {"width": 640}}
    assert extra == {"video_config": {"fps": 60}}


@pytest.mark.parametrize(
    "extra",
    [{"x": object()}, {"x": {1, 2}}, {"x": float("nan")}, {"deep": {"x": b"1"}}],
    ids=["object", "set", "nan", "bytes"],
)
def test_extra_fields_that_are_not_json_are_refused_by_name(extra: Any) -> None:
    with pytest.raises(RealtimeKitInputError, match="extra_fields"):
        first_request(API.start_recording(meeting_id="m", extra_fields=extra))


@pytest.mark.parametrize("extra", ["", "max_quality", '{"a": 1', "[1]", ["a"], 5], ids=repr)
def test_extra_fields_that_are_not_an_object_are_refused(extra: Any) -> None:
    with pytest.raises(RealtimeKitInputError, match="extra_fields"):
        first_request(API.start_recording(meeting_id="m", extra_fields=extra))
