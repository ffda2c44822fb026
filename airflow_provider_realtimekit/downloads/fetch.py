"""Fetch one file: whole, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_provider_realtimekit.downloads.drain import Drain, Sink, Whole
from airflow_provider_realtimekit.downloads.facts import Facts, FileChangedError
from airflow_provider_realtimekit.downloads.progress import Progress
from airflow_provider_realtimekit.downloads.sinks import is_local, open_sink, store_errors
from airflow_provider_realtimekit.downloads.stream import Access, Stream
from airflow_provider_realtimekit.downloads.transfer import Loader
from airflow_provider_realtimekit.exceptions import DownloadError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

_TRIES = 3

log = logging.getLogger(__name__)


def fetch_file(access: Access, path: ObjectStoragePath, progress: Progress, *, check_size: bool = True) -> Whole:
    """Load a file to ``path``, where it appears only when it is whole.

    :param access: how to come at the file
    :param check_size: whether it must be as large as the API announced
    :returns: its size and checksum
    :raises DownloadError: when it did not arrive whole, or the store refuses it; nothing is left of it then
    """
    for _ in range(_TRIES):
        try:
            return _Try(access, path, check_size=check_size).run(progress)
        except FileChangedError:
            log.warning("The file for %s changed while it was read; starting over", path)
            access.link.refresh()
    raise DownloadError(f"the file changed while it was read, {_TRIES} times")


class _Try:
    """One try to load a file as it is now."""

    def __init__(self, access: Access, path: ObjectStoragePath, *, check_size: bool) -> None:
        self._access = access
        self._path = path
        self._check_size = check_size

    def run(self, progress: Progress) -> Whole:
        """Load the file into a sink, and publish it."""
        stream = Stream(self._access)
        try:
            facts = stream.facts
            self._check_announced(facts)
            return self._store(stream, open_sink(self._path, facts.size), progress)
        finally:
            stream.close()

    def _store(self, stream: Stream, sink: Sink, progress: Progress) -> Whole:
        drain = Drain(self._guarded(sink.write), store_aside=not is_local(self._path))
        try:
            Loader(self._access, stream, drain, progress).run()
            whole = drain.finish()
            self._check_arrived(whole.size, stream.facts)
            with store_errors(self._path):
                sink.publish()
        except BaseException:
            drain.stop()
            self._discard(sink)
            raise
        return whole

    def _guarded(self, write: Callable[[memoryview], None]) -> Callable[[memoryview], None]:
        def guarded(view: memoryview) -> None:
            with store_errors(self._path):
                write(view)

        return guarded

    def _discard(self, sink: Sink) -> None:
        try:
            sink.discard()
        except Exception as error:
            # What made the try fail matters more; the next try removes what is left.
            log.warning("What was written for %s could not be removed (%s)", self._path, type(error).__name__)

    def _check_announced(self, facts: Facts) -> None:
        """Compare before gigabytes are moved; what the API said may have aged."""
        if facts.size is None or facts.size == self._announced:
            return
        if self._announced is not None:
            self._access.link.refresh()
        if self._announced not in (None, facts.size):
            raise DownloadError(f"the file's host has {facts.size} bytes of it, {self._announced} were announced")

    def _check_arrived(self, size: int, facts: Facts) -> None:
        for said, by in ((facts.size, "the file's host"), (self._announced, "the API")):
            if said not in (None, size):
                raise DownloadError(f"{size} bytes arrived of {said} that {by} announced")

    @property
    def _announced(self) -> int | None:
        return self._access.link.announced if self._check_size else None
