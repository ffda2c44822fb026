"""The encoder that makes test files in the background. Equal specs share one file."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock

from airflow_provider_realtimekit.emulator.media.encoding import write_media
from airflow_provider_realtimekit.emulator.media.specs import MediaSpec


class BackgroundEncoder:
    """The encoder with a real camera: one worker, one folder, and each file made only once."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="realtimekit-media")
        self._files: dict[MediaSpec, Future[Path]] = {}
        self._lock = Lock()
        self._closing = Event()

    def encode(self, spec: MediaSpec) -> Future[Path]:
        """Return the file that `spec` describes, once it is there."""
        with self._lock:
            if spec not in self._files:
                self._folder = self._folder or tempfile.TemporaryDirectory(prefix="realtimekit-emulator-")
                path = Path(self._folder.name, f"{len(self._files)}.{spec.suffix}")
                self._files[spec] = self._worker.submit(_write_file, spec, path, self._closing)
            return self._files[spec]

    def close(self) -> None:
        """Drop all work, and remove the folder."""
        self._closing.set()
        self._worker.shutdown(cancel_futures=True)
        if self._folder:
            self._folder.cleanup()


def _write_file(spec: MediaSpec, path: Path, closing: Event) -> Path:
    if not spec.timed_metadata:
        write_media(spec, path, closing)
        return path
    media = path.with_suffix(f".{spec.container}")
    write_media(spec, media, closing)
    _write_tar(media, spec.seconds, path)
    media.unlink()
    return path


def _write_tar(media: Path, seconds: float, path: Path) -> None:
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
