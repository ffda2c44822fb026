"""Decides whether a failed request is sent again, and after how many seconds. No I/O happens here."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from airflow_provider_realtimekit.api.headers import parse_retry_after
from airflow_provider_realtimekit.defaults import RETRY_TIMEOUT

# These errors happen before a byte of the request is sent.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# 2 to this power times any base is above any cap in use; without a bound the power of a long outage overflows.
_LARGEST_EXPONENT = 16

#: A request with one of these answers may succeed later. Every other answer is final.
TRANSIENT_STATUSES = frozenset({408, 429, *range(500, 1000)})

# The outcome of a request: an answer or a network error.
SendResult = httpx.Response | httpx.RequestError


def backoff(failures: int, base: float, cap: float, draw: Callable[[], float] = random.random) -> float:
    """Return the seconds to pause after a failure: exponential, with full jitter.

    :param failures: the number of consecutive failures, at least 1
    :param base: seconds; the first pause is drawn from 0 to ``base``, each further one from twice as much
    :param cap: seconds; no pause is longer
    :param draw: the source of chance, from 0 to 1 (default: :func:`random.random`)
    """
    return draw() * min(cap, base * 2.0 ** min(failures - 1, _LARGEST_EXPONENT))


@dataclass(frozen=True)
class RetryPolicy:
    """When a failed request is sent again, and for how long.

    :param retry_timeout: seconds from the first attempt (default: 330). No attempt begins later. A ``Retry-After``
        that is longer is raised as a :class:`~.exceptions.RealtimeKitRateLimitError` that holds it. ``0``: one attempt.
    :param base: seconds; the first pause is drawn from 0 to ``base``, each further one from twice as much (default: 1)
    :param cap: seconds; no pause is longer, unless the API asks for it (default: 30)
    :param draw: the source of chance, from 0 to 1 (default: :func:`random.random`)
    :param clock: seconds that never go back (default: :func:`time.monotonic`)
    """

    retry_timeout: float = RETRY_TIMEOUT
    base: float = 1.0
    cap: float = 30.0
    draw: Callable[[], float] = field(default=random.random, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def next_wait(self, request: httpx.Request, outcome: SendResult, attempts: int, elapsed: float) -> float | None:
        """Return the seconds to wait before a request is sent again, ``None`` if it is not.

        :param attempts: how often it was sent
        :param elapsed: seconds since it was first sent
        """
        if not may_repeat(request, outcome):
            return None
        wait = backoff(attempts, self.base, self.cap, self.draw)
        if isinstance(outcome, httpx.Response):
            retry_after = parse_retry_after(outcome.headers.get("retry-after"))
            if retry_after is not None:
                # On top of it comes jitter, so that callers who got the same answer do not come back all at once.
                wait = retry_after + self.draw() * self.base
        is_in_time = self.retry_timeout > 0 and elapsed + wait <= self.retry_timeout
        return wait if is_in_time else None


def may_repeat(request: httpx.Request, outcome: SendResult) -> bool:
    """Whether a failed request can be sent again without the risk of a second recording."""
    # The API has no idempotency key. A start (the only POST) may be sent again only if it certainly had no effect: the
    # request never left, or was refused for the quota. Each repeated start could be a second recording.
    is_start = request.method == "POST"
    if isinstance(outcome, httpx.RequestError):
        return isinstance(outcome, NEVER_SENT) or not is_start
    if is_start:
        return outcome.status_code == 429
    return outcome.status_code in TRANSIENT_STATUSES
