"""Starts a recording exactly once, although the API has no idempotency key. Flows without I/O.

What a try does first, by what an earlier try has stored:

=============================================  ===================================================================
checkpoint of an earlier try                   what is done
=============================================  ===================================================================
none                                           start (below)
a recording, same generation                   used again, unless it ended in ERRORED, or ended before a clear
a recording, another generation, or abandoned  stopped if this task started it; then start
a start without a recording                    searched by its mark until the doubt is over; found: as the two
                                               rows above; not found: start
=============================================  ===================================================================

The start, by what is active in the meeting before it:

=============================================  ===================================================================
active                                         what is done
=============================================  ===================================================================
nothing, or another kind, or one that ended    the checkpoint is saved, and the start is sent
a recording with a mark of this generation     used: it is this task's own
a recording with a mark of another one         stopped, if the task stops its recordings; then the start is sent
somebody else's                                used or refused, as ``if_active`` says (not where several are allowed)
=============================================  ===================================================================

What the start is answered with stands in :mod:`.send`.

*Rivals*: if another task started at the same moment, the recording that was invoked first stays (with equal times: the
lower id), and each task stops its own if it is not the first. The second check, some seconds later, sees what
lagging views hid.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pendulum

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.recordings import RecordingsAPI
from airflow_provider_realtimekit.defaults import LONGEST_RECORDING_SECONDS
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitError,
    RealtimeKitInputError,
    RealtimeKitNotFoundError,
    RealtimeKitRouteError,
    RecordingActiveError,
)
from airflow_provider_realtimekit.models import Recording, RecordingStatus
from airflow_provider_realtimekit.models.base import parse_timestamp
from airflow_provider_realtimekit.models.requests import StartRecordingRequest, StartTrackRecordingRequest
from airflow_provider_realtimekit.start import bounds
from airflow_provider_realtimekit.start.checkpoint import Checkpoint
from airflow_provider_realtimekit.start.search import (
    Finder,
    Owner,
    StartRequest,
    by_invocation,
    can_be_marked,
    time_before,
)
from airflow_provider_realtimekit.start.send import Sender, StartSpec
from airflow_provider_realtimekit.start.stop import stop_and_confirm

IF_ACTIVE = ("reuse", "fail")


def ensure_recording(api: RecordingsAPI, /, *, if_active: str = "reuse", **arguments: Any) -> Flow[Recording]:
    """Record a meeting once: return its active recording, or start one (``POST …/recordings``).

    When a start gets no clear answer, the meeting's recordings are read to see whether it took effect. The name of the
    file gets a mark behind ``file_name_prefix``, by which the recording is recognised.

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


class _Start:
    """One start: what the steps share, and the steps."""

    def __init__(self, api: RecordingsAPI, spec: StartSpec) -> None:
        if spec.if_active not in IF_ACTIVE:
            raise RealtimeKitInputError(f"if_active={spec.if_active!r} is not allowed: must be one of {IF_ACTIVE}")
        model = StartTrackRecordingRequest if spec.is_tracks else StartRecordingRequest
        self.request: StartRequest = model.checked(**spec.arguments)
        self.meeting_id = self.request.meeting_id
        self.allows_several = bool(getattr(self.request, "allow_multiple_recordings", False))
        self.api = api
        self.spec = spec
        video = getattr(self.request, "video_config", None)
        self.finder = Finder(
            api,
            self.meeting_id,
            spec.marks,
            is_tracks=spec.is_tracks,
            is_marked=spec.is_marked and can_be_marked(self.request),
            prefix=getattr(self.request, "file_name_prefix", None),
            is_webm=video is not None and video.codec in ("VP8", "VP9"),
        )
        # The marks of a try whose recording is not wanted any more. It may show up late.
        self.abandoned_marks: set[str] = set()

    # An earlier try

    def resume(self, checkpoint: Checkpoint) -> Flow[Recording | None]:
        """Return the recording of an earlier try, if it is what is asked for now; stop it if it is abandoned."""
        self.finder.names_show_mark = checkpoint.names_show_mark
        if checkpoint.is_start_pending:
            if checkpoint.is_abandoned:
                self.abandoned_marks = self.spec.marks.of_same_try(checkpoint.serial, checkpoint.generation)
            found = yield from self._find_pending(checkpoint)
            if found is None:
                return None
            checkpoint = found
        is_same_generation = checkpoint.generation == self.spec.marks.generation
        is_replaced = self.spec.replaces_earlier and not is_same_generation
        if checkpoint.meeting_id != self.meeting_id or checkpoint.is_abandoned or is_replaced:
            yield from self._stop_earlier(checkpoint)
            return None
        recording = yield from self._get_or_none(str(checkpoint.recording_id))
        if recording is None or not self._is_resumable(recording, checkpoint):
            return None
        self.spec.log(f"An earlier try started recording {recording.id}, which is {recording.status}: it is used again")
        self.spec.save_checkpoint(
            replace(checkpoint, generation=self.spec.marks.generation, clear_number=self.spec.clear_number)
        )
        return recording

    def _is_resumable(self, recording: Recording, checkpoint: Checkpoint) -> bool:
        """Whether the recording of an earlier try is used again."""
        before, now = checkpoint.clear_number, self.spec.clear_number
        # This number also grows when another task of the run is cleared. Then an active recording is used again, and
        # one that ended by itself: only a stop through the API may come from a clear of this task.
        ended_by_itself = recording.stop_reason is not None and recording.stop_reason.reason not in (None, "API_CALL")
        may_be_cleared = before is not None and now is not None and now > before and not ended_by_itself
        if checkpoint.generation != self.spec.marks.generation or may_be_cleared:
            # After a clear, the meeting is to be recorded again.
            return recording.is_active
        # A retry returns also what has finished by now.
        return recording.status != RecordingStatus.ERRORED

    def _find_pending(self, checkpoint: Checkpoint) -> Flow[Checkpoint | None]:
        """Find the recording of a start whose try ended before its id was known."""
        if checkpoint.meeting_id != self.meeting_id:
            return None
        since = parse_timestamp(checkpoint.since)
        yield from self.finder.fetch_active()
        seconds = bounds.BOUNDS.doubt
        if (now := self.finder.server_now) is not None:
            # A start that the quota held back was sent later than `since` says.
            left = seconds - (now - since).total_seconds()
            seconds = min(seconds, max(left, bounds.BOUNDS.view_lag))
        wanted = self.spec.marks.of_same_try(checkpoint.serial, checkpoint.generation)
        # The arguments may have changed since: what that start carried counts.
        finder = replace(self.finder, is_marked=checkpoint.is_marked)
        recording = yield from finder.search(wanted, since, seconds)
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

    # What is active before the start

    def reuse_or_start(self) -> Flow[Recording]:
        """Return the meeting's active recording, or start one."""
        running = yield from self._find_running()
        since = time_before(self.finder.server_now)
        if running is None:
            running, is_own = yield from self._start(since)
        else:
            is_own = self.finder.owner_of(running) is Owner.THIS_TASK
        if not is_own:
            return self._reuse(running, since)
        return (yield from self._resolve_rivals(self._save_own(running, since), since))

    def _find_running(self) -> Flow[Recording | None]:
        """Return the meeting's active recording that is used instead of a start; stop what is not wanted any more."""
        is_certain = self.spec.is_tracks
        active = yield from self.finder.fetch_active()
        is_first_try = self.spec.marks.try_number == 1
        if active is None and is_first_try:
            return None
        rows = [] if active is None else [active]
        # The endpoint names one recording; one of the other kind, or one of this task, may be active beside it.
        if not is_first_try or active is None or not self.finder.is_usable(active, is_certain=is_certain):
            since = pendulum.now("UTC").subtract(seconds=LONGEST_RECORDING_SECONDS)
            listed = yield from self.finder.list_since(since)
            rows += [row for row in listed if active is None or row.id != active.id]
        rows = [row for row in rows if self.finder.is_usable(row, is_certain=is_certain)]
        wanted = []
        for row in rows:
            if self._is_unwanted(row):
                self.spec.log(f"Recording {row.id} belongs to an earlier run of this task: it is stopped")
                yield from stop_and_confirm(self.api, row.id)
            elif self.finder.owner_of(row) is Owner.THIS_TASK:
                return row
            else:
                wanted.append(row)
        return None if self.allows_several else next(iter(wanted), None)

    def _is_unwanted(self, row: Recording) -> bool:
        """Whether a recording has the mark of an earlier run of the task, which is to be stopped."""
        mark, generation = self.finder.own_mark(row), self.finder.generation_of(row)
        if mark is None:
            return False
        return mark in self.abandoned_marks or (self.spec.replaces_earlier and generation != self.spec.marks.generation)

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
        self.spec.save_checkpoint(self.spec.make_checkpoint(self.finder, since, recording_id=recording.id))
        return recording

    def _save_own(self, recording: Recording, since: pendulum.DateTime) -> Recording:
        if recording.output_file_name and self.finder.own_mark(recording):
            self.finder.names_show_mark = True
        checkpoint = self.spec.make_checkpoint(self.finder, since, recording_id=recording.id)
        self.spec.save_checkpoint(replace(checkpoint, is_owned=True))
        return recording

    # The start

    def _start(self, since: pendulum.DateTime) -> Flow[tuple[Recording, bool]]:
        """Send the start, and once more if it had no effect; also return whether the recording is this task's own."""
        sender = Sender(self.spec, self.request, self.finder, allows_several=self.allows_several)
        while True:
            answered = yield from sender.send(since)
            if answered is not None:
                return answered
            # Somebody else may have started one since, or ours may have become visible just now.
            running = yield from self._find_running()
            if running is not None:
                return running, self.finder.owner_of(running) is Owner.THIS_TASK
            sender.raise_if_final()
            since = time_before(self.finder.server_now)

    # Rivals

    def _resolve_rivals(self, recording: Recording, since: pendulum.DateTime) -> Flow[Recording]:
        """Stop this recording, and use the other one, if another task was first in the same meeting."""
        if self.allows_several:
            return recording
        for pause in (0.0, bounds.rival_seconds()):
            if pause:
                yield pause
            try:
                rows = yield from self.finder.list_since(since)
                first = yield from self._find_first(recording, rows)
            except RealtimeKitError as error:
                self.spec.log(
                    f"Whether another task recorded the meeting at the same time could not be checked: {error}"
                )
                continue
            if first.id == recording.id:
                continue
            self.spec.log(f"Recording {first.id} was started just before {recording.id}: {recording.id} is stopped")
            yield from stop_and_confirm(self.api, recording.id)
            if self.finder.owner_of(first) is not Owner.THIS_TASK:
                return self._reuse(first, since)
            recording = self._save_own(first, since)
        return recording

    def _find_first(self, recording: Recording, rows: list[Recording]) -> Flow[Recording]:
        """Return the recording that was invoked first of those that are active; stop others of this task."""
        own = next((row for row in rows if row.id == recording.id), recording)
        rivals = []
        for row in rows:
            if row.id == own.id or not self.finder.is_usable(row):
                continue
            if self._is_unwanted(row) or (self.finder.own_mark(row) and by_invocation(own) < by_invocation(row)):
                self.spec.log(f"Recording {row.id} comes from another start of this task: it is stopped")
                yield from stop_and_confirm(self.api, row.id)
            else:
                rivals.append(row)
        first = min([own, *rivals], key=by_invocation)
        if first is own:
            return recording
        # A view that lags may show one as active that has ended.
        first = yield from self.api.get_recording(first.id)
        return first if first.is_active else recording
