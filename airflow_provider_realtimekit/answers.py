"""Read the API's answers: the envelope, its four shapes of error, and what a proxy says in its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitAuthError,
    RealtimeKitError,
    RealtimeKitNotFoundError,
    RealtimeKitRateLimitError,
    RealtimeKitResponseError,
)

E = TypeVar("E", bound=RealtimeKitError)

_MASK = "***"
_QUERY = re.compile(r"(\w+://[^\s\"'<>?]+)\?[^\s\"'<>]+")
# The gateway refuses a malformed Authorization header with 400 and one of these.
_BAD_TOKEN_CODES = frozenset({6003, 6111, 9109})
# "Could not route to …, perhaps your object identifier is invalid?", whatever the HTTP status.
_NO_ROUTE_CODES = frozenset({7003})


def decipher(response: httpx.Response, *, may_be_empty: bool = False) -> Any:
    """Return what the answer holds under ``data``.

    :param may_be_empty: whether a success without ``data`` is one, ``None`` then
    :raises RealtimeKitAPIError: the API said no, in any of its shapes
    :raises RealtimeKitResponseError: the answer makes no sense
    """
    body = _body(response)
    if response.is_error or (isinstance(body, Mapping) and body.get("success") is False):
        raise _refusal(response, body)
    if not response.is_success:
        raise RealtimeKitResponseError(
            f"HTTP {response.status_code} instead of an answer: check the connection's host",
            status=response.status_code,
        )
    if may_be_empty and not response.content.strip():
        return None
    if not isinstance(body, Mapping):
        raise RealtimeKitResponseError(
            f"HTTP {response.status_code} with a body that is not a JSON object: {_beginning(response)}",
            status=response.status_code,
        )
    if body.get("data") is None and not may_be_empty:
        raise RealtimeKitResponseError("the answer has no data", status=response.status_code)
    return body.get("data")


def forget_secrets(error: E, secrets: Iterable[str]) -> E:
    """Take secrets that an answer echoed out of an error's message."""
    message = str(error)
    for secret in secrets:
        message = message.replace(secret, _MASK)
    error.args = (message, *error.args[1:])
    return error


def without_query(text: str) -> str:
    """Take the query out of every URL in a text: there is where signatures stand."""
    return _QUERY.sub(rf"\1?{_MASK}", text)


def retry_after(response: httpx.Response) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, as a number or a date; ``None`` without one."""
    value = response.headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _refusal(response: httpx.Response, body: Any) -> RealtimeKitAPIError:
    code, message = _code_and_message(body)
    status = response.status_code
    # A 200 that says no carries the HTTP status, if anywhere, as its code.
    kind = code if status < 400 and code is not None and 400 <= code < 600 else status
    text = without_query(message or _beginning(response))[:500]
    said = f"HTTP {status}" + (f", code {code}" if code not in (None, status) else "") + f": {text}"
    if kind in (401, 403) or code in _BAD_TOKEN_CODES:
        return RealtimeKitAuthError(said, status=kind, code=code)
    if kind == 404 or code in _NO_ROUTE_CODES:
        return RealtimeKitNotFoundError(said, status=kind, code=code)
    if kind == 429:
        wait = retry_after(response)
        if wait is not None:
            said += f" (retry after {wait:g} s)"
        return RealtimeKitRateLimitError(said, status=kind, code=code, retry_after=wait)
    return RealtimeKitAPIError(said, status=kind, code=code)


def _code_and_message(body: Any) -> tuple[int | None, str | None]:
    """Find code and message in ``error``, in ``errors``, or at the top."""
    if not isinstance(body, Mapping):
        return None, None
    error = body.get("error")
    errors = body.get("errors")
    if isinstance(error, str):
        return None, error
    if isinstance(error, Mapping):
        return _number(error.get("code")), _text(error)
    if isinstance(errors, list) and errors:
        told = [part for part in errors if isinstance(part, Mapping)]
        texts = [text for part in told if (text := _text(part))] or [str(part) for part in errors]
        return (_number(told[0].get("code")) if told else None), "; ".join(texts)
    return _number(body.get("code")), _text(body)


def _text(part: Mapping[str, Any]) -> str | None:
    message = part.get("message")
    if isinstance(message, list):
        return "; ".join(map(str, message))
    return str(message) if message else None


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _beginning(response: httpx.Response) -> str:
    text = " ".join(without_query(response.text).split())
    return repr(text[:120]) if text else "an empty body"
