"""What a test file holds: pictures, sound, container and length."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

CONTENT_TYPES = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "tar": "application/x-tar",
}


@dataclass(frozen=True)
class VideoSpec:
    """The pictures of a file."""

    codec: str = "H264"
    width: int = 1280
    height: int = 720


@dataclass(frozen=True)
class AudioSpec:
    """The sound of a file; another voice is another pitch."""

    codec: str = "AAC"
    channels: int = 2
    voice: int = 0

    @property
    def layout(self) -> str:
        """The channels in FFmpeg's words."""
        return "mono" if self.channels == 1 else "stereo"


@dataclass(frozen=True)
class MediaSpec:
    """A file; `container` is its ending, `timed_metadata` wraps it into a tar with its ID3 tag."""

    container: str
    seconds: float
    video: VideoSpec | None = None
    audio: AudioSpec | None = None
    timed_metadata: bool = False

    @property
    def suffix(self) -> str:
        """The ending of the file that a client gets."""
        return "tar" if self.timed_metadata else self.container


class MediaEncoder(Protocol):
    """Makes files in the background."""

    def encode(self, spec: MediaSpec) -> Future[Path]:
        """Return the file that `spec` describes, once it is there."""


def shrink(spec: MediaSpec) -> MediaSpec:
    """Return the cheapest file of the same kind, for tests that move many."""
    video = spec.video and replace(spec.video, width=64, height=36)
    return replace(spec, seconds=1.0, video=video)
