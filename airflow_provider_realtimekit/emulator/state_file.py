"""What an emulator leaves in a file when it ends, and goes on from when it starts again.

Kept are the meetings, the recordings and the ledger. Settings come from the command line each time, faults are
gone, and files are made anew. Time passes while nobody serves, as it does when only the API is down.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from airflow_provider_realtimekit.emulator.http.emulator import Emulator
from airflow_provider_realtimekit.emulator.http.ledger import Ledger, LoggedRequest
from airflow_provider_realtimekit.emulator.world.models import Meeting, Owner, Recording, Status
from airflow_provider_realtimekit.emulator.world.world import World

Json = dict[str, Any]


def save(emulator: Emulator, path: Path) -> None:
    """Write a file, readable by its owner only: a recording's configuration may hold credentials."""
    kept = {"world": _dump_world(emulator.world), "ledger": _dump_ledger(emulator.ledger)}
    half = path.with_name(f"{path.name}.new")
    half.touch(mode=0o600)
    half.write_text(json.dumps(kept))
    half.replace(path)


def load(emulator: Emulator, path: Path) -> None:
    """Take up what a file holds, if there is one.

    :raises ValueError: when `save` has not written it
    """
    if not path.exists():
        return
    try:
        kept = json.loads(path.read_text())
        _restore_world(emulator.world, kept["world"])
        _restore_ledger(emulator.ledger, kept["ledger"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no state of an emulator: {error!r}") from error


def _dump_world(world: World) -> Json:
    meetings, recordings = world.contents()
    return {
        "meetings": [_plain(meeting, recordings=None) for meeting in meetings],
        "recordings": [
            _plain(recording, meeting=recording.meeting.id, files=bool(recording.files)) for recording in recordings
        ],
    }


def _restore_world(world: World, kept: Json) -> None:
    meetings = {meeting["id"]: _meeting(meeting) for meeting in kept["meetings"]}
    recordings = [_recording(recording, meetings) for recording in kept["recordings"]]
    with_files = {recording["id"] for recording in kept["recordings"] if recording["files"]}
    world.restore(meetings.values(), recordings, with_files)


def _meeting(kept: Json) -> Meeting:
    return Meeting(**kept | {"owner": _owner(kept), "recordings": []})


def _recording(kept: Json, meetings: dict[str, Meeting]) -> Recording:
    meeting = meetings[kept["meeting"]]
    true = {"meeting": meeting, "owner": _owner(kept), "participants": tuple(kept["participants"]), "files": ()}
    recording = Recording(**kept | true | {"state": Status(kept["state"])})
    meeting.recordings.append(recording)
    return recording


def _owner(kept: Json) -> Owner | None:
    return Owner(*kept["owner"]) if kept["owner"] else None


def _plain(thing: Meeting | Recording, **instead: Any) -> Json:
    """Return the fields of a meeting or a recording, but `instead` for what JSON cannot hold."""
    return {field.name: getattr(thing, field.name) for field in fields(thing)} | instead


def _dump_ledger(ledger: Ledger) -> Json:
    entries, counts, saw_authorization = ledger.contents()
    return {
        "entries": [asdict(entry) for entry in entries],
        "counts": [[*key, count] for key, count in counts.items()],
        "file_host_saw_authorization": saw_authorization,
    }


def _restore_ledger(ledger: Ledger, kept: Json) -> None:
    entries = [LoggedRequest(**entry) for entry in kept["entries"]]
    counts = {(operation, status): count for operation, status, count in kept["counts"]}
    ledger.restore(entries, counts, kept["file_host_saw_authorization"])
