"""The bytes of one file from any place on, over as many connections and links as it takes."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from threading import Event

from airflow_provider_realtimekit.downloads.http import BROKEN, Facts, FileHost, Link, Reply, range_of, read_facts
from airflow_provider_realtimekit.exceptions import DownloadError

_READ = 1 << 18
_LINK_REFUSED = frozenset({401, 403, 404, 410})
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_REFUSALS = 3
_WASTED = 5  # times that all of what is there already was loaded again for nothing
_SHORTEST_DELAY, _LONGEST_DELAY = 0.1, 15.0


class NoRangesError(Exception):
    """The host does not give parts after all."""


@dataclass
class Access:
    """What all connections for one file share.

    :param link: where the file is
    :param timeout: seconds without a byte
    :param retry_timeout: seconds to keep trying while nothing comes
    :param stop: set when nobody wants the file any more
    """

    link: Link
    timeout: float
    retry_timeout: float
    stop: Event = field(default_factory=Event)


class Tries:
    """Counts what failed since the last byte came, and waits ever longer between."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self.succeed()

    def succeed(self) -> None:
        """Forget what failed: bytes come again."""
        self._failures = self._refusals = self._wasted = 0
        self.live()

    def live(self) -> None:
        """Note that the host is alive, though nothing new came."""
        self._last_byte = time.monotonic()

    def fail(self, what: str, retry_after: int | None = None) -> None:
        """Wait before the next try.

        :raises DownloadError: when retry_timeout is at its end
        """
        self._failures += 1
        backoff = min(_SHORTEST_DELAY * 2**self._failures, _LONGEST_DELAY) * random.uniform(0.5, 1)
        delay = max(backoff, retry_after or 0)
        if time.monotonic() - self._last_byte + delay > self._access.retry_timeout:
            raise DownloadError(f"the file did not arrive: {what}, {self._failures} times in a row")
        if self._access.stop.wait(delay):
            raise DownloadError("the download was stopped")

    def waste(self, host: str) -> None:
        """Note that a host without ranges broke off before it came to what is missing.

        :raises DownloadError: when it did so too often
        """
        self._wasted += 1
        if self._wasted > _WASTED:
            raise DownloadError(f"{host} gives no parts of a file, and breaks off before the end")
        self.fail("the connection ended early")

    def refuse(self, reply: Reply, age: int) -> None:
        """Ask for a fresh link.

        :raises DownloadError: when fresh ones are refused too
        """
        self._refusals += 1
        if self._refusals > _REFUSALS:
            raise DownloadError(f"{reply.host} answers HTTP {reply.status} to a fresh link too")
        self._access.link.refuse(age)
        if self._refusals > 1:
            self.fail(f"{reply.host} answers HTTP {reply.status}")


class Stream:
    """Reads a file in order, and goes on wherever a connection breaks.

    :param access: what is shared with other streams of the file
    :param facts: what is known of the file; None to learn it from the first answer
    :param strict: whether to give up on a host that answers with more than the part that was asked for
    """

    def __init__(self, access: Access, facts: Facts | None = None, *, strict: bool = False) -> None:
        self._access = access
        self._facts = facts
        self._strict = strict
        self._host = FileHost(access.timeout)
        self._tries = Tries(access)
        self._reply: Reply | None = None
        self._at = 0
        self._begins, self._promised = 0, None  # type: int, int | None

    @property
    def facts(self) -> Facts:
        """What is known of the file, asked for if need be."""
        while self._facts is None:
            self._open(0, None)
        return self._facts

    def close(self) -> None:
        """Drop the connection."""
        self._reply = None
        self._host.close()

    def fill(self, view: memoryview, offset: int, until: int | None = None) -> int:
        """Read bytes from ``offset`` on.

        :param until: where the part ends that is wanted, if not at the end of the file
        :returns: how many; fewer than fit only at the end
        :raises FileChangedError: when the file is another one now
        :raises NoRangesError: when ``strict``
        :raises DownloadError: when it cannot be had
        """
        filled = 0
        while filled < len(view) and not self._is_end(offset + filled):
            count = self._read(view[filled : filled + _READ], offset + filled, until)
            if count is None:
                break
            filled += count
        return filled

    def _is_end(self, offset: int) -> bool:
        return self._facts is not None and self._facts.size is not None and offset >= self._facts.size

    def _read(self, view: memoryview, offset: int, until: int | None) -> int | None:
        """Read a few bytes, none if that failed; None at the end of a file whose size was not told."""
        if self._access.stop.is_set():
            raise DownloadError("the download was stopped")
        if (self._reply is None or self._at != offset) and not self._open(offset, until):
            return 0
        try:
            count = self._reply.readinto(view) if self._reply else 0
        except BROKEN as error:
            return self._break_off(type(error).__name__)
        if count:
            self._at += count
            self._tries.succeed()
            return count
        if self._promised is None:
            return None
        if self._reply and self._reply.spent and self._at == self._promised:
            self._reply = None  # the part is read; the next one is another question
            return 0
        return self._break_off(f"the connection ended after {offset} bytes")

    def _break_off(self, what: str) -> int:
        self.close()
        self._tries.fail(what)
        return 0

    def _open(self, offset: int, until: int | None) -> bool:
        """Ask for the bytes from ``offset`` on; tell whether they come now."""
        self._reply = None
        url, age = self._access.link.current()
        try:
            reply = self._host.get(url, self._headers(offset, until))
            ready = self._judge(reply, offset, age) and self._skip(reply, offset)
        except BROKEN as error:
            self._break_off(type(error).__name__)
            return False
        if ready:
            self._reply, self._at = reply, offset
        else:
            self._host.close()
        return ready

    def _headers(self, offset: int, until: int | None) -> dict[str, str]:
        facts = self._facts
        if facts is None or not facts.ranges or not facts.validator or (offset == 0 and until is None):
            return {}
        last = "" if until is None else until - 1
        return {"Range": f"bytes={offset}-{last}", "If-Range": facts.validator}

    def _judge(self, reply: Reply, offset: int, age: int) -> bool:
        """Tell whether an answer holds what was asked for, or at least all of the file."""
        if reply.status == 200:
            return self._judge_whole(reply)
        if reply.status == 206:
            return self._judge_part(reply, offset)
        if reply.status in _LINK_REFUSED:
            self._tries.refuse(reply, age)
        elif reply.status in _TRY_AGAIN:
            self._tries.fail(f"{reply.host} answers HTTP {reply.status}", reply.number("Retry-After"))
        elif reply.status == 416:
            self._distrust_ranges(reply)
        else:
            raise DownloadError(f"{reply.host} answers HTTP {reply.status}")
        return False

    def _judge_whole(self, reply: Reply) -> bool:
        facts = read_facts(reply)
        if self._facts is None:
            self._facts = facts
        else:
            self._facts.check_same(reply, facts.size, partial=False)
        self._begins, self._promised = 0, facts.size
        return True

    def _judge_part(self, reply: Reply, offset: int) -> bool:
        part = range_of(reply)
        if self._facts is None or part is None or not part[0] <= offset < part[1]:
            self._distrust_ranges(reply)
            return False
        begins, ends, size = part
        if reply.number("Content-Length") not in (None, ends - begins):
            self._distrust_ranges(reply)
            return False
        self._facts.check_same(reply, size, partial=True)
        self._begins, self._promised = begins, ends
        return True

    def _distrust_ranges(self, reply: Reply) -> None:
        """Ask for the whole file from now on: what came is no answer to the question."""
        self._give_up_ranges()
        self._tries.fail(f"{reply.host} answers HTTP {reply.status} to a question for a part")

    def _give_up_ranges(self) -> None:
        if self._facts is not None:
            self._facts.ranges = False
        if self._strict:
            raise NoRangesError

    def _skip(self, reply: Reply, offset: int) -> bool:
        """Read over what is there already, where the host began earlier than it was asked to."""
        left = offset - self._begins
        if left:
            self._give_up_ranges()
        waste = memoryview(bytearray(min(left, _READ)))
        while left:
            count = self._waste(reply, waste[:left])
            if not count:
                return False
            left -= count
        return True

    def _waste(self, reply: Reply, view: memoryview) -> int:
        try:
            count = reply.readinto(view)
        except BROKEN:
            count = 0
        if not count:
            self.close()
            self._tries.waste(reply.host)
        self._tries.live()
        return count
