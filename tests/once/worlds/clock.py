"""The world's time: it moves on to the next event only when no process of the world has anything to do."""

from __future__ import annotations

import heapq
import itertools
import mmap
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

Act = Callable[[], None]


class Clock:
    """Virtual seconds, kept in a file that the processes read.

    :param path: the file
    """

    def __init__(self, path: Path) -> None:
        path.write_bytes(struct.pack("d", 0.0))
        with path.open("r+b") as file:
            self._file = mmap.mmap(file.fileno(), 8)
        self.now = 0.0
        self._events: list[tuple[float, int, Act]] = []
        self._numbers = itertools.count()

    def at(self, moment: float, act: Act) -> None:
        """Have something done at a time; of two at the same time, what was asked for first comes first."""
        heapq.heappush(self._events, (max(moment, self.now), next(self._numbers), act))

    def after(self, seconds: float, act: Act) -> None:
        """Have something done after so many seconds."""
        self.at(self.now + seconds, act)

    def step(self, end: float) -> bool:
        """Move on to the next event and do it; return whether there was one before the end."""
        if not self._events or self._events[0][0] > end:
            return False
        moment, _, act = heapq.heappop(self._events)
        if moment > self.now:
            # A deadline that somebody computes from other numbers may be a hair later than ours.
            self.now = moment + 1e-6
            struct.pack_into("d", self._file, 0, self.now)
        act()
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def kernel_threads() -> list[int]:
    """Return the threads that deliver packets when the kernel is too busy to do it at once."""
    found = []
    for process in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if process.read_text().startswith("ksoftirqd"):
                found.append(int(process.parent.name))
    return found


def is_idle(pids: list[int]) -> bool:
    """Whether no thread of these processes runs or can run.

    A thread that is given bytes, a lock or a signal can run from that moment on. Each is looked at twice: one that
    woke another and went to sleep in between has a new number of time slices.
    """
    first = _slices(pids)
    return first is not None and first == _slices(pids)


def _slices(pids: list[int]) -> dict[str, bytes] | None:
    """Return how often each thread has run, ``None`` when one runs or a process is ending."""
    found = {}
    try:
        for pid in pids:
            for thread in os.listdir(f"/proc/{pid}/task"):
                folder = f"/proc/{pid}/task/{thread}"
                if _read(f"{folder}/stat").rpartition(b")")[2].split()[0] != b"S":
                    return None
                found[thread] = _read(f"{folder}/schedstat")
    except OSError:
        return None
    return found


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, 1024)
    finally:
        os.close(file)
