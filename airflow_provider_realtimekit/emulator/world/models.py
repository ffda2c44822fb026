"""What the emulated world is made of: meetings, recordings and their files."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple

from airflow_provider_realtimekit.emulator.media.specs import MediaSpec

RecordingKind = Literal["composite", "track"]


class Status(StrEnum):
    """The statuses that the API names."""

    INVOKED = "INVOKED"
    RECORDING = "RECORDING"
    PAUSED = "PAUSED"
    UPLOADING = "UPLOADING"
    UPLOADED = "UPLOADED"
    ERRORED = "ERRORED"


ACTIVE = frozenset({Status.INVOKED, Status.RECORDING, Status.PAUSED})
TERMINAL = frozenset({Status.UPLOADED, Status.ERRORED})


class Owner(NamedTuple):
    """The account and the app that a recording belongs to."""

    account_id: str
    app_id: str


@dataclass(eq=False)
class Meeting:
    """A meeting; `empty_since` is None while somebody is in it."""

    id: str
    title: str
    owner: Owner | None
    created_at: float
    participants: dict[str, None] = field(default_factory=dict)  # an ordered set
    empty_since: float | None = None
    session_id: str | None = None
    record_on_start: bool = False
    recording_config: dict[str, Any] | None = field(default=None, repr=False)
    recordings: list[Recording] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class OutputFile:
    """A file: its name, what it holds, and where the answer names it."""

    name: str
    spec: MediaSpec
    role: Literal["video", "audio", "layer"]
    in_bucket: bool
    layer: str = ""


@dataclass(frozen=True)
class RecordedFile:
    """A file of a recording, made or in the making."""

    output: OutputFile
    future_path: Future[Path]

    @property
    def size(self) -> int:
        """The exact number of bytes."""
        return self.future_path.result().stat().st_size


@dataclass(eq=False)
class Recording:
    """One recording; times are seconds since the epoch, `recorded` is in emulated seconds."""

    id: str
    kind: RecordingKind
    meeting: Meeting
    owner: Owner | None
    config: dict[str, Any] = field(repr=False)  # it may hold the credentials of a storage
    start_reason: dict[str, Any]
    invoked_at: float
    session_id: str | None
    participants: tuple[str, ...]
    state: Status = Status.INVOKED
    state_since: float = 0.0
    recorded_seconds: float = 0.0
    started_at: float | None = None
    stopped_at: float | None = None
    expires_at: float | None = None
    uploaded_at: float | None = None
    stop_reason: dict[str, Any] | None = None
    err_message: str | None = None
    is_hanging: bool = False
    is_upload_immediate: bool = False
    shown_status: str | None = None
    files: tuple[RecordedFile, ...] = ()

    @property
    def status(self) -> str:
        """What the API shows: the true state, unless a test has put another word over it."""
        return self.shown_status or self.state

    def recorded_seconds_at(self, now: float, speed: float) -> float:
        """Return how much has been recorded, pauses left out."""
        running = now - self.state_since if self.state is Status.RECORDING else 0.0
        return self.recorded_seconds + running * speed
