"""How one file is moved to its store: over one connection or several, in bounded memory, whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import LifoQueue, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple, Protocol

from airflow_provider_realtimekit.downloads.http import Facts, FileChangedError
from airflow_provider_realtimekit.downloads.sinks import is_local, open_sink, store_errors
from airflow_provider_realtimekit.downloads.stream import Access, NoRangesError, Stream
from airflow_provider_realtimekit.exceptions import DownloadError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

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


_TRIES = 3

log = logging.getLogger(__name__)


def fetch_file(access: Access, path: ObjectStoragePath, progress: Progress, *, check_size: bool = True) -> Whole:
    """Load a file to ``path``, where it appears only when it is whole.

    :param access: how to come at the file
    :param check_size: whether it must be as large as the API announced
    :returns: its size and checksum
    :raises DownloadError: when it did not arrive whole, or the store refuses it; nothing is left of it then
    """
    for _ in range(_TRIES):
        try:
            return _Try(access, path, check_size=check_size).run(progress)
        except FileChangedError:
            log.warning("The file for %s changed while it was read; starting over", path)
            access.link.refresh()
    raise DownloadError(f"the file changed while it was read, {_TRIES} times")


class _Try:
    """One try to load a file as it is now."""

    def __init__(self, access: Access, path: ObjectStoragePath, *, check_size: bool) -> None:
        self._access = access
        self._path = path
        self._check_size = check_size

    def run(self, progress: Progress) -> Whole:
        """Load the file into a sink, and publish it."""
        stream = Stream(self._access)
        try:
            facts = stream.facts
            self._check_announced(facts)
            return self._store(stream, open_sink(self._path, facts.size), progress)
        finally:
            stream.close()

    def _store(self, stream: Stream, sink: Sink, progress: Progress) -> Whole:
        drain = Drain(self._guarded(sink.write), store_aside=not is_local(self._path))
        try:
            Loader(self._access, stream, drain, progress).run()
            whole = drain.finish()
            self._check_arrived(whole.size, stream.facts)
            with store_errors(self._path):
                sink.publish()
        except BaseException:
            drain.stop()
            self._discard(sink)
            raise
        return whole

    def _guarded(self, write: Callable[[memoryview], None]) -> Callable[[memoryview], None]:
        def guarded(view: memoryview) -> None:
            with store_errors(self._path):
                write(view)

        return guarded

    def _discard(self, sink: Sink) -> None:
        try:
            sink.discard()
        except Exception as error:
            # What made the try fail matters more; the next try removes what is left.
            log.warning("What was written for %s could not be removed (%s)", self._path, type(error).__name__)

    def _check_announced(self, facts: Facts) -> None:
        """Compare before gigabytes are moved; what the API said may have aged."""
        if facts.size is None or facts.size == self._announced:
            return
        if self._announced is not None:
            self._access.link.refresh()
        if self._announced not in (None, facts.size):
            raise DownloadError(f"the file's host has {facts.size} bytes of it, {self._announced} were announced")

    def _check_arrived(self, size: int, facts: Facts) -> None:
        for said, by in ((facts.size, "the file's host"), (self._announced, "the API")):
            if said not in (None, size):
                raise DownloadError(f"{size} bytes arrived of {said} that {by} announced")

    @property
    def _announced(self) -> int | None:
        return self._access.link.announced if self._check_size else None


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
