"""The content of a test file: pictures, sound, container and length; and the interface of the encoder."""

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
    """The pictures of a file; the default size is that of the API."""

    codec: str = "H264"
    width: int = 1280
    height: int = 720


@dataclass(frozen=True)
class AudioSpec:
    """The sound of a file. Each `voice` has a pitch of its own; 0 is a conversation of two."""

    codec: str = "AAC"
    channels: int = 2
    voice: int = 0

    @property
    def layout(self) -> str:
        """FFmpeg's name for the channels."""
        return "mono" if self.channels == 1 else "stereo"


@dataclass(frozen=True)
class MediaSpec:
    """A file. `container` is the extension of the media; `timed_metadata` puts it into a tar with an ID3 tag."""

    container: str
    seconds: float
    video: VideoSpec | None = None
    audio: AudioSpec | None = None
    timed_metadata: bool = False

    @property
    def suffix(self) -> str:
        """The extension of the file that a client downloads."""
        return "tar" if self.timed_metadata else self.container


class MediaEncoder(Protocol):
    """Makes files in the background."""

    def encode(self, spec: MediaSpec) -> Future[Path]:
        """Return the path of the file that `spec` describes; the future ends when the file is made."""


def shrink(spec: MediaSpec) -> MediaSpec:
    """Return the spec of a small file of the same kind: one second, 64 by 36 pixels."""
    video = spec.video and replace(spec.video, width=64, height=36)
    return replace(spec, seconds=1.0, video=video)
