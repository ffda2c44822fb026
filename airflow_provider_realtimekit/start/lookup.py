"""Look for the recording that a start led to, among those of its meeting; flows without I/O."""

from __future__ import annotations

import time

import pendulum

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.recordings import CLOCK_SLACK, RecordingsAPI
from airflow_provider_realtimekit.defaults import LONGEST_RECORDING_SECONDS
from airflow_provider_realtimekit.models import Recording
from airflow_provider_realtimekit.models.base import parse_timestamp
from airflow_provider_realtimekit.start.checkpoint import Checkpoint, StartSpec

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0


class Search:
    """A look at a meeting's recordings for those that an order may have led to.

    :raises RealtimeKitInputError: when the order has a value that is not allowed
    """

    def __init__(self, api: RecordingsAPI, order: StartSpec) -> None:
        self.api = api
        self.order = order
        self.request = order.check()
        self.meeting_id = self.request.meeting_id
        self.allows_several = bool(getattr(self.request, "allow_multiple_recordings", False))

    def running(self, *, surely: bool) -> Flow[Recording | None]:
        """Look through the meeting's recordings for one of the right kind that runs."""
        rows = yield from self.rows(pendulum.now("UTC").subtract(seconds=LONGEST_RECORDING_SECONDS))
        return next((row for row in rows if row.is_active and self.is_kind(row, surely=surely)), None)

    def look_for(
        self, since: pendulum.DateTime, seconds: float, until: pendulum.DateTime | None = None
    ) -> Flow[Recording | None]:
        """Look until a recording shows that was invoked since then (and until then), or the time is over."""
        give_up = time.monotonic() + seconds
        pause = min(_FIRST_PAUSE, seconds / 4)
        while True:
            recording = yield from self._find(since, until)
            if recording is not None or time.monotonic() >= give_up:
                return recording
            yield min(pause, max(0.0, give_up - time.monotonic()))
            pause = min(_LONGEST_PAUSE, 2 * pause)

    def look_for_claimed(self, claim: Checkpoint, seconds: float) -> Flow[Recording | None]:
        """Look for what the start that a claim speaks of led to."""
        since = parse_timestamp(claim.since)
        return (yield from self.look_for(since, seconds, self._latest(since)))

    def _latest(self, since: pendulum.DateTime) -> pendulum.DateTime:
        """Return when a recording was invoked at the latest that came of a start whose sender died.

        What was invoked later is somebody else's: a meeting may recur under one id.
        """
        return since + CLOCK_SLACK + pendulum.duration(seconds=2 * self.api.timeout)

    def _find(self, since: pendulum.DateTime, until: pendulum.DateTime | None) -> Flow[Recording | None]:
        if not self.order.tracks and not self.allows_several:
            active = yield from self.api.get_active_recording(self.meeting_id)
            if active is not None and _is_within(active, since, until) and self.is_kind(active):
                return active
        rows = [row for row in (yield from self.rows(since)) if _is_within(row, since, until)]
        return min((row for row in rows if self._is_named_so(row) and self.is_kind(row)), key=age, default=None)

    def rows(self, since: pendulum.DateTime) -> Flow[list[Recording]]:
        """Return the meeting's recordings that were invoked since then."""
        walk = self.api.list_recordings(meeting_id=self.meeting_id, start_time=since - CLOCK_SLACK)
        rows: list[Recording] = []
        while not walk.is_done:
            rows += [row for row in walk.accept((yield from walk.next_page())) if is_since(row, since)]
        return rows

    def _is_named_so(self, row: Recording) -> bool:
        # Of tracks, the prefix is in the names of the files of each layer, not in the recording's.
        prefix = getattr(self.request, "file_name_prefix", None)
        return not prefix or row.output_file_name is None or row.output_file_name.startswith(prefix)

    def is_kind(self, row: Recording, *, surely: bool = False) -> bool:
        """Whether a recording is of tracks if tracks are asked for, and composite otherwise.

        The API documents no field for it. One that it has is believed; else the name tells: tracks are ``.webm``,
        and so is a composite in VP8 or VP9, so that the name makes nothing *surely* one of tracks.
        """
        if row.type:
            return ("TRACK" in str(row.type).upper()) == self.order.tracks
        is_webm = (row.output_file_name or "").endswith(".webm")
        if self.order.tracks:
            return is_webm and not surely
        video = getattr(self.request, "video_config", None)
        return not is_webm or (video is not None and video.codec in ("VP8", "VP9"))


def is_since(row: Recording, since: pendulum.DateTime) -> bool:
    """Whether a recording was invoked at or after a time, for all that the API tells."""
    return row.invoked_time is None or row.invoked_time >= since


def _is_within(row: Recording, since: pendulum.DateTime, until: pendulum.DateTime | None) -> bool:
    return is_since(row, since) and (until is None or row.invoked_time is None or row.invoked_time <= until)


def age(row: Recording) -> tuple[pendulum.DateTime, str]:
    """Return what sorts recordings, the one that was invoked first before the others."""
    return row.invoked_time or pendulum.DateTime.max.replace(tzinfo=pendulum.UTC), row.id
