"""The data of the emulated world: owners, meetings, recordings and their files."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple

from airflow_provider_realtimekit.emulator.media.specs import MediaSpec

RecordingKind = Literal["composite", "track"]


class Status(StrEnum):
    """The statuses that the API documents."""

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
    """A meeting. `owner` is None for a meeting that every app has; `empty_since` is None while anybody is in it."""

    id: str
    title: str
    owner: Owner | None
    created_at: float
    participants: dict[str, None] = field(default_factory=dict)  # a set that remembers who joined first
    empty_since: float | None = None
    session_id: str | None = None
    record_on_start: bool = False
    recording_config: dict[str, Any] | None = field(default=None, repr=False)
    recordings: list[Recording] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class OutputFile:
    """The name and the content of one file of a recording.

    `role` says where the API shows its link: `download_url`, `audio_download_url` or a layer of a track recording.
    A file that is not `in_bucket` goes only to the storage of the client, so it has no link.
    """

    name: str
    spec: MediaSpec
    role: Literal["video", "audio", "layer"]
    in_bucket: bool
    layer: str = ""


@dataclass(frozen=True)
class RecordedFile:
    """A file of a recording that has ended; it may not be finished yet."""

    output: OutputFile
    future_path: Future[Path]

    @property
    def size(self) -> int:
        """The number of bytes. Waits until the file is made."""
        return self.future_path.result().stat().st_size


@dataclass(eq=False)
class Recording:
    """One recording. Times are seconds since the epoch.

    `state` is the true state and `state_since` the time at which it began; `recorded_seconds` is the length up to
    then, in emulated seconds. `participants` are all who were in the meeting while it was recorded.
    """

    id: str
    kind: RecordingKind
    meeting: Meeting
    owner: Owner | None
    config: dict[str, Any] = field(repr=False)  # may hold the credentials of a storage
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
        """The status that the API shows: the true state, unless a test has set another word."""
        return self.shown_status or self.state

    def recorded_seconds_at(self, now: float, speed: float) -> float:
        """Return the length at a time, in emulated seconds and without pauses."""
        running = now - self.state_since if self.state is Status.RECORDING else 0.0
        return self.recorded_seconds + running * speed
