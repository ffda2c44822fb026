"""Uploads in parts: how large these are, and S3's own kind."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_realtimekit.exceptions import DownloadError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

_PART = 5 << 20  # the least that S3 takes; parts are what a download costs in memory
_MOST_PARTS = 9_000  # S3 takes 10,000


def part_size(size: int | None) -> int:
    """Return how large the parts of an upload are: few enough of them, and a multiple of a MiB."""
    least = (size or 0) // _MOST_PARTS
    return max(_PART, -(-least // (1 << 20)) << 20)


def check_stored(path: ObjectStoragePath, stored: str, size: int) -> None:
    """Make sure that the store has all bytes of a file.

    :param stored: the path at which it is now
    :raises DownloadError: when it has not
    """
    found = path.fs.info(stored)["size"]
    if found != size:
        raise DownloadError(f"{path} cannot be stored: the store has {found} bytes of {size}")


class _Body(io.RawIOBase):
    """A part as a file, which is sent piece by piece; bytes would be copied as a whole first."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read again."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere, as a retry does."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Tell where it is."""
        return self._at

    def readinto(self, target: Any) -> int:
        """Read a piece."""
        piece = self._view[self._at : self._at + len(target)]
        target[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class MultipartSink:
    """A multipart upload to S3, through s3fs but not its file, which holds each part three times over.

    All parts but the last are of one size, as R2 demands.
    """

    def __init__(self, path: ObjectStoragePath, size: int | None) -> None:
        self._path = path
        bucket, key, _ = path.fs.split_path(path.path)
        self._target = {"Bucket": bucket, "Key": key}
        self._abort_stale()
        self._buffer = bytearray(part_size(size))
        self._filled = self._size = 0
        self._parts: list[dict[str, Any]] = []
        self._upload = self._call("create_multipart_upload")["UploadId"]

    def write(self, view: memoryview) -> None:
        """Fill up a part, send it, and go on with the next."""
        while view:
            count = min(len(view), len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + count] = view[:count]
            self._filled += count
            view = view[count:]
            if self._filled == len(self._buffer):
                self._send()

    def publish(self) -> None:
        """Send the rest, and complete the upload."""
        if self._filled or not self._parts:
            self._send()
        parts = {"Parts": self._parts}
        self._call("complete_multipart_upload", UploadId=self._upload, MultipartUpload=parts)
        self._path.fs.invalidate_cache(self._path.path)
        check_stored(self._path, self._path.path, self._size)

    def discard(self) -> None:
        """Abort the upload."""
        self._call("abort_multipart_upload", UploadId=self._upload)

    def _send(self) -> None:
        number, body = len(self._parts) + 1, _Body(memoryview(self._buffer)[: self._filled])
        sent = self._call("upload_part", UploadId=self._upload, PartNumber=number, Body=body)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        self._size += self._filled
        self._filled = 0

    def _abort_stale(self) -> None:
        """Abort what a crash left: it costs money, and nobody sees it."""
        # A token that may write need not be allowed to list.
        with suppress(OSError):
            found = self._call("list_multipart_uploads", Key=None, Prefix=self._target["Key"])
            for upload in found.get("Uploads", []):
                if upload["Key"] == self._target["Key"]:
                    self._call("abort_multipart_upload", UploadId=upload["UploadId"])

    def _call(self, method: str, **arguments: Any) -> Any:
        told = {name: value for name, value in {**self._target, **arguments}.items() if value is not None}
        return self._path.fs.call_s3(method, **told)
