"""One gate for the quota: every request that this process sends for a token passes it.

Cloudflare counts all calls of a token together and, once there are too many, refuses every one for minutes. The gate
counts what it lets through, believes what the answers say is left, holds everybody back while the API refuses, and
keeps polling to a share of the quota, so that starts and stops always get through.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable

import httpx

from airflow_provider_realtimekit import metrics
from airflow_provider_realtimekit.api.headers import parse_retry_after
from airflow_provider_realtimekit.defaults import POLLING_SHARE

log = logging.getLogger(__name__)

# What Cloudflare documents, until an answer says otherwise: 1,200 requests in 5 minutes, then 5 minutes of nothing.
DEFAULT_LIMIT = 1200
DEFAULT_WINDOW = 300.0
DEFAULT_BLOCK = 300.0
# Where others spend the same quota, polling leaves the last tenth of what the server says is left.
_RESERVE = 0.1

# So many requests are remembered, even when no window reaches them: the server may name a longer one next.
_REMEMBERED = 5_000
# How long nothing must have been held back before the log says that it is over.
_CALM = 5.0

_ITEM = re.compile(r'"[^"]*"((?:\s*;\s*\w+=\d+)+)')
_PARAMETER = re.compile(r"(\w+)=(\d+)")


class _Sent:
    """When requests were sent, for at least as long as a window reaches back."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def add(self, now: float, longest: float) -> None:
        """Note a request, and forget the oldest that no window reaches."""
        self._times.append(now)
        while len(self._times) > _REMEMBERED and self._times[0] <= now - longest:
            self._times.popleft()

    def wait(self, now: float, limit: float, window: float) -> float:
        """Return the seconds until one more fits into a window."""
        whole = max(1, int(limit))
        if len(self._times) < whole:
            return 0.0
        return min(window, max(0.0, self._times[-whole] + window - now))


class RateLimiter:
    """What one token has spent and may still spend; safe to use from threads and loops alike.

    :param polling_share: how much of the quota polling may use, from 0 to 1
    :param clock: seconds, never going back
    """

    def __init__(self, polling_share: float = POLLING_SHARE, clock: Callable[[], float] = time.monotonic) -> None:
        self.polling_share = polling_share
        self._clock = clock
        self._lock = threading.Lock()
        self._all = _Sent()
        self._polls = _Sent()
        self._policies: list[tuple[float, float]] = [(DEFAULT_LIMIT, DEFAULT_WINDOW)]
        self._left: float | None = None
        self._left_until = 0.0
        self._blocked_until = 0.0
        self._holding: dict[bool, list[float]] = {}

    def acquire(self, *, polling: bool) -> float:
        """Count a request and return 0, or return the seconds after which to ask again."""
        with self._lock:
            now = self._clock()
            wait, why = self._wait(now, polling)
            if wait <= 0:
                self._spend(now, polling)
            self._tell(now, wait, why, polling)
            return wait

    def update_from(self, response: httpx.Response) -> None:
        """Believe what an answer says of the quota."""
        with self._lock:
            now = self._clock()
            self._policies = _read(response, "ratelimit-policy", "q", "w") or self._policies
            if left := min(_read(response, "ratelimit", "r", "t"), default=None):
                self._left, self._left_until = left[0], now + left[1]
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                asked = parse_retry_after(response.headers.get("retry-after"))
                block = DEFAULT_BLOCK if asked is None else asked
                self._blocked_until = max(self._blocked_until, now + block)

    def _wait(self, now: float, polling: bool) -> tuple[float, str]:
        if self._blocked_until > now:
            return self._blocked_until - now, "the API refuses all requests for so long"
        left = self._left if self._left is not None and self._left_until > now else None
        reserve = max(limit for limit, _ in self._policies) * _RESERVE if polling else 0.0
        if left is not None and left <= reserve:
            return self._left_until - now, f"the API has {left:g} requests left"
        return max((self._wait_in(now, polling, *policy) for policy in self._policies), default=(0.0, ""))

    def _wait_in(self, now: float, polling: bool, limit: float, window: float) -> tuple[float, str]:
        wait = self._all.wait(now, limit, window)
        if polling:
            wait = max(wait, self._polls.wait(now, limit * self.polling_share, window))
        return wait, f"the quota is {limit:g} requests in {window:g} s"

    def _spend(self, now: float, polling: bool) -> None:
        longest = max(window for _, window in self._policies)
        self._all.add(now, longest)
        if polling:
            self._polls.add(now, longest)
        if self._left is not None:
            self._left -= 1

    def _tell(self, now: float, wait: float, why: str, polling: bool) -> None:
        """Log the beginning and, after some calm, the end of holding back: not every request."""
        what = "Polling of RealtimeKit" if polling else "Requests to RealtimeKit"
        held = self._holding.get(polling)
        if wait > 0:
            if held is None:
                log.warning("%s held back for %.0f s: %s", what, wait, why)
            self._holding[polling] = [held[0] if held else now, now + wait]
        elif held and now > held[1] + _CALM:
            del self._holding[polling]
            metrics.held_back(held[1] - held[0])
            log.info("%s goes on; held back for %.0f s in all", what, held[1] - held[0])


_limiters: dict[bytes, RateLimiter] = {}
_limiters_lock = threading.Lock()


def rate_limiter_for(base_url: str, token: str, polling_share: float = POLLING_SHARE) -> RateLimiter:
    """Return the process's one gate for a token; the share asked for last holds."""
    key = hashlib.sha256(f"{base_url}\0{token}".encode()).digest()
    with _limiters_lock:
        gate = _limiters.setdefault(key, RateLimiter())
        gate.polling_share = polling_share
        return gate


def reset_rate_limiters() -> None:
    """Begin anew, as a process that has sent nothing: for tests."""
    with _limiters_lock:
        _limiters.clear()


def _read(response: httpx.Response, header: str, first: str, second: str) -> list[tuple[float, float]]:
    """Read the pairs of numbers of a rate limit header, one for each limit that it names."""
    found = []
    for item in _ITEM.findall(response.headers.get(header, "")):
        numbers = {name: float(value) for name, value in _PARAMETER.findall(item)}
        if first in numbers and numbers.get(second):
            found.append((numbers[first], numbers[second]))
    return found
