"""What is to be recorded, and what a task remembers of having started it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.models import StartRecordingRequest, StartTrackRecordingRequest
from airflow_provider_realtimekit.models.base import parse_timestamp

IF_ACTIVE = ("reuse", "fail")


@dataclass(frozen=True)
class Checkpoint:
    """What a task keeps of the recording that it starts: plain JSON, so that a later try can read it.

    :param meeting_id: the meeting
    :param since: when the start was about to be sent, by the server's clock (ISO 8601)
    :param generation: tells the tries before a clear of the task from those after
    :param recording_id: the recording, once it is known
    :param owned: whether this task started it; otherwise it was found running
    :param abandoned: whether it was stopped, or is to be, because the task was killed
    """

    meeting_id: str
    since: str
    generation: int = 0
    recording_id: str | None = None
    owned: bool = False
    abandoned: bool = False

    @classmethod
    def read(cls, kept: Any) -> Checkpoint | None:
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


Keep = Callable[[Checkpoint | None], None]


def _keep_nothing(_: Checkpoint | None) -> None:
    """Stand in for a task's memory where there is none."""


def _tell_nobody(_: str) -> None:
    """Stand in for a task's log where there is none."""


@dataclass(frozen=True)
class StartSpec:
    """What is to be recorded, and what a caller who may be tried again adds.

    :param arguments: those of :meth:`.RecordingsAPI.start_recording`, or of ``start_track_recording``
    :param tracks: whether the participants' tracks are to be recorded
    :param if_active: ``reuse`` takes a recording that somebody else started for the one asked for; ``fail`` does not
    :param replaces: whether the recording of a generation before is stopped; otherwise it is taken up while it runs
    :param generation: see :class:`Checkpoint`
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
