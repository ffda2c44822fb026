"""Bad arguments are refused before anything is sent; the error names the argument, its value and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_realtimekit.exceptions import RealtimeKitError, RealtimeKitInputError
from airflow_provider_realtimekit.models import Action
from tests.support.api import API, Driver, first_request

M = {"meeting_id": "m"}


def refusal(call: Any) -> str:
    """Return the message of the error, which must be raised before the first request."""
    with pytest.raises(RealtimeKitInputError) as caught:
        first_request(call())
    assert isinstance(caught.value, RealtimeKitError)
    return str(caught.value)


BAD_STARTS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["meeting_id", "required"]),
    ({**M, "max_seconds": 59}, ["max_seconds=59", "60", "86400"]),
    ({**M, "max_seconds": 86_401}, ["max_seconds=86401", "60", "86400"]),
    ({**M, "max_seconds": "59"}, ["max_seconds='59'", "60", "86400"]),
    ({**M, "max_seconds": "an hour"}, ["max_seconds='an hour'", "60", "86400"]),
    ({**M, "max_seconds": 90.5}, ["max_seconds=90.5"]),
    ({**M, "max_seconds": True}, ["max_seconds=True", "60"]),
    ({**M, "allow_multiple_recordings": "maybe"}, ["allow_multiple_recordings='maybe'", "boolean"]),
    ({**M, "file_name_prefix": ""}, ["file_name_prefix=''"]),
    ({**M, "url": "ftp://x"}, ["url='ftp://x'", "http"]),
    ({**M, "audio_config": {"codec": "OPUS"}}, ["audio_config.codec='OPUS'", "'MP3'", "'AAC'"]),
    ({**M, "audio_config": {"channel": "5.1"}}, ["audio_config.channel='5.1'", "'mono'", "'stereo'"]),
    ({**M, "audio_config": {"export_file": "?"}}, ["audio_config.export_file='?'", "boolean"]),
    ({**M, "audio_config": {"bitrate": 3}}, ["audio_config.bitrate", "extra_fields"]),
    ({**M, "video_config": {"codec": "AV1"}}, ["video_config.codec='AV1'", "'H264'", "'VP8'", "'VP9'"]),
    ({**M, "video_config": {"width": 0}}, ["video_config.width=0", "1 to 1920"]),
    ({**M, "video_config": {"width": 1921}}, ["video_config.width=1921", "1 to 1920"]),
    ({**M, "video_config": {"height": 0}}, ["video_config.height=0", "1 to 1920"]),
    ({**M, "video_config": {"height": 1921}}, ["video_config.height=1921", "1 to 1920"]),
    ({**M, "video_config": {"watermark": {"url": "logo.png"}}}, ["video_config.watermark.url='logo.png'", "http"]),
    (
        {**M, "video_config": {"watermark": {"position": "middle"}}},
        [
            "video_config.watermark.position='middle'",
            "'left top'",
            "'right top'",
            "'left bottom'",
            "'right bottom'",
        ],
    ),
    ({**M, "video_config": {"watermark": {"size": {"height": 0}}}}, ["video_config.watermark.size.height=0", "1"]),
    ({**M, "video_config": {"watermark": {"size": {"width": -1}}}}, ["video_config.watermark.size.width=-1", "1"]),
    ({**M, "interactive_config": {"type": "ID4"}}, ["interactive_config.type='ID4'", "'ID3'"]),
    ({**M, "rtmp_out_config": {}}, ["rtmp_out_config.rtmp_url", "required"]),
    ({**M, "rtmp_out_config": {"rtmp_url": "https://x"}}, ["rtmp_out_config.rtmp_url", "rtmp://", "rtmps://"]),
    ({**M, "realtimekit_bucket_config": {}}, ["realtimekit_bucket_config.enabled", "required"]),
    ({**M, "realtimekit_bucket_config": {"enabled": "?"}}, ["realtimekit_bucket_config.enabled='?'", "boolean"]),
    ({**M, "realtimekit_bucket_config": {"enabled": False}}, ["realtimekit_bucket_config", "storage_config", "lost"]),
    ({**M, "realtimekit_bucket_config": {"enabled": "false"}}, ["realtimekit_bucket_config", "lost"]),
    ({**M, "storage_config": {"type": "S3"}}, ["storage_config.type='S3'", "'aws'", "'sftp'", "'cloudflare'"]),
    ({**M, "storage_config": {}}, ["storage_config.type", "required"]),
    *(
        (
            {**M, "video_config": {"codec": video}, "audio_config": {"codec": audio}},
            [f"audio_config.codec={audio!r}", f"video_config.codec={video!r}", "not allowed"],
        )
        for video in ("VP8", "VP9")
        for audio in ("MP3", "AAC")
    ),
]


@pytest.mark.parametrize(("arguments", "parts"), BAD_STARTS, ids=[str(given)[:70] for given, _ in BAD_STARTS])
def test_start_refuses(arguments: dict[str, Any], parts: list[str]) -> None:
    message = refusal(lambda: API.start_recording(**{"meeting_id": None, **arguments}))
    assert [part for part in parts if part not in message] == [], message


def test_several_mistakes_are_in_one_message() -> None:
    message = refusal(lambda: API.start_recording(meeting_id="a/b", max_seconds=1, video_config={"width": 0}))
    for part in ("meeting_id='a/b'", "max_seconds=1", "video_config.width=0"):
        assert part in message


@pytest.mark.parametrize("empty", [None, {}], ids=repr)
def test_an_empty_storage_in_extra_fields_does_not_replace_the_disabled_bucket(empty: Any) -> None:
    bucket = {"enabled": False}
    message = refusal(
        lambda: API.start_recording(
            meeting_id="m", realtimekit_bucket_config=bucket, extra_fields={"storage_config": empty}
        )
    )
    assert "lost" in message


BAD_TRACKS: list[tuple[dict[str, Any], list[str]]] = [
    ({"max_seconds": 59}, ["max_seconds=59", "60", "86400"]),
    ({"user_ids": []}, ["user_ids", "1 to 100"]),
    ({"user_ids": [f"u{n}" for n in range(101)]}, ["user_ids", "101", "1 to 100"]),
    ({"user_ids": "u1"}, ["user_ids='u1'", "user ids"]),
    ({"layers": {}}, ["layers", "at least 1"]),
    ({"layers": {"d": {"file_name_prefix": "a/b"}}}, ["layers.d.file_name_prefix='a/b'", r"^[-\w\s]+$"]),
    ({"layers": {"d": {"file_name_prefix": ""}}}, ["layers.d.file_name_prefix=''", r"^[-\w\s]+$"]),
    ({"layers": {"d": {"media_kind": "video"}}}, ["layers.d.media_kind='video'", "'audio'"]),
    ({"layers": {"d": {"outputs": []}}}, ["layers.d.outputs", "at least 1"]),
    ({"layers": {"d": {"outputs": [{}]}}}, ["layers.d.outputs.0.type", "required"]),
    (
        {"layers": {"d": {"outputs": [{"type": "S3"}]}}},
        ["layers.d.outputs.0.type='S3'", "'REALTIMEKIT_BUCKET'", "'STORAGE_CONFIG'"],
    ),
    ({"layers": {"d": {"outputs": [{"type": "STORAGE_CONFIG"}]}}}, ["layers.d.outputs.0", "storage_config"]),
    (
        {
            "layers": {
                "d": {
                    "outputs": [
                        {
                            "type": "REALTIMEKIT_BUCKET",
                            "storage_config": {"type": "azure", "access_key": "k", "bucket": "b"},
                        }
                    ]
                }
            }
        },
        ["layers.d.outputs.0", "storage_config"],
    ),
    (
        {"layers": {"d": {"outputs": [{"type": "STORAGE_CONFIG", "storage_config": {"type": "azure"}}]}}},
        ["layers.d.outputs.0.storage_config", "access_key", "bucket"],
    ),
    ({"layers": {"d": {"unheard": 1}}}, ["layers.d.unheard", "extra_fields"]),
]


@pytest.mark.parametrize(("arguments", "parts"), BAD_TRACKS, ids=[str(given)[:70] for given, _ in BAD_TRACKS])
def test_track_start_refuses(arguments: dict[str, Any], parts: list[str]) -> None:
    message = refusal(lambda: API.start_track_recording(meeting_id="m", **arguments))
    assert [part for part in parts if part not in message] == [], message


def test_one_bad_user_id_is_named() -> None:
    message = refusal(lambda: API.start_track_recording(meeting_id="m", user_ids=["a", "b/c"]))
    assert "user_ids.1='b/c'" in message
    assert "identifier" in message


BAD_LISTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"meeting_id": "a/b"}, ["meeting_id='a/b'", "identifier"]),
    ({"sort_order": "desc"}, ["sort_order='desc'", "'ASC'", "'DESC'"]),
    ({"limit": 0}, ["limit=0", "at least 1"]),
    ({"limit": "many"}, ["limit='many'"]),
    ({"expired": "maybe"}, ["expired='maybe'", "boolean"]),
    ({"start_time": "yesterday"}, ["start_time", "'yesterday'", "ISO 8601"]),
    ({"end_time": 1_700_000_000}, ["end_time", "1700000000", "ISO 8601"]),
    ({"start_time": "2026-01-02", "end_time": "2026-01-01"}, ["start_time", "2026-01-02", "end_time", "2026-01-01"]),
]


@pytest.mark.parametrize(("arguments", "parts"), BAD_LISTS, ids=[str(given) for given, _ in BAD_LISTS])
def test_list_refuses_when_called(arguments: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(RealtimeKitInputError) as caught:
        API.list_recordings(**arguments)
    assert [part for part in parts if part not in str(caught.value)] == [], caught.value


@pytest.mark.parametrize("moment", ["now", "12:30", ""])
def test_a_time_that_is_not_in_iso_8601_is_refused(moment: str) -> None:
    with pytest.raises(RealtimeKitInputError, match=r"start_time.*ISO 8601"):
        API.list_recordings(start_time=moment)


@pytest.mark.parametrize("status", [5, [5], [None]], ids=repr)
def test_the_error_for_a_status_that_is_not_a_text_names_no_internal_type(status: Any) -> None:
    with pytest.raises(RealtimeKitInputError) as caught:
        API.list_recordings(status=status)
    assert "status" in str(caught.value)
    for word in ("frozenset", "str-enum", "[RecordingStatus]"):
        assert word not in str(caught.value)


OPERATIONS: dict[str, Any] = {
    "get": lambda value: API.get_recording(value),
    "active": lambda value: API.get_active_recording(value),
    "pause": lambda value: API.pause_recording(value),
    "resume": lambda value: API.resume_recording(value),
    "stop": lambda value: API.stop_recording(value),
    "apply": lambda value: API.apply_action(value, Action.STOP),
    "start": lambda value: API.start_recording(meeting_id=value),
    "tracks": lambda value: API.start_track_recording(meeting_id=value),
    "users": lambda value: API.start_track_recording(meeting_id="m", user_ids=[value]),
    "list": lambda value: API.list_recordings(meeting_id=value).next_page(),
}
PATH_CHANGERS = ["", " ", ".", "..", "a/b", "../x", "a?b", "a#b", "a%2fb", "%2e%2e", "a\\b", "a b", "a\tb", "a\nb"]


@pytest.mark.parametrize("value", PATH_CHANGERS, ids=repr)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_id_that_could_change_the_path_is_refused(operation: str, value: str) -> None:
    message = refusal(lambda: OPERATIONS[operation](value))
    assert "_id" in message
    assert repr(value) in message


@pytest.mark.parametrize("value", ["a\x00b", "a\x7fb", "\x1b[0m", "a" * 70_000], ids=lambda value: repr(value[:9]))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_id_that_is_invalid_in_a_url_is_refused(operation: str, value: str) -> None:
    assert "_id" in refusal(lambda: OPERATIONS[operation](value))


@pytest.mark.parametrize("value", ["a.b", "a-b_c", "01J9-é", "x" * 200, "a;b=c", "a@b:c"])
def test_an_id_of_any_other_form_is_sent_unchanged(value: str) -> None:
    url = first_request(API.get_recording(value)).url
    assert url.path.endswith("/recordings/" + value)
    assert url.query == b""


@pytest.mark.parametrize("operation", OPERATIONS)
def test_neither_client_sends_a_bad_argument(driver: Driver, operation: str) -> None:
    with pytest.raises(RealtimeKitInputError):
        driver.run(OPERATIONS[operation]("a/b"))
    assert driver.requests == []
