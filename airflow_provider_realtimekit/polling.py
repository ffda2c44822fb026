"""One poll for many waits: all waits of a triggerer on the same credentials share a poller.

A wait joins, and is told each change of its recording's status and, once, the event that ends it. The poller looks
in rounds, as often as the tightest interval demands, and at everything that is due within half of its own interval,
so that waits fall into step. A round that fails is repeated with growing pauses and fails nobody, until a wait has
gone without an answer for as long as the connection's patience says.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_realtimekit import metrics
from airflow_provider_realtimekit.client import AsyncClient, Credentials
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
from airflow_provider_realtimekit.hooks import RealtimeKitHook
from airflow_provider_realtimekit.models import Recording
from airflow_provider_realtimekit.retry import RetryPolicy
from airflow_provider_realtimekit.rounds import Economy, Subject, ask, plan, read_list
from airflow_provider_realtimekit.waiting import Event, Wait, fault_event, is_late, judge, timeout_event

# Triggers that start together, as after a restart, are looked at together.
GATHER_SECONDS = 0.5
IN_FLIGHT = 5
# How many recordings are handed out before others get their turn on the loop.
AT_ONCE = 50
# How long after a wait's deadline its last look may take.
GRACE_SECONDS = 15.0
# Between failed looks: as long again as the outage has lasted, within these bounds.
_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0

Reread = Callable[[], Awaitable[Credentials]]
Tell = Callable[[str], None]


@dataclass(eq=False, slots=True)
class Entry:
    """One wait that has joined.

    :param due: when it is to be looked at again at the latest, on the loop's clock
    :param answered: when the API last answered for it, on the loop's clock
    :param failing_since: when a look for it first failed, since the API last answered for it
    """

    wait: Wait
    interval: float
    due: float
    answered: float
    failing_since: float | None = None
    news: asyncio.Queue[str | Event] = field(default_factory=asyncio.Queue)
    seen: Recording | None = None
    story: list[list[str]] = field(default_factory=list)
    has_been_seen: bool = False
    over: bool = False

    def take(self, recording: Recording | None) -> None:
        """Take what a round saw, and end the wait if that ends it."""
        if self.over:
            return
        if recording is not None and (self.seen is None or self.seen.status != recording.status):
            self.story.append([time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), str(recording.status)])
            # What it was at the first look is no change; telling that of thousands at once would stall the loop.
            if self.has_been_seen:
                self.news.put_nowait(f"Recording {recording.id} is {recording.status}")
        self.seen, self.has_been_seen = recording, True
        event = judge(recording, self.wait)
        if event is None and is_late(self.wait):
            event = timeout_event(recording)
        if event is not None:
            self.end(event)

    def end(self, event: Event) -> None:
        """End the wait, once."""
        if self.over:
            return
        self.over = True
        self.news.put_nowait({**event, "story": self.story})


class Poller:
    """Looks for all waits on one connection.

    :param credentials: who asks
    :param reread: reads the connection again, for a token that was rotated
    """

    def __init__(self, credentials: Credentials, reread: Reread) -> None:
        self.credentials = credentials
        self.loop = asyncio.get_running_loop()
        self._reread = reread
        self._client = AsyncClient(credentials, RetryPolicy(patience=0.0))
        self._economy = Economy()
        self._entries: dict[Subject, set[Entry]] = {}
        self._has_looked = False
        self._joined = asyncio.Event()
        self._wakes_at = math.inf
        self._task: asyncio.Task[None] | None = None

    @property
    def entries(self) -> list[Entry]:
        """The waits that have joined and not left."""
        return [entry for entries in self._entries.values() for entry in entries]

    async def wait(self, subject: Subject, wait: Wait, interval: float, tell: Tell) -> Event:
        """Wait to the end of a wait; told is each change of status."""
        entry = self._join(subject, wait, interval)
        try:
            async with asyncio.timeout(_remaining(wait)):
                while isinstance(news := await entry.news.get(), str):
                    tell(news)
                return news
        except TimeoutError:
            # The deadline passed while the quota, or a server that does not answer, held the last look back.
            return {**timeout_event(entry.seen), "story": entry.story}
        finally:
            await self._leave(subject, entry)

    def _join(self, subject: Subject, wait: Wait, interval: float) -> Entry:
        now = self.loop.time()
        # Those that start together are looked at together, soon; one that joins later when its time has come.
        first_look = _jittered(interval) if self._has_looked else min(interval, GATHER_SECONDS)
        entry = Entry(wait, interval, now + first_look, now)
        self._entries.setdefault(subject, set()).add(entry)
        _count(1)
        if self._due(entry) < self._wakes_at:
            # Only then: to search all waits anew for each of thousands that join would take time squared.
            self._joined.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="realtimekit-poller")
        return entry

    async def _leave(self, subject: Subject, entry: Entry) -> None:
        self._entries[subject].discard(entry)
        if not self._entries[subject]:
            del self._entries[subject]
        _count(-1)
        if not self._entries and self._task is not None:
            # Forgotten at once, so that nobody joins a poller that is closing.
            _pollers.remove(self)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._entries:
                await self._sleep()
                await self._round()
        finally:
            await self._client.close()

    async def _sleep(self) -> None:
        """Sleep until the first look is due; whoever joins meanwhile may make that earlier."""
        while (due := min(self._due(entry) for entry in self.entries)) > self.loop.time():
            self._joined.clear()
            self._wakes_at = due
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if math.isinf(due) else due):
                    await self._joined.wait()

    def _due(self, entry: Entry) -> float:
        if entry.over:
            return math.inf
        if entry.wait.deadline is None:
            return entry.due
        return min(entry.due, self.loop.time() + max(0.0, entry.wait.deadline - time.time()))

    async def _round(self) -> None:
        now = self.loop.time()
        self._has_looked = True
        subjects = [subject for subject, entries in self._entries.items() if self._is_near(entries, now)]
        oldest = min((entry.answered for subject in subjects for entry in self._entries[subject]), default=now)
        try:
            await self._look(subjects)
        except RealtimeKitAuthError as error:
            await self._refused(subjects, error)
        except RealtimeKitError as error:
            metrics.round_ended("failed", self.loop.time() - oldest)
            self._failed(subjects, error)
        except Exception as error:  # a defect of ours must not leave the waits hanging
            self._end(subjects, error)
        else:
            metrics.round_ended("answered", self.loop.time() - oldest)

    def _is_near(self, entries: Iterable[Entry], now: float) -> bool:
        return any(self._due(entry) <= now + entry.interval / 2 for entry in entries)

    async def _look(self, subjects: list[Subject]) -> None:
        one_by_one, listed = plan(subjects, self._economy)
        api = self.credentials.api
        if listed:
            try:
                found = await self._client.run(read_list(api, listed, self._economy), polling=True)
            except RealtimeKitNotFoundError as error:
                self._end(subjects, error)
                return
            for count, (subject, recording) in enumerate(found.items(), start=1):
                self._hand_out(subject, recording)
                if count % AT_ONCE == 0:
                    await asyncio.sleep(0)
            one_by_one += [subject for subject in listed if subject not in found]
        await self._ask(one_by_one)

    async def _ask(self, subjects: list[Subject]) -> None:
        """Ask for each, a handful at a time; what is wrong with one recording holds up no other."""
        left = iter(subjects)
        bad_in_a_row = 0

        async def ask_on() -> None:
            nonlocal bad_in_a_row
            for subject in left:
                try:
                    recording = await self._client.run(ask(self.credentials.api, subject), polling=True)
                except (RealtimeKitNotFoundError, RealtimeKitInputError) as error:
                    self._end([subject], error)
                except (RealtimeKitAuthError, RealtimeKitRateLimitError):
                    raise
                except (RealtimeKitAPIError, RealtimeKitConnectionError, RealtimeKitResponseError) as error:
                    bad_in_a_row += 1
                    if bad_in_a_row > IN_FLIGHT:
                        raise
                    self._failed([subject], error)
                else:
                    bad_in_a_row = 0
                    self._hand_out(subject, recording)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(IN_FLIGHT, len(subjects))):
                    group.create_task(ask_on())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def _hand_out(self, subject: Subject, recording: Recording | None) -> None:
        now = self.loop.time()
        for entry in self._entries.get(subject, ()):
            entry.answered, entry.failing_since = now, None
            entry.due = now + _jittered(entry.interval)
            entry.take(recording)

    async def _refused(self, subjects: list[Subject], error: RealtimeKitAuthError) -> None:
        """Read the connection again: the token may have been rotated. What is refused with the same one is over."""
        try:
            credentials = await self._reread()
        except Exception as unreadable:  # whatever the secrets backend raises
            self._end(subjects, unreadable)
            return
        if credentials == self.credentials:
            self._end(subjects, error)
            return
        await self._client.close()
        self.credentials = credentials
        self._client = AsyncClient(credentials, RetryPolicy(patience=0.0))
        for entry in self.entries:
            entry.due = self.loop.time()

    def _failed(self, subjects: list[Subject], error: RealtimeKitError) -> None:
        """Look again after a pause that grows with the outage, or give up on a wait that has had no answer for long."""
        now = self.loop.time()
        for entry in [entry for subject in subjects for entry in self._entries.get(subject, ())]:
            # Being told to slow down is an answer, too; the gate sees to it.
            if isinstance(error, RealtimeKitRateLimitError):
                entry.failing_since = None
            elif entry.failing_since is None:
                entry.failing_since = now
            silence = now - (entry.failing_since or now)
            if is_late(entry.wait):
                entry.end(timeout_event(entry.seen))
            elif silence > self.credentials.patience:
                entry.end(fault_event(_silent(error, silence)))
            entry.due = now + random.uniform(0.5, 1.0) * min(_LONGEST_PAUSE, _SHORTEST_PAUSE + silence)

    def _end(self, subjects: list[Subject], error: Exception) -> None:
        for subject in subjects:
            for entry in self._entries.get(subject, ()):
                entry.end(fault_event(error))


@dataclass(eq=False)
class _Source:
    """A connection that waits refer to, looked at once for all of them."""

    realtimekit_conn_id: str
    app_id: str | None
    users: int = 0
    reading: asyncio.Task[Credentials] | None = None

    async def read(self) -> Credentials:
        if self.reading is None:
            hook = RealtimeKitHook(self.realtimekit_conn_id, self.app_id)
            self.reading = asyncio.create_task(hook.get_async_credentials())
        try:
            return await asyncio.shield(self.reading)
        except Exception:
            self.reading = None
            raise

    async def reread(self) -> Credentials:
        self.reading = None
        return await self.read()


_sources: dict[tuple[int, str, str | None], _Source] = {}
_pollers: list[Poller] = []
_waits = 0


async def wait_for(wait: Wait, realtimekit_conn_id: str, app_id: str | None, interval: float, tell: Tell) -> Event:
    """Wait with the poller that all waits of this loop on the same credentials share.

    :param wait: what for, and how long
    :param realtimekit_conn_id: the connection
    :param app_id: another app than the connection's
    :param interval: seconds between two looks
    :param tell: is told each change of status, in words
    """
    key = (id(asyncio.get_running_loop()), realtimekit_conn_id, app_id)
    source = _sources.setdefault(key, _Source(realtimekit_conn_id, app_id))
    source.users += 1
    try:
        subject = Subject.of(wait)
        poller = _poller_for(await source.read(), source)
        return await poller.wait(subject, wait, interval, tell)
    finally:
        source.users -= 1
        if not source.users:
            del _sources[key]
            if source.reading is not None:
                source.reading.cancel()


def _poller_for(credentials: Credentials, source: _Source) -> Poller:
    loop = asyncio.get_running_loop()
    for poller in _pollers:
        if poller.loop is loop and poller.credentials == credentials:
            return poller
    poller = Poller(credentials, source.reread)
    _pollers.append(poller)
    return poller


def _count(change: int) -> None:
    """Keep the gauge of all waits of the process."""
    global _waits
    _waits += change
    metrics.waits(_waits)


def _jittered(interval: float) -> float:
    return interval * random.uniform(0.85, 1.0)


def _remaining(wait: Wait) -> float | None:
    return None if wait.deadline is None else max(0.0, wait.deadline - time.time()) + GRACE_SECONDS


def _silent(error: RealtimeKitError, seconds: float) -> RealtimeKitError:
    """Say for how long there was no good answer, in an error of the same class."""
    message = f"no good answer for {seconds:.0f} s: {error}"
    details: dict[str, Any] = vars(error)
    if isinstance(error, RealtimeKitAPIError | RealtimeKitConnectionError | RealtimeKitResponseError):
        return type(error)(message, **details)
    return RealtimeKitError(message)
