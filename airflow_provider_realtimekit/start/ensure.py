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

The answer to a start:

=============================================  ===================================================================
answer                                         what is done
=============================================  ===================================================================
200 with this start's recording                its id is saved; rivals are resolved at once, and once more later
200 with somebody else's recording             used or refused, as ``if_active`` says
never sent, or 401, 403, 404, 429              raised; the checkpoint is deleted, unless an earlier start is in doubt
400, 409, 422, 200 that says "no"              one may run: searched while views may lag. Found: used as above.
                                               Not found: raised as in the row above
no answer, 408, 502-504, 520-530               in doubt for a minute, since the gateway does not know what the origin
                                               does: searched by the mark. Found: this task's own
other 5xx, or an answer that cannot be read    the same for as long as views may lag, since the server has answered
accepted without a recording (tracks)          the same as no answer, but it is never sent again
still not found                                somebody else's active recording is used; otherwise the start is sent
                                               once more. After the second: raised, and the checkpoint stays
=============================================  ===================================================================

*Rivals*: if another task started at the same moment, the recording that was invoked first stays (with equal times: the
lower id), and each task stops its own if it is not the first. The second check, some seconds later, sees what
lagging views hid.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pendulum

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.recordings import RecordingsAPI
from airflow_provider_realtimekit.defaults import LONGEST_RECORDING_SECONDS
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitInputError,
    RealtimeKitNotFoundError,
    RealtimeKitRouteError,
    RecordingActiveError,
    StartOutcomeUnknownError,
)
from airflow_provider_realtimekit.models import Recording, RecordingStatus
from airflow_provider_realtimekit.models.base import parse_timestamp
from airflow_provider_realtimekit.models.requests import StartRecordingRequest, StartTrackRecordingRequest
from airflow_provider_realtimekit.start import bounds
from airflow_provider_realtimekit.start.checkpoint import Checkpoint
from airflow_provider_realtimekit.start.search import (
    Finder,
    Marks,
    Owner,
    StartRequest,
    add_mark,
    by_invocation,
    can_be_marked,
    time_before,
)
from airflow_provider_realtimekit.start.stop import stop_and_confirm

IF_ACTIVE = ("reuse", "fail")
# A gateway answers with these when it knows nothing of what the origin does: the start may take effect later.
_GATEWAY_STATUSES = frozenset({408, 502, 503, 504, *range(520, 531)})
# What a start may be answered with because the meeting is being recorded. The reference does not say which it is.
_MAY_RUN_STATUSES = frozenset({200, 400, 409, 422})


@dataclass(frozen=True)
class StartSpec:
    """What is to be recorded, and how.

    :param arguments: those of :meth:`.RecordingsAPI.start_recording`, or of ``start_track_recording``
    :param is_tracks: whether the participants' tracks are recorded (default: a composite recording)
    :param if_active: ``reuse`` (default) uses a recording that somebody else started; ``fail`` raises
    :param replaces_earlier: whether the recording of an earlier generation is stopped and another one started
        (default: it is used again while it is active)
    :param marks: the marks of the task's starts (default: those of a start outside a task)
    :param is_marked: whether the names of the files carry a mark
    :param clear_number: see :class:`~.checkpoint.Checkpoint`
    :param save_checkpoint: stores what the next try must know; ``None`` means that nothing was started
    :param log: writes a line to the task's log
    """

    arguments: Mapping[str, Any]
    is_tracks: bool = False
    if_active: str = "reuse"
    replaces_earlier: bool = False
    marks: Marks = field(default_factory=Marks.random)
    is_marked: bool = True
    clear_number: int | None = None
    save_checkpoint: Callable[[Checkpoint | None], None] = lambda _: None
    log: Callable[[str], None] = lambda _: None


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
            allows_several=self.allows_several,
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
        # This number also grows when another task of the run is cleared. Then an active recording is used again.
        may_be_cleared = before is not None and now is not None and now > before
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
        is_marked, self.finder.is_marked = self.finder.is_marked, checkpoint.is_marked
        try:
            recording = yield from self.finder.search(wanted, since, seconds)
        finally:
            self.finder.is_marked = is_marked
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
        self.spec.save_checkpoint(replace(self._checkpoint(since), recording_id=recording.id))
        return recording

    def _save_own(self, recording: Recording, since: pendulum.DateTime) -> Recording:
        if recording.output_file_name and self.finder.own_mark(recording):
            self.finder.names_show_mark = True
        self.spec.save_checkpoint(replace(self._checkpoint(since), recording_id=recording.id, is_owned=True))
        return recording

    def _checkpoint(self, since: pendulum.DateTime, number: int = 0) -> Checkpoint:
        """Return the checkpoint of this try's first (0) or second (1) start."""
        return Checkpoint(
            self.meeting_id,
            since.isoformat(),
            self.spec.marks.generation,
            serial=self.spec.marks.serial(number),
            is_marked=self.finder.is_marked,
            names_show_mark=self.finder.names_show_mark,
            clear_number=self.spec.clear_number,
        )

    # The start, and its answer

    def _start(self, since: pendulum.DateTime) -> Flow[tuple[Recording, bool]]:
        """Send the start, and once more if it had no effect; also return whether the recording is this task's own."""
        unknown: StartOutcomeUnknownError | None = None
        for number in (0, 1):
            # From here on the next try must know that a start may be under way.
            self.spec.save_checkpoint(self._checkpoint(since, number))
            request, sent_at = self.request, time.monotonic()
            sent_since = time_before(self.finder.server_now)
            if self.finder.is_marked:
                request = add_mark(request, self.spec.marks.make(self.spec.marks.serial(number)))
            try:
                recording = yield from self.api.send_start(request)
                return recording, self._is_own_answer(recording, sent_since)
            except StartOutcomeUnknownError as error:
                unknown = error
            except (RealtimeKitAPIError, RealtimeKitConnectionError) as refusal:
                return (yield from self._explain_refusal(refusal, since, unknown))
            found = yield from self._search_unknown(unknown, since, sent_at)
            if found is not None:
                return found, True
            running = yield from self._find_running()
            if running is not None:
                return running, self.finder.owner_of(running) is Owner.THIS_TASK
            # Where several are allowed and no answer came, only a mark would show that there are two.
            was_answered = not isinstance(unknown.__cause__, RealtimeKitConnectionError)
            if number == 1 or unknown.accepted or (self.allows_several and not was_answered):
                # It surely had no effect if the API said so itself: then its own error is the better one.
                cause = unknown.__cause__
                raise cause if isinstance(cause, RealtimeKitAPIError) and not unknown.accepted else unknown
        raise AssertionError("the second start returns or raises")

    def _is_own_answer(self, recording: Recording, since: pendulum.DateTime) -> bool:
        """Whether a start was answered with its own recording, and not with one that was active already."""
        owner, invoked = self.finder.owner_of(recording), recording.invoked_time
        if owner is Owner.UNKNOWN:
            return invoked is None or invoked >= since.subtract(seconds=bounds.BOUNDS.clock)
        if owner is Owner.THIS_TASK or self.finder.names_show_mark or not recording.output_file_name:
            return owner is Owner.THIS_TASK
        # Either it is somebody else's, or this server ignores prefixes. Only the latter's is as new as the start.
        is_new = recording.status == RecordingStatus.INVOKED and invoked is not None and invoked >= since
        self.finder.names_show_mark = None
        if is_new:
            self.finder.names_show_mark = False
            is_new = self.finder.owner_of(recording) is Owner.UNKNOWN
        return is_new

    def _search_unknown(
        self, unknown: StartOutcomeUnknownError, since: pendulum.DateTime, sent_at: float
    ) -> Flow[Recording | None]:
        """Find the recording of a start without a clear answer; ``None`` if it had no effect."""
        cause = unknown.__cause__
        is_gateway = isinstance(cause, RealtimeKitAPIError) and cause.status in _GATEWAY_STATUSES
        seconds = bounds.BOUNDS.view_lag
        if unknown.accepted or is_gateway or isinstance(cause, RealtimeKitConnectionError):
            seconds = max(seconds, bounds.BOUNDS.doubt - (time.monotonic() - sent_at))
        try:
            recording = yield from self.finder.search(self._marks_of_try(), since, seconds)
        except RealtimeKitError as error:
            raise StartOutcomeUnknownError(
                f"{unknown}. The meeting's recordings could not be read either: {error}", meeting_id=self.meeting_id
            ) from error
        if recording is not None:
            self.spec.log(f"The start got no clear answer, but took effect: recording {recording.id}")
        else:
            self.spec.log(
                f"The start got no clear answer ({cause}) and had no effect: meeting {self.meeting_id} showed no "
                f"recording of it for {seconds:.0f} s"
            )
        return recording

    def _explain_refusal(
        self,
        refusal: RealtimeKitAPIError | RealtimeKitConnectionError,
        since: pendulum.DateTime,
        unknown: StartOutcomeUnknownError | None,
    ) -> Flow[tuple[Recording, bool]]:
        """Return the recording that made the API refuse the start; raise the refusal if there is none."""
        status = getattr(refusal, "status", None)
        if status in _MAY_RUN_STATUSES:
            try:
                found = yield from self.finder.search(
                    self._marks_of_try(), since, bounds.BOUNDS.view_lag, accepts_others=not self.allows_several
                )
            except RealtimeKitError as error:
                raise StartOutcomeUnknownError(
                    f"the start was refused ({refusal}), and the meeting's recordings could not be read: {error}",
                    meeting_id=self.meeting_id,
                ) from error
            if found is not None:
                # Without a name to tell, it is this task's own only if one of its starts may have had an effect.
                may_be_own = (unknown is not None or status == 200) and self.finder.may_be_own(found, since)
                return found, may_be_own or self.finder.own_mark(found) is not None
        if unknown is not None:
            raise StartOutcomeUnknownError(
                f"a start got no clear answer ({unknown.__cause__}), and a second one was refused ({refusal})",
                meeting_id=self.meeting_id,
            ) from refusal
        self.spec.save_checkpoint(None)
        raise refusal

    def _marks_of_try(self) -> set[str]:
        return self.spec.marks.of_same_try(self.spec.marks.serial(0), self.spec.marks.generation)

    # Rivals

    def _resolve_rivals(self, recording: Recording, since: pendulum.DateTime) -> Flow[Recording]:
        """Stop this recording, and use the other one, if another task was first in the same meeting."""
        if self.allows_several:
            return recording
        for pause in (0.0, bounds.BOUNDS.rivals):
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
