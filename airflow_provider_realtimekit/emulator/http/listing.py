"""Lists of recordings: which query parameters are valid, which recordings match, and what is on which page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator

from airflow_provider_realtimekit.emulator.http.emulator import Emulator
from airflow_provider_realtimekit.emulator.http.errors import ApiError
from airflow_provider_realtimekit.emulator.http.signed_links import SignedLinks
from airflow_provider_realtimekit.emulator.world.models import Owner, Recording

StatusName = Literal["INVOKED", "RECORDING", "UPLOADING", "UPLOADED", "ERRORED", "PAUSED"]


class ListQuery(BaseModel):
    """The query of a list."""

    meeting_id: str | None = None
    search: str | None = None
    status: list[StatusName] | None = None
    expired: bool | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    page_no: int | None = None
    per_page: Annotated[int, Field(ge=1)] | None = None
    sort_by: Literal["invokedTime"] = "invokedTime"
    sort_order: Literal["ASC", "DESC"] = "DESC"

    @field_validator("status", mode="before")
    @classmethod
    def _split_statuses(cls, value: Any) -> Any:
        # Cloudflare's SDKs repeat the parameter, an older document separates statuses by commas: both are accepted.
        return [part for item in value for part in item.split(",")] if isinstance(value, list) else value

    @field_validator("start_time", "end_time")
    @classmethod
    def _assume_utc(cls, value: datetime | None) -> datetime | None:
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value

    def matches(self, recording: Recording, links: SignedLinks) -> bool:
        """Return whether a recording passes all filters; both ends of the time range belong to it."""
        if self.meeting_id is not None and recording.meeting.id != self.meeting_id:
            return False
        if self.status is not None and recording.status not in self.status:
            return False
        if self.expired is not None and links.is_expired(recording) is not self.expired:
            return False
        # The reference does not name the timestamp of the range. It sorts by this one.
        if self.start_time is not None and recording.invoked_at < self.start_time.timestamp():
            return False
        if self.end_time is not None and recording.invoked_at > self.end_time.timestamp():
            return False
        # The reference: "You can search using the meeting ID or title."
        words = (self.search or "").casefold()
        return words in recording.meeting.id.casefold() or words in recording.meeting.title.casefold()


@dataclass(frozen=True)
class Page:
    """One page of a list: its recordings, how many come before them, and how many there are on all pages."""

    recordings: list[Recording]
    skipped: int
    total_count: int

    def paging(self) -> dict[str, int]:
        """Return the paging block of the answer.

        Offsets count from 1 and include both ends, so an empty page ends before it starts.
        """
        end_offset = self.skipped + len(self.recordings)
        return {"total_count": self.total_count, "start_offset": self.skipped + 1, "end_offset": end_offset}


def list_page(emulator: Emulator, owner: Owner, query: ListQuery) -> Page:
    """Return the page of an owner's recordings that a query asks for.

    :raises ApiError: if there is no page with that number
    """
    settings = emulator.settings
    number = settings.first_page if query.page_no is None else query.page_no
    if number < settings.first_page:
        raise ApiError(400, f"page_no: must be at least {settings.first_page}")
    # A page size over the limit is not refused but reduced, which a client sees only in the answer.
    size = min(query.per_page or settings.per_page, settings.max_per_page)
    skipped = (number - settings.first_page) * size
    recordings, total_count = emulator.world.page(
        owner,
        lambda recording: query.matches(recording, emulator.links),
        slice(skipped, skipped + size),
        newest_first=query.sort_order == "DESC",
    )
    return Page(recordings, skipped, total_count)
