"""Answers of every form are parsed into data or the right error."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from airflow_provider_realtimekit.api.headers import parse_retry_after
from airflow_provider_realtimekit.api.responses import parse_body
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitAuthError,
    RealtimeKitError,
    RealtimeKitNotFoundError,
    RealtimeKitRateLimitError,
    RealtimeKitResponseError,
    RealtimeKitRouteError,
)
from airflow_provider_realtimekit.redaction import strip_queries
from tests.support.api import API, Driver, finish, ok

SHAPES: dict[str, Any] = {
    "error": lambda code: {"success": False, "error": {"code": code, "message": "said so"}},
    "errors": lambda code: {"success": False, "errors": [{"code": code, "message": "said so"}], "messages": []},
    "message": lambda _: {"message": "said so"},
    "text-code": lambda code: {"success": False, "errors": [{"code": str(code), "message": "said so"}]},
}
KINDS = [
    (400, RealtimeKitAPIError),
    (401, RealtimeKitAuthError),
    (403, RealtimeKitAuthError),
    (404, RealtimeKitNotFoundError),
    (408, RealtimeKitAPIError),
    (409, RealtimeKitAPIError),
    (422, RealtimeKitAPIError),
    (429, RealtimeKitRateLimitError),
    (500, RealtimeKitAPIError),
    (503, RealtimeKitAPIError),
]


def error_of(response: httpx.Response) -> RealtimeKitError:
    with pytest.raises(RealtimeKitError) as caught:
        parse_body(response)
    return caught.value


@pytest.mark.parametrize(("status", "kind"), KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_form_of_error_becomes_the_error_of_its_status(
    shape: str, status: int, kind: type[RealtimeKitAPIError]
) -> None:
    error = error_of(httpx.Response(status, json=SHAPES[shape](status)))
    assert type(error) is kind
    assert isinstance(error, RealtimeKitAPIError)
    assert error.status == status
    assert error.code == (None if shape == "message" else status)
    assert "said so" in str(error)
    assert str(status) in str(error)


@pytest.mark.parametrize(("code", "kind"), KINDS)
@pytest.mark.parametrize("shape", ["error", "errors", "text-code"])
def test_a_200_with_success_false_gets_the_error_of_its_code(
    shape: str, code: int, kind: type[RealtimeKitAPIError]
) -> None:
    error = error_of(httpx.Response(200, json=SHAPES[shape](code)))
    assert type(error) is kind
    assert "said so" in str(error)


@pytest.mark.parametrize("data", [None, {}, {"id": "rec-1"}], ids=repr)
def test_success_false_is_never_a_success(data: Any) -> None:
    error = error_of(httpx.Response(200, json={"success": False, "data": data}))
    assert type(error) is RealtimeKitAPIError


@pytest.mark.parametrize(("code", "status"), [(10_000, 403), (10_000, 400), (9109, 400), (6003, 400), (6111, 400)])
def test_the_gateways_codes_for_a_bad_token(code: int, status: int) -> None:
    error = error_of(httpx.Response(status, json=SHAPES["errors"](code)))
    if (code, status) == (10_000, 400):
        assert type(error) is RealtimeKitAPIError
    else:
        assert type(error) is RealtimeKitAuthError
    assert isinstance(error, RealtimeKitAPIError)
    assert (error.code, error.status) == (code, status)


def test_the_gateways_code_for_no_route() -> None:
    for code in (7000, 7003):
        error = error_of(httpx.Response(400, json=SHAPES["errors"](code)))
        assert type(error) is RealtimeKitRouteError
        assert isinstance(error, RealtimeKitNotFoundError)


@pytest.mark.parametrize(
    "body", [{}, {"html": "<p>404 page not found"}, {"json": {}}, {"json": {"success": False}}], ids=repr
)
def test_a_404_without_a_message_is_not_taken_for_the_apis(body: Any) -> None:
    assert type(error_of(httpx.Response(404, **body))) is RealtimeKitRouteError


def test_several_errors_are_all_in_the_message() -> None:
    errors = [{"code": 1, "message": "one"}, {"code": 2, "message": "two"}]
    error = error_of(httpx.Response(400, json={"success": False, "errors": errors}))
    assert "one" in str(error)
    assert "two" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        {"html": "<html><title>502 Bad Gateway</title></html>"},
        {"text": "upstream connect error"},
        {"content": b""},
        {"content": b"\xff\xfe\x00"},
        {"json": []},
        {"json": "no"},
        {"json": None},
        {"json": {}},
        {"json": {"success": False}},
        {"json": {"error": None, "errors": []}},
        {"json": {"errors": ["plain"]}},
        {"json": {"errors": {"message": "x"}}},
        {"json": {"error": {}, "errors": 5}},
        {"json": {"error": {"code": {}, "message": ["a", 1]}}},
        {"content": b'{"error": {"code": 1e999, "message": "x"}}'},
        {"content": b'{"errors": [{"code": -1e999}]}'},
        {"content": b'{"code": NaN}'},
        {"content": b"[" * 100_000},
        {"content": b"<p>", "headers": {"content-type": "text/html; charset=unheard-of"}},
        {"content": b"<p>", "headers": {"content-type": "text/html; charset=hex"}},
        {"content": b"<p>", "headers": {"content-type": "text/html; charset=rot13"}},
        {"content": b"\xff<p>", "headers": {"content-type": "text/html; charset=idna"}},
    ],
    ids=lambda body: str(body)[:60],
)
@pytest.mark.parametrize(("status", "kind"), [(400, RealtimeKitAPIError), (404, RealtimeKitNotFoundError)])
def test_any_body_of_an_error_gives_the_error_of_its_status(
    body: Any, status: int, kind: type[RealtimeKitAPIError]
) -> None:
    error = error_of(httpx.Response(status, **body))
    assert isinstance(error, kind)
    assert str(status) in str(error)
    assert len(str(error)) < 1000


@pytest.mark.parametrize(
    "body",
    [
        {"html": "<html>sign in</html>"},
        {"content": b""},
        {"content": b"{"},
        {"json": []},
        {"json": "x"},
        {"json": None},
        {"json": {}},
        {"json": {"success": True}},
        {"json": {"success": True, "data": None}},
        {"json": {"success": True, "result": {"id": "rec-1"}}},
        {"content": b"[" * 100_000},
        {"content": b"<p>", "headers": {"content-type": "text/html; charset=hex"}},
    ],
    ids=lambda body: str(body)[:60],
)
def test_a_success_without_data_is_an_error(body: Any) -> None:
    error = error_of(httpx.Response(200, **body))
    assert type(error) is RealtimeKitResponseError
    assert error.status == 200


@pytest.mark.parametrize("status", [301, 302, 304, 307])
def test_a_redirect_is_an_error_that_names_the_host(status: int) -> None:
    error = error_of(httpx.Response(status, headers={"location": "https://login.example/?t=SEKRET"}))
    assert type(error) is RealtimeKitResponseError
    assert "host" in str(error)
    assert "SEKRET" not in str(error)


@pytest.mark.parametrize("data", [5, "x", [], {}, {"id": None}, {"id": ""}, {"recording": {"id": "r"}}], ids=repr)
def test_an_answer_without_a_recording_is_an_error(data: Any) -> None:
    for flow in (API.get_recording("r"), API.stop_recording("r"), API.get_active_recording("m")):
        with pytest.raises(RealtimeKitResponseError):
            finish(flow, ok(data))


@pytest.mark.parametrize("unit", ["x", "a://", "http://h/", "a_b-", "x?", "://?"])
@pytest.mark.parametrize("place", ["message", "text"])
def test_a_long_message_is_cut_quickly(driver: Driver, unit: str, place: str) -> None:
    text = unit * (20_000 // len(unit))
    body: Any = {"json": {"message": text}} if place == "message" else {"text": text}
    began = time.process_time()
    with pytest.raises(RealtimeKitAPIError) as caught:
        driver.answers(httpx.Response(400, **body)).run(API.get_recording("r"))
    assert time.process_time() - began < 0.2
    assert len(str(caught.value)) <= 1000


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0), ("7", 7), (" 300 ", 300), ("1.5", 1.5), ("-5", 0), ("", None), ("soon", None)],
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


def test_retry_after_as_a_date() -> None:
    for ahead, low, high in ((120, 115, 121), (-120, 0, 0)):
        moment = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
        seconds = parse_retry_after(moment)
        assert seconds is not None
        assert low <= seconds <= high


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 99 Jan 2026 00:00:00 GMT",
        "Mon, 01 Jan 99999999999999 00:00:00 GMT",
        "Wed, 21 Oct 2099 07:28:00 +9999999999",
        "nan",
        "Wed",
    ],
)
def test_a_retry_after_that_cannot_be_read_is_ignored(value: str) -> None:
    seconds = parse_retry_after(value)
    assert seconds is None or seconds >= 0
    assert type(error_of(httpx.Response(429, headers={"retry-after": value}))) is RealtimeKitRateLimitError


def test_a_rate_limit_error_holds_retry_after() -> None:
    error = error_of(httpx.Response(429, json=SHAPES["errors"](10_000), headers={"retry-after": "300"}))
    assert isinstance(error, RealtimeKitRateLimitError)
    assert error.retry_after == 300
    assert "300" in str(error)
    without = error_of(httpx.Response(429))
    assert isinstance(without, RealtimeKitRateLimitError)
    assert without.retry_after is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://h/f?sig=SEKRET now", "https://h/f?"),
        ("see https://h?sig=SEKRET", "https://h?"),
        ('"https://h/f?sig=SEKRET&x=1"', '"https://h/f?'),
        ("s3://bucket/key?sig=SEKRET", "s3://bucket/key?"),
        ("https://h/f?a=1?sig=SEKRET", "https://h/f?"),
        ("two https://h/f?s=SEKRET https://i/g?s=SEKRET", "https://i/g?"),
    ],
)
def test_a_url_is_shown_without_its_query(text: str, expected: str) -> None:
    for said in (strip_queries(text), str(error_of(httpx.Response(400, json={"message": text})))):
        assert "SEKRET" not in said
        assert expected in said


def test_text_without_a_query_stays_as_it_is() -> None:
    assert strip_queries("really? https://h/f is fine, isn't it?") == "really? https://h/f is fine, isn't it?"
