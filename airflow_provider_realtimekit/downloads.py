"""Fetch the files of a recording from behind their signed URLs."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from airflow_provider_realtimekit.exceptions import DownloadError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

CHUNK = 1 << 20
_MAX_REDIRECTS = 3
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_private = contextvars.ContextVar("realtimekit_private_urls", default=False)


class _HideQueries(logging.Filter):
    """httpx logs every URL it asks for; while a signed one is fetched, its query is left out."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _private.get() and isinstance(record.args, tuple):
            record.args = tuple(
                argument.copy_with(query=None) if isinstance(argument, httpx.URL) else argument
                for argument in record.args
            )
        return True


logging.getLogger("httpx").addFilter(_HideQueries())


def save(url: str, target: ObjectStoragePath, announced: int | None, timeout: float) -> int:
    """Stream a file to ``target``, which appears only when the file is whole; return its size in bytes.

    :param announced: the size that the file must have, if the API told one
    :raises DownloadError: when it did not arrive whole
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    try:
        with open_file(url, timeout) as response:
            size = _write(response, part)
            _check_size(size, announced, response.headers.get("content-length"))
        target.fs.mv(part.path, target.path)
    finally:
        part.unlink(missing_ok=True)
    return size


@contextmanager
def open_file(url: str, timeout: float) -> Iterator[httpx.Response]:
    """Open a signed URL for streaming, without the API's token and without naming the URL anywhere.

    :param url: the signed URL; ``https``, or plain ``http`` on loopback
    :param timeout: seconds without a byte
    :raises DownloadError: when the file's host refuses, redirects elsewhere than it may, or does not answer
    """
    token = _private.set(True)
    try:
        with (
            httpx.Client(
                timeout=timeout,
                follow_redirects=True,
                max_redirects=_MAX_REDIRECTS,
                event_hooks={"request": [_check_address]},
            ) as client,
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise DownloadError(f"{response.url.host} answered HTTP {response.status_code}")
            yield response
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise DownloadError(f"the file did not arrive ({type(error).__name__})") from None
    finally:
        _private.reset(token)


def _write(response: httpx.Response, part: ObjectStoragePath) -> int:
    size = 0
    with part.open("wb") as out:
        for chunk in response.iter_bytes(CHUNK):
            out.write(chunk)
            size += len(chunk)
    return size


def _check_size(size: int, announced: int | None, content_length: str | None) -> None:
    for said, by in ((announced, "the API"), (content_length and int(content_length), "the file's host")):
        if said is not None and said != size:
            raise DownloadError(f"{size} bytes arrived of {said} that {by} announced")


def _check_address(request: httpx.Request) -> None:
    if request.url.scheme != "https" and request.url.host not in _LOOPBACK:
        raise DownloadError(f"the link leads to {request.url.scheme}://{request.url.host}, which is not https")
