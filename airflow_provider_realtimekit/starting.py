"""Start a recording once: look first, send one start, and settle a doubtful one by looking, never by a guess.

Everything here is a flow without I/O. What a task must know in its next try is a :class:`Claim`, kept *before* the
start is sent and again as soon as the recording's id is known:

1. the recording of an earlier try is taken up again, unless it ended in ERRORED or was given up;
2. the meeting's active recording is taken, or refused, as ``if_active`` says;
3. one start is sent. When its answer leaves doubt, the meeting is looked at for as long as the request may still be
   under way. What is found then is the recording; only when nothing was, the start is sent once more;
4. where two tasks started at the same time, the recording that was invoked first stays and the other is stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import httpx
import pendulum

from airflow_provider_realtimekit.api import CLOCK_SLACK, DATE_SLACK, Flow, RecordingsAPI
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitAuthError,
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitInputError,
    RealtimeKitNotFoundError,
    RealtimeKitRateLimitError,
    RealtimeKitResponseError,
    RealtimeKitRouteError,
    RecordingActiveError,
    RecordingStateError,
    StartOutcomeUnknownError,
)
from airflow_provider_realtimekit.models import (
    Action,
    Recording,
    RecordingStatus,
    StartRecordingRequest,
    StartTrackRecordingRequest,
)
from airflow_provider_realtimekit.models.common import parse_timestamp

IF_ACTIVE = ("reuse", "fail")
# A recording lasts 24 hours at most.
LONGEST = pendulum.duration(hours=26)
# How long what a start led to may take to show when the start was answered, if badly: it is not under way any more.
_ANSWERED = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0


@dataclass(frozen=True)
class Claim:
    """What a task keeps of the recording that it starts: plain JSON, so that a later try can read it.

    :param meeting_id: the meeting
    :param since: when the start was about to be sent, by the server's clock (ISO 8601)
    :param generation: tells the tries before a clear of the task from those after
    :param recording_id: the recording, once it is known
    :param owned: whether this task started it; otherwise it was found running
    :param given_up: whether it was stopped, or is to be, because the task was killed
    """

    meeting_id: str
    since: str
    generation: int = 0
    recording_id: str | None = None
    owned: bool = False
    given_up: bool = False

    @classmethod
    def read(cls, kept: Any) -> Claim | None:
        """Read what was kept; what another version kept and this one cannot read counts as nothing."""
        if not isinstance(kept, Mapping):
            return None
        try:
            claim = cls(**{name: value for name, value in kept.items() if name in cls.__dataclass_fields__})
            parse_timestamp(claim.since)
        except (TypeError, ValueError):
            return None
        return claim

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


Keep = Callable[[Claim | None], None]


def _keep_nothing(_: Claim | None) -> None:
    """Stand in for a task's memory where there is none."""


def _tell_nobody(_: str) -> None:
    """Stand in for a task's log where there is none."""


@dataclass(frozen=True)
class Order:
    """What is to be recorded, and what a caller who may be tried again adds.

    :param arguments: those of :meth:`.RecordingsAPI.start_recording`, or of ``start_track_recording``
    :param tracks: whether the participants' tracks are to be recorded
    :param if_active: ``reuse`` takes a recording that somebody else started for the one asked for; ``fail`` does not
    :param replaces: whether the recording of a generation before is stopped; otherwise it is taken up while it runs
    :param generation: see :class:`Claim`
    :param keep: is given what a later try must know, ``None`` when nothing was started
    :param tell: is told in words what was found
    """

    arguments: Mapping[str, Any]
    tracks: bool = False
    if_active: str = "reuse"
    replaces: bool = False
    generation: int = 0
    keep: Keep = _keep_nothing
    tell: Callable[[str], None] = _tell_nobody

    def check(self) -> StartRecordingRequest | StartTrackRecordingRequest:
        """Check everything before anything is sent.

        :raises RealtimeKitInputError: naming the argument, its value and what is allowed
        """
        if self.if_active not in IF_ACTIVE:
            raise RealtimeKitInputError(f"if_active={self.if_active!r} is not allowed: must be one of {IF_ACTIVE}")
        model = StartTrackRecordingRequest if self.tracks else StartRecordingRequest
        return model.checked(**self.arguments)


def ensure_recording(api: RecordingsAPI, /, *, if_active: str = "reuse", **arguments: Any) -> Flow[Recording]:
    """Record a meeting, once: take its active recording, or start one (``POST …/recordings``).

    A start that gets no clear answer is settled by looking, as :mod:`.starting` says.

    :param if_active: ``reuse`` (default) returns a recording that runs already; ``fail`` raises
    :param arguments: those of :meth:`~.api.RecordingsAPI.start_recording`
    :raises RealtimeKitInputError: before anything is sent, when a value is not allowed
    :raises RecordingActiveError: with ``if_active="fail"``, when the meeting is being recorded
    :raises StartOutcomeUnknownError: when a start was sent, and looking could not settle what came of it
    """
    recording, _ = yield from ensure(api, Order(arguments, if_active=if_active))
    return recording


def ensure(api: RecordingsAPI, order: Order, claim: Claim | None = None) -> Flow[tuple[Recording, Claim]]:
    """Return the recording that is asked for, and the claim to it.

    :param claim: what an earlier try kept
    """
    start = _Start(api, order)
    if claim is not None and (found := (yield from start.take_up(claim))):
        return found
    return (yield from start.begin())


class _Start:
    """One way from an order to its recording."""

    def __init__(self, api: RecordingsAPI, order: Order) -> None:
        self.api = api
        self.order = order
        self.request = order.check()
        self.meeting_id = self.request.meeting_id
        self.allows_several = bool(getattr(self.request, "allow_multiple_recordings", False))

    # What an earlier try left

    def take_up(self, claim: Claim) -> Flow[tuple[Recording, Claim] | None]:
        """Return what an earlier try started, if it is what is asked for now."""
        if claim.recording_id is None:
            settled = yield from self._settle_earlier(claim)
            if settled is None:
                return None
            claim = settled
        is_of_this_run = claim.generation == self.order.generation
        if claim.meeting_id != self.meeting_id or claim.given_up or (self.order.replaces and not is_of_this_run):
            yield from self._leave(claim)
            return None
        recording = yield from self._get(str(claim.recording_id))
        if recording is None or not (_is_worth_having(recording) if is_of_this_run else recording.is_active):
            return None
        self.order.tell(f"Recording {recording.id} of an earlier try is {recording.status}: it is taken up again")
        return recording, self._keep(replace(claim, generation=self.order.generation))

    def _settle_earlier(self, claim: Claim) -> Flow[Claim | None]:
        """Find out what came of a start whose sender died."""
        if claim.meeting_id != self.meeting_id:
            return None
        # A request may take so long, and be under way for as long again when nobody waits for it any more.
        longest = 2 * self.api.timeout
        left = longest - (pendulum.now("UTC") - parse_timestamp(claim.since)).total_seconds()
        recording = yield from self.look_for_claimed(claim, min(max(0.0, left), longest))
        if recording is None:
            return None
        self.order.tell(f"An earlier try started recording {recording.id}, and could not say so")
        return self._keep(replace(claim, recording_id=recording.id, owned=True))

    def _leave(self, claim: Claim) -> Flow[None]:
        """Stop what an earlier try started and nobody wants any more, and see it stopped."""
        if claim.recording_id is None or not claim.owned or not (self.order.replaces or claim.given_up):
            return
        recording = yield from self._get(claim.recording_id)
        if recording is None or not recording.is_active:
            return
        self.order.tell(f"Recording {recording.id} belongs to an earlier run of this task: it is stopped")
        yield from stop(self.api, recording.id)

    def _get(self, recording_id: str) -> Flow[Recording | None]:
        try:
            return (yield from self.api.get_recording(recording_id))
        except RealtimeKitRouteError:
            raise
        except RealtimeKitNotFoundError:
            return None

    # A new recording

    def begin(self) -> Flow[tuple[Recording, Claim]]:
        """Take the recording that runs, or start one."""
        running, since = yield from self._look()
        if running is not None and not self.allows_several:
            return self._adopt(running, since)
        self._keep(Claim(self.meeting_id, since.isoformat(), self.order.generation))
        recording, is_ours = yield from self._start(since)
        if not is_ours:
            return self._adopt(recording, since)
        claim = self._claim(recording, since, owned=True)
        if self.allows_several:
            return recording, claim
        return (yield from self._give_way(recording, claim, since))

    def _look(self) -> Flow[tuple[Recording | None, pendulum.DateTime]]:
        """Return what runs already, and the time by the server's clock, rather too early than too late."""
        began = pendulum.now("UTC")
        active, told = yield from self.api.look_at_active(self.meeting_id)
        if active is not None and not self._is_kind(active, surely=self.order.tracks):
            active = yield from self._running(surely=self.order.tracks)
        return active, told - DATE_SLACK if told else began - CLOCK_SLACK

    def _running(self, *, surely: bool) -> Flow[Recording | None]:
        """Look through the meeting's recordings for one of the right kind that runs."""
        rows = yield from self._rows(pendulum.now("UTC") - LONGEST)
        return next((row for row in rows if row.is_active and self._is_kind(row, surely=surely)), None)

    def _adopt(self, recording: Recording, since: pendulum.DateTime) -> tuple[Recording, Claim]:
        """Take a recording that somebody else started, if that is wanted."""
        if self.order.if_active == "fail":
            self.order.keep(None)
            raise RecordingActiveError(
                f"meeting {self.meeting_id} is being recorded already, by {recording.id}, and if_active='fail'",
                recording_id=recording.id,
            )
        self.order.tell(
            f"Meeting {self.meeting_id} is being recorded already: {recording.id} is taken, none is started"
        )
        return recording, self._claim(recording, since, owned=False)

    def _start(self, since: pendulum.DateTime) -> Flow[tuple[Recording, bool]]:
        """Send the start, once more at most; also return whether the recording is this task's own."""
        for is_last in (False, True):
            try:
                started = yield from self._send()
                # Whether a second start is answered with what runs already is documented nowhere.
                return started, _is_since(started, since - CLOCK_SLACK)
            except StartOutcomeUnknownError as error:
                doubt = error
            except RealtimeKitAPIError as refusal:
                return (yield from self._refused(refusal, since, sent_before=is_last))
            recording = yield from self._settle(doubt, since)
            if recording is not None:
                return recording, True
            if not self._may_send_again(doubt):
                break
        raise _settled(doubt)

    def _send(self) -> Flow[Recording]:
        if self.order.tracks:
            return self.api.start_track_recording(**self.order.arguments)
        return self.api.start_recording(**self.order.arguments)

    def _settle(self, doubt: StartOutcomeUnknownError, since: pendulum.DateTime) -> Flow[Recording | None]:
        try:
            seconds = min(_ANSWERED, self.api.timeout) if _was_answered(doubt) else self.api.timeout
            recording = yield from self.look_for(since, seconds)
        except RealtimeKitError as error:
            raise StartOutcomeUnknownError(
                f"{doubt}; looking did not settle it: {error}", meeting_id=self.meeting_id
            ) from error
        if recording is not None:
            self.order.tell(f"The start got no clear answer, but took effect: recording {recording.id}")
        else:
            self.order.tell(
                f"The start got no clear answer ({doubt.__cause__}), and took no effect: for {seconds:g} s "
                f"meeting {self.meeting_id} showed no recording invoked since {since.isoformat()}"
            )
        return recording

    def _may_send_again(self, doubt: StartOutcomeUnknownError) -> bool:
        """Whether a second start could do no harm even if the first one took effect late.

        The API allows one recording at a time unless told otherwise. Where it was told otherwise, a start that got
        no answer at all could still be under way.
        """
        return not doubt.accepted and (_was_answered(doubt) or not self.allows_several)

    def _refused(
        self, refusal: RealtimeKitAPIError, since: pendulum.DateTime, *, sent_before: bool
    ) -> Flow[tuple[Recording, bool]]:
        """Look whether the start was refused because the meeting is being recorded by now."""
        if not self.allows_several and not isinstance(refusal, RealtimeKitAuthError | RealtimeKitRateLimitError):
            running = yield from self._running(surely=False)
            if running is not None:
                # A 200 that says no, and a start before that left doubt, may have started it all the same.
                may_be_ours = sent_before or refusal.status == httpx.codes.OK
                return running, may_be_ours and _is_since(running, since)
        self.order.keep(None)
        raise refusal

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

    def look_for_claimed(self, claim: Claim, seconds: float) -> Flow[Recording | None]:
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
            if active is not None and _is_within(active, since, until) and self._is_kind(active):
                return active
        rows = [row for row in (yield from self._rows(since)) if _is_within(row, since, until)]
        return min((row for row in rows if self._is_named_so(row) and self._is_kind(row)), key=_age, default=None)

    def _rows(self, since: pendulum.DateTime) -> Flow[list[Recording]]:
        """Return the meeting's recordings that were invoked since then."""
        walk = self.api.list_recordings(meeting_id=self.meeting_id, start_time=since - CLOCK_SLACK)
        rows: list[Recording] = []
        while not walk.done:
            rows += [row for row in walk.take((yield from walk.next_page())) if _is_since(row, since)]
        return rows

    def _is_named_so(self, row: Recording) -> bool:
        # Of tracks, the prefix is in the names of the files of each layer, not in the recording's.
        prefix = getattr(self.request, "file_name_prefix", None)
        return not prefix or row.output_file_name is None or row.output_file_name.startswith(prefix)

    def _is_kind(self, row: Recording, *, surely: bool = False) -> bool:
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

    def _give_way(self, recording: Recording, claim: Claim, since: pendulum.DateTime) -> Flow[tuple[Recording, Claim]]:
        """Where another task started at the same time, and the server let both: the first one stays."""
        try:
            mine = recording if recording.invoked_time else (yield from self.api.get_recording(recording.id))
            rows = yield from self._rows(since)
        except RealtimeKitError as error:
            self.order.tell(f"Whether another task started a recording at the same time could not be seen: {error}")
            return recording, claim
        rivals = [row for row in rows if row.is_active and row.id != mine.id and self._is_kind(row)]
        first = min(rivals, key=_age, default=None)
        if first is None or _age(mine) < _age(first):
            return recording, claim
        self.order.tell(f"Recording {first.id} was started just before {recording.id}: this one is stopped")
        yield from stop(self.api, recording.id)
        return self._adopt(first, since)

    # What is kept

    def _claim(self, recording: Recording, since: pendulum.DateTime, *, owned: bool) -> Claim:
        return self._keep(Claim(self.meeting_id, since.isoformat(), self.order.generation, recording.id, owned=owned))

    def _keep(self, claim: Claim) -> Claim:
        self.order.keep(claim)
        return claim


def give_up(api: RecordingsAPI, order: Order, claim: Claim, seconds: float) -> Flow[Recording | None]:
    """Stop what a task started, if it is known or can be found; ``None`` if there is nothing.

    :param seconds: how long a start may still be under way
    """
    recording_id = claim.recording_id
    if recording_id is None:
        found = yield from _Start(api, order).look_for_claimed(claim, seconds)
        recording_id = found.id if found else None
    return (yield from stop(api, recording_id)) if recording_id else None


def stop(api: RecordingsAPI, recording_id: str) -> Flow[Recording]:
    """Stop a recording, and see it stopped: while it is active, the meeting cannot be recorded anew.

    :raises RecordingStateError: when it goes on all the same
    """
    give_up = time.monotonic() + api.timeout
    pause = _FIRST_PAUSE
    while True:
        try:
            recording = yield from api.reach(recording_id, Action.STOP)
        except (RecordingStateError, RealtimeKitResponseError):
            if time.monotonic() >= give_up:
                raise
        else:
            if not recording.is_active:
                return recording
            if time.monotonic() >= give_up:
                raise RecordingStateError(
                    f"recording {recording_id} was told to stop and is still {recording.status}",
                    recording_id=recording_id,
                )
        yield min(pause, api.timeout)
        pause = min(_LONGEST_PAUSE, 2 * pause)


def _settled(doubt: StartOutcomeUnknownError) -> Exception:
    """Return the API's own error where it answered with one, and looking showed that nothing was started."""
    cause = doubt.__cause__
    return cause if isinstance(cause, RealtimeKitAPIError) and not doubt.accepted else doubt


def _was_answered(doubt: StartOutcomeUnknownError) -> bool:
    return not isinstance(doubt.__cause__, RealtimeKitConnectionError)


def _is_worth_having(recording: Recording) -> bool:
    return recording.status != RecordingStatus.ERRORED


def _is_since(row: Recording, since: pendulum.DateTime) -> bool:
    return row.invoked_time is None or row.invoked_time >= since


def _is_within(row: Recording, since: pendulum.DateTime, until: pendulum.DateTime | None) -> bool:
    return _is_since(row, since) and (until is None or row.invoked_time is None or row.invoked_time <= until)


def _age(row: Recording) -> tuple[pendulum.DateTime, str]:
    return row.invoked_time or pendulum.DateTime.max.replace(tzinfo=pendulum.UTC), row.id
