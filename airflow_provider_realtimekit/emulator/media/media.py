"""The files of recordings: what each holds, and the studio that makes them in the background.

A file is described by a `MediaSpec`; equal specs share one file. PyAV and numpy are imported by the first
file that is made, so that an emulator without media starts without them.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock
from typing import Protocol

_MISSING = "The emulator needs PyAV and numpy to make media: pip install 'airflow-provider-realtimekit[emulator]'"

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


class Studio(Protocol):
    """Makes files in the background."""

    def make(self, spec: MediaSpec) -> Future[Path]:
        """Return the file that `spec` describes, once it is there."""


class MediaStudio:
    """The studio with a real camera: one worker, one folder, and each file made only once."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="realtimekit-media")
        self._files: dict[MediaSpec, Future[Path]] = {}
        self._lock = Lock()
        self._closing = Event()

    def make(self, spec: MediaSpec) -> Future[Path]:
        """Return the file that `spec` describes, once it is there."""
        with self._lock:
            if spec not in self._files:
                self._folder = self._folder or tempfile.TemporaryDirectory(prefix="realtimekit-emulator-")
                path = Path(self._folder.name, f"{len(self._files)}.{spec.suffix}")
                self._files[spec] = self._worker.submit(_produce, spec, path, self._closing)
            return self._files[spec]

    def close(self) -> None:
        """Drop all work, and remove the folder."""
        self._closing.set()
        self._worker.shutdown(cancel_futures=True)
        if self._folder:
            self._folder.cleanup()


def shrunk(spec: MediaSpec) -> MediaSpec:
    """Return the cheapest file of the same kind, for tests that move many."""
    video = spec.video and replace(spec.video, width=64, height=36)
    return replace(spec, seconds=1.0, video=video)


def require_media() -> None:
    """Raise an `ImportError` that says what to install, unless media can be made."""
    try:
        import airflow_provider_realtimekit.emulator.media.encoding  # noqa: F401
    except ImportError as error:
        raise ImportError(_MISSING) from error


def _produce(spec: MediaSpec, path: Path, closing: Event) -> Path:
    from airflow_provider_realtimekit.emulator.media.encoding import encode

    if not spec.timed_metadata:
        encode(spec, path, closing)
        return path
    media = path.with_suffix(f".{spec.container}")
    encode(spec, media, closing)
    _bundle(media, spec.seconds, path)
    media.unlink()
    return path


def _bundle(media: Path, seconds: float, path: Path) -> None:
    tag = _id3_tag("metadata", json.dumps({"duration": seconds}))
    with tarfile.open(path, "w") as tar:
        tar.add(media, f"recording{media.suffix}")
        entry = tarfile.TarInfo("recording.id3")
        entry.size = len(tag)
        tar.addfile(entry, io.BytesIO(tag))


def _id3_tag(description: str, text: str) -> bytes:
    """Return an ID3v2.4 tag of one user-defined text frame (TXXX, UTF-8)."""
    payload = b"\x03" + description.encode() + b"\x00" + text.encode()
    frame = b"TXXX" + _synchsafe(len(payload)) + b"\x00\x00" + payload
    return b"ID3\x04\x00\x00" + _synchsafe(len(frame)) + frame


def _synchsafe(number: int) -> bytes:
    """Return a size as ID3 writes it: seven bits to the byte."""
    return bytes((number >> shift) & 0x7F for shift in (21, 14, 7, 0))
