"""Finds the recording that a start led to, among the recordings of its meeting.

Used when a start got no clear answer, or when its sender died before it could store the answer. Flows without I/O.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pendulum

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.recordings import CLOCK_SLACK, RecordingsAPI
from airflow_provider_realtimekit.defaults import LONGEST_RECORDING_SECONDS
from airflow_provider_realtimekit.models import Recording, StartRecordingRequest, StartTrackRecordingRequest
from airflow_provider_realtimekit.models.base import parse_timestamp
from airflow_provider_realtimekit.start.checkpoint import Checkpoint

# Seconds between two requests that wait for a change at the server: doubled each time, up to the second number.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0

StartRequest = StartRecordingRequest | StartTrackRecordingRequest


def check_start(arguments: Mapping[str, Any], *, is_tracks: bool) -> StartRequest:
    """Check the arguments of a start; nothing is sent.

    :raises RealtimeKitInputError: naming the argument, its value and what is allowed
    """
    model = StartTrackRecordingRequest if is_tracks else StartRecordingRequest
    return model.checked(**arguments)


class RecordingLookup:
    """Looks for the recording of one start.

    :param request: the start, whose meeting, kind and file name prefix the recording must match
    """

    def __init__(self, api: RecordingsAPI, request: StartRequest) -> None:
        self.api = api
        self.request = request
        self.meeting_id = request.meeting_id
        self.is_tracks = isinstance(request, StartTrackRecordingRequest)
        self.allows_several = bool(getattr(request, "allow_multiple_recordings", False))
        #: Seconds after which a start can take no effect any more. A request may take ``timeout`` seconds, and the
        #: server may go on with it for as long again when nobody waits for the answer.
        self.max_start_seconds = 2 * api.timeout

    def wait_until_found(
        self, since: pendulum.DateTime, seconds: float, until: pendulum.DateTime | None = None
    ) -> Flow[Recording | None]:
        """Ask again and again until the recording of the start shows up; ``None`` if it does not.

        :param since: time at which it was invoked at the earliest
        :param seconds: how long to ask; the first request is sent in any case
        :param until: time at which it was invoked at the latest (default: any)
        """
        deadline = time.monotonic() + seconds
        pause = min(FIRST_PAUSE, seconds / 4)
        while True:
            recording = yield from self._find(since, until)
            if recording is not None or time.monotonic() >= deadline:
                return recording
            yield min(pause, max(0.0, deadline - time.monotonic()))
            pause = min(LONGEST_PAUSE, 2 * pause)

    def find_interrupted(self, checkpoint: Checkpoint, seconds: float) -> Flow[Recording | None]:
        """Find the recording of a start that was interrupted before the recording's id was known.

        :param seconds: how long to ask
        """
        since = parse_timestamp(checkpoint.since)
        # Whatever was invoked later is somebody else's: one meeting id may be used for many meetings.
        until = since + CLOCK_SLACK + pendulum.duration(seconds=self.max_start_seconds)
        return (yield from self.wait_until_found(since, seconds, until))

    def find_active(self, *, is_certain: bool) -> Flow[Recording | None]:
        """Find an active recording of the right kind; for ``is_certain`` see :meth:`is_right_kind`."""
        since = pendulum.now("UTC").subtract(seconds=LONGEST_RECORDING_SECONDS)
        rows = yield from self.list_invoked_since(since)
        return next((row for row in rows if row.is_active and self.is_right_kind(row, is_certain=is_certain)), None)

    def list_invoked_since(self, since: pendulum.DateTime) -> Flow[list[Recording]]:
        """Return the meeting's recordings that were invoked at or after a time."""
        walk = self.api.list_recordings(meeting_id=self.meeting_id, start_time=since - CLOCK_SLACK)
        rows: list[Recording] = []
        while not walk.done:
            rows += [row for row in walk.take((yield from walk.next_page())) if is_invoked_between(row, since)]
        return rows

    def is_right_kind(self, row: Recording, *, is_certain: bool = False) -> bool:
        """Whether a recording is of tracks if tracks are asked for, and composite otherwise.

        :param is_certain: whether the name of the file alone does not make it a recording of tracks
        """
        # The API documents no field for the kind. `type` occurs in some answers, and is the better source.
        if row.type:
            return ("TRACK" in str(row.type).upper()) == self.is_tracks
        # Tracks are .webm files, but so is a composite recording in VP8 or VP9.
        is_webm = (row.output_file_name or "").endswith(".webm")
        if self.is_tracks:
            return is_webm and not is_certain
        video = getattr(self.request, "video_config", None)
        return not is_webm or (video is not None and video.codec in ("VP8", "VP9"))

    def _find(self, since: pendulum.DateTime, until: pendulum.DateTime | None) -> Flow[Recording | None]:
        if not self.is_tracks and not self.allows_several:
            # One cheap request finds it as a rule: only one composite recording can be active.
            active = yield from self.api.get_active_recording(self.meeting_id)
            if active is not None and is_invoked_between(active, since, until) and self.is_right_kind(active):
                return active
        # Only a composite recording has the prefix in its name. For tracks it is in the names of the layers' files.
        prefix = getattr(self.request, "file_name_prefix", None)
        candidates = [
            row
            for row in (yield from self.list_invoked_since(since))
            if is_invoked_between(row, since, until)
            and (not prefix or row.output_file_name is None or row.output_file_name.startswith(prefix))
            and self.is_right_kind(row)
        ]
        return min(candidates, key=by_invocation, default=None)


def is_invoked_between(row: Recording, since: pendulum.DateTime, until: pendulum.DateTime | None = None) -> bool:
    """Whether a recording was invoked in that time; one without ``invoked_time`` may have been."""
    return row.invoked_time is None or (row.invoked_time >= since and (until is None or row.invoked_time <= until))


def by_invocation(row: Recording) -> tuple[pendulum.DateTime, str]:
    """Sort key: the recording that was invoked first comes first. Equal times are decided by the id."""
    return row.invoked_time or pendulum.DateTime.max.replace(tzinfo=pendulum.UTC), row.id
