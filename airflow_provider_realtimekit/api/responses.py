"""Read the API's answers: the envelope, its four shapes of error, and what a proxy says in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from airflow_provider_realtimekit.api.headers import parse_retry_after
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitAuthError,
    RealtimeKitNotFoundError,
    RealtimeKitRateLimitError,
    RealtimeKitResponseError,
    RealtimeKitRouteError,
)
from airflow_provider_realtimekit.redaction import strip_queries

# The gateway refuses a malformed Authorization header with 400 and one of these.
_BAD_TOKEN_CODES = frozenset({6003, 6111, 9109})
# "Could not route to …, perhaps your object identifier is invalid?" and "No route for that URI", whatever the status.
_NO_ROUTE_CODES = frozenset({7000, 7003})


def parse_data(response: httpx.Response, *, may_be_empty: bool = False) -> Any:
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
            f"HTTP {response.status_code} with a body that is not a JSON object: {_shape(response)}",
            status=response.status_code,
        )
    if body.get("data") is None and not may_be_empty:
        raise RealtimeKitResponseError("the answer has no data", status=response.status_code)
    return body.get("data")


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _refusal(response: httpx.Response, body: Any) -> RealtimeKitAPIError:
    code, message = _code_and_message(body)
    status = response.status_code
    # A 200 that says no carries the HTTP status, if anywhere, as its code.
    kind = code if status < 400 and code is not None and 400 <= code < 600 else status
    text = strip_queries(message) if message else f"no message ({_shape(response)})"
    said = f"HTTP {status}" + (f", code {code}" if code not in (None, status) else "") + f": {text}"
    if kind in (401, 403) or code in _BAD_TOKEN_CODES:
        return RealtimeKitAuthError(said, status=kind, code=code)
    if code in _NO_ROUTE_CODES or (kind == 404 and message is None):
        return RealtimeKitRouteError(said, status=kind, code=code)
    if kind == 404:
        return RealtimeKitNotFoundError(said, status=kind, code=code)
    if kind == 429:
        wait = parse_retry_after(response.headers.get("retry-after"))
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
        texts = [text for part in told if (text := _text(part))]
        return (_number(told[0].get("code")) if told else None), "; ".join(texts) or None
    return _number(body.get("code")), _text(body)


def _text(part: Mapping[str, Any]) -> str | None:
    message = part.get("message")
    said = [text for text in (message if isinstance(message, list) else [message]) if isinstance(text, str)]
    return "; ".join(said) or None


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _shape(response: httpx.Response) -> str:
    """Say what a body is without quoting it: it may echo anything."""
    kind = response.headers.get("content-type", "no content type").partition(";")[0]
    return f"{kind}, {len(response.content)} bytes"
