"""How often a token may call: the quota of each token, and the headers that report it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from airflow_provider_realtimekit.emulator.settings import Settings

# The headers report this without a quota: so many requests that no client slows down.
_UNLIMITED = 1_000_000


class RateLimitStatus(NamedTuple):
    """The rest of a quota after a request. Times are full seconds; `retry_after` is set for a refusal."""

    limit: int
    remaining: int
    resets_in: int
    window: int
    retry_after: int | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers that every answer of the API carries."""
        headers = {
            "Ratelimit": f'"default";r={self.remaining};t={self.resets_in}',
            "Ratelimit-Policy": f'"default";q={self.limit};w={self.window}',
        }
        return headers if self.retry_after is None else headers | {"Retry-After": str(self.retry_after)}


@dataclass
class _Window:
    opened_at: float
    count: int = 0
    blocked_until: float = 0.0


class RateLimiter:
    """Counts the requests of each token. After the quota, it refuses every request until the block is over."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self._lock = Lock()

    def count_request(self, token: str) -> RateLimitStatus:
        """Count one request of a token, unless the token is blocked, and return what is left."""
        limit, seconds = self._settings.quota, math.ceil(self._settings.quota_window)
        if limit is None:
            return RateLimitStatus(_UNLIMITED, _UNLIMITED, seconds, seconds)
        with self._lock:
            now = self._clock()
            window = self._windows.setdefault(token, _Window(now))
            if (window.blocked_until or window.opened_at + self._settings.quota_window) <= now:
                window = self._windows[token] = _Window(now)
            if window.blocked_until <= now:
                window.count += 1
                if window.count > limit:
                    window.blocked_until = now + self._settings.quota_block
            if window.blocked_until > now:
                wait = math.ceil(window.blocked_until - now)
                return RateLimitStatus(limit, 0, wait, seconds, retry_after=wait)
            resets_in = math.ceil(window.opened_at + self._settings.quota_window - now)
            return RateLimitStatus(limit, limit - window.count, resets_in, seconds)

    def reset(self) -> None:
        """Forget all counts and blocks."""
        with self._lock:
            self._windows.clear()
