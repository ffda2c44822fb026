"""Which files of a recording are downloaded, which are there already, and what is returned."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, get_args

from airflow_provider_realtimekit.downloads.destination import (
    Destination,
    Place,
    check_apart,
    common_home,
    manifest_name,
)
from airflow_provider_realtimekit.downloads.http import Link, Signed
from airflow_provider_realtimekit.downloads.sinks import open_sink, read_start, size_of, store_errors
from airflow_provider_realtimekit.downloads.stream import Access
from airflow_provider_realtimekit.downloads.transfer import Progress, fetch_file
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitInputError,
    RecordingError,
    RecordingExpiredError,
    RecordingUnavailableError,
)
from airflow_provider_realtimekit.models import FileKind, Recording, RecordingFile

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_realtimekit.models import Recording

FilesWanted: TypeAlias = Literal["all", "video", "audio"]
#: What a download returns, as JSON.
Fetched: TypeAlias = dict[str, Any]

_KINDS = {
    "all": frozenset(FileKind),
    "video": frozenset({FileKind.VIDEO}),
    "audio": frozenset({FileKind.AUDIO, FileKind.TRACK}),
}
_SLACK = timedelta(minutes=1)

log = logging.getLogger(__name__)


class _Credentials(Protocol):
    @property
    def app_id(self) -> str: ...
    @property
    def timeout(self) -> float: ...
    @property
    def retry_timeout(self) -> float: ...


class RecordingSource(Protocol):
    """As much of the hook as a download needs."""

    @property
    def credentials(self) -> _Credentials:
        """What the connection says."""

    def get_recording(self, recording_id: str) -> Recording:
        """Return a recording with fresh links."""

    def list_recordings(self, *, start_time: Any, end_time: Any) -> Iterator[Recording]:
        """Walk the app's recordings of a time."""


class _Job(NamedTuple):
    """One file to fetch, and where to."""

    file: RecordingFile
    place: Place


def download_recording(
    hook: RecordingSource,
    recording_id: str,
    destination: str | ObjectStoragePath,
    *,
    files: FilesWanted = "all",
    conn_id: str | None = None,
    check_size: bool = True,
    stop: Event | None = None,
) -> Fetched:
    """Fetch the files of an uploaded recording (``GET …/recordings/{recording_id}``, links fresh); for use in tasks.

    Each file is loaded in bounded memory, over several connections where one is slow, goes on where a connection
    broke, and starts over where the file changed. It appears under its name only when it is whole. A file that a
    manifest beside it shows to be there already, as large as it was, is not loaded again.

    :param hook: a :class:`~airflow_provider_realtimekit.hooks.RealtimeKitHook`
    :param recording_id: the recording
    :param destination: a folder, or with ``{file_name}``, ``{output_file_name}``, ``{file_stem}`` or ``{suffix}`` in
        its last part the path of the file: any path of Airflow's object storage, or a plain local one. Other
        placeholders: ``{recording_id}``, ``{meeting_id}``, ``{session_id}``, ``{layer}``, ``{kind}``, and in UTC
        ``{invoked_time:%Y-%m-%d}``, ``{started_time}``, ``{stopped_time}``
    :param files: ``"video"``, ``"audio"`` (tracks too) or ``"all"``
    :param conn_id: the connection of the destination's store, where its path does not name it
    :param check_size: whether the file must be as large as the API announced (default: yes)
    :param stop: set it from elsewhere to end the download; nothing half-written is left
    :returns: plain JSON: ``id``, ``meeting_id``, ``duration`` (seconds), ``manifest`` (path), and in ``files`` the
        ``path``, ``name``, ``kind``, ``layer``, ``size`` (bytes), ``sha256``, ``participant`` and ``started_at`` (of
        tracks), ``seconds`` (of the download) and ``skipped`` (it was there already) of each
    :raises RealtimeKitInputError: before anything is sent, for a destination that cannot be
    :raises RecordingExpiredError: when the files are gone
    :raises RecordingUnavailableError: when there is no file to fetch: not uploaded, or stored elsewhere
    :raises DownloadError: when a file did not arrive whole, or its store refuses it; nothing is left of it then
    """
    if files not in get_args(FilesWanted):
        raise RealtimeKitInputError(f"files={files!r} is not allowed: must be one of {get_args(FilesWanted)}")
    goal = Destination(destination, conn_id)
    recording = _available(hook.get_recording(recording_id))
    download = _Download(hook, recording, goal, stop or Event(), check_size=check_size)
    try:
        return download.run(files)
    except RecordingError as error:
        error.recording_id = error.recording_id or recording.id
        raise


class _Download:
    """The download of one recording."""

    def __init__(
        self, hook: RecordingSource, recording: Recording, goal: Destination, stop: Event, *, check_size: bool
    ) -> None:
        self._hook = hook
        self._recording = recording
        self._goal = goal
        self._stop = stop
        self._check_size = check_size
        self._meeting_id = _meeting_id(hook, recording, search="meeting_id" in goal.placeholders)

    def run(self, files: FilesWanted) -> Fetched:
        """Fetch what is wanted, one file after the other, and say what is where."""
        jobs = [_Job(file, self._goal.place(self._recording, file, self._meeting_id)) for file in self._recording.files]
        check_apart([job.place for job in jobs])
        wanted = [job for job in jobs if job.file.kind in _KINDS[files]]
        if not wanted:
            raise RecordingUnavailableError(f"recording {self._recording.id} has no {files} file")
        manifest = Manifest(common_home([job.place for job in jobs]) / manifest_name(self._recording.id))
        fetched = [self._fetch(job, manifest) for job in wanted]
        return {
            "id": self._recording.id,
            "meeting_id": self._meeting_id,
            "duration": self._recording.recording_duration,
            "manifest": str(manifest.path),
            "files": fetched,
        }

    def _fetch(self, job: _Job, manifest: Manifest) -> Entry:
        path = job.place.path
        announced = self._announced(self._recording, job.file)
        entry = manifest.find(path, announced if self._check_size else None)
        if entry is not None:
            log.info("%s is there already: %d bytes", path, entry["size"])
            return _published(entry, seconds=0.0, skipped=True)
        _check_expiry(self._recording)
        progress = Progress(log, str(path))
        whole = fetch_file(self._access(job.file), path, progress, check_size=self._check_size)
        entry = {**_describe(job), "size": whole.size, "sha256": whole.sha256}
        manifest.add(entry, self._recording, self._meeting_id)
        self._tell_lineage(path, entry)
        return _published(entry, seconds=round(progress.finish(), 3), skipped=False)

    def _access(self, file: RecordingFile) -> Access:
        credentials = self._hook.credentials
        link = Link(lambda: self._renewed(file), self._signed(self._recording, file))
        return Access(link, credentials.timeout, credentials.retry_timeout, self._stop)

    def _renewed(self, file: RecordingFile) -> Signed:
        """Ask the API for the file's link again."""
        recording = _available(self._hook.get_recording(self._recording.id))
        _check_expiry(recording)
        for found in recording.files:
            if (found.kind, found.layer, found.name) == (file.kind, file.layer, file.name):
                return self._signed(recording, found)
        raise RecordingUnavailableError(f"recording {recording.id} has no file {file.safe_name} any more")

    def _signed(self, recording: Recording, file: RecordingFile) -> Signed:
        return Signed(file.url, recording.download_url_expiry, self._announced(recording, file))

    @staticmethod
    def _announced(recording: Recording, file: RecordingFile) -> int | None:
        return recording.file_size if file.is_main else None

    def _tell_lineage(self, path: ObjectStoragePath, entry: Entry) -> None:
        from airflow.providers.common.compat.sdk import get_hook_lineage_collector

        collector = get_hook_lineage_collector()
        source = f"realtimekit://{self._hook.credentials.app_id}/recordings/{self._recording.id}"
        collector.add_input_asset(context=path, uri=source)
        extra = {"size": entry["size"], "sha256": entry["sha256"]}
        collector.add_output_asset(context=path, uri=asset_uri(path), asset_extra=extra)


def asset_uri(path: ObjectStoragePath | str) -> str:
    """Return a path as assets name it: with a scheme, and without a connection's name."""
    scheme, separator, rest = str(path).rpartition("://")
    if not separator:
        from pathlib import Path

        return f"file://{Path(rest).absolute()}"
    return f"{scheme}://{rest.partition('@')[2] if '@' in rest.partition('/')[0] else rest}"


def _describe(job: _Job) -> Entry:
    file = job.file
    entry = {"path": str(job.place.path), "name": file.safe_name, "kind": str(file.kind), "layer": file.layer}
    return entry | read_track_name(file.safe_name, file.layer) if file.kind == FileKind.TRACK else entry


def _published(entry: Entry, *, seconds: float, skipped: bool) -> Entry:
    return {**entry, "seconds": seconds, "skipped": skipped}


def _meeting_id(hook: RecordingSource, recording: Recording, *, search: bool) -> str | None:
    """Return the recording's meeting; a single recording often does not tell, and a list does."""
    told, moment = recording.meeting_id, recording.invoked_time
    if told or not search or moment is None:
        return told
    listed = hook.list_recordings(start_time=moment - _SLACK, end_time=moment + _SLACK)
    return next((found.meeting_id for found in listed if found.id == recording.id), None)


def _available(recording: Recording) -> Recording:
    """Make sure that the recording has files; they may have been fetched before they expired."""
    if recording.is_uploaded and recording.files:
        return recording
    if recording.is_uploaded:
        _check_expiry(recording)
    why = "the API gives no link; it may have been stored in a storage of your own only"
    if not recording.is_uploaded:
        why = f"it is {recording.status}, not UPLOADED"
    raise RecordingUnavailableError(f"recording {recording.id} cannot be fetched: {why}", recording_id=recording.id)


def _check_expiry(recording: Recording) -> None:
    """Make sure that the files can still be had."""
    expiry = recording.download_url_expiry
    if recording.is_expired():
        raise RecordingExpiredError(
            f"recording {recording.id} cannot be fetched: its files expired at {expiry}",
            recording_id=recording.id,
            expired_at=expiry.isoformat() if expiry else None,
        )


_LARGEST = 16 << 20
_TRACK = re.compile(r"(?P<participant>.+?)_(?P<milliseconds>\d{13})(?:\.\w+)?")
_FACTS = ("session_id", "output_file_name", "invoked_time", "started_time", "stopped_time", "recording_duration")

Entry = dict[str, Any]


class Manifest:
    """What was fetched of a recording, read from its place and written there after each file.

    :param path: where it is
    """

    def __init__(self, path: ObjectStoragePath) -> None:
        self.path = path
        self._entries: dict[str, Entry] = {}
        self._head: dict[str, Any] = {}
        self._read()

    def find(self, path: ObjectStoragePath, announced: int | None) -> Entry | None:
        """Return what was written down of a file, if it is there still, as large as it should be."""
        entry = self._entries.get(str(path))
        if entry is None or announced not in (None, entry["size"]):
            return None
        return entry if size_of(path) == entry["size"] else None

    def add(self, entry: Entry, recording: Recording, meeting_id: str | None) -> None:
        """Write down a file that has been published."""
        self._read()  # a task that fetches another file of the recording may have written meanwhile
        self._entries[entry["path"]] = entry
        told = recording.model_dump(mode="json", include=set(_FACTS))
        self._head = {"recording_id": recording.id, "meeting_id": meeting_id, **{key: told[key] for key in _FACTS}}
        self._write()

    def _read(self) -> None:
        text = read_start(self.path, _LARGEST)
        if text is None:
            return
        try:
            self._take(json.loads(text))
        except ValueError:
            return  # not ours, or cut off by something else: as good as none

    def _take(self, told: Any) -> None:
        if not isinstance(told, Mapping):
            return
        files = told.get("files")
        for entry in files if isinstance(files, list) else []:
            if _is_entry(entry):
                self._entries[entry["path"]] = entry
        self._head = {key: value for key, value in told.items() if key != "files"}

    def _write(self) -> None:
        text = json.dumps({**self._head, "files": list(self._entries.values())}, indent=2).encode()
        sink = open_sink(self.path, len(text))
        try:
            with store_errors(self.path):
                sink.write(memoryview(text))
                sink.publish()
        except BaseException:
            sink.discard()
            raise


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, Mapping)
        and isinstance(entry.get("path"), str)
        and isinstance(entry.get("size"), int)
        and isinstance(entry.get("sha256"), str)
    )


def read_track_name(name: str, layer: str | None) -> dict[str, str | None]:
    """Return who is heard in a track file and since when, as far as its name tells.

    Names look like ``<prefix>_<participant>_<milliseconds since 1970>.webm``; the prefix is the layer's unless
    another was asked for, and then it cannot be told from the participant's id.
    """
    rest = name.removeprefix(f"{layer}_") if layer else name
    found = _TRACK.fullmatch(rest)
    if found is None:
        return {"participant": None, "started_at": None}
    moment = datetime.fromtimestamp(int(found["milliseconds"]) / 1000, UTC)
    started_at = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"participant": found["participant"], "started_at": started_at}
