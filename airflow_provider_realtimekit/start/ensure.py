"""Start a recording once: look first, send one start, and settle a doubtful one by looking, never by a guess.

Everything here is a flow without I/O. What a task must know in its next try is a :class:`~.claims.Checkpoint`, kept
*before* the start is sent and again as soon as the recording's id is known:

1. the recording of an earlier try is taken up again, unless it ended in ERRORED or was given up;
2. the meeting's active recording is taken, or refused, as ``if_active`` says;
3. one start is sent. When its answer leaves doubt, the meeting is looked at for as long as the request may still be
   under way. What is found then is the recording; only when nothing was, the start is sent once more;
4. where two tasks started at the same time, the recording that was invoked first stays and the other is stopped.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import httpx
import pendulum

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.recordings import CLOCK_SLACK, DATE_SLACK, RecordingsAPI
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitAuthError,
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitNotFoundError,
    RealtimeKitRateLimitError,
    RealtimeKitResponseError,
    RealtimeKitRouteError,
    RecordingActiveError,
    RecordingStateError,
    StartOutcomeUnknownError,
)
from airflow_provider_realtimekit.models import Action, Recording, RecordingStatus
from airflow_provider_realtimekit.models.base import parse_timestamp
from airflow_provider_realtimekit.start.checkpoint import Checkpoint, StartSpec
from airflow_provider_realtimekit.start.lookup import Search, age, is_since

# How long what a start led to may take to show when the start was answered, if badly: it is not under way any more.
_ANSWERED = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0


def ensure_recording(api: RecordingsAPI, /, *, if_active: str = "reuse", **arguments: Any) -> Flow[Recording]:
    """Record a meeting, once: take its active recording, or start one (``POST …/recordings``).

    A start that gets no clear answer is settled by looking, as :mod:`.starting` says.

    :param if_active: ``reuse`` (default) returns a recording that runs already; ``fail`` raises
    :param arguments: those of :meth:`~.api.RecordingsAPI.start_recording`
    :raises RealtimeKitInputError: before anything is sent, when a value is not allowed
    :raises RecordingActiveError: with ``if_active="fail"``, when the meeting is being recorded
    :raises StartOutcomeUnknownError: when a start was sent, and looking could not settle what came of it
    """
    recording, _ = yield from ensure(api, StartSpec(arguments, if_active=if_active))
    return recording


def ensure(api: RecordingsAPI, order: StartSpec, claim: Checkpoint | None = None) -> Flow[tuple[Recording, Checkpoint]]:
    """Return the recording that is asked for, and the claim to it.

    :param claim: what an earlier try kept
    """
    start = _Start(api, order)
    if claim is not None and (found := (yield from start.take_up(claim))):
        return found
    return (yield from start.begin())


class _Start:
    """One way from an order to its recording."""

    def __init__(self, api: RecordingsAPI, order: StartSpec) -> None:
        self.api = api
        self.order = order
        self.search = Search(api, order)
        self.meeting_id = self.search.meeting_id

    # What an earlier try left

    def take_up(self, claim: Checkpoint) -> Flow[tuple[Recording, Checkpoint] | None]:
        """Return what an earlier try started, if it is what is asked for now."""
        if claim.recording_id is None:
            settled = yield from self._settle_earlier(claim)
            if settled is None:
                return None
            claim = settled
        is_of_this_run = claim.generation == self.order.generation
        if claim.meeting_id != self.meeting_id or claim.abandoned or (self.order.replaces and not is_of_this_run):
            yield from self._leave(claim)
            return None
        recording = yield from self._get(str(claim.recording_id))
        if recording is None or not (_is_worth_having(recording) if is_of_this_run else recording.is_active):
            return None
        self.order.tell(f"Recording {recording.id} of an earlier try is {recording.status}: it is taken up again")
        return recording, self._keep(replace(claim, generation=self.order.generation))

    def _settle_earlier(self, claim: Checkpoint) -> Flow[Checkpoint | None]:
        """Find out what came of a start whose sender died."""
        if claim.meeting_id != self.meeting_id:
            return None
        # A request may take so long, and be under way for as long again when nobody waits for it any more.
        longest = 2 * self.api.timeout
        left = longest - (pendulum.now("UTC") - parse_timestamp(claim.since)).total_seconds()
        recording = yield from self.search.look_for_claimed(claim, min(max(0.0, left), longest))
        if recording is None:
            return None
        self.order.tell(f"An earlier try started recording {recording.id}, and could not say so")
        return self._keep(replace(claim, recording_id=recording.id, owned=True))

    def _leave(self, claim: Checkpoint) -> Flow[None]:
        """Stop what an earlier try started and nobody wants any more, and see it stopped."""
        if claim.recording_id is None or not claim.owned or not (self.order.replaces or claim.abandoned):
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

    def begin(self) -> Flow[tuple[Recording, Checkpoint]]:
        """Take the recording that runs, or start one."""
        running, since = yield from self._look()
        if running is not None and not self.search.allows_several:
            return self._adopt(running, since)
        self._keep(Checkpoint(self.meeting_id, since.isoformat(), self.order.generation))
        recording, is_ours = yield from self._start(since)
        if not is_ours:
            return self._adopt(recording, since)
        claim = self._claim(recording, since, owned=True)
        if self.search.allows_several:
            return recording, claim
        return (yield from self._give_way(recording, claim, since))

    def _look(self) -> Flow[tuple[Recording | None, pendulum.DateTime]]:
        """Return what runs already, and the time by the server's clock, rather too early than too late."""
        began = pendulum.now("UTC")
        active, told = yield from self.api.get_active_with_time(self.meeting_id)
        if active is not None and not self.search.is_kind(active, surely=self.order.tracks):
            active = yield from self.search.running(surely=self.order.tracks)
        return active, told - DATE_SLACK if told else began - CLOCK_SLACK

    def _adopt(self, recording: Recording, since: pendulum.DateTime) -> tuple[Recording, Checkpoint]:
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
                return started, is_since(started, since - CLOCK_SLACK)
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
            recording = yield from self.search.look_for(since, seconds)
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
        return not doubt.accepted and (_was_answered(doubt) or not self.search.allows_several)

    def _refused(
        self, refusal: RealtimeKitAPIError, since: pendulum.DateTime, *, sent_before: bool
    ) -> Flow[tuple[Recording, bool]]:
        """Look whether the start was refused because the meeting is being recorded by now."""
        if not self.search.allows_several and not isinstance(refusal, RealtimeKitAuthError | RealtimeKitRateLimitError):
            running = yield from self.search.running(surely=False)
            if running is not None:
                # A 200 that says no, and a start before that left doubt, may have started it all the same.
                may_be_ours = sent_before or refusal.status == httpx.codes.OK
                return running, may_be_ours and is_since(running, since)
        self.order.keep(None)
        raise refusal

    def _give_way(
        self, recording: Recording, claim: Checkpoint, since: pendulum.DateTime
    ) -> Flow[tuple[Recording, Checkpoint]]:
        """Where another task started at the same time, and the server let both: the first one stays."""
        try:
            mine = recording if recording.invoked_time else (yield from self.api.get_recording(recording.id))
            rows = yield from self.search.rows(since)
        except RealtimeKitError as error:
            self.order.tell(f"Whether another task started a recording at the same time could not be seen: {error}")
            return recording, claim
        rivals = [row for row in rows if row.is_active and row.id != mine.id and self.search.is_kind(row)]
        first = min(rivals, key=age, default=None)
        if first is None or age(mine) < age(first):
            return recording, claim
        self.order.tell(f"Recording {first.id} was started just before {recording.id}: this one is stopped")
        yield from stop(self.api, recording.id)
        return self._adopt(first, since)

    # What is kept

    def _claim(self, recording: Recording, since: pendulum.DateTime, *, owned: bool) -> Checkpoint:
        return self._keep(
            Checkpoint(self.meeting_id, since.isoformat(), self.order.generation, recording.id, owned=owned)
        )

    def _keep(self, claim: Checkpoint) -> Checkpoint:
        self.order.keep(claim)
        return claim


def give_up(api: RecordingsAPI, order: StartSpec, claim: Checkpoint, seconds: float) -> Flow[Recording | None]:
    """Stop what a task started, if it is known or can be found; ``None`` if there is nothing.

    :param seconds: how long a start may still be under way
    """
    recording_id = claim.recording_id
    if recording_id is None:
        found = yield from Search(api, order).look_for_claimed(claim, seconds)
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
            recording = yield from api.apply_action(recording_id, Action.STOP)
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
