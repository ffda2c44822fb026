"""Decides which files of a recording are downloaded, which are already stored (the manifest), and what is returned."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any, Literal, Protocol, TypeAlias, get_args

from airflow.providers.common.compat.sdk import ObjectStoragePath, get_hook_lineage_collector

from airflow_provider_realtimekit.api.client import Credentials
from airflow_provider_realtimekit.downloads.destination import Destination, Target, asset_uri, manifest_path
from airflow_provider_realtimekit.downloads.http import RenewableUrl, SignedUrl
from airflow_provider_realtimekit.downloads.sinks import Sink, read_start, remove_stale_parts, size_of
from airflow_provider_realtimekit.downloads.stream import DownloadContext
from airflow_provider_realtimekit.downloads.transfer import Progress, download_file
from airflow_provider_realtimekit.exceptions import (
    DownloadError,
    RealtimeKitInputError,
    RecordingError,
    RecordingExpiredError,
    RecordingUnavailableError,
)
from airflow_provider_realtimekit.models import FileKind, Recording, RecordingFile

FilesWanted: TypeAlias = Literal["all", "video", "audio"]
#: What a download returns, as JSON.
DownloadResult: TypeAlias = dict[str, Any]
#: One file in the manifest and in the result, as JSON.
FileRecord: TypeAlias = dict[str, Any]

_KINDS = {
    "all": frozenset(FileKind),
    "video": frozenset({FileKind.VIDEO}),
    "audio": frozenset({FileKind.AUDIO, FileKind.TRACK}),
}
# The invocation time in the list may differ by this from the one of the recording itself.
_LIST_MARGIN = timedelta(minutes=1)
# A larger file at the manifest's path is not a manifest, and must not fill the memory.
_MAX_MANIFEST_BYTES = 16 << 20
_MANIFEST_FIELDS = {
    "session_id", "output_file_name", "invoked_time", "started_time", "stopped_time", "recording_duration"
}  # fmt: skip
_TRACK_NAME = re.compile(r"(?P<participant>.+?)_(?P<milliseconds>\d{13})(?:\.\w+)?")

log = logging.getLogger(__name__)


class RecordingSource(Protocol):
    """The part of the hook that a download uses."""

    def get_credentials(self) -> Credentials:
        """Return the checked fields of the connection."""

    def get_recording(self, recording_id: str) -> Recording:
        """Return a recording, with new signed URLs."""

    def list_recordings(self, *, start_time: Any, end_time: Any) -> Iterator[Recording]:
        """Yield the app's recordings within a time range."""


def download_recording(
    hook: RecordingSource,
    recording_id: str,
    destination: str | ObjectStoragePath,
    *,
    files: FilesWanted = "all",
    conn_id: str | None = None,
    check_size: bool = True,
    stop: Event | None = None,
) -> DownloadResult:
    """Download the files of an uploaded recording (``GET …/recordings/{recording_id}``, which signs new URLs).

    Memory use is bounded. A file is read over several connections where one is slow, resumed where a connection
    breaks, and begun again where it changed. It appears under its name only when it is complete. A file is skipped
    when the manifest lists it and it still has the size that is listed there.

    :param hook: a :class:`~airflow_provider_realtimekit.hooks.RealtimeKitHook`
    :param recording_id: the recording
    :param destination: a folder: any path of Airflow's object storage, or a local one. With ``{file_name}``,
        ``{output_file_name}``, ``{file_stem}`` or ``{suffix}`` in its last part it is the path of the file. Other
        placeholders: ``{recording_id}``, ``{meeting_id}``, ``{session_id}``, ``{layer}``, ``{kind}``, and in UTC
        ``{invoked_time:%Y-%m-%d}``, ``{started_time}``, ``{stopped_time}``
    :param files: ``"video"``, ``"audio"`` (with tracks) or ``"all"``
    :param conn_id: the connection of the destination's store (default: the one that the path names)
    :param check_size: whether the video must be as large as the API announced (default: yes)
    :param stop: set it in another thread to end the download; nothing incomplete is left then
    :returns: plain JSON: ``id``, ``meeting_id``, ``duration`` (seconds), ``manifest`` (path), and in ``files`` for
        each file its ``path``, ``name``, ``kind``, ``layer``, ``size`` (bytes), ``sha256``, ``participant`` and
        ``started_at`` (of tracks), ``seconds`` (of the download) and ``skipped`` (it was there already)
    :raises RealtimeKitInputError: before anything is sent, when an argument is wrong
    :raises RecordingExpiredError: when the files have expired
    :raises RecordingUnavailableError: when there is no file to download: not uploaded, or stored elsewhere
    :raises DownloadError: when a file did not arrive, or its store refuses it; nothing is left of it then
    """
    if files not in get_args(FilesWanted):
        raise RealtimeKitInputError(f"files={files!r} is not allowed: must be one of {get_args(FilesWanted)}")
    target = Destination(destination, conn_id)
    download = _RecordingDownload(hook, recording_id, stop or Event(), check_size)
    try:
        return download.run(target, files)
    except RecordingError as error:
        error.recording_id = error.recording_id or recording_id
        raise


class _RecordingDownload:
    """Downloads the files of one recording, one after the other."""

    def __init__(self, hook: RecordingSource, recording_id: str, stop: Event, check_size: bool) -> None:
        self._hook = hook
        self._id = recording_id
        self._stop = stop
        self._check_size = check_size

    def run(self, destination: Destination, wanted: FilesWanted) -> DownloadResult:
        """Download the wanted files, and return the result."""
        self._recording, files = self._request()
        self._id = self._recording.id
        self._meeting_id = self._recording.meeting_id
        if not self._meeting_id and "meeting_id" in destination.placeholders:
            self._meeting_id = self._find_meeting_id()
        targets = destination.targets(self._recording, files, self._meeting_id)
        self._manifest = Manifest(manifest_path(self._id, targets))
        self._manifest.load()
        targets = [target for target in targets if target.file.kind in _KINDS[wanted]]
        if not targets:
            raise RecordingUnavailableError(f"recording {self._id} has no {wanted} file: use another value of files")
        return {
            "id": self._id,
            "meeting_id": self._meeting_id,
            "duration": self._recording.recording_duration,
            "manifest": str(self._manifest.path),
            "files": [self._download(target) for target in targets],
        }

    def _request(self) -> tuple[Recording, tuple[RecordingFile, ...]]:
        """Return the recording and its files. The URLs may have expired."""
        recording = self._hook.get_recording(self._id)
        files = recording.files if recording.is_uploaded else ()
        if files:
            return recording, files
        reason = f"it is {recording.status}, not UPLOADED"
        if recording.is_uploaded:
            if recording.is_expired():
                raise self._expired(recording)
            reason = "the API returns no URL; perhaps it was stored in a storage of your own only"
        raise RecordingUnavailableError(f"recording {self._id} cannot be downloaded: {reason}", recording_id=self._id)

    def _expired(self, recording: Recording) -> RecordingExpiredError:
        expiry = recording.download_url_expiry
        return RecordingExpiredError(
            f"recording {self._id} cannot be downloaded: its files expired at {expiry}",
            recording_id=self._id,
            expired_at=expiry.isoformat() if expiry else None,
        )

    def _find_meeting_id(self) -> str | None:
        # A list says which meeting each recording belongs to. The answer for a single recording often does not.
        moment = self._recording.invoked_time
        if moment is None:
            return None
        listed = self._hook.list_recordings(start_time=moment - _LIST_MARGIN, end_time=moment + _LIST_MARGIN)
        return next((found.meeting_id for found in listed if found.id == self._id), None)

    def _download(self, target: Target) -> FileRecord:
        path, signed = target.path, _signed_url(self._recording, target.file)
        is_expired = self._recording.is_expired()
        record = self._manifest.find(path, signed.announced_size if self._check_size else None)
        if record is not None:
            log.info("Recording %s: %s is there already, %d bytes", self._id, path, record["size"])
            return {**record, "seconds": 0.0, "skipped": True}
        # Checked last, because files that are already stored are returned even if the recording has expired.
        if is_expired:
            raise self._expired(self._recording)
        credentials = self._hook.get_credentials()
        url = RenewableUrl(lambda: self._renew_url(target.file), signed)
        context = DownloadContext(url, credentials.timeout, credentials.retry_timeout, self._stop)
        progress = Progress(log, str(path))
        try:
            stored = download_file(context, path, progress, check_size=self._check_size)
        except DownloadError as error:
            # Hosts and stores do not know which recording they serve.
            error.args = (f"recording {self._id}, file {target.name}: {error}",)
            raise
        seconds = round(progress.finish(), 3)
        record = _file_record(target, stored.size, stored.sha256)
        self._manifest.add(record, self._recording, self._meeting_id)
        self._add_lineage(path, record, credentials.app_id)
        return {**record, "seconds": seconds, "skipped": False}

    def _renew_url(self, file: RecordingFile) -> SignedUrl:
        recording, files = self._request()
        if recording.is_expired():
            raise self._expired(recording)
        for found in files:
            if (found.kind, found.layer, found.name) == (file.kind, file.layer, file.name):
                return _signed_url(recording, found)
        raise RecordingUnavailableError(f"recording {self._id} has no file {file.safe_name} any more")

    def _add_lineage(self, path: ObjectStoragePath, record: FileRecord, app_id: str) -> None:
        collector = get_hook_lineage_collector()
        collector.add_input_asset(context=path, uri=f"realtimekit://{app_id}/recordings/{self._id}")
        extra = {"size": record["size"], "sha256": record["sha256"]}
        collector.add_output_asset(context=path, uri=asset_uri(path), asset_extra=extra)


def _signed_url(recording: Recording, file: RecordingFile) -> SignedUrl:
    return SignedUrl(file.url, recording.download_url_expiry, recording.file_size if file.is_main else None)


def _file_record(target: Target, size: int, sha256: str) -> FileRecord:
    file = target.file
    track = parse_track_name(target.name, file.layer) if file.kind == FileKind.TRACK else {}
    base = {"path": str(target.path), "name": target.name, "kind": str(file.kind), "layer": file.layer}
    return {**base, **track, "size": size, "sha256": sha256}


def parse_track_name(name: str, layer: str | None) -> dict[str, str | None]:
    """Return the participant of a track file and the time of its start, as far as its name has them.

    :param name: ``<prefix>_<participant>_<milliseconds since 1970>.webm``
    :param layer: the layer's name, which is the prefix unless the start asked for another one
    """
    # Another prefix is returned as a part of the participant, because the name does not say where it ends.
    found = _TRACK_NAME.fullmatch(name.removeprefix(f"{layer}_") if layer else name)
    if found is None:
        return {"participant": None, "started_at": None}
    moment = datetime.fromtimestamp(int(found["milliseconds"]) / 1000, UTC)
    started_at = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"participant": found["participant"], "started_at": started_at}


class Manifest:
    """The JSON file beside a recording's files that lists which were downloaded, with sizes and checksums.

    :param path: where it is
    """

    def __init__(self, path: ObjectStoragePath) -> None:
        self.path = path
        self._files: dict[str, FileRecord] = {}
        self._has_stale_parts = True

    def load(self) -> None:
        """Read the manifest from the store. A file that is not a manifest is ignored, and replaced later."""
        text = read_start(self.path, _MAX_MANIFEST_BYTES)
        try:
            content = json.loads(text or "null")
        except ValueError:
            return
        files = content.get("files") if isinstance(content, Mapping) else None
        for record in files if isinstance(files, list) else []:
            if isinstance(record, Mapping) and all(
                isinstance(record.get(key), kind) for key, kind in (("path", str), ("size", int), ("sha256", str))
            ):
                self._files[record["path"]] = dict(record)

    def find(self, path: ObjectStoragePath, announced_size: int | None) -> FileRecord | None:
        """Return the record of a file if the store still has it with the listed size.

        :param announced_size: bytes that the file must have, ``None`` for any size
        """
        record = self._files.get(str(path))
        if record is None or announced_size not in (None, record["size"]):
            return None
        return record if size_of(path) == record["size"] else None

    def add(self, record: FileRecord, recording: Recording, meeting_id: str | None) -> None:
        """List a file that has been stored, and write the manifest.

        :raises DownloadError: when the store refuses
        """
        self.load()  # A task that downloads another file of the recording may have written it meanwhile.
        self._files[record["path"]] = record
        content = {
            "recording_id": recording.id,
            "meeting_id": meeting_id,
            **recording.model_dump(mode="json", include=_MANIFEST_FIELDS),
            "files": list(self._files.values()),
        }
        text = json.dumps(content, indent=2).encode()
        if self._has_stale_parts:  # Once: later the parts may be those of another task that is alive.
            remove_stale_parts(self.path)
            self._has_stale_parts = False
        with Sink(self.path, len(text)) as sink:
            sink.write(memoryview(text))
            sink.publish()
