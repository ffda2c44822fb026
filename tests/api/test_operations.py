"""The operations: starts are sent once, actions are repeated until they take effect, and a meeting's recordings."""

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
from tests.support.api import API, PREFIX, RECORDING, Driver, body_of, no, ok, shown

STARTS: dict[str, Any] = {
    "composite": lambda: API.start_recording(meeting_id="meet-1", storage_config=None),
    "tracks": lambda: API.start_track_recording(meeting_id="meet-1"),
}
both_starts = pytest.mark.parametrize("start", STARTS)
SENT = [httpx.ReadTimeout, httpx.WriteTimeout, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError]
UNCLEAR: list[Any] = [
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
# The API documents a body for the answer to a composite start, but none for the answer to a track start.
EMPTY = [httpx.Response(200), httpx.Response(204), ok(None), ok({}), httpx.Response(200, json={"success": True})]


def label(value: Any) -> str:
    return f"{value.status_code}-{value.text[:30]}" if isinstance(value, httpx.Response) else value.__name__


@both_starts
@pytest.mark.parametrize("outcome", UNCLEAR, ids=label)
def test_a_start_with_an_unclear_answer_is_sent_once(driver: Driver, start: str, outcome: Any) -> None:
    with pytest.raises(StartOutcomeUnknownError) as caught:
        driver.answers(outcome).run(STARTS[start]())
    assert driver.methods == ["POST"]
    assert driver.slept == []
    assert caught.value.meeting_id == "meet-1"
    assert "meet-1" in str(caught.value)
    assert "not known" in str(caught.value)


@pytest.mark.parametrize("outcome", [*EMPTY, ok([RECORDING]), ok("rec-1")], ids=label)
def test_an_empty_answer_to_a_composite_start_is_unclear(driver: Driver, outcome: httpx.Response) -> None:
    with pytest.raises(StartOutcomeUnknownError):
        driver.answers(outcome).run(STARTS["composite"]())
    assert driver.methods == ["POST"]


REFUSALS = [
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.Response(429, headers={"retry-after": "1"}),
]


@both_starts
@pytest.mark.parametrize("fault", REFUSALS, ids=label)
def test_a_start_that_was_certainly_not_processed_is_sent_again(driver: Driver, start: str, fault: Any) -> None:
    assert driver.answers(fault, fault, ok()).run(STARTS[start]()).id == "rec-1"
    assert driver.methods == ["POST"] * 3
    assert len({request.content for request in driver.requests}) == 1
    assert len(driver.slept) == 2


@both_starts
def test_an_unclear_answer_after_refusals_ends_the_retries(driver: Driver, start: str) -> None:
    with pytest.raises(StartOutcomeUnknownError):
        driver.answers(httpx.ConnectError, no(429), no(502)).run(STARTS[start]())
    assert driver.methods == ["POST"] * 3


@both_starts
def test_a_start_that_was_never_sent_is_a_connection_error(driver: Driver, start: str) -> None:
    with pytest.raises(RealtimeKitConnectionError) as caught:
        driver.answers(*[httpx.ConnectError] * 1000).run(STARTS[start]())
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
def test_a_clear_refusal_of_a_start_is_raised(driver: Driver, start: str, answer: Any, kind: type[Exception]) -> None:
    with pytest.raises(RealtimeKitAPIError) as caught:
        driver.answers(answer).run(STARTS[start]())
    assert type(caught.value) is kind
    assert driver.methods == ["POST"]


@both_starts
def test_a_start_returns_the_recording(driver: Driver, start: str) -> None:
    recording = driver.answers(ok()).run(STARTS[start]())
    assert (recording.id, recording.status) == ("rec-1", "INVOKED")


def test_a_track_start_returns_the_recording_within_data(driver: Driver) -> None:
    assert driver.answers(ok({"recording": {"id": "rec-9"}})).run(STARTS["tracks"]()).id == "rec-9"
    assert driver.methods == ["POST"]


@pytest.mark.parametrize(
    "data", [{"recording": None}, {"recording": {}}, {"recording": {"status": "INVOKED"}}], ids=repr
)
def test_a_track_start_without_an_id_is_unclear(driver: Driver, data: Any) -> None:
    with pytest.raises(StartOutcomeUnknownError):
        driver.answers(ok(data)).run(STARTS["tracks"]())
    assert driver.methods == ["POST"]


def row(own: str, ago: float, **more: Any) -> dict[str, Any]:
    return {"id": own, "status": "INVOKED", "invoked_time": _stamp(ago), **more}


def _stamp(ago: float) -> str:
    return pendulum.now("UTC").subtract(seconds=ago).isoformat()


@pytest.mark.parametrize("outcome", EMPTY, ids=label)
def test_the_recording_of_an_empty_track_start_is_found_in_the_list(driver: Driver, outcome: httpx.Response) -> None:
    rows = [row("old", 4000), row("new", 0), {"id": "no-time"}]
    recording = driver.answers(outcome, ok(rows), ok([])).run(STARTS["tracks"]())
    assert recording.id == "new"
    assert driver.methods[:2] == ["POST", "GET"]
    assert set(driver.methods[1:]) == {"GET"}
    listed = driver.requests[1].url
    assert listed.path == PREFIX
    assert listed.params["meeting_id"] == "meet-1"


@pytest.mark.parametrize("rows", [[], [row("old", 4000)], [{"id": "no-time"}]], ids=len)
def test_a_track_start_that_no_list_shows_is_unclear(driver: Driver, rows: Any) -> None:
    with pytest.raises(StartOutcomeUnknownError) as caught:
        driver.answers(
            httpx.Response(200), lambda request: ok(rows if request.url.params["page_no"] == "1" else [])
        ).run(STARTS["tracks"]())
    assert caught.value.meeting_id == "meet-1"
    assert driver.methods.count("POST") == 1


@pytest.mark.parametrize(
    "fault", [no(503), no(401), no(404), no(429, **{"retry-after": "4000"}), httpx.Response(200, html="<p>")], ids=label
)
def test_a_track_start_whose_list_fails_is_unclear(driver: Driver, fault: httpx.Response) -> None:
    with pytest.raises(StartOutcomeUnknownError):
        driver.answers(httpx.Response(200), lambda _: fault).run(STARTS["tracks"]())
    assert driver.methods.count("POST") == 1


def test_a_track_start_whose_list_is_not_answered_is_unclear(driver: Driver) -> None:
    with pytest.raises(StartOutcomeUnknownError):
        driver.answers(httpx.Response(200), *[httpx.ConnectError] * 1000).run(STARTS["tracks"]())
    assert driver.methods.count("POST") == 1


def test_an_older_recording_is_not_mistaken_for_the_one_just_started(driver: Driver) -> None:
    now = pendulum.now("UTC")
    accepted = httpx.Response(200, headers={"date": now.strftime("%a, %d %b %Y %H:%M:%S GMT")})
    rows = [row("composite", 30, status="RECORDING")]
    with pytest.raises(StartOutcomeUnknownError):
        driver.answers(accepted, lambda request: ok(rows if request.url.params["page_no"] == "1" else [])).run(
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
def test_an_action_that_works_is_one_request(driver: Driver, action: Action) -> None:
    assert driver.answers(at(AIMS[action])).run(API.apply_action("rec-1", action)).status == AIMS[action]
    assert driver.methods == ["PUT"]
    assert body_of(driver.requests[0]) == {"action": action.value}


@every_action
@pytest.mark.parametrize("fault", FAULTS, ids=label)
def test_an_action_with_an_error_succeeds_if_the_recording_has_the_status(
    driver: Driver, action: Action, fault: httpx.Response
) -> None:
    recording = driver.answers(fault, at(AIMS[action])).run(API.apply_action("rec-1", action))
    assert recording.status == AIMS[action]
    assert driver.methods == ["PUT", "GET"]
    assert driver.requests[1].url.path == PREFIX + "/rec-1"


@pytest.mark.parametrize("status", ["UPLOADING", "UPLOADED", "ERRORED"])
def test_stopping_a_stopped_recording_succeeds(driver: Driver, status: str) -> None:
    assert driver.answers(no(400), at(status)).run(API.apply_action("rec-1", Action.STOP)).status == status


@every_action
@pytest.mark.parametrize("fault", FAULTS, ids=label)
def test_an_action_without_effect_fails_and_names_action_and_status(
    driver: Driver, action: Action, fault: httpx.Response
) -> None:
    with pytest.raises(RecordingStateError) as caught:
        driver.answers(*[fault, at(OTHER[action])] * 3).run(API.apply_action("rec-1", action))
    assert caught.value.recording_id == "rec-1"
    for part in ("rec-1", OTHER[action], action.value):
        assert part in str(caught.value)
    assert driver.methods == ["PUT", "GET"] * 3
    assert driver.slept == [1.0, 2.0]


@every_action
@pytest.mark.parametrize("fault", FAULTS, ids=label)
def test_an_action_without_effect_is_sent_again(driver: Driver, action: Action, fault: httpx.Response) -> None:
    recording = driver.answers(fault, at("INVOKED"), at(AIMS[action])).run(API.apply_action("rec-1", action))
    assert recording.status == AIMS[action]
    assert driver.methods == ["PUT", "GET", "PUT"]


@pytest.mark.parametrize("status", ["UPLOADING", "UPLOADED", "ERRORED", "NEW"])
def test_a_recording_that_has_ended_is_not_paused_again(driver: Driver, status: str) -> None:
    with pytest.raises(RecordingStateError):
        driver.answers(no(409), at(status)).run(API.apply_action("rec-1", Action.PAUSE))
    assert driver.methods == ["PUT", "GET"]


@every_action
@pytest.mark.parametrize("status", ["NEW", "INVOKED"])
def test_an_unknown_or_early_status_is_an_error(driver: Driver, action: Action, status: str) -> None:
    with pytest.raises(RecordingStateError):
        driver.answers(*[no(400), at(status)] * 3).run(API.apply_action("rec-1", action))


@every_action
def test_an_action_is_sent_again_when_neither_it_nor_the_recording_can_be_read(driver: Driver, action: Action) -> None:
    garbage = httpx.Response(200)
    recording = driver.answers(garbage, garbage, at(AIMS[action])).run(API.apply_action("rec-1", action))
    assert recording.status == AIMS[action]
    assert driver.methods == ["PUT", "GET", "PUT"]


@every_action
def test_an_action_whose_effect_cannot_be_read_is_an_error(driver: Driver, action: Action) -> None:
    with pytest.raises(RealtimeKitResponseError):
        driver.answers(lambda _: httpx.Response(200)).run(API.apply_action("rec-1", action))
    assert driver.methods == ["PUT", "GET"] * 3


@every_action
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_ends_an_action(driver: Driver, action: Action, status: int) -> None:
    with pytest.raises(RealtimeKitAuthError):
        driver.answers(no(status)).run(API.apply_action("rec-1", action))
    assert driver.methods == ["PUT"]


@every_action
def test_a_used_up_quota_ends_an_action(driver: Driver, action: Action) -> None:
    with pytest.raises(RealtimeKitRateLimitError):
        driver.answers(no(429, **{"retry-after": "4000"})).run(API.apply_action("rec-1", action))
    assert driver.methods == ["PUT"]


@every_action
def test_an_unknown_recording_is_not_found(driver: Driver, action: Action) -> None:
    with pytest.raises(RealtimeKitNotFoundError):
        driver.answers(no(404), no(404)).run(API.apply_action("rec-1", action))
    assert driver.methods == ["PUT", "GET"]


@every_action
def test_an_action_without_an_answer_is_checked_by_the_status(driver: Driver, action: Action) -> None:
    def lost(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            raise httpx.ReadTimeout("x", request=request)
        return at(AIMS[action])

    assert driver.answers(lost).run(API.apply_action("rec-1", action)).status == AIMS[action]


@pytest.mark.parametrize("call", [API.stop_recording, API.pause_recording, API.resume_recording])
def test_a_single_action_raises_its_error(driver: Driver, call: Any) -> None:
    with pytest.raises(RealtimeKitAPIError):
        driver.answers(no(409)).run(call("rec-1"))
    assert driver.methods == ["PUT"]


# ---- the recordings of a meeting --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", [no(404, "no active recording"), httpx.Response(404, json={"message": "none"})], ids=label
)
def test_no_active_recording(driver: Driver, answer: httpx.Response) -> None:
    assert driver.answers(answer).run(API.get_active_recording("meet-1")) is None


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
def test_a_wrong_account_or_host_is_not_mistaken_for_no_active_recording(driver: Driver, answer: Any) -> None:
    with pytest.raises(RealtimeKitError):
        driver.answers(answer).run(API.get_active_recording("meet-1"))


def test_an_active_recording(driver: Driver) -> None:
    assert driver.answers(ok()).run(API.get_active_recording("meet-1")).id == "rec-1"


@pytest.mark.parametrize("order", [1, -1])
def test_the_newest_recording_is_found_in_any_order_of_rows(driver: Driver, order: int) -> None:
    since = pendulum.datetime(2026, 11, 20, 10)
    times = ["2026-11-20T09:59:59Z", "2026-11-20T10:00:00Z", "2026-11-20T12:00:00+01:00", "2026-11-20T10:30:00Z"]
    rows = [{"id": str(at), "invoked_time": moment} for at, moment in enumerate(times)][::order]
    found = driver.answers(ok(rows), ok([])).run(API.get_newest_recording("meet-1", since))
    assert found.id == "2"
    params = driver.requests[0].url.params
    assert params["meeting_id"] == "meet-1"
    assert pendulum.parse(params["start_time"]) <= since  # type: ignore[operator]


def test_invoked_after_includes_the_given_time(driver: Driver) -> None:
    since = pendulum.datetime(2026, 11, 20, 10)
    rows = [{"id": "at", "invoked_time": since.isoformat()}]
    assert driver.answers(ok(rows), ok([])).run(API.get_newest_recording("m", since)).id == "at"
    later = since.add(microseconds=1)
    assert driver.answers(ok(rows), ok([])).run(API.get_newest_recording("m", later)) is None


@both_starts
def test_the_error_of_an_unclear_start_names_the_cause_without_the_address(driver: Driver, start: str) -> None:
    with pytest.raises(StartOutcomeUnknownError) as caught:
        driver.answers(httpx.ReadTimeout).run(STARTS[start]())
    assert "ReadTimeout" in str(caught.value)
    assert "https://" not in shown(caught.value)
