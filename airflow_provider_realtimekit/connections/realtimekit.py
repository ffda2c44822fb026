"""Decides which values the fields of a ``realtimekit`` connection may have, and reads them into credentials."""

from __future__ import annotations

import ipaddress
import json
import math
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from airflow_provider_realtimekit.api.client import Credentials
from airflow_provider_realtimekit.api.recordings import DEFAULT_BASE_URL
from airflow_provider_realtimekit.connections.form import CONN_FIELDS
from airflow_provider_realtimekit.defaults import POLLING_SHARE, REQUEST_TIMEOUT, RETRY_TIMEOUT
from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.models.base import check_identifier

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

_API_PATH = "/client/v4"


def read_credentials(connection: Connection, app_id: str | None = None) -> Credentials:
    """Check a connection, and return its fields.

    :param connection: of type ``realtimekit``
    :param app_id: another app than the connection's
    :raises RealtimeKitInputError: naming the field that is missing or malformed
    """
    name = connection.conn_id or "realtimekit"
    where = f" of connection {name!r}"
    extra = read_extra(connection, name)
    app_id = app_id or extra.get("app_id")
    token = _read_token(connection.password, where)
    if not (connection.login or "").strip():
        raise RealtimeKitInputError(f"login (the account id){where} is empty: put the Cloudflare account id there")
    if app_id is None or app_id == "":
        raise RealtimeKitInputError(f"extra field app_id{where} is empty: fill it in, or use the argument app_id")
    return Credentials(
        token=token,
        base_url=_read_base_url(connection.host, where),
        timeout=_read_number(extra, "timeout", REQUEST_TIMEOUT, where),
        retry_timeout=_read_number(extra, "retry_timeout", RETRY_TIMEOUT, where),
        polling_share=_read_number(extra, "polling_share", POLLING_SHARE, where),
        account_id=check_identifier("login (the account id)", connection.login, where),
        app_id=check_identifier("app_id", app_id, where),
    )


def read_extra(connection: Connection, name: str) -> dict[str, Any]:
    """Return a connection's extra.

    :param name: the connection's id, for the error
    :raises RealtimeKitInputError: when it is not a JSON object
    """
    # Not extra_dejson: it reads malformed JSON as an empty object, and makes a synchronous call to mask what it
    # reads, even on the event loop.
    try:
        extra = json.loads(connection.extra or "{}")
    except (ValueError, RecursionError):
        extra = None
    if not isinstance(extra, dict):
        raise RealtimeKitInputError(f"extra of connection {name!r} is not a JSON object")
    return extra


def _read_token(value: Any, where: str) -> str:
    token = str(value or "").strip()
    if not token:
        raise RealtimeKitInputError(f"password (the API token){where} is empty: put the token there")
    # The error does not show the value: it may be a token with an extra word, such as "Bearer …".
    if not token.isascii() or not token.isprintable() or " " in token:
        raise RealtimeKitInputError(
            f"password (the API token){where} has spaces or characters that no token has: put the token alone there"
        )
    return token


def _read_number(extra: dict[str, Any], field: str, default: float, where: str) -> float:
    value = extra.get(field)
    if value in (None, ""):
        return default
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    schema = CONN_FIELDS[field]["schema"]
    if not schema["minimum"] <= number <= schema["maximum"]:  # false for nan, too
        raise RealtimeKitInputError(
            f"extra field {field}{where} is {value!r}: must be a number from {schema['minimum']} to {schema['maximum']}"
        )
    return number


def _read_base_url(value: Any, where: str) -> str:
    text = str(value or "").strip().rstrip("/")
    if not text:
        return DEFAULT_BASE_URL
    if fault := _find_fault(text):
        raise RealtimeKitInputError(
            f"host (the base URL){where} {fault}: must be empty, or a URL like {DEFAULT_BASE_URL}; "
            "plain http is allowed for loopback only"
        )
    return text if urlsplit(text).path else text + _API_PATH


def _find_fault(text: str) -> str | None:
    """Return what is wrong with a base URL, without quoting parts that may be secret."""
    try:
        _ = httpx.URL(text).host  # refuses host names that urlsplit accepts
        url = urlsplit(text)
        if " " in text or not text.isprintable():
            return "has spaces or characters that no URL has"
        if url.scheme not in ("https", "http"):
            return f"starts with {url.scheme!r}" if url.scheme else "has no scheme"
        if not url.hostname or url.port == 0:
            return "has no host, or port 0"
        if url.username or url.password or "?" in text or "#" in text:
            return "has more than scheme, host, port and path"
        if url.scheme == "http" and not is_loopback(url.hostname):
            return f"is plain http to {url.hostname!r}"
    except (ValueError, httpx.InvalidURL):
        return "is not a URL"
    return None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, the only one that plain http is allowed to."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
