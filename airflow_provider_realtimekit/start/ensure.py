"""Starts a recording exactly once, although the API has no idempotency key. Flows without I/O.

1. *Resume.* The recording of an earlier try is used again, unless it ended in ERRORED or was abandoned.
2. *Reuse.* If the meeting is being recorded, that recording is used, or refused, as ``if_active`` says.
3. *Start.* A checkpoint is saved, and one start is sent. If its answer is not clear, the meeting's recordings are read
   for as long as the start may still take effect (*reconcile*). Only if none shows up is the start sent once more.
4. *Resolve duplicates.* If two tasks started at the same time, the recording that was invoked first stays, and the
   other one is stopped.

The checkpoint (see :mod:`.checkpoint`) is saved before the start is sent, and again once the recording's id is known.
The last part of the class finds the recording of a start among those of its meeting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pendulum

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.recordings import CLOCK_SLACK, DATE_SLACK, RecordingsAPI
from airflow_provider_realtimekit.defaults import LONGEST_RECORDING_SECONDS
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitAuthError,
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitInputError,
    RealtimeKitNotFoundError,
    RealtimeKitRateLimitError,
    RealtimeKitRouteError,
    RecordingActiveError,
    StartOutcomeUnknownError,
)
from airflow_provider_realtimekit.models import Recording, RecordingStatus
from airflow_provider_realtimekit.models.base import parse_timestamp
from airflow_provider_realtimekit.models.requests import StartRecordingRequest, StartTrackRecordingRequest
from airflow_provider_realtimekit.start.checkpoint import Checkpoint
from airflow_provider_realtimekit.start.stop import FIRST_PAUSE, LONGEST_PAUSE, stop_and_confirm

IF_ACTIVE = ("reuse", "fail")
# Seconds until a start that was answered, with an error, has taken effect if it ever does: the server is done with it.
_ANSWERED_START_SECONDS = 5.0


@dataclass(frozen=True)
class StartSpec:
    """What is to be recorded, and how.

    :param arguments: those of :meth:`.RecordingsAPI.start_recording`, or of ``start_track_recording``
    :param is_tracks: whether the participants' tracks are recorded (default: a composite recording)
    :param if_active: ``reuse`` (default) uses a recording that somebody else started; ``fail`` raises
    :param replaces_earlier: whether the recording of an earlier generation is stopped and another one started
        (default: it is used again while it is active)
    :param generation: see :class:`~.checkpoint.Checkpoint`
    :param save_checkpoint: stores what the next try must know; ``None`` means that nothing was started
    :param log: writes a line to the task's log
    """

    arguments: Mapping[str, Any]
    is_tracks: bool = False
    if_active: str = "reuse"
    replaces_earlier: bool = False
    generation: int = 0
    save_checkpoint: Callable[[Checkpoint | None], None] = lambda _: None
    log: Callable[[str], None] = lambda _: None


def ensure_recording(api: RecordingsAPI, /, *, if_active: str = "reuse", **arguments: Any) -> Flow[Recording]:
    """Record a meeting once: return its active recording, or start one (``POST …/recordings``).

    When a start gets no clear answer, the meeting's recordings are read to see whether it took effect.

    :param if_active: ``reuse`` (default) returns a recording that is active already; ``fail`` raises
    :param arguments: those of :meth:`~.api.RecordingsAPI.start_recording`
    :raises RealtimeKitInputError: before anything is sent, when a value is not allowed
    :raises RecordingActiveError: with ``if_active="fail"``, when the meeting is being recorded
    :raises StartOutcomeUnknownError: when a start was sent, and whether it took effect could not be found out
    """
    return ensure_started(api, StartSpec(arguments, if_active=if_active))


def ensure_started(api: RecordingsAPI, spec: StartSpec, checkpoint: Checkpoint | None = None) -> Flow[Recording]:
    """Return the recording of an earlier try, the meeting's active one, or a new one.

    :param checkpoint: what an earlier try stored
    :raises RealtimeKitInputError: before anything is sent, when a value is not allowed
    """
    start = _Start(api, spec)
    if checkpoint is not None:
        recording = yield from start.resume(checkpoint)
        if recording is not None:
            return recording
    return (yield from start.reuse_or_start())


def stop_started(api: RecordingsAPI, spec: StartSpec, checkpoint: Checkpoint) -> Flow[Recording | None]:
    """Stop the recording that a task started; return ``None`` if no such recording is found.

    :param spec: the start, by which the recording is looked up if the checkpoint does not have its id
    """
    recording_id = checkpoint.recording_id
    if recording_id is None:
        start = _Start(api, spec)
        found = yield from start.find_interrupted(checkpoint, start.max_seconds)
        if found is None:
            return None
        recording_id = found.id
    return (yield from stop_and_confirm(api, recording_id))


class _Start:
    """One start: what the steps share, and the steps."""

    def __init__(self, api: RecordingsAPI, spec: StartSpec) -> None:
        if spec.if_active not in IF_ACTIVE:
            raise RealtimeKitInputError(f"if_active={spec.if_active!r} is not allowed: must be one of {IF_ACTIVE}")
        model = StartTrackRecordingRequest if spec.is_tracks else StartRecordingRequest
        self.request: StartTrackRecordingRequest | StartRecordingRequest = model.checked(**spec.arguments)
        self.meeting_id = self.request.meeting_id
        self.allows_several = bool(getattr(self.request, "allow_multiple_recordings", False))
        self.api = api
        self.spec = spec
        # Seconds after which a start can take no effect any more. A request may take `timeout` seconds, and the server
        # may go on with it for as long again when nobody waits for the answer.
        self.max_seconds = 2 * api.timeout

    # Step 1: resume

    def resume(self, checkpoint: Checkpoint) -> Flow[Recording | None]:
        """Return the recording of an earlier try, if it is what is asked for now; stop it if it is abandoned."""
        if checkpoint.recording_id is None:
            found = yield from self._reconcile_earlier(checkpoint)
            if found is None:
                return None
            checkpoint = found
        is_same_generation = checkpoint.generation == self.spec.generation
        is_replaced = self.spec.replaces_earlier and not is_same_generation
        if checkpoint.meeting_id != self.meeting_id or checkpoint.is_abandoned or is_replaced:
            yield from self._stop_earlier(checkpoint)
            return None
        recording = yield from self._get_or_none(str(checkpoint.recording_id))
        if recording is None:
            return None
        # A retry returns also what has finished by now. After a clear, the meeting is to be recorded again.
        is_usable = recording.status != RecordingStatus.ERRORED if is_same_generation else recording.is_active
        if not is_usable:
            return None
        self.spec.log(f"An earlier try started recording {recording.id}, which is {recording.status}: it is used again")
        self.spec.save_checkpoint(replace(checkpoint, generation=self.spec.generation))
        return recording

    def _reconcile_earlier(self, checkpoint: Checkpoint) -> Flow[Checkpoint | None]:
        """Find out whether the start of a try that died took effect; return the checkpoint with the recording's id."""
        if checkpoint.meeting_id != self.meeting_id:
            return None
        elapsed = (pendulum.now("UTC") - parse_timestamp(checkpoint.since)).total_seconds()
        # `since` is the server's time. If its clock is ahead of ours, `elapsed` is negative: hence the upper limit.
        seconds = min(max(0.0, self.max_seconds - elapsed), self.max_seconds)
        recording = yield from self.find_interrupted(checkpoint, seconds)
        if recording is None:
            return None
        self.spec.log(f"An earlier try was interrupted while it started recording {recording.id}, which was found")
        checkpoint = replace(checkpoint, recording_id=recording.id, is_owned=True)
        self.spec.save_checkpoint(checkpoint)
        return checkpoint

    def _stop_earlier(self, checkpoint: Checkpoint) -> Flow[None]:
        """Stop the recording of an earlier try that nobody wants any more."""
        is_unwanted = self.spec.replaces_earlier or checkpoint.is_abandoned
        if checkpoint.recording_id is None or not checkpoint.is_owned or not is_unwanted:
            return
        recording = yield from self._get_or_none(checkpoint.recording_id)
        if recording is not None and recording.is_active:
            self.spec.log(f"Recording {recording.id} belongs to an earlier run of this task: it is stopped")
            yield from stop_and_confirm(self.api, recording.id)

    def _get_or_none(self, recording_id: str) -> Flow[Recording | None]:
        try:
            return (yield from self.api.get_recording(recording_id))
        except RealtimeKitRouteError:
            # A wrong account, app or base URL: that says nothing about the recording.
            raise
        except RealtimeKitNotFoundError:
            return None

    # Step 2: reuse

    def reuse_or_start(self) -> Flow[Recording]:
        """Return the meeting's active recording, or start one."""
        began = pendulum.now("UTC")
        active, server_time = yield from self.api.get_active_with_time(self.meeting_id)
        # A time before the start by the server's clock: rather too early than too late.
        since = server_time - DATE_SLACK if server_time else began - CLOCK_SLACK
        is_certain = self.spec.is_tracks
        if active is not None and not self._is_right_kind(active, is_certain=is_certain):
            # The endpoint names one recording; one of the other kind may be active beside it.
            active = yield from self._find_active(is_certain=is_certain)
        if active is not None and not self.allows_several:
            return self._reuse(active, since)
        # From here on the next try must know that a start may be under way.
        self.spec.save_checkpoint(Checkpoint(self.meeting_id, since.isoformat(), self.spec.generation))
        recording, is_own = yield from self._start_and_reconcile(since)
        if not is_own:
            return self._reuse(recording, since)
        self._save_id(recording, since, is_owned=True)
        if self.allows_several:
            return recording
        return (yield from self._resolve_duplicate(recording, since))

    def _reuse(self, recording: Recording, since: pendulum.DateTime) -> Recording:
        """Use a recording that somebody else started, if ``if_active`` allows it."""
        if self.spec.if_active == "fail":
            self.spec.save_checkpoint(None)
            raise RecordingActiveError(
                f"meeting {self.meeting_id} is being recorded already, by recording {recording.id}, and if_active is "
                "'fail': stop that recording first, or set if_active='reuse'",
                recording_id=recording.id,
            )
        self.spec.log(f"Meeting {self.meeting_id} is being recorded already: recording {recording.id} is used")
        self._save_id(recording, since, is_owned=False)
        return recording

    def _save_id(self, recording: Recording, since: pendulum.DateTime, *, is_owned: bool) -> None:
        self.spec.save_checkpoint(
            Checkpoint(self.meeting_id, since.isoformat(), self.spec.generation, recording.id, is_owned)
        )

    # Step 3: start, and reconcile

    def _start_and_reconcile(self, since: pendulum.DateTime) -> Flow[tuple[Recording, bool]]:
        """Send the start, and once more if it had no effect; also return whether the recording is this task's own."""
        for was_sent_before in (False, True):
            try:
                recording = yield from self.api.send_start(self.request)
                # What a second start answers is not documented: perhaps the recording that is active already.
                return recording, _is_invoked_between(recording, since - CLOCK_SLACK)
            except StartOutcomeUnknownError as error:
                unknown = error
            except RealtimeKitAPIError as refusal:
                return (yield from self._explain_refusal(refusal, since, was_sent_before=was_sent_before))
            # A connection error is the one case in which the server may still be at work.
            was_answered = not isinstance(unknown.__cause__, RealtimeKitConnectionError)
            found = yield from self._reconcile(unknown, since, was_answered=was_answered)
            if found is not None:
                return found, True
            # A second start does no harm if the first may take effect late, since the API allows one active recording.
            # Where several are allowed, the first one must be over.
            if unknown.accepted or not (was_answered or not self.allows_several):
                break
        # It surely had no effect if the API said so itself: then its own error is the better one.
        cause = unknown.__cause__
        raise cause if isinstance(cause, RealtimeKitAPIError) and not unknown.accepted else unknown

    def _reconcile(
        self, unknown: StartOutcomeUnknownError, since: pendulum.DateTime, *, was_answered: bool
    ) -> Flow[Recording | None]:
        """Find out whether a start without a clear answer took effect; return its recording if it did."""
        seconds = min(_ANSWERED_START_SECONDS, self.api.timeout) if was_answered else self.api.timeout
        try:
            recording = yield from self._wait_until_found(since, seconds)
        except RealtimeKitError as error:
            raise StartOutcomeUnknownError(
                f"{unknown}. The meeting's recordings could not be read either: {error}", meeting_id=self.meeting_id
            ) from error
        if recording is not None:
            self.spec.log(f"The start got no clear answer, but took effect: recording {recording.id}")
        else:
            self.spec.log(
                f"The start got no clear answer ({unknown.__cause__}) and had no effect: in {seconds:g} s meeting "
                f"{self.meeting_id} showed no recording invoked since {since.isoformat()}"
            )
        return recording

    def _explain_refusal(
        self, refusal: RealtimeKitAPIError, since: pendulum.DateTime, *, was_sent_before: bool
    ) -> Flow[tuple[Recording, bool]]:
        """Return the recording that made the API refuse the start; raise the refusal if there is none."""
        # The token and the quota have nothing to do with the meeting.
        is_about_meeting = not isinstance(refusal, RealtimeKitAuthError | RealtimeKitRateLimitError)
        if is_about_meeting and not self.allows_several:
            active = yield from self._find_active(is_certain=False)
            if active is not None:
                # Two refusals may come from a start that took effect: one after a start without a clear answer, and
                # one with HTTP status 200.
                may_be_own = was_sent_before or refusal.status == httpx.codes.OK
                return active, may_be_own and _is_invoked_between(active, since)
        self.spec.save_checkpoint(None)
        raise refusal

    # Step 4: resolve duplicates

    def _resolve_duplicate(self, recording: Recording, since: pendulum.DateTime) -> Flow[Recording]:
        """Stop this recording, and use the other one, if another task was first in the same meeting."""
        try:
            own = recording if recording.invoked_time else (yield from self.api.get_recording(recording.id))
            rows = yield from self._list_invoked_since(since)
        except RealtimeKitError as error:
            self.spec.log(f"Whether another task recorded the meeting at the same time could not be checked: {error}")
            return recording
        others = [row for row in rows if row.id != own.id and row.is_active and self._is_right_kind(row)]
        first = min([own, *others], key=_by_invocation)
        if first is own:
            return recording
        self.spec.log(f"Recording {first.id} was started just before {recording.id}: {recording.id} is stopped")
        yield from stop_and_confirm(self.api, recording.id)
        return self._reuse(first, since)

    # Steps 1 and 3: find the recording of the start among those of its meeting

    def _wait_until_found(
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

    def _find(self, since: pendulum.DateTime, until: pendulum.DateTime | None) -> Flow[Recording | None]:
        if not self.spec.is_tracks and not self.allows_several:
            # As a rule one request finds it: a composite recording is the only active one of its meeting.
            active = yield from self.api.get_active_recording(self.meeting_id)
            if active is not None and _is_invoked_between(active, since, until) and self._is_right_kind(active):
                return active
        # Only a composite recording has the prefix in its name. For tracks it is in the names of the layers' files.
        prefix = getattr(self.request, "file_name_prefix", None)
        candidates = [
            row
            for row in (yield from self._list_invoked_since(since))
            if _is_invoked_between(row, since, until)
            and (not prefix or row.output_file_name is None or row.output_file_name.startswith(prefix))
            and self._is_right_kind(row)
        ]
        return min(candidates, key=_by_invocation, default=None)

    def find_interrupted(self, checkpoint: Checkpoint, seconds: float) -> Flow[Recording | None]:
        """Find the recording of a start that was interrupted before the recording's id was known.

        :param seconds: how long to ask
        """
        since = parse_timestamp(checkpoint.since)
        # Whatever was invoked later is somebody else's: one meeting id may be used for many meetings.
        until = since + CLOCK_SLACK + pendulum.duration(seconds=self.max_seconds)
        return (yield from self._wait_until_found(since, seconds, until))

    def _find_active(self, *, is_certain: bool) -> Flow[Recording | None]:
        """Find an active recording of the right kind.

        :param is_certain: see :meth:`_is_right_kind`
        """
        since = pendulum.now("UTC").subtract(seconds=LONGEST_RECORDING_SECONDS)
        rows = yield from self._list_invoked_since(since)
        return next((row for row in rows if row.is_active and self._is_right_kind(row, is_certain=is_certain)), None)

    def _list_invoked_since(self, since: pendulum.DateTime) -> Flow[list[Recording]]:
        """Return the meeting's recordings that were invoked at or after a time."""
        walk = self.api.list_recordings(meeting_id=self.meeting_id, start_time=since - CLOCK_SLACK)
        rows: list[Recording] = []
        while not walk.is_done:
            rows += [row for row in walk.accept((yield from walk.next_page())) if _is_invoked_between(row, since)]
        return rows

    def _is_right_kind(self, row: Recording, *, is_certain: bool = False) -> bool:
        """Whether a recording is of tracks if tracks are asked for, and composite otherwise.

        :param is_certain: whether the name of the file alone does not make it a recording of tracks
        """
        # The API documents no field for the kind. `type` occurs in some answers, and is the better source.
        if row.type:
            return ("TRACK" in str(row.type).upper()) == self.spec.is_tracks
        # Tracks are .webm files, but so is a composite recording in VP8 or VP9.
        is_webm = (row.output_file_name or "").endswith(".webm")
        if self.spec.is_tracks:
            return is_webm and not is_certain
        video = getattr(self.request, "video_config", None)
        return not is_webm or (video is not None and video.codec in ("VP8", "VP9"))


def _is_invoked_between(row: Recording, since: pendulum.DateTime, until: pendulum.DateTime | None = None) -> bool:
    """Whether a recording was invoked in that time; one without ``invoked_time`` may have been."""
    return row.invoked_time is None or (row.invoked_time >= since and (until is None or row.invoked_time <= until))


def _by_invocation(row: Recording) -> tuple[pendulum.DateTime, str]:
    """Sort key: the recording that was invoked first comes first. Equal times are decided by the id."""
    return row.invoked_time or pendulum.DateTime.max.replace(tzinfo=pendulum.UTC), row.id
