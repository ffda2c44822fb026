"""When a request may be sent: every request of this process passes the one rate limiter of its token.

Cloudflare counts all requests of a token together, and refuses all of them for minutes when there are too many. The
limiter counts requests, reads the remaining quota from the answers, waits while the API refuses, and limits polling to
a share of the quota, so that polls do not delay starts and stops.
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
from airflow.providers.common.compat.sdk import Stats

from airflow_provider_realtimekit import metrics
from airflow_provider_realtimekit.api.headers import parse_retry_after
from airflow_provider_realtimekit.defaults import POLLING_SHARE

log = logging.getLogger(__name__)

# Cloudflare documents 1,200 requests in 5 minutes, and then 5 minutes in which all are refused. Answers may say
# otherwise.
DEFAULT_LIMIT = 1200
DEFAULT_WINDOW = 300.0
DEFAULT_BLOCK = 300.0
# Polling leaves this part of the quota unused, because others may use the same token.
_RESERVED_SHARE = 0.1
# At least this many times of requests are stored, because the server may announce a longer window.
_MOST_STORED = 5_000
# The log reports the end of the waits after this many seconds without one. Otherwise a full quota would fill the log.
_QUIET_SECONDS = 5.0

# Ratelimit: "default";r=50;t=30 and Ratelimit-Policy: "burst";q=100;w=60, "default";q=1200;w=300
_ITEM = re.compile(r'"[^"]*"((?:\s*;\s*\w+=\d+)+)')
_PARAMETER = re.compile(r"(\w+)=(\d+)")


class _SlidingWindow:
    """The times at which requests were sent, for at least as long as the longest window."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def add(self, now: float, longest_window: float) -> None:
        """Add a request, and drop the oldest ones that are in no window."""
        self._times.append(now)
        while len(self._times) > _MOST_STORED and self._times[0] <= now - longest_window:
            self._times.popleft()

    def seconds_until_free(self, now: float, limit: float, window: float) -> float:
        """Return the seconds until a window holds less than ``limit`` requests."""
        allowed = max(1, int(limit))
        if len(self._times) < allowed:
            return 0.0
        return min(window, max(0.0, self._times[-allowed] + window - now))


class RateLimiter:
    """The quota of one token. Threads and event loops may share it.

    :param polling_share: the share of the quota that polling may use, from 0 to 1 (default: 0.5)
    :param clock: seconds that never go back (default: :func:`time.monotonic`)
    """

    def __init__(self, polling_share: float = POLLING_SHARE, clock: Callable[[], float] = time.monotonic) -> None:
        self.polling_share = polling_share
        self._clock = clock
        self._lock = threading.Lock()
        self._all = _SlidingWindow()
        self._polls = _SlidingWindow()
        #: The limits in force: requests, and the seconds that they are counted in.
        self._policies: list[tuple[float, float]] = [(DEFAULT_LIMIT, DEFAULT_WINDOW)]
        self._longest_window = DEFAULT_WINDOW
        self._remaining: float | None = None
        self._remaining_until = 0.0
        self._blocked_until = 0.0
        #: When requests began to wait, and until when, for polling (true) and all others (false).
        self._waiting: dict[bool, tuple[float, float]] = {}

    def acquire(self, *, polling: bool) -> float:
        """Count a request that is about to be sent, or return how long it must wait.

        :param polling: whether the request is a poll, which leaves part of the quota to other requests
        :returns: 0 if it may be sent now; else the seconds after which to call again
        """
        with self._lock:
            now = self._clock()
            wait, reason = self._wait(now, polling)
            if wait <= 0:
                self._all.add(now, self._longest_window)
                if polling:
                    self._polls.add(now, self._longest_window)
                if self._remaining is not None:
                    self._remaining -= 1
            if wait > 0 or self._waiting:
                self._report(now, wait, reason, polling)
            return wait

    def update_from(self, response: httpx.Response) -> None:
        """Read the quota from the headers of an answer."""
        policies = _parse_items(response.headers.get("ratelimit-policy"), "q", "w")
        remaining = _parse_items(response.headers.get("ratelimit"), "r", "t")
        with self._lock:
            now = self._clock()
            if policies:
                self._policies = policies
                self._longest_window = max(window for _, window in policies)
            if remaining:
                self._remaining, seconds = min(remaining)
                self._remaining_until = now + seconds
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                retry_after = parse_retry_after(response.headers.get("retry-after"))
                block = DEFAULT_BLOCK if retry_after is None else retry_after
                # An answer to an earlier request may arrive later: a block is never made shorter.
                self._blocked_until = max(self._blocked_until, now + block)

    def _wait(self, now: float, polling: bool) -> tuple[float, str]:
        """Return the seconds to wait, and why."""
        if self._blocked_until > now:
            return self._blocked_until - now, "the API refuses all requests of this token (HTTP 429)"
        if self._remaining is not None and self._remaining_until > now:
            reserved = max(limit for limit, _ in self._policies) * _RESERVED_SHARE if polling else 0.0
            if self._remaining <= reserved:
                return self._remaining_until - now, f"the API says that {self._remaining:g} requests are left"
        longest = 0.0, ""
        for limit, window in self._policies:
            wait = self._all.seconds_until_free(now, limit, window)
            if polling:
                wait = max(wait, self._polls.seconds_until_free(now, limit * self.polling_share, window))
            if wait > longest[0]:
                longest = wait, f"the quota is {limit:g} requests in {window:g} s"
        return longest

    def _report(self, now: float, wait: float, reason: str, polling: bool) -> None:
        """Log when requests begin to wait and when they no longer wait, but not each one."""
        what = "Polls of RealtimeKit" if polling else "Requests to RealtimeKit"
        began, until = self._waiting.get(polling, (now, now))
        if wait > 0:
            if polling not in self._waiting:
                log.warning("%s wait for %.0f s and then continue: %s", what, wait, reason)
            self._waiting[polling] = began, now + wait
        elif polling in self._waiting and now > until + _QUIET_SECONDS:
            del self._waiting[polling]
            Stats.timing(metrics.HELD_BACK, (until - began) * 1000.0)
            log.info("%s are sent again, after %.0f s of waiting", what, until - began)


_limiters: dict[bytes, RateLimiter] = {}
_limiters_lock = threading.Lock()


def rate_limiter_for(base_url: str, token: str, polling_share: float = POLLING_SHARE) -> RateLimiter:
    """Return the process's one rate limiter for a token.

    :param polling_share: the share of the quota that polling may use; that of the last call is valid
    """
    # A hash, so that a dump of this dictionary shows no token.
    key = hashlib.sha256(f"{base_url}\0{token}".encode()).digest()
    with _limiters_lock:
        limiter = _limiters.setdefault(key, RateLimiter())
        limiter.polling_share = polling_share
        return limiter


def reset_rate_limiters() -> None:
    """Remove all rate limiters, for tests."""
    with _limiters_lock:
        _limiters.clear()


def _parse_items(header: str | None, first: str, second: str) -> list[tuple[float, float]]:
    """Return the two parameters of each item of a rate limit header; items without both are skipped."""
    found: list[tuple[float, float]] = []
    for item in _ITEM.findall(header) if header else ():
        parameters = {name: float(value) for name, value in _PARAMETER.findall(item)}
        if first in parameters and parameters.get(second):
            found.append((parameters[first], parameters[second]))
    return found
