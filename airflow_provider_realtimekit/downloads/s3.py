"""Multipart uploads to S3, which also abort those of killed tasks. Also decides the part size of all uploads."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_realtimekit.exceptions import DownloadError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

_MIB = 1 << 20
# S3 accepts no smaller parts. Larger ones would cost more memory.
_MIN_PART_BYTES = 5 * _MIB
# S3 accepts 10,000.
_MAX_PARTS = 9_000


def part_size(size: int | None) -> int:
    """Return the bytes of each part of an upload: a multiple of 1 MiB, and large enough for S3's limit of parts.

    :param size: bytes of the file, ``None`` if unknown
    """
    least = (size or 0) // _MAX_PARTS
    return max(_MIN_PART_BYTES, -(-least // _MIB) * _MIB)


def check_stored(path: ObjectStoragePath, stored: str, size: int) -> None:
    """Check that the store has all bytes of a file.

    :param path: the file, for the error
    :param stored: the path at which it is now
    :raises DownloadError: when the store has another number of bytes
    """
    found = path.fs.info(stored)["size"]
    if found != size:
        raise DownloadError(f"{path} cannot be stored: the store has {found} of {size} bytes")


def abort_stale_uploads(path: ObjectStoragePath) -> None:
    """Abort the uploads to a path that a killed task has left."""
    # They cost money, and no listing of files shows them.
    target = _target(path)
    # Credentials that may write are not always allowed to list uploads.
    with suppress(OSError):
        found = path.fs.call_s3("list_multipart_uploads", Bucket=target["Bucket"], Prefix=target["Key"])
        for upload in found.get("Uploads", []):
            if upload["Key"] == target["Key"]:
                path.fs.call_s3("abort_multipart_upload", **target, UploadId=upload["UploadId"])


def _target(path: ObjectStoragePath) -> dict[str, str]:
    bucket, key, _ = path.fs.split_path(path.path)
    return {"Bucket": bucket, "Key": key}


class _Body(io.RawIOBase):
    """A part as a file."""

    # botocore sends a file piece by piece. Bytes it would copy first.

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true: a retry sends the part from its beginning."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position, and return it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, target: Any) -> int:
        """Read as many bytes as fit into the buffer, and return their number."""
        piece = self._view[self._at : self._at + len(target)]
        target[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class MultipartUpload:
    """A multipart upload to S3. The file is invisible until the upload is completed.

    :param size: bytes to come, ``None`` if unknown
    """

    # Not s3fs's own file, which has each part three times in memory.

    def __init__(self, path: ObjectStoragePath, size: int | None) -> None:
        self._path = path
        self._target = _target(path)
        # All parts but the last are of one size: R2 demands it.
        self._buffer = bytearray(part_size(size))
        self._filled = self._size = 0
        self._parts: list[dict[str, Any]] = []
        self._upload_id = path.fs.call_s3("create_multipart_upload", **self._target)["UploadId"]

    def write(self, view: memoryview) -> None:
        """Collect bytes, and send each part when it is full."""
        while view:
            count = min(len(view), len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + count] = view[:count]
            self._filled += count
            view = view[count:]
            if self._filled == len(self._buffer):
                self._send()

    def publish(self) -> None:
        """Send the rest, complete the upload, and check the file's size."""
        # An upload needs one part at least, also for an empty file.
        if self._filled or not self._parts:
            self._send()
        self._call("complete_multipart_upload", MultipartUpload={"Parts": self._parts})
        self._path.fs.invalidate_cache(self._path.path)
        check_stored(self._path, self._path.path, self._size)

    def discard(self) -> None:
        """Abort the upload."""
        self._call("abort_multipart_upload")

    def _send(self) -> None:
        number, body = len(self._parts) + 1, _Body(memoryview(self._buffer)[: self._filled])
        sent = self._call("upload_part", PartNumber=number, Body=body)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        self._size += self._filled
        self._filled = 0

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._path.fs.call_s3(method, **self._target, UploadId=self._upload_id, **arguments)
