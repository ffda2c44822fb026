"""The poller: decides when a round begins, and what becomes of the waits after one that failed."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress

from airflow.providers.common.compat.sdk import Stats

from airflow_provider_realtimekit import metrics
from airflow_provider_realtimekit.api.client import AsyncClient, Credentials
from airflow_provider_realtimekit.api.retry import RetryPolicy
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAuthError,
    RealtimeKitError,
)
from airflow_provider_realtimekit.waiting.book import Book
from airflow_provider_realtimekit.waiting.entries import Entry, Sign
from airflow_provider_realtimekit.waiting.looks import Desk, Look
from airflow_provider_realtimekit.waiting.outcome import Event, fault_event
from airflow_provider_realtimekit.waiting.planner import Economy, Subject

# Triggers that start together, as after a restart, are looked at together.
GATHER_SECONDS = 0.5
# Between failed looks: as long again as the outage has lasted, within these bounds.
SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 30.0

# Takes its time: it waits for a log.
Tell = Callable[[str], Awaitable[None]]


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
            Stats.incr(metrics.POLL_ROUNDS, tags={"outcome": "failed"})
            Stats.gauge(metrics.STALENESS, self.loop.time() - oldest)
            self._again(dict.fromkeys(look.open, error) | look.errors)
        except Exception as error:  # a defect of ours must not leave the waits hanging
            self.book.end(look.open, error)
        else:
            Stats.incr(metrics.POLL_ROUNDS, tags={"outcome": "answered"})
            Stats.gauge(metrics.STALENESS, self.loop.time() - oldest)
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
    Stats.gauge(metrics.WAITS, _waits)
