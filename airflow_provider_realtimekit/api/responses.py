"""Parse the API's answers: the envelope, its four forms of errors, and the answers of proxies.

Decides which error an answer becomes, and when "not found" is not an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import ValidationError

from airflow_provider_realtimekit.api.headers import parse_retry_after
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitAuthError,
    RealtimeKitNotFoundError,
    RealtimeKitRateLimitError,
    RealtimeKitResponseError,
    RealtimeKitRouteError,
)
from airflow_provider_realtimekit.models import Recording
from airflow_provider_realtimekit.redaction import strip_queries

# The gateway answers a malformed Authorization header with HTTP 400 and one of these.
_BAD_TOKEN_CODES = frozenset({6003, 6111, 9109})
# "Could not route to …, perhaps your object identifier is invalid?" and "No route for that URI", with any status.
_NO_ROUTE_CODES = frozenset({7000, 7003})


@dataclass(frozen=True)
class _Refusal:
    """A refusal by the API.

    :param status: the HTTP status that counts
    :param code: the API's own code, if there is one
    :param message: the API's own message, if there is one
    """

    status: int
    code: int | None
    message: str | None

    @property
    def error_class(self) -> type[RealtimeKitAPIError]:
        """The class of error that this answer becomes."""
        if self.status in (401, 403) or self.code in _BAD_TOKEN_CODES:
            return RealtimeKitAuthError
        # RealtimeKit's own 404 has a message. One without comes from something else at a wrong address.
        if self.code in _NO_ROUTE_CODES or (self.status == 404 and self.message is None):
            return RealtimeKitRouteError
        if self.status == 404:
            return RealtimeKitNotFoundError
        return RealtimeKitRateLimitError if self.status == 429 else RealtimeKitAPIError


def parse_recording(response: httpx.Response) -> Recording:
    """Return the recording that an answer holds.

    :raises RealtimeKitAPIError: the API refused the request
    :raises RealtimeKitResponseError: the answer cannot be read, or holds no recording
    """
    data = parse_body(response)["data"]
    try:
        return Recording.model_validate(data)
    except ValidationError:
        raise RealtimeKitResponseError(
            f"HTTP {response.status_code}, but its data holds no recording: there is no id",
            status=response.status_code,
        ) from None


def parse_active_recording(response: httpx.Response) -> Recording | None:
    """Return a meeting's active recording, ``None`` if the API says that there is none.

    :raises RealtimeKitAPIError: the API refused the request, or does not know the address
    :raises RealtimeKitResponseError: the answer cannot be read, or holds no recording
    """
    # The reference documents 404 for "none active". It happens before every start: no error is built for it.
    refusal = _find_refusal(response, _parse_json(response))
    if refusal is not None and refusal.error_class is RealtimeKitNotFoundError:
        return None
    return parse_recording(response)


def parse_body(response: httpx.Response, *, may_be_empty: bool = False) -> Mapping[str, Any]:
    """Return the envelope of a successful answer, with its ``data``.

    :param may_be_empty: whether a success without ``data``, or without a body, is accepted (default: no)
    :raises RealtimeKitAPIError: the API refused the request, in any of its forms of errors
    :raises RealtimeKitResponseError: the answer cannot be read, or holds no ``data``
    """
    status = response.status_code
    body = _parse_json(response)
    if refusal := _find_refusal(response, body):
        raise _make_error(refusal, response)
    if not response.is_success:
        raise RealtimeKitResponseError(
            f"HTTP {status} is not an answer of the recordings API: check the connection's host", status=status
        )
    if may_be_empty and not response.content.strip():
        return {}
    if not isinstance(body, Mapping):
        raise RealtimeKitResponseError(
            f"HTTP {status} with a body that is not a JSON object ({_describe_body(response)}): check the connection's "
            "host, and what proxies are on the way",
            status=status,
        )
    if body.get("data") is None and not may_be_empty:
        raise RealtimeKitResponseError(f"HTTP {status} with a JSON object that holds no data", status=status)
    return body


def _parse_json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _find_refusal(response: httpx.Response, body: Any) -> _Refusal | None:
    if not response.is_error and not (isinstance(body, Mapping) and body.get("success") is False):
        return None
    code, message = _find_code_and_message(body)
    status = response.status_code
    # An HTTP 200 with "success": false has the HTTP status, if anywhere, in its code.
    if status < 400 and code is not None and 400 <= code < 600:
        status = code
    return _Refusal(status, code, message)


def _make_error(refusal: _Refusal, response: httpx.Response) -> RealtimeKitAPIError:
    text = f"HTTP {response.status_code}"
    if refusal.code not in (None, response.status_code):
        text += f", code {refusal.code}"
    # A body without a message is described and not quoted: it may repeat anything, such as the request's secrets.
    text += f": {strip_queries(refusal.message) if refusal.message else f'no message ({_describe_body(response)})'}"
    if refusal.error_class is not RealtimeKitRateLimitError:
        return refusal.error_class(text, status=refusal.status, code=refusal.code)
    retry_after = parse_retry_after(response.headers.get("retry-after"))
    if retry_after is not None:
        text += f" (retry after {retry_after:g} s)"
    return RealtimeKitRateLimitError(text, status=refusal.status, code=refusal.code, retry_after=retry_after)


def _find_code_and_message(body: Any) -> tuple[int | None, str | None]:
    """Find code and message in ``error`` (RealtimeKit), in ``errors`` (the gateway), or at the top (seen elsewhere)."""
    if not isinstance(body, Mapping):
        return None, None
    error, errors = body.get("error"), body.get("errors")
    if isinstance(error, str):
        return None, error
    if isinstance(error, Mapping):
        parts = [error]
    elif isinstance(errors, list) and errors:
        parts = [part for part in errors if isinstance(part, Mapping)]
    else:
        parts = [body]
    messages = [message for part in parts for message in _find_messages(part)]
    return (_parse_code(parts[0].get("code")) if parts else None), "; ".join(messages) or None


def _find_messages(part: Mapping[str, Any]) -> list[str]:
    message = part.get("message")
    return [text for text in (message if isinstance(message, list) else [message]) if isinstance(text, str) and text]


def _parse_code(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _describe_body(response: httpx.Response) -> str:
    content_type = response.headers.get("content-type", "no content type").partition(";")[0]
    return f"{content_type}, {len(response.content)} bytes"
