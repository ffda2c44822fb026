"""RealtimeKit's meetings and recordings, written from the reference alone, with what it leaves open as settings.

It imports nothing of the package. Time is the world's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.once.worlds.clock import Clock
from tests.once.worlds.virtual_time import EPOCH

ACTIVE = ("INVOKED", "RECORDING", "PAUSED")
# Seconds from INVOKED to RECORDING, and from UPLOADING to UPLOADED.
_BEGINS, _UPLOADS = 2.0, 15.0
_PER_PAGE = 25


@dataclass(frozen=True)
class Start:
    """How one start is handled.

    :param answer: ``ok``, a status, ``reset`` (the connection is cut) or ``false`` (200 that says it did not succeed)
    :param answers_at: seconds after the request came
    :param acts_at: seconds after the request came at which the recording begins; ``None`` if it never does
    :param checks: when it is looked whether one runs: at ``receipt``, when it ``acts``, or ``never``
    :param refusal: the answer where one runs: 409, 400, 422, ``false``, or ``theirs`` (200 with the one that runs)
    :param retry_after: seconds, with 429
    """

    answer: int | str = "ok"
    answers_at: float = 0.5
    acts_at: float | None = 0.2
    checks: str = "receipt"
    refusal: int | str = 409
    retry_after: int | None = None


@dataclass(frozen=True)
class Fault:
    """How calls of an operation other than a start go wrong.

    :param operation: ``active``, ``list``, ``get``, ``stop``, or one of these with `` after stop``, which counts only
        calls after the first stop
    :param numbers: which calls of it, counted from 1
    :param answer: a status, ``reset``, ``html`` (200 with a page of a proxy), ``false`` (200 that says it did not
        succeed), ``no effect`` (a stop that is answered with 200 and does nothing), ``lie`` (the same, and the answer
        says UPLOADING) or ``slow`` (answered well, but late)
    :param seconds: how long the answer takes
    """

    operation: str
    numbers: tuple[int, ...]
    answer: int | str = 502
    seconds: float = 0.1


@dataclass(frozen=True)
class Behaviour:
    """What the reference leaves open, and what goes wrong.

    :param starts: how the first, second, … start is handled; the last one stands for all further ones
    :param faults: what goes wrong with other calls
    :param list_lag: seconds after which a list shows what is
    :param active_lag: seconds after which ``active-recording`` shows what is
    :param behind: seconds by which the origin's clock, which dates recordings, is behind the one of ``Date``
    :param has_invoked_time: whether recordings carry ``invoked_time``
    :param has_date: whether answers carry ``Date``
    :param names: ``prefixed`` names of files, ``plain`` ones (the prefix is ignored) or ``null``
    :param named_after: seconds after which a recording shows its name
    :param active_shows: what ``active-recording`` shows when none is active: ``uploading`` (one that has just ended),
        or the recording of another meeting, which names its meeting in ``meeting`` or in ``meeting_id``; ``None``
        for 404, as the reference says
    :param latency: seconds that each other answer takes
    """

    starts: tuple[Start, ...] = (Start(),)
    faults: tuple[Fault, ...] = ()
    list_lag: float = 0.0
    active_lag: float = 0.0
    behind: float = 0.0
    has_invoked_time: bool = True
    has_date: bool = True
    names: str = "prefixed"
    named_after: float = 0.0
    active_shows: str | None = None
    latency: float = 0.1


@dataclass(eq=False)
class Recording:
    """A recording as it really is.

    :param owner: the process that asked for it; ``others`` for what nobody of ours started
    :param began: the world's time at which it was invoked
    :param history: when it came to which status
    :param stopped_by: who stopped it, ``None`` if nobody did
    """

    id: str
    meeting: str
    owner: str
    began: float
    prefix: str = ""
    tracks: bool = False
    reason: str = "API_CALL"
    history: list[tuple[float, str]] = field(default_factory=list)
    stopped_by: str | None = None

    @property
    def status(self) -> str:
        """The status now."""
        return self.history[-1][1]

    @property
    def is_active(self) -> bool:
        """Whether it runs."""
        return self.status in ACTIVE

    @property
    def ended(self) -> float | None:
        """When it stopped being active."""
        return next((moment for moment, status in self.history if status not in ACTIVE), None)

    def status_at(self, moment: float) -> str | None:
        """Return the status that it had at a time, ``None`` if it was not there yet."""
        return next((status for began, status in reversed(self.history) if began <= moment), None)


class Model:
    """The meetings and their recordings.

    :param log_event: called with each event: its name and its details
    """

    def __init__(self, clock: Clock, behaviour: Behaviour, log_event: Callable[[str, str], None]) -> None:
        self.clock = clock
        self.behaviour = behaviour
        self.log_event = log_event
        self.recordings: list[Recording] = []
        self.counts: dict[str, int] = {}

    # What happens without a request

    def begin(self, meeting: str, owner: str, **more: Any) -> Recording:
        """Begin a recording."""
        now = self.clock.now
        number = len(self.recordings) + 1
        recording = Recording(f"{number:08d}-0000-4000-8000-000000000000", meeting, owner, now, **more)
        recording.history.append((now, "INVOKED"))
        self.recordings.append(recording)
        self.clock.after(_BEGINS, lambda: self._move(recording, "INVOKED", "RECORDING"))
        self.log_event("began", f"recording {number} of {meeting} by {owner}, prefix {recording.prefix!r}")
        return recording

    def end(self, recording: Recording, by: str | None = None) -> None:
        """End a recording that runs, and upload it."""
        if not recording.is_active:
            return
        recording.stopped_by = by
        recording.history.append((self.clock.now, "UPLOADING"))
        self.log_event("ended", f"recording {int(recording.id[:8])}, by {by or 'its meeting'}")
        self.clock.after(_UPLOADS, lambda: self._move(recording, "UPLOADING", "UPLOADED"))

    def leave(self, meeting: str) -> None:
        """Have everybody leave the meeting: what records it ends."""
        for recording in self.recordings:
            if recording.meeting == meeting:
                self.end(recording)

    def running(self, meeting: str) -> Recording | None:
        """Return the recording that runs, of several the first."""
        return next((row for row in self.recordings if row.meeting == meeting and row.is_active), None)

    def name_of(self, recording: Recording) -> str | None:
        """Return the name of the file."""
        if self.behaviour.names == "null" or self.clock.now < recording.began + self.behaviour.named_after:
            return None
        prefix = recording.prefix if self.behaviour.names == "prefixed" else ""
        name = f"{recording.meeting}_{int(recording.began * 1000)}.{'webm' if recording.tracks else 'mp4'}"
        return f"{prefix}_{name}" if prefix else name

    def _move(self, recording: Recording, old: str, new: str) -> None:
        if recording.status == old:
            recording.history.append((self.clock.now, new))

    # What a request asks for: each returns a status, a body and the seconds after which to answer

    def number(self, operation: str) -> int:
        """Count a call."""
        self.counts[operation] = self.counts.get(operation, 0) + 1
        return self.counts[operation]

    def read(self, recording: Recording, status: str | None = None) -> dict[str, Any]:
        """Return what the API shows of a recording."""
        invoked = self._stamp(recording.began) if self.behaviour.has_invoked_time else None
        row = {
            "id": recording.id,
            "status": status or recording.status,
            "invoked_time": invoked,
            "started_time": self._time_of(recording, "RECORDING"),
            "stopped_time": self._time_of(recording, "UPLOADING"),
            "download_url": None,
            "download_url_expiry": None,
            "audio_download_url": None,
            "file_size": None,
            "session_id": f"session-{recording.meeting}",
            "output_file_name": self.name_of(recording),
            "start_reason": {"reason": recording.reason, "caller": {"type": "ORGANIZATION"}},
        }
        if row["status"] == "UPLOADED":
            row |= {"download_url": f"https://files.example/{recording.id}", "file_size": 1000}
        return row

    def _stamp(self, moment: float) -> str:
        there = datetime.fromtimestamp(EPOCH + moment - self.behaviour.behind, UTC)
        return there.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _time_of(self, recording: Recording, status: str) -> str | None:
        return next((self._stamp(moment) for moment, reached in recording.history if reached == status), None)

    def active(self, meeting: str) -> dict[str, Any] | None:
        """Return what ``active-recording`` shows."""
        seen = self.clock.now - self.behaviour.active_lag
        rows = [(row, row.status_at(seen)) for row in self.recordings]
        own = [(row, status) for row, status in rows if row.meeting == meeting and status]
        for row, status in own:
            if status in ACTIVE:
                return self.read(row, status)
        if self.behaviour.active_shows == "uploading" and own:
            return self.read(*own[-1])
        if self.behaviour.active_shows in ("meeting", "meeting_id"):
            for row, status in rows:
                if row.meeting != meeting and status in ACTIVE:
                    names = {"id": row.meeting} if self.behaviour.active_shows == "meeting" else row.meeting
                    return {**self.read(row, status), self.behaviour.active_shows: names}
        return None

    def list(self, query: Mapping[str, str]) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """Return a page of the list, and its paging block."""
        seen = self.clock.now - self.behaviour.list_lag
        rows = [(row, row.status_at(seen)) for row in self.recordings]
        shown = [
            {**self.read(row, status), "meeting": {"id": row.meeting}}
            for row, status in rows
            if status and query.get("meeting_id") in (None, row.meeting) and query.get("status") in (None, status)
        ]
        for name, keeps in (("start_time", _is_at_or_after), ("end_time", _is_at_or_before)):
            if name in query:
                shown = [row for row in shown if keeps(row["invoked_time"], query[name])]
        shown.sort(key=lambda row: row["invoked_time"] or "", reverse=query.get("sort_order") == "DESC")
        size = min(100, int(query.get("per_page", _PER_PAGE)))
        first = (int(query.get("page_no", 1)) - 1) * size
        page = shown[first : first + size]
        start = first + 1 if page else 0
        return page, {"total_count": len(shown), "start_offset": start, "end_offset": first + len(page)}


def _is_at_or_after(invoked: str | None, limit: str) -> bool:
    return invoked is None or datetime.fromisoformat(invoked) >= datetime.fromisoformat(limit)


def _is_at_or_before(invoked: str | None, limit: str) -> bool:
    return invoked is None or datetime.fromisoformat(invoked) <= datetime.fromisoformat(limit)
