"""How one poll round reads all awaited recordings with few requests: list pages, or a GET for each recording.

A list page shows up to 100 recordings, so it is cheaper when many are awaited that were invoked at about the same
time. :class:`ListCostModel` learns from each list what the next one will cost; :func:`plan` compares.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pendulum

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.pagination import PER_PAGE, Page
from airflow_provider_realtimekit.api.recordings import CLOCK_SLACK, RecordingsAPI
from airflow_provider_realtimekit.defaults import LONGEST_RECORDING_SECONDS
from airflow_provider_realtimekit.models import Recording
from airflow_provider_realtimekit.models.base import parse_timestamp
from airflow_provider_realtimekit.waiting.outcome import Clock, Wait

_CLOCK_SLACK_SECONDS = CLOCK_SLACK.total_seconds()
# Delivering all results of a long list at once would block the loop. After this many, other tasks can run.
_BATCH = 50
# Rows older than the current list that the cost model remembers: over a week of 100 recordings an hour, in 640 KB.
_MAX_OLDER_ROWS = 20_000


@dataclass(frozen=True)
class PollTarget:
    """A recording or a meeting that is polled. Several waits may have the same target.

    :param recording_id: the recording; or
    :param meeting_id: the meeting; its newest recording is meant, of those invoked at or after
    :param invoked_after: this time
    :param since: the earliest time at which the target may have been invoked, in seconds since the epoch
    """

    recording_id: str | None
    meeting_id: str | None
    invoked_after: str | None
    since: float = field(compare=False)

    @classmethod
    def of(cls, wait: Wait, clock: Clock = time.time) -> PollTarget:
        """Return the target of a wait."""
        # A recording that is older than the longest one cannot be awaited any more.
        since = (
            parse_timestamp(wait.invoked_after).timestamp()
            if wait.invoked_after
            else clock() - LONGEST_RECORDING_SECONDS
        )
        # With a recording's id the time is a hint only, and must not make two targets of one recording.
        return cls(wait.recording_id, wait.meeting_id, wait.invoked_after if wait.meeting_id else None, since)

    def matches(self, recording: Recording) -> bool:
        """Whether a recording is the target, or for a meeting one of the candidates."""
        if self.recording_id:
            return recording.id == self.recording_id
        if self.meeting_id != recording.meeting_id:
            return False
        return recording.invoked_time is not None and recording.invoked_time.timestamp() >= self.since


@dataclass
class ListCostModel:
    """Estimates the number of pages of a list from earlier lists. All times are seconds since the epoch.

    :param page_rows: how many rows a page has; the server decides
    :param invoked: sorted times at which the rows of earlier lists were invoked
    :param known_since: the time from which on ``invoked`` is complete (``None``: no list was read to its end)
    :param total: of a list that was not read to its end: the time from which it began, and its number of rows
    """

    page_rows: int = PER_PAGE
    invoked: list[float] = field(default_factory=list)
    known_since: float | None = None
    total: tuple[float, int] | None = None
    clock: Clock = time.time

    def pages_since(self, since: float, at_least: int) -> int:
        """Estimate the pages of a list from ``since`` on that has at least ``at_least`` rows."""
        begin = since - _CLOCK_SLACK_SECONDS
        rows = len(self.invoked) - bisect_left(self.invoked, begin)
        if self.total and (self.known_since is None or begin < self.known_since):
            total_since, total = self.total
            if begin > total_since:
                # Only the sum is known: estimate as if the recordings had been invoked at equal intervals.
                now = self.clock()
                total = math.ceil(total * max(0.0, now - begin) / max(1.0, now - total_since))
            rows = max(rows, total)
        return math.ceil(max(at_least, rows) / self.page_rows)

    def learn(self, begin: float, invoked: Iterable[float], longest_page: int) -> None:
        """Learn from a list that was read to its end.

        :param begin: the time from which the list began
        :param invoked: when its rows were invoked
        :param longest_page: how many rows its longest page had
        """
        older = self.invoked[: bisect_left(self.invoked, begin)][-_MAX_OLDER_ROWS:]
        self.invoked = older + sorted(invoked)
        if self.known_since is None or begin < self.known_since:
            self.known_since = begin
        self.page_rows = max(1, longest_page)

    def learn_total(self, begin: float, total: int, longest_page: int) -> None:
        """Learn the number of rows of a list that was not read to its end."""
        self.total = (begin, total)
        self.page_rows = max(1, longest_page)


def plan(targets: Iterable[PollTarget], costs: ListCostModel) -> tuple[list[PollTarget], list[PollTarget]]:
    """Divide the targets into those to get one by one and those to find on list pages, so that the sum is cheapest."""
    by_age = sorted(targets, key=lambda target: target.since)
    count = len(by_age)
    if count < 2:
        # A list costs a request, too: never fewer than the one GET.
        return by_age, []
    # A list begins at its oldest target, so a few old ones may cost many pages: get these one by one.
    prices = [gets + costs.pages_since(by_age[gets].since, count - gets) for gets in range(count)]
    gets = min(range(count), key=prices.__getitem__)
    if prices[gets] >= count:
        gets = count
    return by_age[:gets], by_age[gets:]


OnResult = Callable[[PollTarget, Recording | None], None]


def poll_list(
    api: RecordingsAPI, targets: Sequence[PollTarget], costs: ListCostModel, on_result: OnResult
) -> Flow[None]:
    """Find targets on list pages and pass each result on. A target without a result needs a GET of its own.

    :param on_result: is called with a target and its recording
    """
    # Results are passed on after each page. Thousands of rows that exist for a complete round would cause full garbage
    # collections, and each of these blocks the loop.
    begin = min(target.since for target in targets) - _CLOCK_SLACK_SECONDS
    walk = api.list_recordings(start_time=pendulum.from_timestamp(begin))
    matcher = _ListMatcher(targets)
    while not walk.is_done:
        page = yield from walk.next_page()
        yield from _pass_on(matcher.match(walk.accept(page), page), on_result)
        if not walk.is_done and (matcher.is_complete or _costs_more_than_gets(page, matcher.missing)):
            costs.learn_total(begin, page.total_count or 0, matcher.longest_page)
            return
        # The recordings of a page use up to a megabyte: free them before the next page is fetched.
        del page
    costs.learn(begin, matcher.invoked, matcher.longest_page)
    yield from _pass_on(matcher.newest_of_meetings(), on_result)


def _pass_on(results: Iterable[tuple[PollTarget, Recording | None]], on_result: OnResult) -> Flow[None]:
    for count, (target, recording) in enumerate(results, start=1):
        on_result(target, recording)
        if count % _BATCH == 0:
            yield 0.0  # a sleep of no length, so that other tasks on the loop can run


def _costs_more_than_gets(page: Page, missing: int) -> bool:
    """Whether the rest of the list costs more requests than a GET for each target that is still missing."""
    if not page.rows or page.end_offset is None or page.total_count is None:
        return False
    return math.ceil((page.total_count - page.end_offset) / page.rows) > missing


class _ListMatcher:
    """Matches the rows of one list with the targets.

    :param targets: what to find

    ``missing`` counts the targets that no row has matched yet; ``invoked`` and ``longest_page`` are for the cost model.
    """

    def __init__(self, targets: Sequence[PollTarget]) -> None:
        self.missing = len(targets)
        self.invoked: list[float] = []
        self.longest_page = 0
        self._by_id = {target.recording_id: target for target in targets if target.recording_id}
        self._by_meeting: dict[str, list[PollTarget]] = {}
        for target in targets:
            if target.meeting_id:
                self._by_meeting.setdefault(target.meeting_id, []).append(target)
        self._newest: dict[PollTarget, Recording] = {}
        self._total = 0
        self._saw_all_rows = True

    @property
    def is_complete(self) -> bool:
        """Whether every target is found. A meeting's never is: a later page may show a newer recording."""
        return self.missing == 0 and not self._by_meeting

    def match(self, rows: Sequence[Recording], page: Page) -> Iterator[tuple[PollTarget, Recording]]:
        """Yield the targets that the page's new rows match by id, and note the candidates for meetings."""
        self.longest_page = max(self.longest_page, page.rows)
        self.invoked += [row.invoked_time.timestamp() for row in rows if row.invoked_time]
        total = self._total if page.total_count is None else page.total_count
        # If rows were removed since the last page, later ones moved onto pages that were already read: one may be
        # missed.
        # Rows that do not name their meeting match none.
        if total < self._total or not all(row.meeting_id for row in rows):
            self._saw_all_rows = False
        self._total = total
        for row in rows:
            for target in self._by_meeting.get(row.meeting_id or "", ()):
                newest = self._newest.get(target)
                if target.matches(row) and (newest is None or _is_newer(row, newest)):
                    self._newest[target] = row
            if target_by_id := self._by_id.get(row.id):
                self.missing -= 1
                yield target_by_id, row

    def newest_of_meetings(self) -> Iterator[tuple[PollTarget, Recording | None]]:
        """Yield each meeting's target with its newest recording; nothing when the list may have missed a row."""
        if self._saw_all_rows:
            for targets in self._by_meeting.values():
                yield from ((target, self._newest.get(target)) for target in targets)


def _is_newer(row: Recording, other: Recording) -> bool:
    return bool(row.invoked_time and other.invoked_time and row.invoked_time >= other.invoked_time)
