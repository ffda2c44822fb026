"""Sends a start, and finds out what became of it. Flows without I/O.

=============================================  ===================================================================
answer to the start                            what is done
=============================================  ===================================================================
200 with this start's recording                it is this task's own
200 with somebody else's recording             used or refused, as ``if_active`` says
never sent, or 401, 403, 404, 429              raised; the checkpoint is deleted, unless an earlier start is in doubt
400, 409, 422, 200 that says "no"              one may run: searched for as long as views may lag. Found with the mark:
                                               this task's own. Found without: as somebody else's. Not found: as above
no answer, 408, 502-504, 520-530               in doubt for a minute, since the gateway does not know what the origin
                                               does: searched by the mark. Found: this task's own
other 5xx, or an answer that cannot be read    the same for as long as views may lag, since the server has answered
accepted without a recording (tracks)          the same as no answer, but it is never sent again
still not found                                sent once more, unless somebody else's recording is active by now.
                                               After the second time: raised, and the checkpoint stays for the next try
=============================================  ===================================================================

Before each start a checkpoint is saved, so that the next try knows of it. A task that is being ended refuses to save
it, and then nothing is sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pendulum

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitConnectionError,
    RealtimeKitError,
    StartOutcomeUnknownError,
)
from airflow_provider_realtimekit.models import Recording, RecordingStatus
from airflow_provider_realtimekit.start import bounds
from airflow_provider_realtimekit.start.checkpoint import Checkpoint
from airflow_provider_realtimekit.start.search import Finder, Marks, Owner, StartRequest, add_mark

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

    def make_checkpoint(
        self, finder: Finder, since: pendulum.DateTime, *, number: int = 0, recording_id: str | None = None
    ) -> Checkpoint:
        """Return the checkpoint of this try.

        :param since: the server's time just before the start
        :param number: 0 for the first start of this try, 1 for the second
        :param recording_id: the recording, once it is known
        """
        return Checkpoint(
            finder.meeting_id,
            since.isoformat(),
            self.marks.generation,
            recording_id,
            serial=self.marks.serial(number),
            is_marked=finder.is_marked,
            names_show_mark=finder.names_show_mark,
            clear_number=self.clear_number,
        )


class Sender:
    """Sends the starts of one try: one, and one more if the first had no effect.

    :param request: the start, without a mark
    :param finder: finds the recording of a start without a clear answer
    :param allows_several: whether the meeting may have several recordings at a time
    """

    def __init__(self, spec: StartSpec, request: StartRequest, finder: Finder, *, allows_several: bool) -> None:
        self.spec = spec
        self.request = request
        self.finder = finder
        self.allows_several = allows_several
        self.number = 0
        #: The error of the last start, if whether it took effect is not known.
        self.unknown: StartOutcomeUnknownError | None = None
        self._marks = spec.marks.of_same_try(spec.marks.serial(0), spec.marks.generation)

    def send(self, since: pendulum.DateTime) -> Flow[tuple[Recording, bool] | None]:
        """Send the start; return the recording, and whether it is this task's own; ``None`` if it had no effect.

        :param since: the server's time
        :raises RealtimeKitAPIError: when the API refused it
        :raises StartOutcomeUnknownError: when an earlier start is in doubt, or the recordings could not be read
        """
        # From here on the next try must know that a start may be under way.
        self.spec.save_checkpoint(self.spec.make_checkpoint(self.finder, since, number=self.number))
        request, sent_at = self.request, time.monotonic()
        if self.finder.is_marked:
            request = add_mark(request, self.spec.marks.make(self.spec.marks.serial(self.number)))
        self.number += 1
        try:
            recording = yield from self.finder.api.send_start(request)
            return recording, self._is_own_answer(recording, since)
        except StartOutcomeUnknownError as error:
            self.unknown = error
        except (RealtimeKitAPIError, RealtimeKitConnectionError) as refusal:
            return (yield from self._explain_refusal(refusal, since))
        found = yield from self._search_unknown(self.unknown, since, sent_at)
        return None if found is None else (found, True)

    def raise_if_final(self) -> None:
        """Raise the error of the last start, if the start must not be sent again.

        :raises RealtimeKitAPIError: when the API itself said that it could not start
        :raises StartOutcomeUnknownError: otherwise
        """
        unknown = self.unknown
        if unknown is None:
            return
        cause = unknown.__cause__
        # Where several are allowed and no answer came, a second start surely runs beside a first that is very late.
        is_risky = self.allows_several and isinstance(cause, RealtimeKitConnectionError)
        if self.number < 2 and not unknown.accepted and not is_risky:
            return
        # It surely had no effect if the API said so itself: then its own error is the better one.
        raise cause if isinstance(cause, RealtimeKitAPIError) and not unknown.accepted else unknown

    def _is_own_answer(self, recording: Recording, since: pendulum.DateTime) -> bool:
        """Whether a start was answered with its own recording, and not with one that was active already."""
        owner, invoked = self.finder.owner_of(recording), recording.invoked_time
        if owner is Owner.UNKNOWN:
            return invoked is None or invoked >= since.subtract(seconds=bounds.BOUNDS.clock)
        if owner is Owner.THIS_TASK or self.finder.names_show_mark or not recording.output_file_name:
            return owner is Owner.THIS_TASK
        # Either it is somebody else's, or this server ignores prefixes. Only the latter's is as new as the start.
        if recording.status != RecordingStatus.INVOKED or invoked is None or invoked < since:
            return False
        self.finder.names_show_mark = False
        return self.finder.owner_of(recording) is Owner.UNKNOWN

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
            recording = yield from self.finder.search(self._marks, since, seconds)
        except RealtimeKitError as error:
            raise StartOutcomeUnknownError(
                f"{unknown}. The meeting's recordings could not be read either: {error}",
                meeting_id=self.finder.meeting_id,
            ) from error
        if recording is not None:
            self.spec.log(f"The start got no clear answer, but took effect: recording {recording.id}")
        else:
            self.spec.log(
                f"The start got no clear answer ({cause}) and had no effect: meeting {self.finder.meeting_id} showed "
                f"no recording of it for {seconds:.0f} s"
            )
        return recording

    def _explain_refusal(
        self, refusal: RealtimeKitAPIError | RealtimeKitConnectionError, since: pendulum.DateTime
    ) -> Flow[tuple[Recording, bool]]:
        """Return the recording that made the API refuse the start; raise the refusal if there is none."""
        status = getattr(refusal, "status", None)
        if status in _MAY_RUN_STATUSES:
            try:
                found = yield from self.finder.search(
                    self._marks, since, bounds.BOUNDS.view_lag, accepts_others=not self.allows_several
                )
            except RealtimeKitError as error:
                raise StartOutcomeUnknownError(
                    f"the start was refused ({refusal}), and the meeting's recordings could not be read: {error}",
                    meeting_id=self.finder.meeting_id,
                ) from error
            if found is not None:
                # Where no name shows it, it is this task's own only if one of its starts may have had an effect.
                may_be_own = (self.unknown is not None or status == 200) and self.finder.may_be_own(found, since)
                return found, may_be_own or self.finder.own_mark(found) is not None
        if self.unknown is not None:
            raise StartOutcomeUnknownError(
                f"a start got no clear answer ({self.unknown.__cause__}), and a second one was refused ({refusal})",
                meeting_id=self.finder.meeting_id,
            ) from refusal
        self.spec.save_checkpoint(None)
        raise refusal
