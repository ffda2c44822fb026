"""One wait in the triggerer, and the registry of all that share a poller: when to poll, and how results end waits.

A :class:`Waiter` decides when its recording has to be polled, whether a result ends its wait, and what it sends to its
trigger. The :class:`WaiterRegistry` finds the waiters that are due and delivers results to them.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
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
    Clock,
    Event,
    Wait,
    evaluate,
    fault_event,
    is_past_deadline,
    timeout_event,
)
from airflow_provider_realtimekit.waiting.planner import PollTarget

if TYPE_CHECKING:
    from airflow_provider_realtimekit.waiting.shared import SharedConnection

# Seconds after the deadline in which the last poll may still be answered; the rate limit may delay it.
_GRACE_SECONDS = 15.0


class Signal(Enum):
    """Messages to a waiter's trigger, besides a line for the log and the event."""

    CHANGE_POLLER = "the connection has other credentials now: go on with the poller of these"


Message = str | Event | Signal


# Slots, and no recording is stored: there may be thousands of waiters, and many long-lived objects cause full garbage
# collections, which block the loop.
@dataclass(eq=False, slots=True)
class Waiter:
    """One wait in this process, also after a change of the credentials. Times are on the loop's clock.

    :param wait: the awaited recording and the limits
    :param connection: the connection that the wait names
    :param interval: seconds between two polls
    :param clock: seconds since the epoch, for the deadline
    :param due: when to poll at the latest (infinite: not before it joins a poller)
    :param answered_at: when the API last answered a poll for it
    :param failing_since: when the first poll failed since the API last answered (``None``: none failed)
    """

    wait: Wait
    connection: SharedConnection
    interval: float
    clock: Clock = time.time
    target: PollTarget = field(init=False)
    due: float = math.inf
    answered_at: float = 0.0
    failing_since: float | None = None
    has_been_polled: bool = False
    is_over: bool = False
    _status: str | None = None
    # The recording as JSON text: one object instead of a tree of them.
    _last_recording: str | None = None
    _status_history: tuple[tuple[str, str], ...] = ()
    _messages: list[Message] = field(default_factory=list)
    _wake_up: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        self.target = PollTarget.of(self.wait, self.clock)

    def seconds_left(self) -> float:
        """Return the seconds until the wait ends even if the API does not answer."""
        if self.wait.deadline is None:
            return math.inf
        return max(0.0, self.wait.deadline - self.clock()) + _GRACE_SECONDS

    def next_poll_at(self, now: float) -> float:
        """Return when to poll: when due, or at the deadline if that comes first."""
        if self.due == math.inf or self.wait.deadline is None:
            return self.due
        # The deadline is on the wall clock, because it comes from another process; everything else is on the loop's.
        return min(self.due, now + max(0.0, self.wait.deadline - self.clock()))

    def failing_for(self, now: float) -> float:
        """Return the seconds for which its polls have failed."""
        return 0.0 if self.failing_since is None else now - self.failing_since

    async def next_message(self) -> Message:
        """Wait for the next message: a line for the log, or as the last one the event or a signal."""
        while not self._messages:
            self._wake_up = asyncio.get_running_loop().create_future()
            await self._wake_up
        return self._messages.pop(0)

    def on_result(self, recording: Recording | None, now: float) -> None:
        """Store the result of a poll, and end the wait if the result decides it."""
        if self.is_over:
            return
        self.answered_at, self.failing_since = now, None
        if recording is not None and recording.status != self._status:
            self._status = str(recording.status)
            self._last_recording = json.dumps(recording.to_json())
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.clock()))
            self._status_history += ((moment, self._status),)
            # The status at the first poll is not a change. To log it for thousands at once would block the loop.
            if self.has_been_polled:
                self._send(f"Recording {recording.id} is {recording.status}")
        self.has_been_polled = True
        is_late = is_past_deadline(self.wait, self.clock)
        event = evaluate(recording, self.wait, self.clock)
        if event is None and is_late:
            event = timeout_event(recording)
        if event is not None:
            self.end(event)

    def on_error(self, error: RealtimeKitError, now: float, retry_timeout: float) -> None:
        """Store that a poll failed, and end the wait after ``retry_timeout`` seconds without an answer.

        :param retry_timeout: seconds that polls may fail before the wait ends
        """
        if isinstance(error, RealtimeKitRateLimitError):
            # A 429 is an answer, too. The rate limiter slows the requests down.
            self.failing_since = None
        elif self.failing_since is None:
            self.failing_since = now
        if is_past_deadline(self.wait, self.clock):
            self.expire()
        elif (seconds := self.failing_for(now)) > retry_timeout:
            self.end(fault_event(_add_duration(error, seconds)))

    def expire(self) -> None:
        """End the wait because its deadline passed, with the recording as of its last change of status."""
        recording = Recording.model_validate_json(self._last_recording) if self._last_recording else None
        self.end(timeout_event(recording))

    def end(self, event: Event) -> None:
        """End the wait, unless it has ended."""
        if not self.is_over:
            self.is_over, self.due = True, math.inf
            self._send({**event, "status_history": [list(step) for step in self._status_history]})

    def change_poller(self) -> None:
        """Move the wait to another poller, unless it has ended."""
        if not self.is_over:
            self.due = math.inf
            self._send(Signal.CHANGE_POLLER)

    def _send(self, message: Message) -> None:
        self._messages.append(message)
        if self._wake_up is not None and not self._wake_up.done():
            self._wake_up.set_result(None)


def _add_duration(error: RealtimeKitError, seconds: float) -> RealtimeKitError:
    """Return an error of the same class that says for how long the polls have failed."""
    message = f"no good answer for {seconds:.0f} s, the last error was: {error}"
    details: dict[str, Any] = vars(error)
    if isinstance(error, RealtimeKitAPIError | RealtimeKitConnectionError | RealtimeKitResponseError):
        return type(error)(message, **details)
    return RealtimeKitError(message)


class WaiterRegistry:
    """The waiters of one poller, by target. Several may have the same one."""

    def __init__(self) -> None:
        self._waiters: dict[PollTarget, set[Waiter]] = {}

    def __iter__(self) -> Iterator[Waiter]:
        return chain.from_iterable(self._waiters.values())

    def __bool__(self) -> bool:
        return bool(self._waiters)

    def add(self, waiter: Waiter) -> None:
        """Add a waiter."""
        self._waiters.setdefault(waiter.target, set()).add(waiter)

    def remove(self, waiter: Waiter) -> None:
        """Remove a waiter."""
        waiters = self._waiters[waiter.target]
        waiters.discard(waiter)
        if not waiters:
            del self._waiters[waiter.target]

    def with_targets(self, targets: Iterable[PollTarget]) -> list[Waiter]:
        """Return the waiters that have one of these targets."""
        return [waiter for target in targets for waiter in self._waiters.get(target, ())]

    def next_poll_at(self, now: float) -> float:
        """Return when the first of all waiters has to be polled."""
        return min((waiter.next_poll_at(now) for waiter in self), default=math.inf)

    def connections(self) -> set[SharedConnection]:
        """Return the connections that the waits name."""
        return {waiter.connection for waiter in self}

    def oldest_answer(self, targets: Iterable[PollTarget], now: float) -> float:
        """Return the earliest of the times at which these targets were last answered."""
        return min((waiter.answered_at for waiter in self.with_targets(targets)), default=now)

    def near_targets(self, now: float) -> list[PollTarget]:
        """Return the targets that are due within half of their interval: to poll these now saves a later round."""
        return [
            target
            for target, waiters in self._waiters.items()
            if any(waiter.next_poll_at(now) <= now + waiter.interval / 2 for waiter in waiters)
        ]

    def deliver(self, target: PollTarget, recording: Recording | None, now: float, interval_factor: float) -> None:
        """Deliver a result to the waiters of a target.

        :param interval_factor: the share of its interval after which each is due again
        """
        for waiter in self._waiters.get(target, ()):
            waiter.due = now + interval_factor * waiter.interval
            waiter.on_result(recording, now)

    def end(self, targets: Iterable[PollTarget], error: Exception) -> None:
        """End the waits for these targets with an error."""
        for waiter in self.with_targets(targets):
            waiter.end(fault_event(error))
