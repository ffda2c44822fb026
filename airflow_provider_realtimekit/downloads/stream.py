"""How a download continues when a connection breaks: resuming with ranges, retries, and when they end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

from airflow_provider_realtimekit.api.headers import parse_retry_after
from airflow_provider_realtimekit.downloads.http import CONNECTION_ERRORS, FileHost, RemoteFile, RenewableUrl, Reply
from airflow_provider_realtimekit.exceptions import DownloadError

_READ_BYTES = 1 << 18
# Object stores answer 403 to an expired signature, some with 401, 404 or 410: a renewed URL may be accepted.
_URL_REJECTED = frozenset({401, 403, 404, 410})
_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_REJECTIONS = 3
# A host without ranges sends the file from its beginning each time. If it breaks off this many times before the
# missing bytes, it probably always does.
_MAX_RESTARTS = 5
_MIN_DELAY, _MAX_DELAY = 0.1, 15.0
# A wait ends at most this many seconds after the download is stopped.
_STOP_CHECK_SECONDS = 0.1


class NoRangesError(Exception):
    """The host announced ranges, but does not serve them."""


@dataclass(frozen=True)
class DownloadContext:
    """The data that all connections for one file share.

    :param url: where the file is
    :param timeout: seconds without a byte until a connection counts as broken
    :param retry_timeout: seconds to retry while no byte arrives
    :param stop: the caller sets it to end the download
    :param abort: set to end the connections that share this context, when one of them has failed
    """

    url: RenewableUrl
    timeout: float
    retry_timeout: float
    stop: Event = field(default_factory=Event)
    abort: Event = field(default_factory=Event)

    def check_running(self) -> None:
        """Raise :class:`DownloadError` if the download was stopped or has failed."""
        if self.stop.is_set() or self.abort.is_set():
            raise DownloadError("the download was stopped")

    def wait(self, seconds: float) -> None:
        """Wait, and raise :class:`DownloadError` if the download was stopped or has failed."""
        end = time.monotonic() + seconds
        self.check_running()
        while (left := end - time.monotonic()) > 0:
            # A thread cannot wait for two events at once.
            self.stop.wait(min(left, _STOP_CHECK_SECONDS))
            self.check_running()


class RetryBudget:
    """Counts failures since the last byte arrived, waits longer after each, and ends the download after too many.

    :param clock: seconds, never going back
    """

    def __init__(self, context: DownloadContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget all failures, because new bytes arrived."""
        self._failures = self._rejections = self._restarts = 0
        self._active_at = self._clock()

    def note_activity(self) -> None:
        """Restart ``retry_timeout``, because the host sends bytes, even if no new ones."""
        self._active_at = self._clock()

    def fail(self, reason: str, retry_after: float | None = None) -> None:
        """Wait before the next attempt.

        :param reason: what went wrong, for the error
        :param retry_after: seconds that the host asks to wait at least
        :raises DownloadError: when the next attempt would be later than ``retry_timeout`` allows
        """
        self._failures += 1
        backoff = min(_MIN_DELAY * 2**self._failures, _MAX_DELAY) * random.uniform(0.5, 1)
        delay = max(backoff, retry_after or 0)
        if self._clock() - self._active_at + delay > self._context.retry_timeout:
            raise DownloadError(
                f"the file did not arrive: {reason}, {self._failures} times in a row; the next attempt, in "
                f"{delay:.1f} s, would be later than retry_timeout={self._context.retry_timeout:g} allows"
            )
        self._context.wait(delay)

    def fail_restart(self, host: str) -> None:
        """Wait after a host without ranges broke off before the bytes that are missing.

        :raises DownloadError: when this happened too often
        """
        self._restarts += 1
        if self._restarts > _MAX_RESTARTS:
            raise DownloadError(
                f"{host} serves no parts of the file, and breaks off before the end, {self._restarts} times in a row"
            )
        self.fail("the connection ended early")

    def reject_url(self, reply: Reply) -> None:
        """Renew the URL that the host rejected.

        :raises DownloadError: when renewed ones are rejected too
        """
        self._rejections += 1
        if self._rejections > _MAX_REJECTIONS:
            raise DownloadError(f"{reply.host} answers HTTP {reply.status} to a renewed URL, too")
        self._context.url.reject(reply.url_version)
        # The first rejection is normal, since URLs expire. It costs no wait.
        if self._rejections > 1:
            self.fail(f"{reply.host} answers HTTP {reply.status}")


class Stream:
    """Reads a file from any offset, over one connection at a time, and resumes wherever a connection breaks.

    :param context: the context that it shares with the file's other streams
    :param file: the file as its host describes it; ``None``: read this from the first answer
    :param is_strict: whether an answer with more than the requested part raises :class:`NoRangesError`
    """

    def __init__(self, context: DownloadContext, file: RemoteFile | None = None, *, is_strict: bool = False) -> None:
        self._context = context
        self._file = file
        self._is_strict = is_strict
        self._host = FileHost(context.url, context.timeout)
        self._budget = RetryBudget(context)
        self._reply: Reply | None = None
        self._offset = 0
        # Where in the file the body of the current answer begins and ends.
        self._begin = 0
        self._end: int | None = None

    def open(self) -> RemoteFile:
        """Return the file as its host describes it, and request it first if that is not known yet."""
        while self._file is None:
            self._open(0, None)
        return self._file

    def close(self) -> None:
        """Close the connection."""
        self._reply = None
        self._host.close()

    def read_into(self, view: memoryview, offset: int, end: int | None = None) -> int:
        """Read bytes from ``offset`` on.

        :param end: where the part that is wanted ends (default: at the end of the file)
        :returns: how many bytes; fewer than fit into ``view`` only at the end of the file
        :raises FileChangedError: when the host has another file now
        :raises NoRangesError: when the stream is strict
        :raises DownloadError: when the file does not arrive
        """
        file = self.open()
        filled = 0
        while filled < len(view) and (file.size is None or offset + filled < file.size):
            count = self._read(view[filled : filled + _READ_BYTES], offset + filled, end)
            if count is None:
                break
            filled += count
        return filled

    def _read(self, view: memoryview, offset: int, end: int | None) -> int | None:
        """Read once: return 0 after a failure, and ``None`` at the end of a file of unknown size."""
        self._context.check_running()
        reply = self._reply if self._offset == offset else None
        reply = reply or self._open(offset, end)
        if reply is None:
            return 0
        try:
            count = reply.readinto(view)
        except CONNECTION_ERRORS as error:
            return self._fail(type(error).__name__)
        if count:
            self._offset += count
            self._budget.reset()
            return count
        if self._end is None:
            return None
        if reply.is_read() and self._offset == self._end:
            self._reply = None  # This part is complete; the next one needs a request of its own.
            return 0
        return self._fail(f"the connection ended after {offset} bytes")

    def _fail(self, reason: str) -> int:
        self.close()
        self._budget.fail(reason)
        return 0

    def _open(self, offset: int, end: int | None) -> Reply | None:
        """Request the bytes from ``offset`` on; return ``None`` when the request must be repeated."""
        self._reply = None
        try:
            reply = self._host.get(self._range_headers(offset, end))
            is_usable = self._is_usable(reply, offset) and self._skip(reply, offset)
        except CONNECTION_ERRORS as error:
            self._fail(type(error).__name__)
            return None
        if not is_usable:
            self._host.close()
            return None
        self._reply, self._offset = reply, offset
        return reply

    def _range_headers(self, offset: int, end: int | None) -> dict[str, str]:
        file = self._file
        if file is None or not file.has_ranges or not file.validator or (offset == 0 and end is None):
            return {}
        # If-Range: where the file has changed, the host sends all of the new one, and not a part that does not fit.
        return {"Range": f"bytes={offset}-{'' if end is None else end - 1}", "If-Range": file.validator}

    def _is_usable(self, reply: Reply, offset: int) -> bool:
        """Whether an answer holds the bytes at ``offset``, be it as a part or with all of the file."""
        if reply.status in (200, 206):
            return self._has_bytes(reply, offset)
        if reply.status in _URL_REJECTED:
            self._budget.reject_url(reply)
        elif reply.status in _RETRYABLE:
            self._budget.fail(f"{reply.host} answers HTTP {reply.status}", parse_retry_after(reply.retry_after))
        elif reply.status == 416:
            self._fail_range(reply)
        else:
            raise DownloadError(f"{reply.host} answers HTTP {reply.status}")
        return False

    def _has_bytes(self, reply: Reply, offset: int) -> bool:
        is_partial = reply.status == 206
        begin, end = reply.span or (0, 0)
        if is_partial and (self._file is None or end is None or not begin <= offset < end):
            self._fail_range(reply)
            return False
        if self._file is None:
            self._file = reply.file
        else:
            self._file.check_unchanged(reply.file, is_partial=is_partial)
        self._begin, self._end = begin, end
        return True

    def _fail_range(self, reply: Reply) -> None:
        self._stop_using_ranges()
        self._budget.fail(f"{reply.host} answers HTTP {reply.status} to a request for a part of the file")

    def _stop_using_ranges(self) -> None:
        if self._file is not None:
            self._file.has_ranges = False
        if self._is_strict:
            raise NoRangesError

    def _skip(self, reply: Reply, offset: int) -> bool:
        """Read and drop the bytes before ``offset`` if the host began earlier than requested."""
        left = offset - self._begin
        if left:
            self._stop_using_ranges()
        scratch = memoryview(bytearray(min(left, _READ_BYTES)))
        while left:
            try:
                count = reply.readinto(scratch[:left])
            except CONNECTION_ERRORS:
                count = 0
            if not count:
                self.close()
                self._budget.fail_restart(reply.host)
            self._budget.note_activity()
            if not count:
                return False
            left -= count
        return True
