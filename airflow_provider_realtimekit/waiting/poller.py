"""The poller: when a poll round begins, how its requests are sent, and what a failed round means for the waits.

All waits with the same credentials share one :class:`Poller`. A :class:`PollRound` polls all targets that are due soon.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from airflow.providers.common.compat.sdk import Stats

from airflow_provider_realtimekit import metrics
from airflow_provider_realtimekit.api.client import AsyncClient, Credentials
from airflow_provider_realtimekit.api.recordings import RecordingsAPI
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
from airflow_provider_realtimekit.waiting.outcome import Clock, Event, fault_event, fetch_awaited
from airflow_provider_realtimekit.waiting.planner import ListCostModel, PollTarget, plan, poll_list
from airflow_provider_realtimekit.waiting.waiter import Signal, Waiter, WaiterRegistry

# Triggers that start together, as after a restart of the triggerer, are polled together.
GATHER_SECONDS = 0.5
# The pause after a failed round is as long as the outage so far, within these bounds in seconds.
SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
# GETs of one round that are sent concurrently. When the API begins to answer 429, at most these are refused.
IN_FLIGHT = 5

# Writes a line to a task's log. Asynchronous, because the log's pipe may be full for a while.
Log = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class PollContext:
    """The data that all rounds of a poller share."""

    client: AsyncClient
    api: RecordingsAPI
    registry: WaiterRegistry
    costs: ListCostModel


class PollRound:
    """Polls some targets once and delivers each result as soon as it is there.

    :param targets: what to poll
    :param interval_factor: the share of its interval after which an answered target is due again

    ``unanswered`` are the targets without an answer so far, ``errors`` what went wrong with single ones of these.
    """

    def __init__(self, context: PollContext, targets: Iterable[PollTarget], interval_factor: float) -> None:
        self._context = context
        self._interval_factor = interval_factor
        self._errors_in_a_row = 0
        self.unanswered = dict.fromkeys(targets)
        self.errors: dict[PollTarget, RealtimeKitError] = {}

    async def run(self) -> None:
        """Poll all targets.

        :raises RealtimeKitError: when nothing is answered any more; an error of one target goes to ``errors``
        """
        to_get, to_list = plan(self.unanswered, self._context.costs)
        if to_list:
            pages = poll_list(self._context.api, to_list, self._context.costs, self._on_result)
            try:
                await self._context.client.run(pages, polling=True)
            except RealtimeKitNotFoundError as error:
                # A list is not found only when the account or the app is not: no target can be found then.
                self._end(list(self.unanswered), error)
                return
            to_get += [target for target in to_list if target in self.unanswered]
        await self._get(deque(to_get))

    async def _get(self, targets: deque[PollTarget]) -> None:
        """Get targets one by one, some at a time."""
        requests: dict[asyncio.Task[Recording | None], PollTarget] = {}
        try:
            while targets or requests:
                while targets and len(requests) < IN_FLIGHT:
                    target = targets.popleft()
                    flow = fetch_awaited(self._context.api, target)
                    requests[asyncio.create_task(self._context.client.run(flow, polling=True))] = target
                done, _ = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
                for request in done:
                    self._on_answer(requests[request], request)
                    del requests[request]
        finally:
            for request in requests:
                request.cancel()
            await asyncio.gather(*requests, return_exceptions=True)

    def _on_answer(self, target: PollTarget, request: asyncio.Task[Recording | None]) -> None:
        """Deliver the result of a GET. What is wrong with one target must not delay the others."""
        try:
            recording = request.result()
        except (RealtimeKitNotFoundError, RealtimeKitInputError) as error:
            self._end([target], error)
        except (RealtimeKitAuthError, RealtimeKitRateLimitError):
            raise
        except (RealtimeKitAPIError, RealtimeKitConnectionError, RealtimeKitResponseError) as error:
            self._errors_in_a_row += 1
            # One failure more than there are concurrent GETs: then the API fails, and not a single recording.
            if self._errors_in_a_row > IN_FLIGHT:
                raise
            self.errors[target] = error
        else:
            self._errors_in_a_row = 0
            self._on_result(target, recording)

    def _on_result(self, target: PollTarget, recording: Recording | None) -> None:
        self.unanswered.pop(target, None)
        now = asyncio.get_running_loop().time()
        self._context.registry.deliver(target, recording, now, self._interval_factor)

    def _end(self, targets: list[PollTarget], error: RealtimeKitError) -> None:
        for target in targets:
            del self.unanswered[target]
        self._context.registry.end(targets, error)


class Poller:
    """Polls for all waits with the same credentials, as long as there are any. It is made on the loop that it runs on.

    :param credentials: whose recordings are polled
    :param client: sends the requests; the poller closes it
    :param on_idle: is called when the last wait leaves, before the client is closed: nobody may join after that
    :param clock: seconds since the epoch
    """

    def __init__(
        self, credentials: Credentials, client: AsyncClient, on_idle: Callable[[], object], clock: Clock
    ) -> None:
        self.registry = WaiterRegistry()
        self._credentials = credentials
        self._context = PollContext(client, credentials.api, self.registry, ListCostModel(clock=clock))
        self._on_idle = on_idle
        self._loop = asyncio.get_running_loop()
        self._has_polled = False
        self._joined = asyncio.Event()
        self._wakes_at = math.inf
        self._task: asyncio.Task[None] | None = None

    async def wait(self, waiter: Waiter, log: Log) -> Event | None:
        """Wait to the end of a wait, and log each change of status.

        :returns: the event that ends the wait, or ``None`` when it must go on with other credentials
        """
        self._join(waiter)
        # The rate limit, or a server that does not answer, may hold the last poll back beyond the deadline.
        seconds_left = waiter.seconds_left()
        alarm = None if math.isinf(seconds_left) else self._loop.call_later(seconds_left, waiter.expire)
        try:
            while isinstance(message := await waiter.next_message(), str):
                await log(message)
            return None if message is Signal.CHANGE_POLLER else message
        finally:
            if alarm is not None:
                alarm.cancel()
            await self._leave(waiter)

    def _join(self, waiter: Waiter) -> None:
        now = self._loop.time()
        # The first waiters are polled together, and soon. One that joins later is polled after its interval: hundreds
        # that join one by one would otherwise cost a round each.
        delay = waiter.interval * _draw_interval_factor() if self._has_polled else min(waiter.interval, GATHER_SECONDS)
        if not waiter.is_over:
            waiter.due, waiter.answered_at = now + delay, now
        self.registry.add(waiter)
        if waiter.next_poll_at(now) < self._wakes_at:
            # Only then, because the poller searches all waiters when it wakes, which would be quadratic for thousands.
            self._joined.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="realtimekit-poller")

    async def _leave(self, waiter: Waiter) -> None:
        self.registry.remove(waiter)
        if not self.registry and self._task is not None:
            self._on_idle()
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self.registry:
                due = self.registry.next_poll_at(self._loop.time())
                if due <= self._loop.time():
                    await self._poll()
                    continue
                self._joined.clear()
                self._wakes_at = due
                # A waiter that joins meanwhile and is due earlier ends this sleep.
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(None if math.isinf(due) else due):
                        await self._joined.wait()
        finally:
            await self._context.client.close()

    async def _poll(self) -> None:
        """Run one round, and handle its errors."""
        now = self._loop.time()
        self._has_polled = True
        targets = self.registry.near_targets(now)
        oldest_answer = self.registry.oldest_answer(targets, now)
        poll_round = PollRound(self._context, targets, _draw_interval_factor())
        try:
            await poll_round.run()
        except RealtimeKitAuthError as error:
            self._report_round("refused", oldest_answer)
            await self._on_refusal(poll_round.unanswered, error)
        except RealtimeKitError as error:
            self._report_round("failed", oldest_answer)
            self._poll_again_soon(dict.fromkeys(poll_round.unanswered, error) | poll_round.errors)
        except Exception as error:  # a defect of this provider must not leave the waits hanging
            self._report_round("crashed", oldest_answer)
            self.registry.end(poll_round.unanswered, error)
        else:
            self._report_round("answered", oldest_answer)
            self._poll_again_soon(poll_round.errors)
            # The API accepted these credentials: should it refuse them later, that counts as a new refusal.
            for connection in self.registry.connections():
                connection.refused.clear()

    def _report_round(self, outcome: str, oldest_answer: float) -> None:
        Stats.incr(metrics.POLL_ROUNDS, tags={"outcome": outcome})
        Stats.gauge(metrics.STALENESS, self._loop.time() - oldest_answer)

    def _poll_again_soon(self, errors: Mapping[PollTarget, RealtimeKitError]) -> None:
        """Poll targets that failed again after a pause that grows with the outage."""
        if not errors:
            return
        # The same random pause for all: with different ones, each target would need a round of its own.
        now, draw = self._loop.time(), random.uniform(0.5, 1.0)
        for waiter in self.registry.with_targets(errors):
            waiter.due = now + draw * min(LONGEST_PAUSE, SHORTEST_PAUSE + waiter.failing_for(now))
            waiter.on_error(errors[waiter.target], now, self._credentials.retry_timeout)

    async def _on_refusal(self, targets: Iterable[PollTarget], error: RealtimeKitAuthError) -> None:
        """Read the connections again, because a token may have been rotated; end the waits that have no new one."""
        connections = list(self.registry.connections())
        found = await asyncio.gather(*(connection.read_again(self._credentials) for connection in connections))
        changed = dict(zip(connections, found, strict=True))
        for waiter in self.registry:
            if changed.get(waiter.connection) is True:
                waiter.change_poller()
        for waiter in self.registry.with_targets(targets):
            # A waiter whose connection was not read joined meanwhile, and is polled in the next round.
            if (result := changed.get(waiter.connection, True)) is not True:
                waiter.end(fault_event(result or error))


def _draw_interval_factor() -> float:
    # Jitter, so that the pollers of several triggerers do not poll in step. It only shortens the interval, because the
    # user was promised a poll at least that often.
    return random.uniform(0.85, 1.0)
