"""Which recordings of a meeting a task has started: by a mark in the file's name, or by time, kind and reason.

The API has no idempotency key, but it shows the name of a recording's file, which begins with the prefix that the
start asked for. So every start carries a mark behind the user's prefix. A recording with the mark is the task's own,
also when nothing was stored about it. :class:`Marks` makes the marks, and :class:`Finder` reads a meeting's recordings.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import pendulum

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.recordings import DATE_SLACK, RecordingsAPI
from airflow_provider_realtimekit.exceptions import RealtimeKitAuthError, RealtimeKitError
from airflow_provider_realtimekit.models import Recording
from airflow_provider_realtimekit.models.requests import StartRecordingRequest, StartTrackRecordingRequest
from airflow_provider_realtimekit.start import bounds

StartRequest = StartRecordingRequest | StartTrackRecordingRequest

_MARK = re.compile(r"(?:^|_)(rtk-[a-z2-7]{10})(?![a-z2-7])")
# A try sends one start, and one more if the first took no effect.
_STARTS_PER_TRY = 2
# A clear after a deploy with fewer retries lowers the generation; earlier ones must still be recognised.
_MORE_GENERATIONS = 16
# How far back lists are read, in seconds, in case the clocks of worker and server differ.
_LIST_SLACK = 3600


@dataclass(frozen=True)
class Marks:
    """The marks of one task's starts. They need no storage: every try can compute those of all tries.

    :param owner: DAG, run, task and map index
    :param generation: see :class:`~.checkpoint.Checkpoint`
    :param try_number: the number of this try
    """

    owner: tuple[str, ...]
    generation: int = 0
    try_number: int = 1

    @classmethod
    def random(cls) -> Marks:
        """Return marks for a start outside a task."""
        return cls((uuid.uuid4().hex,))

    def serial(self, number: int) -> int:
        """Return the serial of this try's first (0) or second (1) start. It grows with each start of the task."""
        return _STARTS_PER_TRY * self.try_number + number

    def make(self, serial: int, generation: int | None = None) -> str:
        """Return the mark of a start: ``rtk-`` and 10 characters.

        :param generation: another generation than the current one
        """
        named = [*self.owner, self.generation if generation is None else generation, serial]
        digest = hashlib.sha256(json.dumps(named).encode()).digest()
        return f"rtk-{base64.b32encode(digest)[:10].decode().lower()}"

    def of_same_try(self, serial: int, generation: int) -> set[str]:
        """Return the marks of the try that sent the start with this serial."""
        first = serial - serial % _STARTS_PER_TRY
        return {self.make(first + number, generation) for number in range(_STARTS_PER_TRY)}

    @cached_property
    def generations(self) -> dict[str, int]:
        """The generation of each mark that this try or an earlier one may have sent."""
        serials = range(_STARTS_PER_TRY, _STARTS_PER_TRY * (self.try_number + 1))
        generations = range(self.generation + _MORE_GENERATIONS)
        return {self.make(serial, number): number for number in generations for serial in serials}


def can_be_marked(request: StartRequest) -> bool:
    """Whether a mark can be added to a start."""
    # `extra_fields` win over what is added here. A start of tracks without layers has no prefix to add it to.
    extra = request.extra_fields or {}
    if isinstance(request, StartRecordingRequest):
        return "file_name_prefix" not in extra
    return bool(request.layers) and "layers" not in extra


def add_mark(request: StartRequest, mark: str) -> StartRequest:
    """Return the start with the mark behind the user's prefix, or as the prefix if there is none."""

    def marked(part: Any) -> Any:
        prefix = f"{part.file_name_prefix}_{mark}" if part.file_name_prefix else mark
        return part.model_copy(update={"file_name_prefix": prefix})

    if isinstance(request, StartRecordingRequest):
        composite: StartRecordingRequest = marked(request)
        return composite
    return request.model_copy(update={"layers": {name: marked(part) for name, part in (request.layers or {}).items()}})


class Owner(Enum):
    """Who started a recording, as far as it shows."""

    THIS_TASK = "this task"
    SOMEBODY_ELSE = "somebody else"
    UNKNOWN = "unknown"


@dataclass
class Finder:
    """Reads the recordings of a meeting, and says who started them.

    :param marks: the marks of this task
    :param is_marked: whether its starts carry a mark
    :param names_show_mark: whether this server's names begin with the prefix that was asked for; ``None``: not known
    :param prefix: the user's prefix
    :param is_webm: whether a composite recording is a ``.webm`` file, as one of tracks is
    """

    api: RecordingsAPI
    meeting_id: str
    marks: Marks
    is_tracks: bool = False
    is_marked: bool = True
    names_show_mark: bool | None = None
    prefix: str | None = None
    is_webm: bool = False
    # The server's time, and when it was answered by this process's clock that never goes back.
    _server_time: tuple[pendulum.DateTime, float] | None = None

    @property
    def server_now(self) -> pendulum.DateTime | None:
        """The server's time now, ``None`` if no answer had one."""
        if self._server_time is None:
            return None
        answered, at = self._server_time
        return answered.add(seconds=time.monotonic() - at)

    # Who started a recording

    def own_mark(self, row: Recording) -> str | None:
        """Return the mark of this task in a recording's name."""
        return next((mark for mark in _marks_in(row) if mark in self.marks.generations), None)

    def generation_of(self, row: Recording) -> int | None:
        """Return the generation whose start a recording's mark names, ``None`` if it has no mark of this task."""
        mark = self.own_mark(row)
        return None if mark is None else self.marks.generations[mark]

    def owner_of(self, row: Recording) -> Owner:
        """Say who started a recording."""
        if self.own_mark(row):
            return Owner.THIS_TASK
        # Names of files show the prefix of a composite start. For tracks, only the names of the layers surely do.
        is_expected = self.is_marked and (not self.is_tracks if self.names_show_mark is None else self.names_show_mark)
        if _marks_in(row) or (row.output_file_name and is_expected) or _is_started_without_api(row):
            return Owner.SOMEBODY_ELSE
        return Owner.UNKNOWN

    def may_be_own(self, row: Recording, since: pendulum.DateTime) -> bool:
        """Whether a recording whose name does not show who started it may come from a start.

        :param since: the server's time just before the start
        """
        if self.owner_of(row) is not Owner.UNKNOWN or not self.is_usable(row):
            return False
        if self.prefix and row.output_file_name and not row.output_file_name.startswith(self.prefix):
            return False
        if row.invoked_time is None:
            return True
        slack = bounds.BOUNDS.clock
        return since.subtract(seconds=slack) <= row.invoked_time <= since.add(seconds=slack + bounds.BOUNDS.doubt)

    def is_usable(self, row: Recording, *, is_certain: bool = False) -> bool:
        """Whether a recording is active, of this meeting, and of the right kind.

        :param is_certain: whether the name of the file alone does not make it a recording of tracks
        """
        # `active-recording` was seen to show a recording that uploads, and could show another meeting's.
        if not row.is_active or row.meeting_id not in (None, self.meeting_id):
            return False
        # The API documents no field for the kind. `type` occurs in some answers, and is the better source.
        if row.type:
            return ("TRACK" in str(row.type).upper()) == self.is_tracks
        # Tracks are .webm files, but so is a composite recording in VP8 or VP9.
        is_webm = (row.output_file_name or "").endswith(".webm")
        if self.is_tracks:
            return is_webm and (not is_certain or self.own_mark(row) is not None)
        return not is_webm or self.is_webm

    # What a meeting has

    def fetch_active(self) -> Flow[Recording | None]:
        """Fetch what ``active-recording`` shows, and note the server's time."""
        active, server_time = yield from self.api.get_active_with_time(self.meeting_id)
        if server_time is not None:
            self._server_time = server_time, time.monotonic()
        return active

    def list_since(self, moment: pendulum.DateTime) -> Flow[list[Recording]]:
        """Return the meeting's recordings that were invoked at or after a time, and many that were invoked earlier."""
        walk = self.api.list_recordings(
            meeting_id=self.meeting_id, start_time=moment.subtract(seconds=_LIST_SLACK), sort_order="DESC"
        )
        rows: list[Recording] = []
        while not walk.is_done:
            rows += walk.accept((yield from walk.next_page()))
        return rows

    def search(
        self,
        wanted: Collection[str],
        since: pendulum.DateTime,
        seconds: float,
        *,
        accepts_others: bool = False,
        accepts_marked: bool = False,
        longest_pause: float = 5.0,
    ) -> Flow[Recording | None]:
        """Read the meeting's recordings again and again, until the recording of a start shows up.

        :param wanted: the marks that the start may have
        :param since: the server's time just before the start
        :param seconds: how long to search; once in any case
        :param accepts_others: whether an active recording that somebody else started is returned, too
        :param accepts_marked: whether an active recording with any other mark of this task is returned, too
        :param longest_pause: seconds between two requests at most
        :raises RealtimeKitError: when the recordings could not be read in the end
        """
        began = time.monotonic()
        unnamed_since: float | None = None
        for pause in bounds.pauses(longest_pause):
            failure: RealtimeKitError | None = None
            rows: list[Recording] = []
            try:
                rows = yield from self._fetch_rows(wanted, since)
            except RealtimeKitAuthError:
                raise
            except RealtimeKitError as error:
                failure = error
            found = [row for row in rows if self.own_mark(row) in wanted]
            if accepts_marked:
                found += [row for row in rows if row.is_active and self.own_mark(row)]
            if not found and accepts_others:
                found = [row for row in rows if self.is_usable(row)]
            if found:
                return min(found, key=lambda row: (not row.is_active, by_invocation(row)))
            now = time.monotonic()
            candidates = [row for row in rows if self.may_be_own(row, since)]
            # Of several nobody can say which one it is. Then none is this task's own, so that it stops none.
            unnamed = candidates[0] if len(candidates) == 1 else None
            unnamed_since = None if unnamed is None else unnamed_since or now
            # The name may be shown later than the recording.
            is_patient = self.is_marked and not self.is_tracks and self.names_show_mark is not False
            patience = bounds.BOUNDS.view_lag if is_patient else 0.0
            if unnamed_since is not None and now >= min(unnamed_since + patience, began + seconds):
                return unnamed
            if now >= began + seconds:
                if failure is not None:
                    raise failure
                return None
            yield min(pause, began + seconds - now)
        raise AssertionError("the pauses never end")

    def _fetch_rows(self, wanted: Collection[str], since: pendulum.DateTime) -> Flow[list[Recording]]:
        active = yield from self.fetch_active()
        if active is not None and self.is_usable(active) and self.own_mark(active) in wanted:
            # As a rule one request finds it.
            return [active]
        rows = yield from self.list_since(since)
        if active is not None and all(row.id != active.id for row in rows):
            rows.append(active)
        return [row for row in rows if row.meeting_id in (None, self.meeting_id)]


def by_invocation(row: Recording) -> tuple[pendulum.DateTime, str]:
    """Sort key: the recording that was invoked first comes first. Equal times are decided by the id."""
    return row.invoked_time or pendulum.DateTime.max.replace(tzinfo=pendulum.UTC), row.id


def time_before(server_time: pendulum.DateTime | None) -> pendulum.DateTime:
    """Return a time before a start that is sent next, by the server's clock if it is known."""
    # A Date is in whole seconds.
    return server_time - DATE_SLACK if server_time else pendulum.now("UTC").subtract(seconds=60)


def _marks_in(row: Recording) -> list[str]:
    names = [row.output_file_name or "", *(file.name for file in row.files)]
    return [mark for name in names for mark in _MARK.findall(name)]


def _is_started_without_api(row: Recording) -> bool:
    reason = row.start_reason
    if reason is None:
        return False
    return reason.reason == "RECORD_ON_START" or (reason.caller is not None and reason.caller.type == "USER")
