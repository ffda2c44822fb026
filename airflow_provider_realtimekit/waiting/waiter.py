"""One wait in the triggerer: when it is to be looked at, what it saw, and what it is told."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitRateLimitError,
    RealtimeKitResponseError,
)
from airflow_provider_realtimekit.models import Recording
from airflow_provider_realtimekit.waiting.outcome import (
    Event,
    Wait,
    evaluate,
    fault_event,
    is_past_deadline,
    timeout_event,
)
from airflow_provider_realtimekit.waiting.planner import Subject

if TYPE_CHECKING:
    from airflow_provider_realtimekit.waiting.shared import Source

# How long after a wait's deadline its last look may take.
GRACE_SECONDS = 15.0


class Sign(Enum):
    """What an entry is told beside words and its event."""

    MOVE = "the credentials were replaced: go on with the poller of the new ones"


@dataclass(eq=False, slots=True)
class Entry:
    """One wait that goes on in this process; it outlives a change of credentials. Times are on the loop's clock.

    It is made of few objects, and keeps no recording: every object that lives for long brings the interpreter's next
    full garbage collection nearer, and that holds up the loop.

    :param wait: what for, and how long
    :param source: the connection that it came by
    :param interval: seconds between two looks
    :param due: when it is to be looked at again at the latest; never, while infinite
    :param answered: when the API last answered for it
    :param failing_since: when a look for it first failed, since the API last answered for it
    """

    wait: Wait
    source: Source
    interval: float
    subject: Subject = field(init=False)
    due: float = math.inf
    answered: float = 0.0
    failing_since: float | None = None
    has_been_seen: bool = False
    over: bool = False
    _status: str | None = None
    _seen: str | None = None
    _story: tuple[tuple[str, str], ...] = ()
    _news: list[str | Event | Sign] = field(default_factory=list)
    _waker: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        self.subject = Subject.of(self.wait)

    @property
    def remaining(self) -> float:
        """Seconds until it ends at the latest, whatever the API does."""
        return math.inf if self.wait.deadline is None else max(0.0, self.wait.deadline - time.time()) + GRACE_SECONDS

    def next_look(self, now: float) -> float:
        """Return when it is to be looked at: when it is due, or at its deadline."""
        if self.due == math.inf or self.wait.deadline is None:
            return self.due
        return min(self.due, now + max(0.0, self.wait.deadline - time.time()))

    def silence(self, now: float) -> float:
        """Return for how many seconds looks for it have failed."""
        return 0.0 if self.failing_since is None else now - self.failing_since

    async def hear(self) -> str | Event | Sign:
        """Return what it is told next: a change of status in words, or, last, how it ends or goes on."""
        while not self._news:
            self._waker = asyncio.get_running_loop().create_future()
            await self._waker
        return self._news.pop(0)

    def take(self, recording: Recording | None, now: float) -> None:
        """Take what a round saw, and end the wait if that ends it."""
        if self.over:
            return
        self.answered, self.failing_since = now, None
        if recording is not None and recording.status != self._status:
            self._note(recording)
        self.has_been_seen = True
        event = evaluate(recording, self.wait)
        if event is None and is_past_deadline(self.wait):
            event = timeout_event(recording)
        if event is not None:
            self.end(event)

    def fail(self, error: RealtimeKitError, now: float, retry_timeout: float) -> None:
        """Take note of a look that failed, and give up once no good answer has come for too long."""
        if isinstance(error, RealtimeKitRateLimitError):
            # Being told to slow down is an answer, too; the gate sees to it.
            self.failing_since = None
        elif self.failing_since is None:
            self.failing_since = now
        if is_past_deadline(self.wait):
            self.expire()
        elif self.silence(now) > retry_timeout:
            self.end(fault_event(_silent(error, self.silence(now))))

    def expire(self) -> None:
        """End the wait with its deadline passed, and what was seen when the status last changed."""
        self.end(timeout_event(Recording.model_validate_json(self._seen) if self._seen else None))

    def end(self, event: Event) -> None:
        """End the wait, once."""
        if not self.over:
            self.over, self.due = True, math.inf
            self._tell({**event, "status_history": [list(step) for step in self._story]})

    def move(self) -> None:
        """Have it go on with another poller."""
        if not self.over:
            self.due = math.inf
            self._tell(Sign.MOVE)

    def _note(self, recording: Recording) -> None:
        self._status = str(recording.status)
        self._seen = json.dumps(recording.to_json())
        self._story += ((time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), self._status),)
        # What it was at the first look is no change; telling that of thousands at once would stall the loop.
        if self.has_been_seen:
            self._tell(f"Recording {recording.id} is {recording.status}")

    def _tell(self, news: str | Event | Sign) -> None:
        self._news.append(news)
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)


def _silent(error: RealtimeKitError, seconds: float) -> RealtimeKitError:
    """Say for how long there was no good answer, in an error of the same class."""
    message = f"no good answer for {seconds:.0f} s: {error}"
    details: dict[str, Any] = vars(error)
    if isinstance(error, RealtimeKitAPIError | RealtimeKitConnectionError | RealtimeKitResponseError):
        return type(error)(message, **details)
    return RealtimeKitError(message)


class Book:
    """Entries by subject; several may look for the same."""

    def __init__(self) -> None:
        self._entries: dict[Subject, set[Entry]] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter([entry for entries in self._entries.values() for entry in entries])

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entry: Entry) -> None:
        """Enter a wait."""
        self._entries.setdefault(entry.subject, set()).add(entry)

    def remove(self, entry: Entry) -> None:
        """Strike out a wait."""
        entries = self._entries[entry.subject]
        entries.discard(entry)
        if not entries:
            del self._entries[entry.subject]

    def of(self, subjects: Iterable[Subject]) -> list[Entry]:
        """Return the waits for some subjects."""
        return [entry for subject in subjects for entry in self._entries.get(subject, ())]

    def next_look(self, now: float) -> float:
        """Return when the first of all is to be looked at."""
        return min((entry.next_look(now) for entry in self), default=math.inf)

    def near(self, now: float) -> list[Subject]:
        """Return what a round looks for: whatever would be due within half of its interval anyway."""
        return [
            subject
            for subject, entries in self._entries.items()
            if any(entry.next_look(now) <= now + entry.interval / 2 for entry in entries)
        ]

    def hand_out(self, subject: Subject, recording: Recording | None, now: float, calm: float) -> None:
        """Tell those who look for a subject what was seen.

        :param calm: the share of its interval after which each is due again
        """
        for entry in self._entries.get(subject, ()):
            entry.due = now + calm * entry.interval
            entry.take(recording, now)

    def end(self, subjects: Iterable[Subject], error: Exception) -> None:
        """End all waits for some subjects with an error."""
        for entry in self.of(subjects):
            entry.end(fault_event(error))
