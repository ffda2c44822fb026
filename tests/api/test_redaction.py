"""No repr, message, cause or published value contains a secret."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from airflow_provider_realtimekit.exceptions import RealtimeKitError, RealtimeKitInputError
from airflow_provider_realtimekit.models import Action, StartRecordingRequest, StartTrackRecordingRequest
from tests.support.api import API, CREDENTIALS, RECORDING, TOKEN, Driver, first_request, leaked, shown

ONE_LINE = "Zq7rT2vX9wLmN4pKs8Yd"
# Like private keys and service accounts, it has lines, quotes and backslashes.
MANY_LINES = '-----BEGIN KEY-----\nMIIqz81RtyWv0aLcE\n"kd92\\Hs7GfUe36XjB"\n-----END KEY-----\n'

STORAGES: dict[str, dict[str, Any]] = {
    "access_key": {"type": "aws", "secret": "s" * 9, "bucket": "b", "region": "r"},
    "secret": {"type": "gcs", "bucket": "b", "region": "r"},
    "password": {"type": "sftp", "host": "h", "port": 1, "username": "u", "path": "p", "auth_method": "PASSWORD"},
    "private_key": {"type": "sftp", "host": "h", "port": 1, "username": "u", "path": "p", "auth_method": "KEY"},
}


def start_body(field: str, secret: str) -> dict[str, Any]:
    if field == "rtmp_url":
        return {"meeting_id": "m", "rtmp_out_config": {"rtmp_url": "rtmp://live.example/app/" + secret}}
    return {"meeting_id": "m", "storage_config": {**STORAGES[field], field: secret}}


def track_body(field: str, secret: str) -> dict[str, Any]:
    output = {"type": "STORAGE_CONFIG", "storage_config": {**STORAGES[field], field: secret}}
    return {"meeting_id": "m", "layers": {"d": {"outputs": [output]}}}


FIELDS = [*STORAGES, "rtmp_url"]
by_field = pytest.mark.parametrize("field", FIELDS)
by_secret = pytest.mark.parametrize("secret", [ONE_LINE, MANY_LINES], ids=["one-line", "many-lines"])


@by_field
@by_secret
def test_a_request_is_shown_without_its_secrets_and_sent_with_them(field: str, secret: str) -> None:
    models: list[Any] = [StartRecordingRequest.checked(**start_body(field, secret))]
    if field in STORAGES:
        models.append(StartTrackRecordingRequest.checked(**track_body(field, secret)))
    for model in models:
        assert leaked(f"{model!r} {model} {model.model_dump()} {model.model_dump_json()}", secret) == []
        assert any(text.endswith(secret) for text in _texts(model.to_body()))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    else:
        yield str(value)


def test_extra_fields_are_not_shown() -> None:
    model = StartRecordingRequest.checked(meeting_id="m", extra_fields={"storage_config": {"secret": ONE_LINE}})
    assert leaked(repr(model) + str(model), ONE_LINE) == []


def _wrong(field: str, secret: str) -> list[dict[str, Any]]:
    """Return bodies with a mistake in a secret or in a field beside it."""
    body = start_body(field, secret)
    outer = "rtmp_out_config" if field == "rtmp_url" else "storage_config"
    inner = body[outer]
    return [
        {**body, outer: {**inner, field: [inner[field]]}},
        {**body, outer: {**inner, field: {"value": inner[field]}}},
        {**body, outer: {**inner, "mistyped": inner[field]}},
        {**body, outer: {**inner, "type": "unheard"}},
        {**body, outer: {**inner, "region": "", "host": ""}},
        {**body, "max_seconds": 1},
        # A template renders to such a text, unless the DAG sets render_template_as_native_obj.
        {**body, outer: json.dumps(inner)[:-1]},
        {**body, outer: json.dumps({**inner, "type": "unheard"})},
        {**body, outer: json.dumps([inner])},
        {**body, outer: str(inner)},
        {**body, outer: inner[field]},
        {**body, outer: [inner]},
        {"meeting_id": "m", "extra_fields": json.dumps(inner)[:-1]},
        {"meeting_id": "m", "extra_fields": [inner[field]]},
    ]


@by_field
@by_secret
@pytest.mark.parametrize("mistake", range(14))
def test_the_error_of_a_mistake_shows_no_secret(field: str, secret: str, mistake: int) -> None:
    with pytest.raises(RealtimeKitInputError) as caught:
        first_request(API.start_recording(**_wrong(field, secret)[mistake]))
    assert leaked(shown(caught.value), secret) == []


@by_field
@pytest.mark.parametrize("mistake", range(14))
def test_a_validation_error_shows_no_secret(field: str, mistake: int) -> None:
    with pytest.raises(ValidationError) as caught:
        StartRecordingRequest(**_wrong(field, ONE_LINE)[mistake])
    assert leaked(shown(caught.value), ONE_LINE) == []


@pytest.mark.parametrize("place", ["layers", "layer", "outputs", "output", "storage"])
def test_the_error_of_a_wrongly_rendered_layer_shows_no_secret(place: str) -> None:
    storage = {**STORAGES["secret"], "secret": ONE_LINE}
    storage_value: Any = json.dumps(storage)[:-1] if place == "storage" else storage
    output: Any = {"storage_config": storage_value, "type": "STORAGE_CONFIG"}
    outputs: Any = [str(output) if place == "output" else output]
    layer: Any = {"outputs": str(outputs) if place == "outputs" else outputs}
    layers: Any = {"d": str(layer) if place == "layer" else layer}
    with pytest.raises(RealtimeKitInputError) as caught:
        first_request(API.start_track_recording(meeting_id="m", layers=str(layers) if place == "layers" else layers))
    assert leaked(shown(caught.value), ONE_LINE) == []


# Forms in which an answer may repeat a secret of the request.
ECHOES: dict[str, Any] = {
    "message": lambda secret: {"json": {"success": False, "error": {"code": 1, "message": f"bad: {secret}"}}},
    "errors": lambda secret: {"json": {"success": False, "errors": [{"code": 1, "message": f"bad {secret} key"}]}},
    "errors-of-text": lambda secret: {"json": {"success": False, "errors": [f"bad {secret} key"]}},
    "errors-nested": lambda secret: {"json": {"success": False, "errors": [{"field": {"value": secret}}]}},
    "top": lambda secret: {"json": {"success": False, "message": f"bad {secret} key"}},
    "list": lambda secret: {"json": {"success": False, "message": ["bad", secret]}},
    "nested": lambda secret: {"json": {"success": False, "message": {"value": secret}}},
    "error-text": lambda secret: {"json": {"success": False, "error": f"bad {secret}"}},
    "no-message": lambda secret: {"json": {"success": False, "body": {"k": secret}}},
    "array": lambda secret: {"json": [{"k": secret}]},
    "cut-at-500": lambda secret: {"json": {"success": False, "message": "x" * 488 + secret}},
    "cut-at-120": lambda secret: {"text": "x" * 108 + secret},
    "text": lambda secret: {"text": f"bad {secret}"},
    "html": lambda secret: {"html": f"<html><p>{secret}</p></html>"},
    "message-dumped": lambda secret: {"json": {"success": False, "message": f"bad {json.dumps({'k': secret})}"}},
    "message-repr": lambda secret: {"json": {"success": False, "message": f"bad { ({'k': secret}) }"}},
    "message-folded": lambda secret: {"json": {"success": False, "message": " ".join(secret.split())}},
    "message-by-line": lambda secret: {"json": {"success": False, "message": secret.splitlines()[::-1]}},
    "dumped": lambda secret: {"text": f"could not use {json.dumps({'k': secret})}"},
}


@by_field
@by_secret
@pytest.mark.parametrize("echo", ECHOES)
def test_a_secret_that_an_answer_repeats_is_masked(field: str, secret: str, echo: str) -> None:
    sent = start_body(field, secret)
    told_back = sent.get("rtmp_out_config", {}).get("rtmp_url", secret)
    for status in (200, 400, 401, 500):
        flow = API.start_recording(**sent)
        next(flow)
        with pytest.raises(RealtimeKitError) as caught:
            flow.send(httpx.Response(status, **ECHOES[echo](told_back)))
        assert leaked(shown(caught.value), secret) == [], status


@pytest.mark.parametrize("field", list(STORAGES))
@pytest.mark.parametrize("echo", ["message", "no-message", "dumped", "cut-at-500"])
def test_a_secret_that_the_answer_to_a_track_start_repeats_is_masked(field: str, echo: str) -> None:
    flow = API.start_track_recording(**track_body(field, MANY_LINES))
    next(flow)
    with pytest.raises(RealtimeKitError) as caught:
        flow.send(httpx.Response(400, **ECHOES[echo](MANY_LINES)))
    assert leaked(shown(caught.value), MANY_LINES) == []


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_a_long_secret_that_an_answer_repeats_is_masked_completely(driver: Driver, copies: int) -> None:
    digits = random.Random(copies).choices("abcdefghijkmnpqrstuvwxyz23456789", k=2500)
    secret = "".join(digits)
    echo = " and ".join([secret] * copies)
    driver.answers(httpx.Response(400, json={"success": False, "error": {"message": echo}}))
    with pytest.raises(RealtimeKitError) as caught:
        driver.run(API.start_recording(**start_body("secret", secret)))
    assert leaked(shown(caught.value), secret) == []


def test_an_empty_secret_in_extra_fields_masks_nothing() -> None:
    flow = API.start_recording(meeting_id="m", extra_fields={"storage_config": {"secret": ""}})
    next(flow)
    with pytest.raises(RealtimeKitError, match="bucket is unknown"):
        flow.send(httpx.Response(400, json={"success": False, "error": {"message": "bucket is unknown"}}))


OPERATIONS: dict[str, Any] = {
    "get": lambda: API.get_recording("r"),
    "active": lambda: API.get_active_recording("m"),
    "stop": lambda: API.stop_recording("r"),
    "apply": lambda: API.apply_action("r", Action.STOP),
    "list": lambda: API.list_recordings().next_page(),
    "start": lambda: API.start_recording(meeting_id="m"),
    "tracks": lambda: API.start_track_recording(meeting_id="m"),
}


@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize("echo", ["message", "errors", "text", "cut-at-500", "cut-at-120", "no-message"])
def test_a_token_that_an_answer_repeats_is_masked(driver: Driver, echo: str, status: int) -> None:
    driver.answers(lambda _: httpx.Response(status, **ECHOES[echo](TOKEN)))
    for operation, flow in OPERATIONS.items():
        with pytest.raises(RealtimeKitError) as caught:
            driver.run(flow())
        assert leaked(shown(caught.value), TOKEN) == [], operation


# Unreadable answers with the credentials of an earlier start.
STRANGE = [
    pytest.param([{**RECORDING, "storage_config": {"secret": ONE_LINE}}], 200, id="array"),
    pytest.param({"success": False, "storage_config": {"secret": ONE_LINE}}, 200, id="no-message"),
    pytest.param({"storage_config": {"secret": ONE_LINE}}, 400, id="no-message-400"),
    pytest.param({"error": {"storage_config": {"secret": ONE_LINE}}}, 400, id="in-error"),
    pytest.param({"errors": [{"storage_config": {"secret": ONE_LINE}}]}, 400, id="in-errors"),
    pytest.param({"message": {"storage_config": {"secret": ONE_LINE}}}, 400, id="in-message"),
    pytest.param({"success": True, "data": {"storage_config": {"secret": ONE_LINE}}}, 200, id="no-id"),
    pytest.param({"success": True, "data": f"https://h.example/f?sig={ONE_LINE}"}, 200, id="link-as-data"),
    pytest.param({"message": f"see https://h.example/f?sig={ONE_LINE}&x=1 ."}, 400, id="link-in-message"),
    pytest.param({"download_url": f"https://h.example/f?sig={ONE_LINE}"}, 400, id="link-in-body"),
]


@pytest.mark.parametrize(("body", "status"), STRANGE)
@pytest.mark.parametrize("slash", ["/", "\\/"])
@pytest.mark.parametrize("operation", ["get", "active", "stop", "list", "start"])
def test_secrets_of_earlier_starts_in_an_answer_are_not_quoted(
    operation: str, body: Any, status: int, slash: str
) -> None:
    flow = OPERATIONS[operation]()
    next(flow)
    content = json.dumps(body).replace("/", slash)
    with pytest.raises(RealtimeKitError) as caught:
        flow.send(httpx.Response(status, content=content, headers={"content-type": "application/json"}))
    assert leaked(shown(caught.value), ONE_LINE) == []


def test_credentials_are_shown_without_the_token() -> None:
    assert TOKEN not in f"{CREDENTIALS!r} {CREDENTIALS}"
    assert "acc-1" in repr(CREDENTIALS)
