"""The poller: decides when a round begins, and what becomes of the waits after one that failed."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from airflow_provider_realtimekit import metrics
from airflow_provider_realtimekit.api.client import AsyncClient, Credentials
from airflow_provider_realtimekit.api.recordings import RecordingsAPI
from airflow_provider_realtimekit.api.retry import RetryPolicy
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitAuthError,
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitInputError,
    RealtimeKitNotFoundError,
    RealtimeKitRateLimitError,
    RealtimeKitResponseError,
)
from airflow_provider_realtimekit.models import Recording
from airflow_provider_realtimekit.waiting.outcome import Event, fault_event
from airflow_provider_realtimekit.waiting.planner import Economy, Subject, ask, plan, read_list
from airflow_provider_realtimekit.waiting.waiter import Book, Entry, Sign

# Triggers that start together, as after a restart, are looked at together.
GATHER_SECONDS = 0.5
# Between failed looks: as long again as the outage has lasted, within these bounds.
SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
# How many GETs of a round are under way at a time.
IN_FLIGHT = 5

# Takes its time: it waits for a log.
Tell = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Desk:
    """What the rounds of a poller share."""

    client: AsyncClient
    api: RecordingsAPI
    book: Book
    economy: Economy


class Look:
    """One round.

    :param subjects: what to look for
    :param calm: the share of its interval after which whatever is answered is due again

    ``open`` is what no answer has come for yet, ``errors`` what went wrong with single ones of that.
    """

    def __init__(self, desk: Desk, subjects: Sequence[Subject], calm: float) -> None:
        self._desk = desk
        self._calm = calm
        self._bad_in_a_row = 0
        self.open = dict.fromkeys(subjects)
        self.errors: dict[Subject, RealtimeKitError] = {}

    async def run(self) -> None:
        """Look for all.

        :raises RealtimeKitError: the API answers nobody; what is wrong with one recording is noted in ``errors``
        """
        one_by_one, listed = plan(self.open, self._desk.economy)
        if listed:
            await self._read_list(listed)
            one_by_one += [subject for subject in listed if subject in self.open]
        left = iter(one_by_one)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(IN_FLIGHT, len(one_by_one))):
                    group.create_task(self._ask_on(left))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _read_list(self, subjects: list[Subject]) -> None:
        pages = read_list(self._desk.api, subjects, self._desk.economy, self._hand_out)
        try:
            await self._desk.client.run(pages, polling=True)
        except RealtimeKitNotFoundError as error:
            # There is no such account or app.
            self._end(list(self.open), error)

    async def _ask_on(self, left: Iterator[Subject]) -> None:
        """Ask for one after the other; what is wrong with one recording holds up no other."""
        for subject in left:
            if subject not in self.open:
                continue
            try:
                recording = await self._desk.client.run(ask(self._desk.api, subject), polling=True)
            except (RealtimeKitNotFoundError, RealtimeKitInputError) as error:
                self._end([subject], error)
            except (RealtimeKitAuthError, RealtimeKitRateLimitError):
                raise
            except (RealtimeKitAPIError, RealtimeKitConnectionError, RealtimeKitResponseError) as error:
                self._note(subject, error)
            else:
                self._bad_in_a_row = 0
                self._hand_out(subject, recording)

    def _note(self, subject: Subject, error: RealtimeKitError) -> None:
        self._bad_in_a_row += 1
        if self._bad_in_a_row > IN_FLIGHT:
            raise error
        self.errors[subject] = error

    def _hand_out(self, subject: Subject, recording: Recording | None) -> None:
        self.open.pop(subject, None)
        self._desk.book.hand_out(subject, recording, asyncio.get_running_loop().time(), self._calm)

    def _end(self, subjects: list[Subject], error: Exception) -> None:
        for subject in subjects:
            del self.open[subject]
        self._desk.book.end(subjects, error)


class Poller:
    """Looks for all waits with the same credentials.

    :param credentials: who asks
    :param forget: is called with it when its last wait leaves, so that nobody joins while it closes
    """

    def __init__(self, credentials: Credentials, forget: Callable[[Poller], None]) -> None:
        self.credentials = credentials
        self.loop = asyncio.get_running_loop()
        self.book = Book()
        self._forget = forget
        self._client = AsyncClient(credentials, RetryPolicy(retry_timeout=0.0))
        self._desk = Desk(self._client, credentials.api, self.book, Economy())
        self._has_looked = False
        self._joined = asyncio.Event()
        self._wakes_at = math.inf
        self._task: asyncio.Task[None] | None = None

    async def wait(self, entry: Entry, tell: Tell) -> Event | None:
        """Wait to the end of a wait; told is each change of status.

        :returns: the event that ends the wait, or ``None`` if it must go on with other credentials
        """
        self._join(entry)
        # The deadline may pass while the quota, or a server that does not answer, holds the last look back.
        alarm = None if math.isinf(entry.remaining) else self.loop.call_later(entry.remaining, entry.expire)
        try:
            while isinstance(news := await entry.hear(), str):
                await tell(news)
            return None if news is Sign.MOVE else news
        finally:
            if alarm is not None:
                alarm.cancel()
            await self._leave(entry)

    def _join(self, entry: Entry) -> None:
        now = self.loop.time()
        # Those that start together are looked at together, soon; one that joins later when its time has come.
        first_look = entry.interval * _calm() if self._has_looked else min(entry.interval, GATHER_SECONDS)
        if not entry.over:
            entry.due, entry.answered = now + first_look, now
        self.book.add(entry)
        _count(1)
        if entry.next_look(now) < self._wakes_at:
            # Only then: to search all waits anew for each of thousands that join would take time squared.
            self._joined.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="realtimekit-poller")

    async def _leave(self, entry: Entry) -> None:
        self.book.remove(entry)
        _count(-1)
        if not self.book and self._task is not None:
            self._forget(self)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self.book:
                await self._sleep()
                await self._round()
        finally:
            await self._client.close()

    async def _sleep(self) -> None:
        """Sleep until the first look is due; whoever joins meanwhile may make that earlier."""
        while (due := self.book.next_look(self.loop.time())) > self.loop.time():
            self._joined.clear()
            self._wakes_at = due
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if math.isinf(due) else due):
                    await self._joined.wait()

    async def _round(self) -> None:
        now = self.loop.time()
        self._has_looked = True
        look = Look(self._desk, self.book.near(now), _calm())
        oldest = min((entry.answered for entry in self.book.of(look.open)), default=now)
        try:
            await look.run()
        except RealtimeKitAuthError as error:
            await self._refused(look.open, error)
        except RealtimeKitError as error:
            metrics.round_ended("failed", self.loop.time() - oldest)
            self._again(dict.fromkeys(look.open, error) | look.errors)
        except Exception as error:  # a defect of ours must not leave the waits hanging
            self.book.end(look.open, error)
        else:
            metrics.round_ended("answered", self.loop.time() - oldest)
            self._answered(look)

    def _answered(self, look: Look) -> None:
        """Have what went wrong with single recordings looked at again; the token is a good one."""
        for source in {entry.source for entry in self.book}:
            source.refused.clear()
        self._again(look.errors)

    def _again(self, errors: Mapping[Subject, RealtimeKitError]) -> None:
        """Look again after a pause that grows with the outage; one draw for all, lest they fall out of step."""
        now, draw = self.loop.time(), random.uniform(0.5, 1.0)
        for entry in self.book.of(errors):
            entry.due = now + draw * min(LONGEST_PAUSE, SHORTEST_PAUSE + entry.silence(now))
            entry.fail(errors[entry.subject], now, self.credentials.retry_timeout)

    async def _refused(self, subjects: Iterable[Subject], error: RealtimeKitAuthError) -> None:
        """Read the connections again: a token may have been rotated. What has nothing new to say is over."""
        sources = list({entry.source for entry in self.book})
        found = await asyncio.gather(*(source.renew(self.credentials) for source in sources))
        renewed = dict(zip(sources, found, strict=True))
        for entry in self.book:
            if renewed.get(entry.source) is True:
                entry.move()
        for entry in self.book.of(subjects):
            if (outcome := renewed.get(entry.source, True)) is not True:
                entry.end(fault_event(outcome or error))


def _calm() -> float:
    """Draw the share of an interval after which to look again, lest several triggerers fall into step."""
    return random.uniform(0.85, 1.0)


_waits = 0


def _count(change: int) -> None:
    """Keep the gauge of all waits of the process."""
    global _waits
    _waits += change
    metrics.waits(_waits)
