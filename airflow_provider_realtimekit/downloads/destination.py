"""Where each file of a recording goes: destinations with placeholders, filled from the recording."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.models import RecordingFile

if TYPE_CHECKING:
    import pendulum
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_realtimekit.models import Recording

TIMES = frozenset({"invoked_time", "started_time", "stopped_time"})
_OF_FILE = frozenset({"output_file_name", "file_name", "file_stem", "suffix"})
PLACEHOLDERS = TIMES | _OF_FILE | {"recording_id", "meeting_id", "session_id", "layer", "kind"}

# What no store, and no other system's file name, takes for something else.
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")

Value: TypeAlias = "str | pendulum.DateTime | None"


class _Piece(NamedTuple):
    """A literal text and the placeholder that follows it, as :class:`string.Formatter` finds them."""

    text: str
    name: str | None
    form: str


@dataclass(frozen=True)
class Place:
    """Where a file goes, and the folder that its recording's manifest belongs to."""

    path: ObjectStoragePath
    home: ObjectStoragePath


class Destination:
    """A folder, or with the file's name in its last part the path itself; checked before anything is asked.

    :param destination: a path of any scheme that Airflow knows, or a plain local one; may hold placeholders
    :param conn_id: the Airflow connection of its store, where the path does not name it
    :raises RealtimeKitInputError: for an empty one, an unknown placeholder, or one that stands for the bucket
    """

    def __init__(self, destination: str | ObjectStoragePath, conn_id: str | None = None) -> None:
        text = str(destination) if destination else ""
        if not text:
            raise RealtimeKitInputError(f"destination={destination!r} is not allowed: must be a folder's path")
        self._conn_id = conn_id
        self._pieces = _parse(text)
        first = self._pieces[0].text
        cut = first.rfind("/") + 1 if self.placeholders else len(first)
        self._base, self._rest = first[:cut], first[cut:]
        last = "".join(f"{piece.text}\0{piece.name or ''}\0" for piece in self._pieces).rpartition("/")[2]
        self._names_file = any(f"\0{name}\0" in last for name in _OF_FILE)
        if self.placeholders and self._base.endswith("://"):
            raise RealtimeKitInputError(f"destination={text!r} is not allowed: a placeholder cannot name the bucket")

    @property
    def placeholders(self) -> frozenset[str]:
        """The placeholders in it."""
        return frozenset(piece.name for piece in self._pieces if piece.name)

    def place(self, recording: Recording, file: RecordingFile, meeting_id: str | None) -> Place:
        """Return where a file goes.

        :raises RealtimeKitInputError: when the API does not tell what a placeholder stands for
        """
        values = _values(recording, file, meeting_id)
        path = self._root()
        for part in self._fill(values, recording.id).split("/"):
            if part:
                path /= part if part.strip(".") else "_"
        if self._names_file:
            return Place(path, path.parent)
        layer = file.layer if "layer" not in self.placeholders else None
        folder = path / _safe(layer) if layer else path
        return Place(folder / _safe(file.safe_name), path)

    def _root(self) -> ObjectStoragePath:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        # A relative path is the process's own matter; not every version of Airflow takes it so.
        base = self._base if "://" in self._base else str(Path(self._base).absolute())
        return ObjectStoragePath(base, conn_id=self._conn_id)

    def _fill(self, values: Mapping[str, Value], recording_id: str) -> str:
        filled = self._rest
        for index, piece in enumerate(self._pieces):
            filled += piece.text if index else ""
            if piece.name is None:
                continue
            value = values[piece.name]
            if value is None:
                raise RealtimeKitInputError(
                    f"destination names {{{piece.name}}}, which the API does not tell of recording {recording_id}"
                )
            # A slash in the form of a time is meant to make folders.
            filled += _safe(value) if isinstance(value, str) else value.strftime(piece.form or "%Y-%m-%dT%H-%M-%SZ")
        return filled


def check_apart(places: Sequence[Place]) -> None:
    """Make sure that no two files of a recording go to the same place.

    :raises RealtimeKitInputError: naming the place
    """
    paths = [str(place.path) for place in places]
    for path in paths:
        if paths.count(path) > 1:
            raise RealtimeKitInputError(
                f"several files of the recording would go to {path}: put {{file_name}} into the destination"
            )


def common_home(places: Sequence[Place]) -> ObjectStoragePath:
    """Return the folder that all places have in common."""
    home = places[0].home
    while not all(place.home == home or home in place.home.parents for place in places) and home != home.parent:
        home = home.parent
    return home


def manifest_name(recording_id: str) -> str:
    """Return the name of a recording's manifest."""
    return f"{_safe(recording_id)}.manifest.json"


def _parse(text: str) -> list[_Piece]:
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise RealtimeKitInputError(f"destination={text!r} is not allowed: {error}") from None
    pieces = [_Piece(literal, name, form or "") for literal, name, form, _ in parsed]
    for piece in pieces:
        _check(piece, text)
    if any(conversion for *_, conversion in parsed):
        raise RealtimeKitInputError(f"destination={text!r} is not allowed: a placeholder takes no conversion")
    return pieces


def _check(piece: _Piece, text: str) -> None:
    if piece.name is None:
        return
    if piece.name not in PLACEHOLDERS:
        known = ", ".join(sorted(PLACEHOLDERS))
        raise RealtimeKitInputError(
            f"destination={text!r} is not allowed: {{{piece.name}}} is no placeholder; known are {known}"
        )
    if piece.form and piece.name not in TIMES:
        raise RealtimeKitInputError(f"destination={text!r} is not allowed: {{{piece.name}}} takes no format")


def _values(recording: Recording, file: RecordingFile, meeting_id: str | None) -> dict[str, Value]:
    name = file.safe_name
    stem, dot, suffix = name.rpartition(".")
    return {
        "recording_id": recording.id,
        "meeting_id": meeting_id,
        "session_id": recording.session_id,
        "output_file_name": file.model_copy(update={"name": recording.output_file_name or name}).safe_name,
        "file_name": name,
        "file_stem": stem if dot else name,
        "suffix": dot + suffix if dot else "",
        "layer": file.layer or "",
        "kind": str(file.kind),
        "invoked_time": recording.invoked_time,
        "started_time": recording.started_time,
        "stopped_time": recording.stopped_time,
    }


def _safe(value: str) -> str:
    safe = _UNSAFE.sub("_", value)
    return safe if safe.strip(".") or not safe else "_"
