"""Recordings as models: what is read from any answer, and what is published."""

from __future__ import annotations

import json
from typing import Any

import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_provider_realtimekit.models import Action, FileKind, Recording

MARK = "SEKRETzq7"
LINK = f"https://files.example/a/b/clip.mp4?X-Sig={MARK}"
TRACK_LINKS = [
    {
        "layer_name": "default",
        "download_urls": {
            "ann.webm": {"download_url": f"https://files.example/ann.webm?X-Sig={MARK}"},
            "bob.webm": {"download_url": f"https://files.example/bob.webm?X-Sig={MARK}"},
        },
    },
    {"layer_name": "second", "download_urls": {"c.webm": {"download_url": f"https://files.example/c?s={MARK}"}}},
]
FULL: dict[str, Any] = {
    "id": "rec-1",
    "status": "UPLOADED",
    "output_file_name": "weekly_1.mp4",
    "meeting_id": "meet-1",
    "session_id": "sess-1",
    "type": "COMPOSITE",
    "invoked_time": "2026-11-20T10:00:00.123Z",
    "started_time": "2026-11-20T12:00:04+02:00",
    "stopped_time": "2026-11-20T10:30:00Z",
    "recording_duration": 1796,
    "file_size": "150000000",
    "download_url": LINK,
    "download_url_expiry": "2026-11-27T10:30:00Z",
    "audio_download_url": f"https://files.example/a/clip.mp3?X-Sig={MARK}",
    "start_reason": {"reason": "API_CALL", "caller": {"name": "ann", "type": "USER", "user_Id": "u-1"}},
    "stop_reason": {"reason": "ALL_PEERS_LEFT", "caller": {"type": "ORGANIZATION", "user_id": "u-2"}},
    "storage_config": {
        "type": "sftp",
        "bucket": "b",
        "host": "sftp.example",
        "port": 22,
        "username": "u",
        "path": "p",
        "auth_method": "KEY",
        "access_key": MARK,
        "secret": MARK,
        "password": MARK,
        "private_key": MARK,
    },
    "meeting": {"id": "meet-1", "title": "Weekly", "recording_config": {"storage_config": {"secret": MARK}}},
    "err_message": None,
    "unheard_of": {"secret": MARK},
}


def test_every_field_is_read() -> None:
    recording = Recording.model_validate(FULL)
    assert recording.invoked_time == pendulum.datetime(2026, 11, 20, 10, microsecond=123_000)
    assert recording.started_time == pendulum.datetime(2026, 11, 20, 10, 0, 4)
    for moment in (recording.invoked_time, recording.started_time, recording.stopped_time):
        assert isinstance(moment, pendulum.DateTime)
        assert moment.utcoffset() is not None
    assert (recording.recording_duration, recording.file_size) == (1796.0, 150_000_000)
    assert recording.start_reason
    assert recording.start_reason.caller
    assert recording.start_reason.caller.user_id == "u-1"
    assert recording.stop_reason
    assert recording.stop_reason.caller
    assert recording.stop_reason.caller.user_id == "u-2"
    assert recording.storage_config
    assert (recording.storage_config.type, recording.storage_config.host) == ("sftp", "sftp.example")
    assert recording.meeting
    assert recording.meeting.title == "Weekly"


def test_what_is_published_is_plain_and_without_secrets() -> None:
    published = Recording.model_validate(FULL).to_json()
    assert next(iter(published)) == "id"
    assert json.loads(json.dumps(published)) == published
    assert MARK not in json.dumps(published)
    assert published["status"] == "UPLOADED"
    assert pendulum.parse(published["started_time"]) == pendulum.datetime(2026, 11, 20, 10, 0, 4)
    assert (published["meeting"]["title"], published["storage_config"]["bucket"]) == ("Weekly", "b")


@pytest.mark.parametrize("links", [LINK, TRACK_LINKS], ids=["composite", "tracks"])
def test_links_are_published_only_if_the_argument_says_so(links: Any) -> None:
    recording = Recording.model_validate({**FULL, "download_url": links})
    assert MARK not in f"{recording!r} {recording} {recording.files!r} {json.dumps(recording.to_json())}"
    published = recording.to_json(include_urls=True)
    assert published["download_url"] == links
    assert published["audio_download_url"] == FULL["audio_download_url"]
    for key in ("storage_config", "meeting"):
        assert MARK not in json.dumps(published[key])
    assert json.loads(json.dumps(published)) == published


def test_what_is_published_with_links_can_be_read_again() -> None:
    for links in (LINK, TRACK_LINKS):
        recording = Recording.model_validate({**FULL, "download_url": links})
        again = Recording.model_validate(recording.to_json(include_urls=True))
        assert [(file.name, file.url) for file in again.files] == [(file.name, file.url) for file in recording.files]


@pytest.mark.parametrize("quoted", [LINK, f"PUT {LINK} failed: 403"], ids=["link", "sentence"])
def test_a_reason_that_quotes_a_signed_link_is_published_without_the_signature(quoted: str) -> None:
    recording = Recording.model_validate({"id": "r", "status": "ERRORED", "err_message": quoted})
    assert MARK not in json.dumps(recording.to_json()) + recording.error_reason + repr(recording)
    assert "files.example" in recording.error_reason


def test_a_composite_recording_has_a_video_and_perhaps_an_audio_file() -> None:
    video, audio = Recording.model_validate(FULL).files
    assert (video.kind, video.name, video.url.get_secret_value()) == (FileKind.VIDEO, "weekly_1.mp4", LINK)
    assert (audio.kind, audio.name) == (FileKind.AUDIO, "clip.mp3")
    assert (video.is_main, audio.is_main) == (True, False)
    assert len(Recording.model_validate({**FULL, "audio_download_url": None}).files) == 1


def test_a_track_recording_has_a_file_for_each_link() -> None:
    files = Recording.model_validate({"id": "r", "download_url": TRACK_LINKS}).files
    assert [(file.layer, file.name, file.kind) for file in files] == [
        ("default", "ann.webm", FileKind.TRACK),
        ("default", "bob.webm", FileKind.TRACK),
        ("second", "c.webm", FileKind.TRACK),
    ]


@pytest.mark.parametrize("broken", ["x", None, 5, [], {"download_urls": "x"}, {"layer_name": 5}, {}], ids=repr)
def test_a_malformed_layer_is_skipped(broken: Any) -> None:
    files = Recording.model_validate({"id": "r", "download_url": [broken, *TRACK_LINKS]}).files
    assert [file.name for file in files] == ["ann.webm", "bob.webm", "c.webm"]


@pytest.mark.parametrize("url", [None, "", 5, {}, [], [{}], [None]], ids=repr)
def test_a_recording_without_links_has_no_files(url: Any) -> None:
    assert Recording.model_validate({"id": "r", "download_url": url}).files == ()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\..\\passwd", "a/b/passwd"])
def test_a_safe_name_has_no_folder(name: str) -> None:
    (file,) = Recording.model_validate({"id": "r", "download_url": LINK, "output_file_name": name}).files
    assert file.safe_name == "passwd"


@pytest.mark.parametrize("name", ["..", ".", "a/..", "\\"])
def test_a_name_of_dots_only_is_replaced(name: str) -> None:
    (file,) = Recording.model_validate({"id": "r", "download_url": LINK, "output_file_name": name}).files
    assert file.safe_name.strip(".")
    assert not set(file.safe_name) & set("/\\")


@pytest.mark.parametrize(
    ("status", "active", "terminal"),
    [
        ("INVOKED", True, False),
        ("RECORDING", True, False),
        ("PAUSED", True, False),
        ("UPLOADING", False, False),
        ("UPLOADED", False, True),
        ("ERRORED", False, True),
        ("TRANSCODING", False, False),
        (None, False, False),
        (7, False, False),
    ],
)
def test_which_statuses_are_active_and_terminal(status: Any, active: bool, terminal: bool) -> None:
    recording = Recording.model_validate({"id": "r", "status": status})
    assert (recording.is_active, recording.is_terminal) == (active, terminal)
    assert recording.is_uploaded == (status == "UPLOADED")
    if isinstance(status, str):
        assert recording.status == status
        assert recording.to_json()["status"] == status


GOALS = {
    Action.STOP: {"UPLOADING", "UPLOADED", "ERRORED"},
    Action.PAUSE: {"PAUSED"},
    Action.RESUME: {"RECORDING"},
}


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("status", ["INVOKED", "RECORDING", "PAUSED", "UPLOADING", "UPLOADED", "ERRORED", "NEW", None])
def test_which_statuses_an_action_has_reached(action: Action, status: Any) -> None:
    assert Recording.model_validate({"id": "r", "status": status}).has_reached(action) == (status in GOALS[action])


def test_a_link_expires() -> None:
    recording = Recording.model_validate(FULL)
    assert recording.is_expired(pendulum.datetime(2026, 11, 27, 10, 30))
    assert not recording.is_expired(pendulum.datetime(2026, 11, 27, 10, 29, 59))
    assert not Recording.model_validate({"id": "r"}).is_expired()


def test_the_reason_of_a_failure_is_shown() -> None:
    said = {"id": "r", "err_message": "disk full", "stop_reason": {"reason": "INTERNAL_ERROR"}}
    reason = Recording.model_validate(said).error_reason
    assert "disk full" in reason
    assert "INTERNAL_ERROR" in reason
    assert Recording.model_validate({"id": "r"}).error_reason


def test_partial_objects_are_read() -> None:
    assert Recording.model_validate({"id": "r"}).id == "r"


@pytest.mark.parametrize("data", [None, [], "rec", 5, {}, {"id": None}, {"id": ""}, {"id": 5}, {"id": ["a"]}], ids=repr)
def test_without_an_id_there_is_no_recording(data: Any) -> None:
    with pytest.raises(ValidationError):
        Recording.model_validate(data)


def test_a_number_that_is_not_in_json_is_not_published() -> None:
    data = json.loads('{"id": "r", "recording_duration": 1e999, "storage_config": {"port": -1e999}}')
    data["meeting"] = {"session_keep_alive_time_in_secs": float("nan")}
    json.dumps(Recording.model_validate(data).to_json(), allow_nan=False)


KNOWN = [*FULL, *FULL["meeting"], "layer_name", "caller", "reason", "name", "type", "user_Id", "created_at", "title"]
SECRET = ["access_key", "secret", "password", "private_key", "rtmp_url"]
DATES = ["2026-11-20T10:00:00Z", "2026", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "P1D", "2026-W99"]
TEXT = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(DATES)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    plain = st.dictionaries(st.sampled_from(KNOWN) | TEXT, inner, max_size=6)
    hidden = st.dictionaries(st.sampled_from(SECRET), st.just(MARK), max_size=2)
    links = st.fixed_dictionaries(
        {}, optional={key: st.just(LINK) | st.just(TRACK_LINKS) for key in ("download_url", "audio_download_url")}
    )
    return st.lists(inner, max_size=4) | st.builds(lambda a, b, c: {**a, **b, **c}, plain, hidden, links)


JSON = st.recursive(SCALARS, _objects, max_leaves=12)
RECORDINGS = st.builds(
    lambda body, own: {**body, "id": own}, _objects(JSON).filter(lambda v: isinstance(v, dict)), TEXT
)


@settings(max_examples=60, deadline=None)
@given(JSON | RECORDINGS)
def test_any_answer_is_read_and_published_safely(data: Any) -> None:
    try:
        recording = Recording.model_validate(data)
    except ValidationError:
        assert not (isinstance(data, dict) and isinstance(data.get("id"), str) and data["id"])
        return
    published = json.dumps(recording.to_json(), allow_nan=False)
    assert MARK not in published + repr(recording)
    json.dumps(recording.to_json(include_urls=True))
    for file in recording.files:
        assert file.name
        assert not set(file.safe_name) & set("/\\")
