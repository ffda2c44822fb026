"""Downloads one file to its store: over one connection or several, in bounded memory, with a check of the size.

Read :func:`download_file` first, then :class:`Transfer`.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from queue import LifoQueue, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from airflow_provider_realtimekit.downloads.http import FileChangedError, RemoteFile
from airflow_provider_realtimekit.downloads.sinks import Sink, remove_stale_parts
from airflow_provider_realtimekit.downloads.stream import DownloadContext, NoRangesError, Stream
from airflow_provider_realtimekit.exceptions import DownloadError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

_MAX_CHANGES = 3
# Over one connection: small enough for the processor's cache, from which a block is written.
_BLOCK_BYTES, _BLOCKS = 1 << 18, 16
# Over several connections: parts so small that little memory is used. While one connection waits for its answer, the
# others read. There is one buffer more than connections, for the part that is being written.
_PART_BYTES, _PARTS, _CONNECTIONS = 1 << 20, 7, 6
# The bytes that are read between two decisions for one connection or several.
_PROBE_BYTES = 16 << 20
# One connection of this speed is as fast as disks and stores. More connections would only cost processor time.
_FAST_BYTES_PER_SECOND = 150e6
# Several connections stay in use only if they are faster than one by this factor.
_MIN_SPEEDUP = 1.1
_LOG_SECONDS = 10.0
_MB = 1e6

log = logging.getLogger(__name__)


class StoredFile(NamedTuple):
    """The size and the checksum of a stored file.

    :param size: bytes
    :param sha256: in hexadecimal
    """

    size: int
    sha256: str


def download_file(
    context: DownloadContext, path: ObjectStoragePath, progress: Progress, *, check_size: bool = True
) -> StoredFile:
    """Download a file to ``path``, where it appears only when it is complete.

    :param context: where the file is, and how long to retry
    :param check_size: whether it must be as large as the API announced (default: yes)
    :raises DownloadError: when it did not arrive, or the store refuses it; nothing is left of it then
    """
    for _ in range(_MAX_CHANGES):
        try:
            return _download(context, path, progress, check_size)
        except FileChangedError:
            log.warning("The file for %s changed on its host during the download, which begins again", path)
            context.url.renew()
    raise DownloadError(f"the file changed while it was read, {_MAX_CHANGES} times: retry when it is complete")


def _download(context: DownloadContext, path: ObjectStoragePath, progress: Progress, check_size: bool) -> StoredFile:
    with closing(Stream(context)) as stream:
        file = stream.open()
        if check_size:
            _check_announced_size(context, file)
        progress.begin(file.size)
        remove_stale_parts(path)
        with Sink(path, file.size) as sink:
            with WriterPipeline(sink, progress) as pipeline:
                Transfer(context, stream, file, pipeline).run()
                stored = pipeline.finish()
            announced = context.url.announced_size if check_size else None
            for size, source in ((file.size, "the file's host"), (announced, "the API")):
                if size not in (None, stored.size):
                    raise DownloadError(f"{stored.size} bytes arrived, but {source} announced {size}")
            sink.publish()
    return stored


def _check_announced_size(context: DownloadContext, file: RemoteFile) -> None:
    """Compare the sizes before gigabytes are moved."""
    announced = context.url.announced_size
    if announced not in (None, file.size) and file.size is not None:
        # The file may have changed since the API announced its size.
        context.url.renew()
        announced = context.url.announced_size
        if announced not in (None, file.size):
            raise DownloadError(f"the host offers a file of {file.size} bytes, but the API announced {announced}")


class Transfer:
    """Reads one file in order, and passes it on to a pipeline.

    :param stream: the connection that the file was opened on
    :param file: the file, as its host describes it
    """

    def __init__(self, context: DownloadContext, stream: Stream, file: RemoteFile, pipeline: WriterPipeline) -> None:
        self._context = context
        self._stream = stream
        self._pipeline = pipeline
        self._file = file
        self._offset = 0
        self._may_parallelise = True

    def run(self) -> None:
        """Read the file to its end: over one connection first, over several where that one is slow."""
        while not self._run_serially():
            if self._run_in_parallel():
                return

    def _run_serially(self) -> bool:
        """Read over one connection; return whether the end was reached, or else several connections may be faster."""
        pool = BufferPool(_BLOCK_BYTES, _BLOCKS)
        probed, seconds = 0, 0.0
        while True:
            buffer = pool.get()
            # Only the reading is timed: a slow store does not become faster with more connections to the host.
            began = time.monotonic()
            count = self._stream.read_into(memoryview(buffer), self._offset)
            seconds += time.monotonic() - began
            self._pass_on(pool, buffer, count)
            if count < _BLOCK_BYTES:
                return True
            probed += count
            if probed >= _PROBE_BYTES:
                self._serial_speed = probed / max(seconds, 1e-6)
                if self._should_parallelise():
                    self._stream.close()
                    return False
                probed, seconds = 0, 0.0

    def _should_parallelise(self) -> bool:
        size = self._file.size
        return (
            self._may_parallelise
            and self._file.has_ranges
            and size is not None
            and size - self._offset >= 2 * _PROBE_BYTES
            and self._serial_speed < _FAST_BYTES_PER_SECOND
        )

    def _run_in_parallel(self) -> bool:
        """Read over several connections; return whether the end was reached, or else one connection is as fast."""
        self._may_parallelise = False
        began, first = time.monotonic(), self._offset
        try:
            with _ParallelReader(self._context, self._file) as reader:
                for buffer, count in reader.read(self._offset):
                    self._pass_on(reader.pool, buffer, count)
                    loaded = self._offset - first
                    if loaded == 2 * _PROBE_BYTES:
                        speed = loaded / (time.monotonic() - began)
                        reader.is_ending = speed <= self._serial_speed * _MIN_SPEEDUP
        except NoRangesError:
            return False
        return self._offset == self._file.size

    def _pass_on(self, pool: BufferPool, buffer: bytearray, count: int) -> None:
        self._pipeline.put(pool, buffer, count)
        self._offset += count


class _ParallelReader:
    """Reads parts of a file over several connections at once, and yields them in order.

    Set ``is_ending`` to request no further parts.
    """

    def __init__(self, context: DownloadContext, file: RemoteFile) -> None:
        # A separate event: the failure of one connection must not stop the caller's other downloads.
        self._context = replace(context, abort=Event())
        self._size = file.size or 0
        self._executor = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="realtimekit-part")
        self._streams: SimpleQueue[Stream] = SimpleQueue()
        for _ in range(_CONNECTIONS):
            self._streams.put(Stream(self._context, file, is_strict=True))
        self.pool = BufferPool(_PART_BYTES, _PARTS)
        self.is_ending = False

    def read(self, offset: int) -> Iterator[tuple[bytearray, int]]:
        """Yield the parts from ``offset`` on, each as a buffer of the pool and the number of bytes in it."""
        pending: deque[Future[tuple[bytearray, int]]] = deque()
        while True:
            while len(pending) < _CONNECTIONS and offset < self._size and not self.is_ending:
                length = min(_PART_BYTES, self._size - offset)
                pending.append(self._executor.submit(self._load, offset, length))
                offset += length
            if not pending:
                return
            yield pending.popleft().result()

    def _load(self, offset: int, length: int) -> tuple[bytearray, int]:
        buffer, stream = self.pool.get(), self._streams.get()
        try:
            return buffer, stream.read_into(memoryview(buffer)[:length], offset, offset + length)
        finally:
            self._streams.put(stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._context.abort.set()  # Nobody waits for the other parts any more.
        self._executor.shutdown(cancel_futures=True)
        while not self._streams.empty():
            self._streams.get().close()


class BufferPool(LifoQueue[bytearray]):
    """A few buffers that are reused, so that the memory of a download is bounded.

    A buffer is put back after use, and ``get`` waits until one is free.

    :param size: bytes of each
    :param count: how many
    """

    def __init__(self, size: int, count: int) -> None:
        # Last in, first out: the processor's cache may still hold the buffer that was used last.
        super().__init__()
        for _ in range(count):
            self.put(bytearray(size))


class WriterPipeline:
    """Hashes and stores buffers in order, and puts them back into their pool; a thread does one of the two.

    An error of the thread is raised by the next :meth:`put`, or by :meth:`finish`.
    """

    def __init__(self, sink: Sink, progress: Progress) -> None:
        self._hash = hashlib.sha256()
        self._progress = progress
        self._size = 0
        # Writing over a network takes longest, so it goes to the thread. A local disk is faster with bytes that the
        # processor's cache still holds, so there the hash does.
        steps: list[Callable[[memoryview], None]] = [self._hash.update, sink.write]
        self._do_here, self._do_in_thread = steps if sink.is_remote else reversed(steps)
        self._queue: SimpleQueue[tuple[BufferPool, bytearray, int] | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="realtimekit-writer", daemon=True)
        self._thread.start()

    def put(self, pool: BufferPool, buffer: bytearray, count: int) -> None:
        """Hash and store the first ``count`` bytes of a buffer."""
        if self._error is not None:
            raise self._error
        self._progress.add(count)
        self._size += count
        self._do_here(memoryview(buffer)[:count])
        self._queue.put((pool, buffer, count))

    def finish(self) -> StoredFile:
        """Wait until everything is hashed and stored."""
        self.__exit__()
        if self._error is not None:
            raise self._error
        return StoredFile(self._size, self._hash.hexdigest())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            pool, buffer, count = item
            # After an error the buffers still go back: the reader may be waiting for one.
            if self._error is None:
                try:
                    self._do_in_thread(memoryview(buffer)[:count])
                except BaseException as error:
                    self._error = error
            pool.put(buffer)


class Logger(Protocol):
    """The part of a logger that :class:`Progress` uses."""

    def info(self, message: str, *args: object) -> None:
        """Log."""


class Progress:
    """Logs percent, speed and remaining time of a download, every ten seconds at most.

    :param log: where to
    :param name: of the file
    :param clock: seconds, never going back
    """

    def __init__(self, log: Logger, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._name = name
        self._clock = clock
        self.begin(None)

    def begin(self, size: int | None) -> None:
        """Start from zero.

        :param size: bytes of the file, ``None`` if unknown
        """
        self._size, self._done = size, 0
        self._began = self._logged_at = self._clock()

    def add(self, count: int) -> None:
        """Count bytes, and log when ten seconds have passed."""
        self._done += count
        now = self._clock()
        if now - self._logged_at < _LOG_SECONDS:
            return
        self._logged_at = now
        done, seconds = self._done / _MB, now - self._began
        if not self._size:
            self._log.info("%s: %.1f MB, %.1f MB/s", self._name, done, done / seconds)
            return
        percent, left = 100 * self._done // self._size, (self._size - self._done) * seconds / max(self._done, 1)
        total = self._size / _MB
        self._log.info("%s: %d %% of %.1f MB, %.1f MB/s, %.0f s left", self._name, percent, total, done / seconds, left)

    def finish(self) -> float:
        """Log the end, and return the seconds since the beginning."""
        seconds, done = self._clock() - self._began, self._done / _MB
        self._log.info("%s: all %.1f MB in %.1f s, %.1f MB/s", self._name, done, seconds, done / max(seconds, 1e-3))
        return seconds
