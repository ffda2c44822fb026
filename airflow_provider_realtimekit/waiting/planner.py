"""How one round of looks sees everything that is awaited at the price of few requests.

A round is a flow: recordings are read from list pages while that is cheaper than asking for each, and whatever the
pages did not show is asked for by itself. What is cheaper is judged by what the last lists really held: how many rows
a page has, and when the rows were invoked, are the server's to say.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pendulum

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.pagination import PER_PAGE, Page, PageWalk
from airflow_provider_realtimekit.api.recordings import CLOCK_SLACK, RecordingsAPI
from airflow_provider_realtimekit.defaults import LONGEST_RECORDING_SECONDS
from airflow_provider_realtimekit.models import Recording
from airflow_provider_realtimekit.models.base import parse_timestamp
from airflow_provider_realtimekit.waiting.outcome import Wait, look

_SLACK = CLOCK_SLACK.total_seconds()
# How many recordings are shown before others get their turn on the loop.
_AT_ONCE = 50
# How many rows, older than those that are listed now, are remembered to evaluate what a longer list would cost.
_MOST_REMEMBERED = 20_000


@dataclass(frozen=True)
class Subject:
    """What a wait looks for, however many wait for it.

    :param recording_id: the recording, or
    :param meeting_id: the meeting whose newest recording is meant, of those invoked at or after
    :param invoked_after: this time
    :param since: when what is looked for was invoked at the earliest, as far as is known, in seconds since the epoch
    """

    recording_id: str | None
    meeting_id: str | None
    invoked_after: str | None
    since: float = field(compare=False)

    @classmethod
    def of(cls, wait: Wait) -> Subject:
        """Read it off a wait."""
        since = (
            parse_timestamp(wait.invoked_after).timestamp()
            if wait.invoked_after
            else time.time() - LONGEST_RECORDING_SECONDS
        )
        # Of a recording, the time is a hint and tells no two subjects apart.
        return cls(wait.recording_id, wait.meeting_id, wait.invoked_after if wait.meeting_id else None, since)

    def matches(self, recording: Recording) -> bool:
        """Whether a recording is what is looked for, or one of the candidates."""
        if self.recording_id:
            return recording.id == self.recording_id
        if self.meeting_id != recording.meeting_id:
            return False
        return recording.invoked_time is not None and recording.invoked_time.timestamp() >= self.since


@dataclass
class Economy:
    """What the last lists taught about the price of the next one.

    :param page_rows: how many rows a page has
    :param invoked: when the rows that lists showed were invoked, in order; all times are seconds since the epoch
    :param known_since: from when on ``invoked`` is complete
    :param total: what a list that was not read to its end said of how many rows there are, and since when
    """

    page_rows: int = PER_PAGE
    invoked: list[float] = field(default_factory=list)
    known_since: float | None = None
    total: tuple[float, int] | None = None

    def pages_since(self, since: float, at_least: int) -> int:
        """Estimate the pages that a list from ``since`` on takes; it shows ``at_least`` so many rows."""
        begin = since - _SLACK
        rows = len(self.invoked) - bisect_left(self.invoked, begin)
        if self.total and (self.known_since is None or begin < self.known_since):
            rows = max(rows, self._share_of_total(begin, *self.total))
        return math.ceil(max(at_least, rows) / self.page_rows)

    def learn(self, begin: float, invoked: Iterable[float], longest_page: int) -> None:
        """Remember what a list that was read to its end showed; what is older than it stays known."""
        older = self.invoked[: bisect_left(self.invoked, begin)][-_MOST_REMEMBERED:]
        self.invoked = older + sorted(invoked)
        if self.known_since is None or begin < self.known_since:
            self.known_since = begin
        self.page_rows = max(1, longest_page)

    def learn_total(self, begin: float, total: int, page_rows: int) -> None:
        """Remember how many rows there are since a time, from a list that was not worth reading on."""
        self.total = (begin, total)
        self.page_rows = max(1, page_rows)

    def cut(self, subjects: Sequence[Subject]) -> int:
        """Return how many of the oldest to ask for one by one, so that the whole costs least.

        :param subjects: sorted by age, the oldest first
        """
        whole = len(subjects)
        costs = [asked + self.pages_since(subjects[asked].since, whole - asked) for asked in range(whole)]
        best = min(range(whole), key=costs.__getitem__, default=0)
        return best if costs and costs[best] < whole else whole

    def _share_of_total(self, begin: float, total_since: float, total: int) -> int:
        """Estimate the rows since a time, as if all had been invoked at an even pace."""
        if begin <= total_since:
            return total
        now = time.time()
        return math.ceil(total * max(0.0, now - begin) / max(1.0, now - total_since))


Show = Callable[[Subject, Recording | None], None]


def plan(subjects: Iterable[Subject], economy: Economy) -> tuple[list[Subject], list[Subject]]:
    """Divide what is looked for into what to ask for one by one, and what to read from a list."""
    by_age = sorted(subjects, key=lambda subject: subject.since)
    cut = economy.cut(by_age)
    return by_age[:cut], by_age[cut:]


def read_list(api: RecordingsAPI, subjects: Sequence[Subject], economy: Economy, show: Show) -> Flow[None]:
    """Look for subjects on list pages and show each that is found; what was not must be asked for by itself.

    No page is kept: thousands of rows that live as long as a round would bring on full garbage collections, each of
    which holds up the loop.
    """
    begin = min(subject.since for subject in subjects) - _SLACK
    walk = api.list_recordings(start_time=pendulum.from_timestamp(begin))
    wanted = _Wanted(subjects)
    while not walk.is_done:
        total = yield from _read_page(walk, wanted, show)
        if total is not None:
            economy.learn_total(begin, total, wanted.longest_page)
            return
    economy.learn(begin, wanted.invoked, wanted.longest_page)
    yield from _in_turns(wanted.settled(), show)


def _read_page(walk: PageWalk, wanted: _Wanted, show: Show) -> Flow[int | None]:
    """Read a page; return how many rows there are in all if it is not worth reading on."""
    page = yield from walk.next_page()
    yield from _in_turns(wanted.pick(walk.accept(page), page), show)
    is_enough = not walk.is_done and (wanted.has_all or _is_dearer(page, wanted.missing))
    return page.total_count or 0 if is_enough else None


def _in_turns(found: Iterable[tuple[Subject, Recording | None]], show: Show) -> Flow[None]:
    """Show what was found, with turns for others between."""
    for count, (subject, recording) in enumerate(found, start=1):
        show(subject, recording)
        if count % _AT_ONCE == 0:
            yield 0.0


def ask(api: RecordingsAPI, subject: Subject) -> Flow[Recording | None]:
    """Look for one subject by itself."""
    return look(api, Wait(subject.recording_id, subject.meeting_id, subject.invoked_after))


def _is_dearer(page: Page, missing: int) -> bool:
    """Whether reading on costs more requests than asking for what is missing."""
    if not page.rows or page.end_offset is None or page.total_count is None:
        return False
    return math.ceil((page.total_count - page.end_offset) / page.rows) > missing


class _Wanted:
    """The subjects by what a row can be matched with, and what the pages of one walk showed of them."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self.missing = len(subjects)
        self.invoked: list[float] = []
        self.longest_page = 0
        self._ids = {subject.recording_id: subject for subject in subjects if subject.recording_id}
        self._meetings: dict[str, list[Subject]] = {}
        for subject in subjects:
            if subject.meeting_id:
                self._meetings.setdefault(subject.meeting_id, []).append(subject)
        self._newest: dict[Subject, Recording] = {}
        self._total = 0
        self._may_settle = True

    @property
    def has_all(self) -> bool:
        """Whether nothing is left to find; which recording of a meeting is the newest shows at the end only."""
        return self.missing == 0 and not self._meetings

    def pick(self, rows: Sequence[Recording], page: Page) -> Iterator[tuple[Subject, Recording]]:
        """Match a page's rows with recordings; note the candidates for meetings."""
        self.longest_page = max(self.longest_page, page.rows)
        self.invoked += [row.invoked_time.timestamp() for row in rows if row.invoked_time]
        total = self._total if page.total_count is None else page.total_count
        # Where rows went meanwhile, others moved up onto pages that were read before, and were not seen.
        if total < self._total or not all(row.meeting_id for row in rows):
            self._may_settle = False
        self._total = total
        for row in rows:
            self._consider(row)
            if subject := self._ids.get(row.id):
                self.missing -= 1
                yield subject, row

    def settled(self) -> Iterator[tuple[Subject, Recording | None]]:
        """Return the newest of each meeting, after a list that was read to its end and surely showed them all."""
        if self._may_settle:
            for subjects in self._meetings.values():
                yield from ((subject, self._newest.get(subject)) for subject in subjects)

    def _consider(self, row: Recording) -> None:
        for candidate in self._meetings.get(row.meeting_id or "", ()):
            best = self._newest.get(candidate)
            if candidate.matches(row) and (best is None or _is_newer(row, best)):
                self._newest[candidate] = row


def _is_newer(row: Recording, other: Recording) -> bool:
    return bool(row.invoked_time and other.invoked_time and row.invoked_time >= other.invoked_time)
