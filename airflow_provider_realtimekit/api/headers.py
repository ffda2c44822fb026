"""Parse the headers that hold a time: ``Retry-After`` and ``Date``. ``rate_limit`` parses those of the quota."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pendulum


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks to wait.

    :param value: the header, a number of seconds or an HTTP date; ``None`` if there is none
    :returns: seconds from now, at least 0; ``None`` if the header is missing or cannot be read
    """
    text = (value or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        date = _parse_http_date(text)
        seconds = math.nan if date is None else (date - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def parse_date(value: str | None) -> pendulum.DateTime | None:
    """Return the server's time from a ``Date`` header.

    :param value: the header; ``None`` if there is none
    :returns: the time in full seconds; ``None`` if the header is missing or cannot be read
    """
    date = _parse_http_date(value or "")
    return None if date is None else pendulum.instance(date)


def _parse_http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # RFC 9110: HTTP dates are in GMT. Python returns a date with "-0000" without a zone.
    return date.replace(tzinfo=date.tzinfo or UTC)
