"""Walk the list of recordings, trusting what comes back and not arithmetic.

Which number the first page has, how long a page may be and whether it shifts under the walk is the server's to
say and nowhere written down. So the walk asks for page after page, keeps each recording once, and ends on an
empty page, on a page that shows nothing new, or when the server says that its end is reached. A first page that
has the number 0 shows in the offsets, which the reference promises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import ValidationError

from airflow_provider_realtimekit.exceptions import RealtimeKitResponseError
from airflow_provider_realtimekit.models import ListQuery, Recording

PER_PAGE = 100
FetchPage = Callable[[Mapping[str, Any]], "Generator[httpx.Request | float, httpx.Response, Page]"]


@dataclass(frozen=True)
class Page:
    """A page of recordings; the offsets and the total are ``None`` where the server did not say."""

    recordings: tuple[Recording, ...]
    rows: int = 0
    start_offset: int | None = None
    end_offset: int | None = None
    total_count: int | None = None

    @classmethod
    def read(cls, data: Any, paging: Any) -> Page:
        """Read a page; a row without an id is passed over."""
        if not isinstance(data, list):
            raise RealtimeKitResponseError("the answer to a list holds no list")
        offsets = paging if isinstance(paging, Mapping) else {}
        return cls(tuple(_rows(data)), len(data), *(_whole(offsets.get(key)) for key in _OFFSETS))

    @property
    def is_last(self) -> bool:
        """Whether the server says that nothing follows."""
        return self.end_offset is not None and self.total_count is not None and self.end_offset >= self.total_count


_OFFSETS = ("start_offset", "end_offset", "total_count")


@dataclass
class PageWalk:
    """The state of one walk: what to ask for next, and what was seen.

    :param query: the filters
    :param fetch: the flow that fetches a page
    """

    query: ListQuery
    fetch: FetchPage
    seen: set[str] = field(default_factory=set)
    taken: int = 0
    done: bool = False
    _next: int = 1
    _reached: int | None = None

    def next_page(self) -> Generator[httpx.Request | float, httpx.Response, Page]:
        """Return the flow that fetches the next page."""
        return self.fetch(self._params())

    def take(self, page: Page) -> list[Recording]:
        """Return what is new on a page and asked for, and decide whether the walk goes on."""
        if self._next == 1 and self._counts_from_zero(page):
            self._next = 0
            return []
        new = [recording for recording in page.recordings if recording.id not in self.seen]
        self.seen.update(recording.id for recording in new)
        wanted = [recording for recording in new if self._wants(recording)][: self._left()]
        self.taken += len(wanted)
        self._next += 1
        self.done = page.is_last or self._left() == 0 or not (new or self._moves_on(page))
        self._reached = page.start_offset
        return wanted

    def _moves_on(self, page: Page) -> bool:
        """Whether a page that shows nothing new still leads on: rows that came in pushed it back onto the last one."""
        if not page.rows or page.start_offset is None or page.end_offset is None or page.total_count is None:
            return False
        return self._reached is None or page.start_offset > self._reached

    def _left(self) -> int | None:
        return None if self.query.limit is None else self.query.limit - self.taken

    def _counts_from_zero(self, page: Page) -> bool:
        """Whether page 1 turned out to be the second one, before anything was taken."""
        if self.seen:
            return False
        if page.rows:
            return page.start_offset is not None and page.start_offset > 1
        return bool(page.total_count)

    def _wants(self, recording: Recording) -> bool:
        return self.query.status is None or recording.status in self.query.status

    def _params(self) -> dict[str, Any]:
        query = self.query
        params: dict[str, Any] = {
            "page_no": self._next,
            "per_page": PER_PAGE if query.limit is None or query.status else min(query.limit, PER_PAGE),
            "sort_by": "invokedTime",
            "sort_order": query.sort_order,
            "meeting_id": query.meeting_id,
            "search": query.search,
            "expired": None if query.expired is None else str(query.expired).lower(),
            "start_time": query.start_time and query.start_time.isoformat(),
            "end_time": query.end_time and query.end_time.isoformat(),
            # How several are written, the server may read either way: one goes to it, more are sifted here.
            "status": next(iter(query.status)) if query.status and len(query.status) == 1 else None,
        }
        return {key: value for key, value in params.items() if value is not None}


def _rows(data: list[Any]) -> Iterator[Recording]:
    for row in data:
        try:
            yield Recording.model_validate(row)
        except ValidationError:
            continue


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else None
