"""Bring a file from its host to a drain: over one connection, or over several where one is slow."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

from airflow_provider_realtimekit.downloads.drain import Drain, Pool
from airflow_provider_realtimekit.downloads.facts import Facts, FileChangedError
from airflow_provider_realtimekit.downloads.progress import Progress
from airflow_provider_realtimekit.downloads.stream import Access, NoRangesError, Stream

# Blocks that stay in the processor's cache from being read to being written.
_BLOCK, _BLOCKS = 1 << 18, 16
# Small parts on many connections: the wait for an answer is spent on the others, and the memory stays small.
_PART, _PARTS = 1 << 20, 7
_WORKERS = 6
_PROBE = 16 << 20
# One connection that brings so much a second is as fast as disks and stores are; more of them would only cost.
_FAST_ENOUGH = 150e6
_GAIN = 1.1  # what several connections must bring, to one's speed


class Loader:
    """Loads one file, in order, into a drain.

    :param access: how to come at the file
    :param stream: the connection on which it was asked for first
    """

    def __init__(self, access: Access, stream: Stream, drain: Drain, progress: Progress) -> None:
        self._access = access
        self._stream = stream
        self._drain = drain
        self._progress = progress
        self._facts = stream.facts
        self._offset = 0
        self._may_try_several = True

    def run(self) -> None:
        """Load the file to its end."""
        self._progress.begin(self._facts.size)
        while not self._run_serially():
            if self._run_parallel():
                return

    def _run_serially(self) -> bool:
        """Load over one connection; tell whether the end was reached, or it is too slow to go on so."""
        pool = Pool(_BLOCK, _BLOCKS)
        probed, seconds = 0, 0.0
        while True:
            buffer = pool.take()
            began = time.monotonic()
            count = self._stream.fill(memoryview(buffer), self._offset)
            seconds += time.monotonic() - began
            self._pass_on(pool, buffer, count)
            if count < _BLOCK:
                return True
            probed += count
            if probed >= _PROBE:
                self._serial_speed = probed / max(seconds, 1e-6)
                if self._several_may_pay():
                    self._stream.close()
                    return False
                probed, seconds = 0, 0.0

    def _several_may_pay(self) -> bool:
        size = self._facts.size
        return (
            self._may_try_several
            and self._facts.ranges
            and size is not None
            and size - self._offset >= 2 * _PROBE
            and self._serial_speed < _FAST_ENOUGH
        )

    def _run_parallel(self) -> bool:
        """Load over several connections; tell whether the end was reached, or one does as well."""
        self._may_try_several = False
        began, begun_at = time.monotonic(), self._offset
        with _several(self._access, self._facts) as parts:
            try:
                for pool, buffer, count in parts.run(self._offset):
                    self._pass_on(pool, buffer, count)
                    loaded = self._offset - begun_at
                    if loaded == 2 * _PROBE and not self._pays(loaded / (time.monotonic() - began)):
                        parts.end_soon()
            except NoRangesError:
                return False
        return self._offset == self._facts.size

    def _pays(self, speed: float) -> bool:
        return speed > self._serial_speed * _GAIN

    def _pass_on(self, pool: Pool, buffer: bytearray, count: int) -> None:
        self._drain.put(pool, buffer, count)
        self._offset += count
        self._progress.add(count)


class _Parts:
    """Parts of a file, loaded a few at once and given out in order."""

    def __init__(self, access: Access, facts: Facts, executor: ThreadPoolExecutor) -> None:
        self._facts = facts
        self._executor = executor
        self._pool = Pool(_PART, _PARTS)
        self._streams: SimpleQueue[Stream] = SimpleQueue()
        for _ in range(_WORKERS):
            self._streams.put(Stream(access, facts, strict=True))
        self._ends_soon = False

    def run(self, offset: int) -> Iterator[tuple[Pool, bytearray, int]]:
        """Yield the parts from ``offset`` on, to the end of the file or as far as is begun."""
        size = self._facts.size or 0
        waiting: deque[Future[tuple[bytearray, int]]] = deque()
        while waiting or (offset < size and not self._ends_soon):
            while len(waiting) < _WORKERS and offset < size and not self._ends_soon:
                length = min(_PART, size - offset)
                waiting.append(self._executor.submit(self._load, offset, length))
                offset += length
            buffer, count = waiting.popleft().result()
            yield self._pool, buffer, count

    def end_soon(self) -> None:
        """Begin no further parts."""
        self._ends_soon = True

    def close(self) -> None:
        """Drop all connections; to be called when no part is being loaded any more."""
        while not self._streams.empty():
            self._streams.get().close()

    def _load(self, offset: int, length: int) -> tuple[bytearray, int]:
        buffer, stream = self._pool.take(), self._streams.get()
        try:
            return buffer, stream.fill(memoryview(buffer)[:length], offset, offset + length)
        finally:
            self._streams.put(stream)


@contextmanager
def _several(access: Access, facts: Facts) -> Iterator[_Parts]:
    executor = ThreadPoolExecutor(_WORKERS, thread_name_prefix="realtimekit-part")
    parts = _Parts(access, facts, executor)
    try:
        yield parts
    except (NoRangesError, FileChangedError):
        raise
    except BaseException:
        access.stop.set()  # nobody waits for the other parts any more
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        parts.close()
