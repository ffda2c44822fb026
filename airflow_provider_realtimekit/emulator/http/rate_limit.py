"""Who may call, and how often: API tokens and their quota."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal, NamedTuple

from airflow_provider_realtimekit.emulator.settings import Settings

TokenState = Literal["active", "denied", "refused"]

_NO_QUOTA = 1_000_000  # requests in a window


class TokenStates:
    """Which tokens are good: `denied` ones are valid but lack the permission, `refused` ones are not valid."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._states: dict[str, TokenState] = {}

    def set_state(self, token: str, state: TokenState) -> None:
        """Overrule the settings for one token."""
        self._states[token] = state

    def get_state(self, token: str) -> TokenState:
        """Return what a token is good for."""
        if token in self._states:
            return self._states[token]
        if token in self._settings.denied_token:
            return "denied"
        return "active" if self._settings.token in (None, token) else "refused"

    def reset(self) -> None:
        """Return to what the settings say."""
        self._states.clear()


class RateLimitStatus(NamedTuple):
    """What is left of a quota; `retry_after` is set when nothing is."""

    limit: int
    remaining: int
    resets_in: int
    window: int
    retry_after: int | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers that every answer carries."""
        headers = {
            "Ratelimit": f'"default";r={self.remaining};t={self.resets_in}',
            "Ratelimit-Policy": f'"default";q={self.limit};w={self.window}',
        }
        return headers if self.retry_after is None else headers | {"Retry-After": str(self.retry_after)}


@dataclass
class _Window:
    opened_at: float
    spent: int = 0
    blocked_until: float = 0.0


class RateLimiter:
    """Counts the requests of each token; one too many, and all are refused for the time of the block."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._accounts: dict[str, _Window] = {}
        self._lock = Lock()

    def count_request(self, token: str) -> RateLimitStatus:
        """Count one request."""
        limit, window = self._settings.quota, self._settings.quota_window
        if limit is None:
            # Without a quota the headers report a huge one, lest a careful client slow down for nothing.
            return RateLimitStatus(_NO_QUOTA, _NO_QUOTA, math.ceil(window), math.ceil(window))
        with self._lock:
            return self._count(self._account(token), limit, window)

    def reset(self) -> None:
        """Forget what was spent."""
        with self._lock:
            self._accounts.clear()

    def _count(self, account: _Window, limit: int, window: float) -> RateLimitStatus:
        now = self._clock()
        if account.blocked_until <= now:
            account.spent += 1
            if account.spent > limit:
                account.blocked_until = now + self._settings.quota_block
        if account.blocked_until > now:
            wait = math.ceil(account.blocked_until - now)
            return RateLimitStatus(limit, 0, wait, math.ceil(window), retry_after=wait)
        resets_in = math.ceil(account.opened_at + window - now)
        return RateLimitStatus(limit, limit - account.spent, resets_in, math.ceil(window))

    def _account(self, token: str) -> _Window:
        now = self._clock()
        account = self._accounts.setdefault(token, _Window(now))
        ends_at = account.blocked_until or account.opened_at + self._settings.quota_window
        if ends_at <= now:
            account = self._accounts[token] = _Window(now)
        return account
