"""How the state of an emulator is saved to a file, and loaded when it starts again.

The file holds the meetings, the recordings and the ledger. Settings come from the command line each time, faults are
not saved, and the media are made again. Recordings continue in the meantime, as if only the network had failed.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from airflow_provider_realtimekit.emulator.http.emulator import Emulator
from airflow_provider_realtimekit.emulator.world.models import Meeting, Owner, Recording, Status
from airflow_provider_realtimekit.emulator.world.world import World

Json = dict[str, Any]


def save(emulator: Emulator, path: Path) -> None:
    """Write the state of an emulator that serves no more requests.

    :raises OSError: if the file cannot be written; then an older file stays as it is
    """
    state = {"world": _dump_world(emulator.world), "ledger": emulator.ledger.dump()}
    # Written to another file and then renamed, so that a crash leaves the old file or the new one.
    temporary = path.with_name(f"{path.name}.new")
    # Readable only by the owner, because the configuration of a recording may hold credentials.
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(state))
    temporary.replace(path)


def load(emulator: Emulator, path: Path) -> None:
    """Replace the state of an emulator by that of a file. Without the file, nothing happens.

    :raises ValueError: if `save` has not written the file
    """
    if not path.exists():
        return
    try:
        state = json.loads(path.read_text())
        _restore_world(emulator.world, state["world"])
        emulator.ledger.restore(state["ledger"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no state of an emulator ({error!r}): delete it, or name another file with --state"
        ) from error


def _dump_world(world: World) -> Json:
    meetings, recordings = world.contents()
    return {
        "meetings": [_dump(meeting, recordings=None) for meeting in meetings],
        "recordings": [
            _dump(recording, meeting=recording.meeting.id, files=bool(recording.files)) for recording in recordings
        ],
    }


def _dump(thing: Meeting | Recording, **replacements: Any) -> Json:
    """Return the fields of a meeting or a recording, with replacements for those that JSON cannot hold."""
    return {field.name: getattr(thing, field.name) for field in fields(thing)} | replacements


def _restore_world(world: World, saved: Json) -> None:
    meetings = {
        meeting["id"]: Meeting(**meeting | {"owner": _restore_owner(meeting), "recordings": []})
        for meeting in saved["meetings"]
    }
    recordings = []
    for values in saved["recordings"]:
        meeting = meetings[values["meeting"]]
        replacements = {
            "meeting": meeting,
            "owner": _restore_owner(values),
            "participants": tuple(values["participants"]),
            "state": Status(values["state"]),
            "files": (),
        }
        recording = Recording(**values | replacements)
        meeting.recordings.append(recording)
        recordings.append(recording)
    with_files = {values["id"] for values in saved["recordings"] if values["files"]}
    world.restore(meetings.values(), recordings, with_files)


def _restore_owner(saved: Json) -> Owner | None:
    return Owner(*saved["owner"]) if saved["owner"] else None
