"""Read the headers that say when: ``Retry-After`` and ``Date``. Those of the rate limit are read in ``rate_limit``."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pendulum


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks to wait, given as a number or as a date.

    :param value: the header, ``None`` if there is none
    :returns: seconds from now, 0 at least; ``None`` for no header or an unreadable one
    """
    text = (value or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        date = _parse_http_date(text)
        seconds = math.nan if date is None else (date - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def parse_date(value: str | None) -> pendulum.DateTime | None:
    """Return the server's time from a ``Date`` header, in whole seconds; ``None`` if it is missing or unreadable."""
    date = _parse_http_date(value or "")
    return None if date is None else pendulum.instance(date)


def _parse_http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # RFC 9110: dates are in GMT. Python gives one that says "-0000" no zone.
    return date.replace(tzinfo=date.tzinfo or UTC)
