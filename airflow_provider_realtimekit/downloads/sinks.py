"""Where files go: each store's own way to let a file appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_realtimekit.downloads.s3 import MultipartSink, check_stored, part_size
from airflow_provider_realtimekit.exceptions import DownloadError
from airflow_provider_realtimekit.redaction import strip_queries, truncate

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_realtimekit.downloads.transfer import Sink

_S3, _GCS, _AZURE = frozenset({"s3", "s3a"}), frozenset({"gs", "gcs"}), frozenset({"abfs", "abfss", "az", "adl"})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def open_sink(path: ObjectStoragePath, size: int | None) -> Sink:
    """Begin a file, and remove what a crash left of an earlier try for it.

    :param path: the file's name once it is whole
    :param size: how many bytes are to come, if that is known
    :raises DownloadError: when the store refuses, or has no room
    """
    with store_errors(path):
        if is_local(path):
            return LocalSink(Path(path.path), size)
        protocols = protocols_of(path)
        if protocols & _S3:
            return MultipartSink(path, size)
        if protocols & _GCS:
            return UncommittedSink(path, size)
        if protocols & _AZURE:
            return BlockBlobSink(path, size)
        return RenamedSink(path)


def is_local(path: ObjectStoragePath) -> bool:
    """Tell whether a path is one of this machine's files."""
    return path.protocol in ("", "file", "local")


def size_of(path: ObjectStoragePath) -> int | None:
    """Return how many bytes a file has; None where there is none."""
    with store_errors(path), suppress(FileNotFoundError, NotADirectoryError):
        if is_local(path):
            return Path(path.path).stat().st_size
        path.fs.invalidate_cache(path.parent.path)
        return int(path.fs.info(path.path)["size"])
    return None


def read_start(path: ObjectStoragePath, limit: int) -> bytes | None:
    """Return the first bytes of a small file; None where there is none."""
    with store_errors(path), suppress(FileNotFoundError, NotADirectoryError):
        if is_local(path):
            # Not through its filesystem: the first one makes Airflow look through all providers.
            with Path(path.path).open("rb") as file:
                return file.read(limit)
        path.fs.invalidate_cache(path.parent.path)
        return bytes(path.fs.cat_file(path.path, start=0, end=limit))
    return None


def protocols_of(path: ObjectStoragePath) -> frozenset[str]:
    """Return what the path's filesystem calls itself."""
    protocol = path.fs.protocol
    return frozenset({protocol} if isinstance(protocol, str) else protocol)


@contextmanager
def store_errors(path: ObjectStoragePath) -> Iterator[None]:
    """Say clearly, and without secrets, that it is the store that fails."""
    try:
        yield
    except DownloadError:
        raise
    except Exception as error:
        why = "it is full" if isinstance(error, OSError) and error.errno in _FULL else _words(error)
        raise DownloadError(f"{path} cannot be stored: {why}") from None


def _words(error: Exception) -> str:
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return truncate(strip_queries(f"{type(error).__name__}: {told}"))


def part_name(name: str) -> str:
    """Return a temporary name that no other try has: a try that was given up must not touch a later one's file."""
    return f"{name}.{secrets.token_hex(4)}.part"


def is_part_of(candidate: str, name: str) -> bool:
    """Tell whether a name is a temporary one for ``name``."""
    return re.fullmatch(re.escape(name) + r"\.[0-9a-f]{8}\.part", candidate) is not None


class LocalSink:
    """A file of this machine: written beside its place, then renamed."""

    def __init__(self, path: Path, size: int | None) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        for entry in path.parent.iterdir():
            if is_part_of(entry.name, path.name):
                entry.unlink(missing_ok=True)
        _check_room(path.parent, size)
        self._part = path.with_name(part_name(path.name))
        self._file = self._part.open("xb", buffering=0)

    def write(self, view: memoryview) -> None:
        """Write all of it: a nearly full disk may take a piece only."""
        while view:
            view = view[self._file.write(view) :]

    def publish(self) -> None:
        """Rename."""
        self._file.close()
        self._part.replace(self._path)

    def discard(self) -> None:
        """Remove what was written."""
        self._file.close()
        self._part.unlink(missing_ok=True)


def _check_room(folder: Path, size: int | None) -> None:
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    if size is not None and size > free:
        raise DownloadError(f"{folder} has no room: {size} bytes are to come, {free} are free")


class _OpenFile:
    """A file of an object store, fed with parts of one size, as some stores demand."""

    def __init__(self, path: ObjectStoragePath, size: int | None) -> None:
        self._path = path
        self._size = 0
        self._part = part_size(size)
        self._file: Any = path.fs.open(path.path, "wb", block_size=self._part, autocommit=False)

    def write(self, view: memoryview) -> None:
        """Write up to the end of a part, then the next one."""
        while view:
            room = self._part - self._size % self._part
            self._file.write(view[:room])
            self._size += len(view[:room])
            view = view[room:]

    def _check_stored(self) -> None:
        self._path.fs.invalidate_cache(self._path.path)
        check_stored(self._path, self._path.path, self._size)


class UncommittedSink(_OpenFile):
    """An upload to Google Cloud Storage that is completed, or cancelled, at the end."""

    def publish(self) -> None:
        """Complete the upload."""
        self._file.close()
        self._file.commit()
        self._check_stored()

    def discard(self) -> None:
        """Cancel the upload."""
        try:
            self._file.discard()
        finally:
            self._file.closed = True  # or its finaliser would upload the rest


class BlockBlobSink(_OpenFile):
    """A block blob of Azure: its blocks cannot be seen until they are committed, which closing does.

    Blocks that were never committed go when the next try commits its own, or by themselves after a week.
    """

    def publish(self) -> None:
        """Commit the blocks."""
        self._file.close()
        self._check_stored()

    def discard(self) -> None:
        """Commit nothing, now or when the object is collected."""
        self._file.closed = True


class RenamedSink:
    """Any other store, such as SFTP: written beside its place, then renamed."""

    def __init__(self, path: ObjectStoragePath) -> None:
        self._path = path
        self._size = 0
        self._fs = path.fs
        self._fs.makedirs(path.parent.path, exist_ok=True)
        self._remove_stale()
        self._part = path.with_name(part_name(path.name)).path
        self._file: Any = self._fs.open(self._part, "wb")

    def write(self, view: memoryview) -> None:
        """Write it; not every store's client takes a view."""
        self._file.write(bytes(view))
        self._size += len(view)

    def publish(self) -> None:
        """Check what the store has, and rename it."""
        self._file.close()
        check_stored(self._path, self._part, self._size)
        self._fs.mv(self._part, self._path.path)

    def discard(self) -> None:
        """Remove what was written."""
        try:
            self._file.close()
        finally:
            with suppress(FileNotFoundError):
                self._fs.rm_file(self._part)

    def _remove_stale(self) -> None:
        folder = self._path.parent.path
        self._fs.invalidate_cache(folder)
        for name in self._fs.ls(folder, detail=False):
            if is_part_of(name.rstrip("/").rpartition("/")[2], self._path.name):
                self._fs.rm_file(name)
