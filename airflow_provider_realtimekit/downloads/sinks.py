"""How each store publishes a file completely or not at all: local disk, S3, GCS, Azure, SFTP and others.

Until a file is published, its bytes are in an upload that no reader sees, or in ``<name>.parts/<random>.part`` beside
it.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from airflow_provider_realtimekit.downloads.s3 import MultipartUpload, abort_stale_uploads, check_stored, part_size
from airflow_provider_realtimekit.exceptions import DownloadError
from airflow_provider_realtimekit.redaction import strip_queries, truncate

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

T = TypeVar("T")

_STORES = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("abfs", "abfss", "az", "adl"), "azure"),
}
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PART_NAME = re.compile(r"[0-9a-f]{8}\.part")

log = logging.getLogger(__name__)


class PendingFile(Protocol):
    """A file that is being written and is not visible yet."""

    def write(self, view: memoryview) -> None:
        """Append bytes."""

    def publish(self) -> None:
        """Make the file visible under its name."""

    def discard(self) -> None:
        """Remove what was written."""


class Sink:
    """Writes one file to its store, and discards it when it was not published by the end of the ``with`` block.

    :param path: the name of the file once it is complete
    :param size: bytes to come, ``None`` if unknown
    :raises DownloadError: when the store refuses, or has too little room; the methods raise it, too
    """

    def __init__(self, path: ObjectStoragePath, size: int | None) -> None:
        self._path = path
        self._is_published = False
        with _store_errors(path):
            store = _store_of(path)
            self.is_remote = store != "local"
            self._file: PendingFile
            match store:
                case "local":
                    self._file = LocalFile(Path(path.path), size)
                case "s3":
                    self._file = MultipartUpload(path, size)
                case "gcs":
                    self._file = GcsUpload(path, size)
                case "azure":
                    self._file = AzureBlockBlob(path, size)
                case _:
                    self._file = RenamedFile(path)

    def write(self, view: memoryview) -> None:
        """Append bytes."""
        with _store_errors(self._path):
            self._file.write(view)

    def publish(self) -> None:
        """Make the file visible under its name."""
        with _store_errors(self._path):
            self._file.publish()
        self._is_published = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_published:
            return
        try:
            self._file.discard()
        except Exception as error:
            # Not raised, because it would replace the error that ended the block.
            log.warning(
                "What was written for %s could not be removed (%s); the next download to this path removes it",
                self._path,
                type(error).__name__,
            )


def remove_stale_parts(path: ObjectStoragePath) -> None:
    """Remove what a killed task has left of an earlier attempt to write a file.

    :raises DownloadError: when the store refuses
    """
    with _store_errors(path), suppress(FileNotFoundError, NotADirectoryError):
        store = _store_of(path)
        if store == "local":
            staging = _staging_of(Path(path.path))
            for part in list(staging.iterdir()):
                if _PART_NAME.fullmatch(part.name):
                    part.unlink(missing_ok=True)
            _remove_if_empty(None, staging)
        elif store == "s3":
            abort_stale_uploads(path)
        elif store == "other":
            folder = _staging_of(path).path
            path.fs.invalidate_cache(folder)
            for name in path.fs.ls(folder, detail=False):
                if _PART_NAME.fullmatch(name.rstrip("/").rpartition("/")[2]):
                    path.fs.rm_file(name)
            _remove_if_empty(path.fs, folder)
        # GCS discards an upload after a week. Azure discards blocks then, or when the file is written again.


def size_of(path: ObjectStoragePath) -> int | None:
    """Return the bytes of a stored file, ``None`` where there is none."""
    with _store_errors(path), suppress(FileNotFoundError, NotADirectoryError):
        if _store_of(path) == "local":
            return Path(path.path).stat().st_size
        path.fs.invalidate_cache(path.parent.path)
        return int(path.fs.info(path.path)["size"])
    return None


def read_start(path: ObjectStoragePath, limit: int) -> bytes | None:
    """Return the first ``limit`` bytes of a stored file, ``None`` where there is none."""
    with _store_errors(path), suppress(FileNotFoundError, NotADirectoryError):
        if _store_of(path) == "local":
            with Path(path.path).open("rb") as file:
                return file.read(limit)
        path.fs.invalidate_cache(path.parent.path)
        return bytes(path.fs.cat_file(path.path, start=0, end=limit))
    return None


def _store_of(path: ObjectStoragePath) -> str:
    # Local files do not go through path.fs: the first use of it makes Airflow load all providers.
    if path.protocol in ("", "file", "local"):
        return "local"
    names = path.fs.protocol
    return next((_STORES[name] for name in ((names,) if isinstance(names, str) else names) if name in _STORES), "other")


@contextmanager
def _store_errors(path: ObjectStoragePath) -> Iterator[None]:
    """Convert any error of a store into a :class:`DownloadError` that names the file and holds no secret."""
    try:
        yield
    except DownloadError:
        raise
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = truncate(strip_queries(f"{type(error).__name__}: {reason}"))
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            reason = "the disk or the quota is full"
        raise DownloadError(f"{path} cannot be stored: {reason}") from None


# A folder of its own, so that the parts of a file are found without listing all files of an archive.
def _staging_of(path: Any) -> Any:
    return path.with_name(f"{path.name}.parts")


# A random name, so that a task that was believed dead cannot write into, or publish, the part of its successor.
def _new_part_name() -> str:
    return f"{secrets.token_hex(4)}.part"


def _open_part(make_staging: Callable[[], object], open_part: Callable[[], T]) -> T:
    """Open a new part in its staging folder."""
    # Two tasks may write the manifest of one recording at once. One may remove the folder that the other has just made.
    for _ in range(3):
        make_staging()
        with suppress(FileNotFoundError):
            return open_part()
    return open_part()


def _remove_if_empty(fs: Any, staging: Any) -> None:
    """Remove a staging folder, unless another task has a part in it.

    :param fs: the filesystem, ``None`` for the local disk
    """
    # A store may refuse, or know no folders. The file is published by then, and an empty folder does no harm.
    with suppress(Exception):
        if fs is None:
            staging.rmdir()
        elif hasattr(fs, "_rmdir"):
            # sshfs implements rmdir under this name only, which its rm calls.
            fs.rm(staging)
        else:
            fs.rmdir(staging)


class LocalFile:
    """A file of this machine: written into its staging folder, then renamed."""

    def __init__(self, path: Path, size: int | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        room = os.statvfs(path.parent)
        free = room.f_bavail * room.f_frsize
        if size is not None and size > free:
            raise DownloadError(f"{path.parent} has no room for {path.name}: it needs {size} bytes, {free} are free")
        self._path = path
        self._staging = _staging_of(path)
        self._part = self._staging / _new_part_name()
        self._file = _open_part(lambda: self._staging.mkdir(exist_ok=True), lambda: self._part.open("xb", buffering=0))

    def write(self, view: memoryview) -> None:
        """Append bytes."""
        # A disk that is nearly full may write less than it is given, and fails at the next write.
        while view:
            view = view[self._file.write(view) :]

    def publish(self) -> None:
        """Rename the part."""
        self._file.close()
        self._part.replace(self._path)
        _remove_if_empty(None, self._staging)

    def discard(self) -> None:
        """Remove the part."""
        self._file.close()
        self._part.unlink(missing_ok=True)
        _remove_if_empty(None, self._staging)


class RenamedFile:
    """A file of any other store, such as SFTP: written into its staging folder, then renamed."""

    def __init__(self, path: ObjectStoragePath) -> None:
        self._path = path
        self._fs = path.fs
        self._size = 0
        self._staging = _staging_of(path).path
        self._part = (_staging_of(path) / _new_part_name()).path
        self._file: Any = _open_part(
            lambda: self._fs.makedirs(self._staging, exist_ok=True), lambda: self._fs.open(self._part, "wb")
        )

    def write(self, view: memoryview) -> None:
        """Append bytes."""
        self._file.write(bytes(view))  # Not every store's client accepts a view.
        self._size += len(view)

    def publish(self) -> None:
        """Check how many bytes the store has, and rename the part."""
        self._file.close()
        check_stored(self._path, self._part, self._size)
        self._fs.mv(self._part, self._path.path)
        _remove_if_empty(self._fs, self._staging)

    def discard(self) -> None:
        """Remove the part."""
        try:
            self._file.close()
        finally:
            with suppress(FileNotFoundError):
                self._fs.rm_file(self._part)
            _remove_if_empty(self._fs, self._staging)


class _ObjectUpload:
    """An upload to an object store through its fsspec file, which is given parts of one size."""

    def __init__(self, path: ObjectStoragePath, size: int | None) -> None:
        self._path = path
        self._size = 0
        self._part = part_size(size)
        self._file: Any = path.fs.open(path.path, "wb", block_size=self._part, autocommit=False)

    def write(self, view: memoryview) -> None:
        """Append bytes, at most up to the end of a part at once."""
        while view:
            room = self._part - self._size % self._part
            self._file.write(view[:room])
            self._size += len(view[:room])
            view = view[room:]

    def _check_stored(self) -> None:
        self._path.fs.invalidate_cache(self._path.path)
        check_stored(self._path, self._path.path, self._size)


class GcsUpload(_ObjectUpload):
    """A resumable upload to Google Cloud Storage."""

    def publish(self) -> None:
        """Complete the upload, and check the file's size."""
        self._file.close()
        self._file.commit()
        self._check_stored()

    def discard(self) -> None:
        """Cancel the upload."""
        try:
            self._file.discard()
        finally:
            self._file.closed = True  # Otherwise its finaliser uploads the rest.


class AzureBlockBlob(_ObjectUpload):
    """A block blob of Azure. Its blocks are invisible until they are committed, which closing the file does."""

    def publish(self) -> None:
        """Commit the blocks, and check the file's size."""
        self._file.close()
        self._check_stored()

    def discard(self) -> None:
        """Leave the blocks uncommitted."""
        self._file.closed = True  # Otherwise its finaliser commits them.
