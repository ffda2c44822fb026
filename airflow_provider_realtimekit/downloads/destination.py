"""Decides where the files of a recording and their manifest are stored: destinations and their placeholders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.models import RecordingFile

if TYPE_CHECKING:
    import pendulum

    from airflow_provider_realtimekit.models import Recording

_TIMES = frozenset({"invoked_time", "started_time", "stopped_time"})
_FILE_NAMES = frozenset({"output_file_name", "file_name", "file_stem", "suffix"})
_PLACEHOLDERS = _TIMES | _FILE_NAMES | {"recording_id", "meeting_id", "session_id", "layer", "kind"}
# Not ISO 8601: some systems do not allow colons in file names.
_TIME_FORMAT = "%Y-%m-%dT%H-%M-%SZ"
# Folder separators, and control characters, which some stores and systems refuse.
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")

Value: TypeAlias = "str | pendulum.DateTime | None"


class _Piece(NamedTuple):
    """A literal text and the placeholder after it, as :class:`string.Formatter` splits them."""

    text: str
    name: str | None
    format: str


class Target(NamedTuple):
    """The destination of one file.

    :param name: the file's name, without any folder
    :param path: the file's own path
    :param folder: the folder that the manifest goes to, if the recording's other files go below it, too
    """

    file: RecordingFile
    name: str
    path: ObjectStoragePath
    folder: ObjectStoragePath


class Destination:
    """A folder, or the path of a file where the last part has a placeholder for the file's name.

    :param destination: a path of any scheme that Airflow knows, or a local one; may have placeholders
    :param conn_id: the Airflow connection of its store (default: the one that the path names)
    :raises RealtimeKitInputError: for an empty path, an unknown placeholder, or one in place of the bucket
    """

    def __init__(self, destination: str | ObjectStoragePath, conn_id: str | None = None) -> None:
        text = str(destination) if destination else ""
        if not text:
            raise RealtimeKitInputError(f"destination={destination!r} is not allowed: must be a folder's path")
        self._conn_id = conn_id
        self._pieces = _parse(text)
        self.placeholders = {piece.name for piece in self._pieces if piece.name}
        first = self._pieces[0].text
        # The part before the first placeholder, up to a slash, is already a path.
        cut = first.rfind("/") + 1 if self.placeholders else len(first)
        self._base, self._rest = first[:cut], first[cut:]
        if self.placeholders and self._base.endswith("://"):
            raise RealtimeKitInputError(f"destination={text!r} is not allowed: a placeholder cannot name the bucket")
        # Each placeholder is put between null characters here, which a path cannot have.
        last = "".join(f"{piece.text}\0{piece.name or ''}\0" for piece in self._pieces).rpartition("/")[2]
        self._names_file = any(f"\0{name}\0" in last for name in _FILE_NAMES)

    def targets(self, recording: Recording, files: Sequence[RecordingFile], meeting_id: str | None) -> list[Target]:
        """Return the target of each file.

        :raises RealtimeKitInputError: when two files would go to one place, or as :meth:`target` does
        """
        targets = [self.target(recording, file, meeting_id) for file in files]
        paths = [str(target.path) for target in targets]
        for path in paths:
            if paths.count(path) > 1:
                raise RealtimeKitInputError(
                    f"several files of the recording would go to {path}: put {{file_name}} into the destination"
                )
        return targets

    def target(self, recording: Recording, file: RecordingFile, meeting_id: str | None) -> Target:
        """Return the target of one file.

        :raises RealtimeKitInputError: when the recording has no value for a placeholder
        """
        values = _values(recording, file, meeting_id)
        # Not every version of Airflow accepts a relative path.
        base = self._base if "://" in self._base else str(Path(self._base).absolute())
        path = ObjectStoragePath(base, conn_id=self._conn_id)
        for part in self._fill(values, recording.id).split("/"):
            if part:
                # A part of dots only would lead to another folder.
                path /= part if part.strip(".") else "_"
        name = str(values["file_name"])
        if self._names_file:
            return Target(file, name, path, path.parent)
        # The layers of a track recording have files of the same name.
        has_folder = file.layer and "layer" not in self.placeholders
        folder = path / _safe(file.layer or "") if has_folder else path
        return Target(file, name, folder / _safe(name), path)

    def _fill(self, values: Mapping[str, Value], recording_id: str) -> str:
        filled = self._rest
        for index, piece in enumerate(self._pieces):
            filled += piece.text if index else ""
            if piece.name is None:
                continue
            value = values[piece.name]
            if value is None:
                raise RealtimeKitInputError(
                    f"destination has the placeholder {{{piece.name}}}, but the API gives no {piece.name} for "
                    f"recording {recording_id}: use another placeholder"
                )
            # The format of a time may have slashes, to make folders.
            filled += _safe(value) if isinstance(value, str) else value.strftime(piece.format or _TIME_FORMAT)
        return filled


def manifest_path(recording_id: str, targets: Sequence[Target]) -> ObjectStoragePath:
    """Return the path of a recording's manifest: in the deepest folder that has all of its files below it."""
    folder = targets[0].folder
    while folder != folder.parent and not all(
        folder == target.folder or folder in target.folder.parents for target in targets
    ):
        folder = folder.parent
    return folder / f"{_safe(recording_id)}.manifest.json"


def asset_uri(path: ObjectStoragePath | str) -> str:
    """Return a path as the URI of an asset: with a scheme, and without the name of a connection."""
    scheme, separator, rest = str(path).rpartition("://")
    if not separator:
        return f"file://{Path(rest).absolute()}"
    return f"{scheme}://{rest.partition('@')[2] if '@' in rest.partition('/')[0] else rest}"


def _parse(text: str) -> list[_Piece]:
    problem = None
    pieces = []
    try:
        for literal, name, format_, conversion in Formatter().parse(text):
            problem = problem or _find_problem(name, format_, conversion)
            pieces.append(_Piece(literal, name, format_ or ""))
    except ValueError as error:
        problem = str(error)
    if problem:
        raise RealtimeKitInputError(f"destination={text!r} is not allowed: {problem}")
    return pieces


def _find_problem(name: str | None, format_: str | None, conversion: str | None) -> str | None:
    if name is not None and name not in _PLACEHOLDERS:
        return f"{{{name}}} is not a placeholder; use one of {', '.join(sorted(_PLACEHOLDERS))}"
    if format_ and name not in _TIMES:
        return f"the placeholder {{{name}}} must have no format"
    return f"the placeholder {{{name}}} must have no conversion" if conversion else None


def _values(recording: Recording, file: RecordingFile, meeting_id: str | None) -> dict[str, Value]:
    name = file.safe_name
    output_name = file.model_copy(update={"name": recording.output_file_name or name}).safe_name
    stem, dot, suffix = name.rpartition(".")
    return {
        "recording_id": recording.id,
        "meeting_id": meeting_id,
        "session_id": recording.session_id,
        "output_file_name": output_name,
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
