"""Tell how far a download is, at a bearable rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

_EVERY_SECONDS = 10.0
_MEGA = 1e6


class Logger(Protocol):
    """As much of a logger as is needed."""

    def info(self, message: str, *args: object) -> None:
        """Log."""


class Progress:
    """Logs percent, speed and the time that is left, ten seconds apart at the least.

    :param log: where to
    :param name: of the file
    :param clock: seconds, from any beginning
    """

    def __init__(self, log: Logger, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._name = name
        self._clock = clock
        self._begun = self._told = clock()
        self._size: int | None = None
        self._done = 0

    def begin(self, size: int | None) -> None:
        """Start from nothing, of so many bytes."""
        self._size, self._done = size, 0
        self._begun = self._told = self._clock()

    def add(self, count: int) -> None:
        """Count bytes, and log if it is time to."""
        self._done += count
        now = self._clock()
        if now - self._told >= _EVERY_SECONDS:
            self._told = now
            self._tell(now - self._begun)

    def finish(self) -> float:
        """Log the end, and return how many seconds it took."""
        seconds = self._clock() - self._begun
        self._log.info(
            "%s: all %.1f MB in %.1f s, %.1f MB/s", self._name, self._done / _MEGA, seconds, self._speed(seconds)
        )
        return seconds

    def _speed(self, seconds: float) -> float:
        return self._done / _MEGA / max(seconds, 1e-3)

    def _tell(self, seconds: float) -> None:
        if not self._size:
            self._log.info("%s: %.1f MB, %.1f MB/s", self._name, self._done / _MEGA, self._speed(seconds))
            return
        left = (self._size - self._done) * seconds / max(self._done, 1)
        self._log.info(
            "%s: %d %% of %.1f MB, %.1f MB/s, %.0f s left",
            self._name,
            100 * self._done // self._size,
            self._size / _MEGA,
            self._speed(seconds),
            left,
        )
