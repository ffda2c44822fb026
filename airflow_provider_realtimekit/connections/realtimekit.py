"""Read a connection of type ``realtimekit`` into checked credentials."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import httpx

from airflow_provider_realtimekit.api.client import Credentials, is_loopback
from airflow_provider_realtimekit.api.recordings import DEFAULT_BASE_URL
from airflow_provider_realtimekit.connections.form import CONN_FIELDS
from airflow_provider_realtimekit.defaults import POLLING_SHARE, REQUEST_TIMEOUT, RETRY_TIMEOUT
from airflow_provider_realtimekit.exceptions import RealtimeKitInputError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection


_API_PATH = "/client/v4"


def read_credentials(connection: Connection, app_id: str | None = None) -> Credentials:
    """Check a connection and return what it says.

    :param connection: of type ``realtimekit``
    :param app_id: another app than the connection's
    :raises RealtimeKitInputError: naming the field that is missing or malformed
    """
    name = connection.conn_id or "the connection"
    extra = read_extra(connection, name)
    return Credentials(
        token=_token(connection.password, name),
        account_id=_segment(connection.login, f"login (the account id) of connection {name!r}"),
        app_id=_segment(
            app_id or extra.get("app_id"),
            f"extra field app_id of connection {name!r}, or the argument app_id,",
        ),
        base_url=_base_url(connection.host, name),
        timeout=_number(extra, "timeout", REQUEST_TIMEOUT, name),
        retry_timeout=_number(extra, "retry_timeout", RETRY_TIMEOUT, name),
        polling_share=_number(extra, "polling_share", POLLING_SHARE, name),
    )


def read_extra(connection: Connection, name: str) -> dict[str, Any]:
    """Return a connection's extra.

    :param name: what the connection is called in an error
    :raises RealtimeKitInputError: when it is not a JSON object
    """
    # Not extra_dejson: it takes malformed JSON for none, and masks over a synchronous call, even on the event loop.
    try:
        extra = json.loads(connection.extra or "{}")
    except (ValueError, RecursionError):
        extra = None
    if not isinstance(extra, dict):
        raise RealtimeKitInputError(f"extra of connection {name!r} is not a JSON object")
    return extra


def _token(value: Any, name: str) -> str:
    token = str(value or "").strip()
    if not token:
        raise RealtimeKitInputError(f"password (the API token) of connection {name!r} is empty")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise RealtimeKitInputError(
            f"password (the API token) of connection {name!r} holds spaces or characters that no token has"
        )
    return token


def _segment(value: Any, what: str) -> str:
    if value is not None and not isinstance(value, str):
        raise RealtimeKitInputError(f"{what} is {value!r}: must be a string")
    text = (value or "").strip()
    if not text:
        raise RealtimeKitInputError(f"{what} is empty")
    if len(text) > 255 or not text.isprintable() or set(text) & set(" /?#%\\") or not text.strip("."):
        raise RealtimeKitInputError(f"{what} is {text!r}, which is not an identifier")
    return text


def _number(extra: dict[str, Any], field: str, default: float, name: str) -> float:
    value = extra.get(field)
    if value in (None, ""):
        return default
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    schema = CONN_FIELDS[field]["schema"]
    if not schema["minimum"] <= seconds <= schema["maximum"]:
        raise RealtimeKitInputError(
            f"extra field {field} of connection {name!r} is {value!r}: must be a number from "
            f"{schema['minimum']} to {schema['maximum']}"
        )
    return seconds


def _base_url(value: Any, name: str) -> str:
    text = str(value or "").strip().rstrip("/")
    if not text:
        return DEFAULT_BASE_URL
    try:
        _ = httpx.URL(text).host
        url = urlsplit(text)
        problem = _problem(url, text)
    except (ValueError, httpx.InvalidURL):
        problem = "is not a URL"
    if problem:
        raise RealtimeKitInputError(
            f"host (the base URL) of connection {name!r} {problem}: must be empty, or a URL like {DEFAULT_BASE_URL}; "
            "plain http is allowed for loopback only"
        )
    return text if url.path else text + _API_PATH


def _problem(url: SplitResult, text: str) -> str | None:
    if " " in text or not text.isprintable():
        return "holds spaces or characters that no URL has"
    if url.scheme not in ("https", "http"):
        return f"starts with {url.scheme!r}" if url.scheme else "has no scheme"
    if not url.hostname or (url.port is not None and url.port == 0):
        return "names no host"
    if url.username or url.password or "?" in text or "#" in text:
        return "holds more than scheme, host, port and path"
    if url.scheme == "http" and not is_loopback(url.hostname):
        return f"is plain http to {url.hostname!r}"
    return None
