"""Pagination: which page of a list is requested next, which rows are new, and when the list ends.

The reference does not say which number the first page has, how long a page may be, or whether rows move while the list
is read. So nothing is computed from page numbers. Pages are requested one after the other, each recording is returned
once, and the list ends with an empty page, with a page without new rows, or where the server says that it ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import ValidationError

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.responses import parse_body
from airflow_provider_realtimekit.exceptions import RealtimeKitResponseError
from airflow_provider_realtimekit.models import ListQuery, Recording

# The reference states no largest page. A server with a smaller limit returns shorter pages, which do no harm.
PER_PAGE = 100


@dataclass(frozen=True)
class Page:
    """A page of recordings.

    :param recordings: its readable rows
    :param rows: how many rows it has, readable or not
    :param start_offset: the number of its first row in the list, from 1; ``None`` if the server does not say
    :param end_offset: the number of its last row; ``None`` if the server does not say
    :param total_count: how many rows the list has; ``None`` if the server does not say
    """

    recordings: tuple[Recording, ...]
    rows: int = 0
    start_offset: int | None = None
    end_offset: int | None = None
    total_count: int | None = None

    @classmethod
    def parse(cls, data: Any, paging: Any) -> Page:
        """Read a page; a row without an id is skipped.

        :param data: the rows
        :param paging: the answer's paging block, if it has one
        :raises RealtimeKitResponseError: when the data is not a list
        """
        if not isinstance(data, list):
            raise RealtimeKitResponseError(
                f"the data of a list of recordings is a {type(data).__name__}, not a list: check the connection's host"
            )
        recordings = []
        for row in data:
            try:
                recordings.append(Recording.model_validate(row))
            except ValidationError:
                continue
        offsets = []
        for key in ("start_offset", "end_offset", "total_count"):
            value = paging.get(key) if isinstance(paging, Mapping) else None
            offsets.append(int(value) if isinstance(value, int | float) and math.isfinite(value) else None)
        return cls(tuple(recordings), len(data), *offsets)

    @property
    def is_last(self) -> bool:
        """Whether this is the last page according to the server."""
        return self.end_offset is not None and self.total_count is not None and self.end_offset >= self.total_count


@dataclass
class PageWalk:
    """The state of one pass through a list.

    :param query: the filters
    :param url: the address of the list
    """

    query: ListQuery
    url: str
    is_done: bool = False
    _seen_ids: set[str] = field(default_factory=set)
    _returned: int = 0
    _page_number: int = 1
    _last_start_offset: int | None = None

    def next_page(self) -> Flow[Page]:
        """Fetch the next page: ``GET …/recordings``."""
        query = self.query
        is_filtered_here = bool(query.status)
        parameters: dict[str, Any] = {
            "page_no": self._page_number,
            "per_page": PER_PAGE if query.limit is None or is_filtered_here else min(query.limit, PER_PAGE),
            "sort_by": "invokedTime",
            "sort_order": query.sort_order,
            "meeting_id": query.meeting_id,
            "search": query.search,
            "expired": None if query.expired is None else str(query.expired).lower(),
            "start_time": query.start_time and query.start_time.isoformat(),
            "end_time": query.end_time and query.end_time.isoformat(),
            # The documents disagree on how several statuses are written (repeated, or with commas). One status is
            # sent; of several, the rows are filtered here.
            "status": next(iter(query.status)) if query.status and len(query.status) == 1 else None,
        }
        given = {key: value for key, value in parameters.items() if value is not None}
        body = parse_body((yield httpx.Request("GET", self.url, params=given, extensions={"operation": "list"})))
        return Page.parse(body["data"], body.get("paging"))

    def accept(self, page: Page) -> list[Recording]:
        """Return the new recordings of a page that match the filters, and decide whether another page follows.

        :param page: the page that the last :meth:`next_page` fetched
        """
        if self._page_number == 1 and self._is_second_page(page):
            self._page_number = 0
            return []
        new = [recording for recording in page.recordings if recording.id not in self._seen_ids]
        self._seen_ids.update(recording.id for recording in new)
        limit, statuses = self.query.limit, self.query.status
        wanted = [recording for recording in new if statuses is None or recording.status in statuses]
        if limit is not None:
            wanted = wanted[: limit - self._returned]
        self._returned += len(wanted)
        self._page_number += 1
        has_more = bool(new) or self._has_moved_on(page)
        self.is_done = page.is_last or self._returned == limit or not has_more
        self._last_start_offset = page.start_offset
        return wanted

    def _is_second_page(self, page: Page) -> bool:
        """Whether page 1 is the second page, because the server counts from 0. Its offsets show it."""
        if page.rows:
            return not self._seen_ids and page.start_offset is not None and page.start_offset > 1
        return not self._seen_ids and bool(page.total_count)

    def _has_moved_on(self, page: Page) -> bool:
        """Whether a page without new rows is further down the list than the page before."""
        # If the newest rows come first, rows that are added meanwhile move known rows onto the next page.
        if not page.rows or page.start_offset is None or page.end_offset is None or page.total_count is None:
            return False
        return self._last_start_offset is None or page.start_offset > self._last_start_offset
