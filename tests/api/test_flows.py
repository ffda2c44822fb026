"""Starts that are never sent twice on a guess, actions that aim at a state, and the recordings of a meeting."""

from __future__ import annotations

from typing import Any

import httpx
import pendulum
import pytest

from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitAuthError,
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitNotFoundError,
    RealtimeKitRateLimitError,
    RealtimeKitResponseError,
    RecordingStateError,
    StartOutcomeUnknownError,
)
from airflow_provider_realtimekit.models import Action
from tests.support.api import API, PREFIX, RECORDING, Face, body_of, no, ok, told

STARTS: dict[str, Any] = {
    "composite": lambda: API.start_recording(meeting_id="meet-1", storage_config=None),
    "tracks": lambda: API.start_track_recording(meeting_id="meet-1"),
}
both_starts = pytest.mark.parametrize("start", STARTS)
SENT = [httpx.ReadTimeout, httpx.WriteTimeout, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError]
DOUBTFUL: list[Any] = [
    *SENT,
    *(no(status) for status in (408, 500, 502, 503, 504, 520, 524, 530)),
    httpx.Response(502, html="<html>bad gateway</html>"),
    httpx.Response(500),
    httpx.Response(200, html="<html>welcome</html>"),
    httpx.Response(200, content=b'{"success": true, "data": {"id"'),
    httpx.Response(200, json=[RECORDING]),
    httpx.Response(200, json="ok"),
    httpx.Response(302, headers={"location": "https://elsewhere.example/"}),
    ok({"status": "INVOKED"}),
    ok({"id": None}),
    httpx.Response(200, json={"success": False, "error": {"code": 503, "message": "later"}}),
]
# What a composite start must answer, and a track start need not.
EMPTY = [httpx.Response(200), httpx.Response(204), ok(None), ok({}), httpx.Response(200, json={"success": True})]


def label(value: Any) -> str:
    return f"{value.status_code}-{value.text[:30]}" if isinstance(value, httpx.Response) else value.__name__


@both_starts
@pytest.mark.parametrize("outcome", DOUBTFUL, ids=label)
def test_a_doubtful_start_is_sent_once_and_said_to_be_doubtful(face: Face, start: str, outcome: Any) -> None:
    with pytest.raises(StartOutcomeUnknownError) as caught:
        face.answers(outcome).run(STARTS[start]())
    assert face.methods == ["POST"]
    assert face.slept == []
    assert caught.value.meeting_id == "meet-1"
    assert "meet-1" in str(caught.value)
    assert "not known" in str(caught.value)


@pytest.mark.parametrize("outcome", [*EMPTY, ok([RECORDING]), ok("rec-1")], ids=label)
def test_an_empty_answer_to_a_composite_start_is_doubtful(face: Face, outcome: httpx.Response) -> None:
    with pytest.raises(StartOutcomeUnknownError):
        face.answers(outcome).run(STARTS["composite"]())
    assert face.methods == ["POST"]


REFUSALS = [
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.Response(429, headers={"retry-after": "1"}),
]


@both_starts
@pytest.mark.parametrize("fault", REFUSALS, ids=label)
def test_a_start_that_surely_was_not_processed_is_sent_again(face: Face, start: str, fault: Any) -> None:
    assert face.answers(fault, fault, ok()).run(STARTS[start]()).id == "rec-1"
    assert face.methods == ["POST"] * 3
    assert len({request.content for request in face.requests}) == 1
    assert len(face.slept) == 2


@both_starts
def test_doubt_after_a_refused_try_ends_the_tries(face: Face, start: str) -> None:
    with pytest.raises(StartOutcomeUnknownError):
        face.answers(httpx.ConnectError, no(429), no(502)).run(STARTS[start]())
    assert face.methods == ["POST"] * 3


@both_starts
def test_a_start_that_never_got_through_is_not_doubtful(face: Face, start: str) -> None:
    with pytest.raises(RealtimeKitConnectionError) as caught:
        face.answers(*[httpx.ConnectError] * 1000).run(STARTS[start]())
    assert caught.value.processed is False


@both_starts
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (no(400), RealtimeKitAPIError),
        (no(401), RealtimeKitAuthError),
        (no(403), RealtimeKitAuthError),
        (no(404), RealtimeKitNotFoundError),
        (no(409), RealtimeKitAPIError),
        (no(422), RealtimeKitAPIError),
        (no(429, **{"retry-after": "4000"}), RealtimeKitRateLimitError),
        (httpx.Response(200, json={"success": False, "error": {"code": 400, "message": "no"}}), RealtimeKitAPIError),
        (httpx.Response(400, html="<p>no"), RealtimeKitAPIError),
    ],
    ids=lambda value: label(value) if isinstance(value, httpx.Response) else "",
)
def test_a_clear_no_to_a_start_is_passed_on(face: Face, start: str, answer: Any, kind: type[Exception]) -> None:
    with pytest.raises(RealtimeKitAPIError) as caught:
        face.answers(answer).run(STARTS[start]())
    assert type(caught.value) is kind
    assert face.methods == ["POST"]


@both_starts
def test_a_start_answers_the_recording(face: Face, start: str) -> None:
    recording = face.answers(ok()).run(STARTS[start]())
    assert (recording.id, recording.status) == ("rec-1", "INVOKED")


def test_a_track_start_answers_a_recording_within_data(face: Face) -> None:
    assert face.answers(ok({"recording": {"id": "rec-9"}})).run(STARTS["tracks"]()).id == "rec-9"
    assert face.methods == ["POST"]


@pytest.mark.parametrize("data", [{"recording": None}, {"recording": {}}, {"recording": {"status": "INVOKED"}}])
def test_a_track_start_that_answers_no_id_is_doubtful(face: Face, data: Any) -> None:
    with pytest.raises(StartOutcomeUnknownError):
        face.answers(ok(data)).run(STARTS["tracks"]())
    assert face.methods == ["POST"]


def row(own: str, ago: float, **more: Any) -> dict[str, Any]:
    return {"id": own, "status": "INVOKED", "invoked_time": _stamp(ago), **more}


def _stamp(ago: float) -> str:
    return pendulum.now("UTC").subtract(seconds=ago).isoformat()


@pytest.mark.parametrize("outcome", EMPTY, ids=label)
def test_an_empty_answer_to_a_track_start_is_settled_by_the_list(face: Face, outcome: httpx.Response) -> None:
    rows = [row("old", 4000), row("new", 0), {"id": "no-time"}]
    recording = face.answers(outcome, ok(rows), ok([])).run(STARTS["tracks"]())
    assert recording.id == "new"
    assert face.methods[:2] == ["POST", "GET"]
    assert set(face.methods[1:]) == {"GET"}
    listed = face.requests[1].url
    assert listed.path == PREFIX
    assert listed.params["meeting_id"] == "meet-1"


@pytest.mark.parametrize("rows", [[], [row("old", 4000)], [{"id": "no-time"}]], ids=len)
def test_a_track_start_that_no_list_shows_is_doubtful(face: Face, rows: Any) -> None:
    with pytest.raises(StartOutcomeUnknownError) as caught:
        face.answers(httpx.Response(200), lambda request: ok(rows if request.url.params["page_no"] == "1" else [])).run(
            STARTS["tracks"]()
        )
    assert caught.value.meeting_id == "meet-1"
    assert face.methods.count("POST") == 1


@pytest.mark.parametrize(
    "fault", [no(503), no(401), no(404), no(429, **{"retry-after": "4000"}), httpx.Response(200, html="<p>")], ids=label
)
def test_a_track_start_whose_list_fails_is_doubtful(face: Face, fault: httpx.Response) -> None:
    with pytest.raises(StartOutcomeUnknownError):
        face.answers(httpx.Response(200), lambda _: fault).run(STARTS["tracks"]())
    assert face.methods.count("POST") == 1


def test_a_track_start_whose_list_is_not_reached_is_doubtful(face: Face) -> None:
    with pytest.raises(StartOutcomeUnknownError):
        face.answers(httpx.Response(200), *[httpx.ConnectError] * 1000).run(STARTS["tracks"]())
    assert face.methods.count("POST") == 1


def test_a_recording_that_ran_before_is_not_taken_for_the_one_just_started(face: Face) -> None:
    now = pendulum.now("UTC")
    accepted = httpx.Response(200, headers={"date": now.strftime("%a, %d %b %Y %H:%M:%S GMT")})
    rows = [row("composite", 30, status="RECORDING")]
    with pytest.raises(StartOutcomeUnknownError):
        face.answers(accepted, lambda request: ok(rows if request.url.params["page_no"] == "1" else [])).run(
            STARTS["tracks"]()
        )


# ---- actions ----------------------------------------------------------------------------------------------------

AIMS = {Action.STOP: "UPLOADING", Action.PAUSE: "PAUSED", Action.RESUME: "RECORDING"}
OTHER = {Action.STOP: "RECORDING", Action.PAUSE: "RECORDING", Action.RESUME: "PAUSED"}
FAULTS: list[Any] = [
    no(400),
    no(404),
    no(409),
    no(422),
    httpx.Response(200, json={"success": False}),
    httpx.Response(200),
    ok({}),
]
every_action = pytest.mark.parametrize("action", Action)


def at(status: str) -> httpx.Response:
    return ok({"id": "rec-1", "status": status})


@every_action
def test_an_action_that_works_asks_no_more(face: Face, action: Action) -> None:
    assert face.answers(at(AIMS[action])).run(API.apply_action("rec-1", action)).status == AIMS[action]
    assert face.methods == ["PUT"]
    assert body_of(face.requests[0]) == {"action": action.value}


@every_action
@pytest.mark.parametrize("fault", FAULTS, ids=label)
def test_an_error_is_forgiven_when_the_state_is_reached(face: Face, action: Action, fault: httpx.Response) -> None:
    recording = face.answers(fault, at(AIMS[action])).run(API.apply_action("rec-1", action))
    assert recording.status == AIMS[action]
    assert face.methods == ["PUT", "GET"]
    assert face.requests[1].url.path == PREFIX + "/rec-1"


@pytest.mark.parametrize("status", ["UPLOADING", "UPLOADED", "ERRORED"])
def test_stopping_what_is_over_succeeds(face: Face, status: str) -> None:
    assert face.answers(no(400), at(status)).run(API.apply_action("rec-1", Action.STOP)).status == status


@every_action
@pytest.mark.parametrize("fault", FAULTS, ids=label)
def test_an_error_without_the_state_is_told_with_both(face: Face, action: Action, fault: httpx.Response) -> None:
    with pytest.raises(RecordingStateError) as caught:
        face.answers(*[fault, at(OTHER[action])] * 3).run(API.apply_action("rec-1", action))
    assert caught.value.recording_id == "rec-1"
    assert all(part in str(caught.value) for part in ("rec-1", OTHER[action], action.value))
    assert face.methods == ["PUT", "GET"] * 3
    assert face.slept == [1.0, 2.0]


@every_action
@pytest.mark.parametrize("fault", FAULTS, ids=label)
def test_an_action_without_effect_is_asked_for_again(face: Face, action: Action, fault: httpx.Response) -> None:
    recording = face.answers(fault, at("INVOKED"), at(AIMS[action])).run(API.apply_action("rec-1", action))
    assert recording.status == AIMS[action]
    assert face.methods == ["PUT", "GET", "PUT"]


@pytest.mark.parametrize("status", ["UPLOADING", "UPLOADED", "ERRORED", "NEW"])
def test_what_has_ended_is_not_asked_to_pause_again(face: Face, status: str) -> None:
    with pytest.raises(RecordingStateError):
        face.answers(no(409), at(status)).run(API.apply_action("rec-1", Action.PAUSE))
    assert face.methods == ["PUT", "GET"]


@every_action
@pytest.mark.parametrize("status", ["NEW", "INVOKED"])
def test_an_unknown_or_early_state_is_not_the_one_aimed_at(face: Face, action: Action, status: str) -> None:
    with pytest.raises(RecordingStateError):
        face.answers(*[no(400), at(status)] * 3).run(API.apply_action("rec-1", action))


@every_action
def test_an_action_is_sent_again_when_neither_it_nor_the_recording_can_be_read(face: Face, action: Action) -> None:
    garbage = httpx.Response(200)
    recording = face.answers(garbage, garbage, at(AIMS[action])).run(API.apply_action("rec-1", action))
    assert recording.status == AIMS[action]
    assert face.methods == ["PUT", "GET", "PUT"]


@every_action
def test_an_action_whose_effect_can_never_be_read_is_an_error(face: Face, action: Action) -> None:
    with pytest.raises(RealtimeKitResponseError):
        face.answers(lambda _: httpx.Response(200)).run(API.apply_action("rec-1", action))
    assert face.methods == ["PUT", "GET"] * 3


@every_action
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_ends_it(face: Face, action: Action, status: int) -> None:
    with pytest.raises(RealtimeKitAuthError):
        face.answers(no(status)).run(API.apply_action("rec-1", action))
    assert face.methods == ["PUT"]


@every_action
def test_a_spent_quota_ends_it(face: Face, action: Action) -> None:
    with pytest.raises(RealtimeKitRateLimitError):
        face.answers(no(429, **{"retry-after": "4000"})).run(API.apply_action("rec-1", action))
    assert face.methods == ["PUT"]


@every_action
def test_an_unknown_recording_is_told_as_such(face: Face, action: Action) -> None:
    with pytest.raises(RealtimeKitNotFoundError):
        face.answers(no(404), no(404)).run(API.apply_action("rec-1", action))
    assert face.methods == ["PUT", "GET"]


@every_action
def test_an_action_that_is_not_answered_is_judged_by_its_state(face: Face, action: Action) -> None:
    def lost(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            raise httpx.ReadTimeout("x", request=request)
        return at(AIMS[action])

    assert face.answers(lost).run(API.apply_action("rec-1", action)).status == AIMS[action]


@pytest.mark.parametrize("call", [API.stop_recording, API.pause_recording, API.resume_recording])
def test_a_bare_action_passes_its_error_on(face: Face, call: Any) -> None:
    with pytest.raises(RealtimeKitAPIError):
        face.answers(no(409)).run(call("rec-1"))
    assert face.methods == ["PUT"]


# ---- the recordings of a meeting --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", [no(404, "no active recording"), httpx.Response(404, json={"message": "none"})], ids=label
)
def test_no_active_recording(face: Face, answer: httpx.Response) -> None:
    assert face.answers(answer).run(API.get_active_recording("meet-1")) is None


GATEWAY = {"success": False, "errors": [{"code": 7003, "message": "Could not route to /accounts/x"}]}


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, json=GATEWAY),
        httpx.Response(400, json=GATEWAY),
        httpx.Response(404, html="<html>404 page not found</html>"),
    ],
    ids=label,
)
def test_a_wrong_account_or_host_is_not_taken_for_no_active_recording(face: Face, answer: Any) -> None:
    with pytest.raises(RealtimeKitError):
        face.answers(answer).run(API.get_active_recording("meet-1"))


def test_an_active_recording(face: Face) -> None:
    assert face.answers(ok()).run(API.get_active_recording("meet-1")).id == "rec-1"


@pytest.mark.parametrize("order", [1, -1])
def test_the_newest_recording_is_found_whatever_the_order(face: Face, order: int) -> None:
    since = pendulum.datetime(2026, 11, 20, 10)
    times = ["2026-11-20T09:59:59Z", "2026-11-20T10:00:00Z", "2026-11-20T12:00:00+01:00", "2026-11-20T10:30:00Z"]
    rows = [{"id": str(at), "invoked_time": moment} for at, moment in enumerate(times)][::order]
    found = face.answers(ok(rows), ok([])).run(API.get_newest_recording("meet-1", since))
    assert found.id == "2"
    params = face.requests[0].url.params
    assert params["meeting_id"] == "meet-1"
    assert pendulum.parse(params["start_time"]) <= since  # type: ignore[operator]


def test_a_recording_invoked_at_the_very_moment_counts_and_one_before_does_not(face: Face) -> None:
    since = pendulum.datetime(2026, 11, 20, 10)
    rows = [{"id": "at", "invoked_time": since.isoformat()}]
    assert face.answers(ok(rows), ok([])).run(API.get_newest_recording("m", since)).id == "at"
    later = since.add(microseconds=1)
    assert face.answers(ok(rows), ok([])).run(API.get_newest_recording("m", later)) is None


@both_starts
def test_doubt_says_what_happened_without_the_address(face: Face, start: str) -> None:
    with pytest.raises(StartOutcomeUnknownError) as caught:
        face.answers(httpx.ReadTimeout).run(STARTS[start]())
    assert "ReadTimeout" in str(caught.value)
    assert "https://" not in told(caught.value)
