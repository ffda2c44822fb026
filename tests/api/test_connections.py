"""What the fields of a connection mean, and the error for each mistake in them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_realtimekit.api.client import Credentials
from airflow_provider_realtimekit.connections.realtimekit import read_credentials
from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from tests.support.api import first_request

SECRET = "cfTok-9f31c7ab02d4e685"


def connection(**fields: Any) -> Any:
    given = {"conn_id": "kit", "conn_type": "realtimekit", "login": "acc", "password": SECRET}
    extra = fields.pop("extra", {"app_id": "app"})
    return Connection(**{**given, **fields}, extra=extra if isinstance(extra, str | None) else json.dumps(extra))


def refusal(app_id: str | None = None, **fields: Any) -> str:
    with pytest.raises(RealtimeKitInputError) as caught:
        read_credentials(connection(**fields), app_id)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_connection_with_the_required_fields_only() -> None:
    assert read_credentials(connection()) == Credentials(
        token=SECRET, account_id="acc", app_id="app", base_url="https://api.cloudflare.com/client/v4"
    )


def test_a_connection_with_every_field() -> None:
    extra = {"app_id": "app", "timeout": "7.5", "retry_timeout": 0, "unheard": {"of": 1}, "password": "x"}
    read = read_credentials(connection(host="https://proxy.example:8443/cf/v4/", extra=extra))
    assert (read.base_url, read.timeout, read.retry_timeout) == ("https://proxy.example:8443/cf/v4", 7.5, 0.0)


def test_the_argument_wins_over_the_connections_app() -> None:
    assert read_credentials(connection(), "other").app_id == "other"
    assert read_credentials(connection(extra=None), "other").app_id == "other"


def test_spaces_around_values_are_removed() -> None:
    read = read_credentials(connection(login=" acc\n", password=f" {SECRET}\n", extra={"app_id": " app "}))
    assert (read.token, read.account_id, read.app_id) == (SECRET, "acc", "app")


@pytest.mark.parametrize("password", [None, "", "  ", "two words", f"Bearer {SECRET}", f"{SECRET}é", f"a\n{SECRET}"])
def test_a_bad_token_names_the_field_and_not_the_token(password: str | None) -> None:
    message = refusal(password=password)
    assert "password" in message
    assert "'kit'" in message
    assert "two words" not in message


@pytest.mark.parametrize(
    "value", [None, "", " ", "a/b", "..", ".", "a b", "a?b", "a#b", "a%2f", "a\\b", "a\x00", "a\nb"]
)
def test_a_bad_account_or_app_names_the_field(value: str | None) -> None:
    assert "login" in refusal(login=value)
    assert "app_id" in refusal(extra={"app_id": value})
    if value and value.strip():
        assert repr(value) in refusal(login=value)
        assert repr(value) in refusal(app_id=value)


def test_a_missing_app_is_refused() -> None:
    for extra in (None, "", {}, {"app_id": None}):
        message = refusal(extra=extra)
        assert "app_id" in message
        assert "'kit'" in message


@pytest.mark.parametrize("value", [["a"], True, {"id": "a"}, 1.5], ids=repr)
def test_an_app_id_that_is_not_a_text_is_refused(value: Any) -> None:
    assert "app_id" in refusal(extra={"app_id": value})


@pytest.mark.parametrize("extra", ["[1]", '"x"', "5", "{nope", "not json", '{"app_id": "app"'])
def test_an_extra_that_is_not_an_object_is_refused(extra: str) -> None:
    message = refusal(extra=extra)
    assert "extra of connection 'kit' is not a JSON object" in message


BAD_SECONDS = ["abc", -1, "nan", float("nan"), "inf", 1e9, [1], {}, True, False]


@pytest.mark.parametrize("value", [0, 0.09, 300.1, *BAD_SECONDS], ids=repr)
def test_a_bad_timeout_is_refused(value: Any) -> None:
    message = refusal(extra={"app_id": "app", "timeout": value})
    for part in ("timeout", "'kit'", repr(value), "0.1", "300"):
        assert part in message


@pytest.mark.parametrize("value", [3600.1, *BAD_SECONDS], ids=repr)
def test_a_bad_retry_timeout_is_refused(value: Any) -> None:
    message = refusal(extra={"app_id": "app", "retry_timeout": value})
    for part in ("retry_timeout", "'kit'", repr(value), "0", "3600"):
        assert part in message


def test_a_number_that_is_too_big_for_a_float_is_refused() -> None:
    assert "timeout" in refusal(extra=f'{{"app_id": "app", "timeout": {"9" * 400}}}')


@pytest.mark.parametrize("value", [None, ""])
def test_empty_numbers_mean_the_defaults(value: Any) -> None:
    read = read_credentials(connection(extra={"app_id": "app", "timeout": value, "retry_timeout": value}))
    assert (read.timeout, read.retry_timeout) == (30.0, 330.0)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, "https://api.cloudflare.com/client/v4"),
        ("", "https://api.cloudflare.com/client/v4"),
        (" ", "https://api.cloudflare.com/client/v4"),
        ("https://api.cloudflare.com", "https://api.cloudflare.com/client/v4"),
        ("https://api.cloudflare.com/", "https://api.cloudflare.com/client/v4"),
        ("https://api.cloudflare.com/client/v4", "https://api.cloudflare.com/client/v4"),
        ("https://api.cloudflare.com/client/v4/", "https://api.cloudflare.com/client/v4"),
        ("https://proxy.example:8443/x", "https://proxy.example:8443/x"),
        ("https://10.0.0.1", "https://10.0.0.1/client/v4"),
        ("http://127.0.0.1:8787", "http://127.0.0.1:8787/client/v4"),
        ("http://127.8.9.1:1/v4", "http://127.8.9.1:1/v4"),
        ("http://localhost:8787", "http://localhost:8787/client/v4"),
        ("http://LOCALHOST", "http://LOCALHOST/client/v4"),
        ("http://[::1]:8787", "http://[::1]:8787/client/v4"),
    ],
)
def test_base_url_of_a_host(host: str | None, url: str) -> None:
    read = read_credentials(connection(host=host))
    assert read.base_url == url
    sent = first_request(read.api.get_recording("r")).url
    assert str(sent).lower() == f"{url}/accounts/acc/realtime/kit/app/recordings/r".lower()


@pytest.mark.parametrize(
    "host",
    [
        "http://api.cloudflare.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1@evil.example",
        "http://evil.example#127.0.0.1",
        "http://128.0.0.1",
        "http://[::2]",
        "http://[::]",
        "HTTP://evil.example",
    ],
)
def test_plain_http_is_refused_except_for_loopback(host: str) -> None:
    message = refusal(host=host)
    assert "host" in message
    assert "'kit'" in message
    assert "loopback" in message


@pytest.mark.parametrize(
    "host",
    [
        "api.cloudflare.com",
        "127.0.0.1:8787",
        "localhost:8787",
        "ftp://api.cloudflare.com",
        "file:///etc/passwd",
        "https://",
        "https:///client/v4",
        "https://:8443",
        "https://h:0",
        "https://h:99999",
        "https://h:port",
        "https://[::1",
        f"https://user:{SECRET}@h",
        f"https://{SECRET}@h",
        f"https://h/?token={SECRET}",
        f"https://h/#{SECRET}",
        "//h",
        "h/client/v4",
        "https://h/?",
        "https://h/client/v4#",
        "https://h/client/v4?",
        "https://two words",
        "https://h/two words",
        "https://h/cl\tient",
        "https://h\x7f",
        "https://xn--",
    ],
)
def test_a_host_that_is_not_a_base_url_is_refused(host: str) -> None:
    message = refusal(host=host)
    assert "host" in message
    assert "'kit'" in message
    assert "https://api.cloudflare.com/client/v4" in message


def test_a_connection_is_read_on_a_loop_without_a_blocking_call(monkeypatch: pytest.MonkeyPatch) -> None:
    class SupervisorBusy(BaseException):
        """Like the error that Airflow raises for a blocking call to the supervisor on a busy loop."""

    def mask(*_: Any, **__: Any) -> None:
        raise SupervisorBusy

    async def read() -> Credentials:
        return read_credentials(connection())

    monkeypatch.setattr("airflow.sdk.log.mask_secret", mask)
    assert asyncio.run(read()).app_id == "app"
