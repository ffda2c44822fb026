"""One round of looks: asks the API for everything that is near its time, and hands out what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airflow_provider_realtimekit.api.client import AsyncClient
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
from airflow_provider_realtimekit.waiting.book import Book
from airflow_provider_realtimekit.waiting.planner import Economy, Subject, ask, plan, read_list

IN_FLIGHT = 5


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
