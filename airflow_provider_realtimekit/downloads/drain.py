"""Hash and store what comes, in order, with a thread beside the one that reads; in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from queue import LifoQueue, SimpleQueue
from threading import Thread
from typing import NamedTuple, Protocol


class Sink(Protocol):
    """Where a file goes: nothing can be seen of it before it is published."""

    def write(self, view: memoryview) -> None:
        """Take the next bytes."""

    def publish(self) -> None:
        """Let the file appear under its name, whole."""

    def discard(self) -> None:
        """Leave nothing of it."""


class Whole(NamedTuple):
    """What was stored: bytes, and the SHA-256 of them in hexadecimal."""

    size: int
    sha256: str


class Pool:
    """A few buffers that go round.

    :param size: bytes of each
    :param count: how many
    """

    def __init__(self, size: int, count: int) -> None:
        # The last one given back is taken first: the processor's cache may hold it still.
        self._free: LifoQueue[bytearray] = LifoQueue()
        for _ in range(count):
            self._free.put(bytearray(size))

    def take(self) -> bytearray:
        """Return a free buffer, waiting for one."""
        return self._free.get()

    def give(self, buffer: bytearray) -> None:
        """Take a buffer back."""
        self._free.put(buffer)


class Drain:
    """Takes buffers in order, hashes and stores what they hold, and gives them back to their pool.

    One of the two is done in a thread. What it raises is raised by the next :meth:`put`, or by :meth:`finish`.

    :param write: stores the next bytes
    :param store_aside: whether the thread stores, as befits what goes over a network, or hashes: a local disk takes
        sooner what the processor's cache still holds
    """

    def __init__(self, write: Callable[[memoryview], None], *, store_aside: bool) -> None:
        self._hash = hashlib.sha256()
        self._here: Callable[[memoryview], None] = self._hash.update if store_aside else write
        self._aside: Callable[[memoryview], None] = write if store_aside else self._hash.update
        self._size = 0
        self._queue: SimpleQueue[tuple[Pool, bytearray, int] | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="realtimekit-drain", daemon=True)
        self._thread.start()

    def put(self, pool: Pool, buffer: bytearray, count: int) -> None:
        """Hand over the first ``count`` bytes of a buffer."""
        if self._error is not None:
            raise self._error
        self._here(memoryview(buffer)[:count])
        self._size += count
        self._queue.put((pool, buffer, count))

    def finish(self) -> Whole:
        """Wait until all is done, and say what it was."""
        self.stop()
        if self._error is not None:
            raise self._error
        return Whole(self._size, self._hash.hexdigest())

    def stop(self) -> None:
        """End the thread; to be called twice does no harm."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            pool, buffer, count = item
            if self._error is None:
                self._do_aside(memoryview(buffer)[:count])
            pool.give(buffer)

    def _do_aside(self, view: memoryview) -> None:
        try:
            self._aside(view)
        except BaseException as error:
            self._error = error
