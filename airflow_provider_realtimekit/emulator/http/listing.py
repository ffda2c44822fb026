"""Lists of recordings: filters, order and pages."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_realtimekit.emulator.http.emulator import Emulator
from airflow_provider_realtimekit.emulator.http.errors import ApiError
from airflow_provider_realtimekit.emulator.http.request_bodies import ListQuery
from airflow_provider_realtimekit.emulator.world.models import Owner, Recording


@dataclass(frozen=True)
class Page:
    """One page; offsets are counted from 1 and include both ends, so an empty page ends before it starts."""

    recordings: list[Recording]
    skipped: int
    total_count: int

    def paging(self) -> dict[str, int]:
        """Return the paging block of the answer."""
        end_offset = self.skipped + len(self.recordings)
        return {"total_count": self.total_count, "start_offset": self.skipped + 1, "end_offset": end_offset}


def list_page(emulator: Emulator, owner: Owner, query: ListQuery) -> Page:
    """Return the page that a query asks for."""
    settings = emulator.settings
    number = settings.first_page if query.page_no is None else query.page_no
    if number < settings.first_page:
        raise ApiError(400, f"page_no: must be at least {settings.first_page}")
    # More than the most is not refused but cut down, which a client can only learn from what comes back.
    size = min(query.per_page or settings.per_page, settings.max_per_page)
    skipped = (number - settings.first_page) * size
    recordings, total_count = emulator.world.page(
        owner,
        lambda recording: _matches(emulator, query, recording),
        slice(skipped, skipped + size),
        newest_first=query.sort_order == "DESC",
    )
    return Page(recordings, skipped, total_count)


def _matches(emulator: Emulator, query: ListQuery, recording: Recording) -> bool:
    if query.meeting_id is not None and recording.meeting.id != query.meeting_id:
        return False
    if query.status is not None and recording.status not in query.status:
        return False
    if query.expired is not None and emulator.links.is_expired(recording) is not query.expired:
        return False
    return _in_time(query, recording) and _found(query, recording)


def _in_time(query: ListQuery, recording: Recording) -> bool:
    """Return whether a recording was invoked between the two times, both included."""
    after = query.start_time is None or recording.invoked_at >= query.start_time.timestamp()
    return after and (query.end_time is None or recording.invoked_at <= query.end_time.timestamp())


def _found(query: ListQuery, recording: Recording) -> bool:
    words = (query.search or "").casefold()
    return words in recording.meeting.id.casefold() or words in recording.meeting.title.casefold()
