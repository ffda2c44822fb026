"""The small file beside a recording's files that says what was fetched: who, when, how large, and which checksum."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_realtimekit.downloads.sinks import open_sink, read_start, size_of, store_errors

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_realtimekit.models import Recording

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
