"""The emulated world: meetings, who is in them, and their recordings. It knows no HTTP."""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Callable, Iterable
from threading import RLock
from typing import Any

from airflow_provider_realtimekit.emulator.media.specs import MediaEncoder
from airflow_provider_realtimekit.emulator.settings import Settings
from airflow_provider_realtimekit.emulator.world.errors import (
    ActionNotAllowedError,
    AlreadyRecordingError,
    NoLiveSessionError,
    NotFoundError,
)
from airflow_provider_realtimekit.emulator.world.lifecycle import Lifecycle
from airflow_provider_realtimekit.emulator.world.models import (
    ACTIVE,
    TERMINAL,
    Meeting,
    Owner,
    Recording,
    RecordingKind,
)


class World:
    """Meetings and recordings. Safe to use from any thread; what it returns are snapshots."""

    def __init__(self, settings: Settings, encoder: MediaEncoder, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._lifecycle = Lifecycle(settings, encoder)
        self._clock = clock
        self._lock = RLock()
        self._meetings: dict[str, Meeting] = {}
        self._recordings: dict[str, Recording] = {}
        self._unfinished: dict[str, Recording] = {}

    def reset(self) -> None:
        """Forget every meeting and recording."""
        with self._lock:
            self._meetings.clear()
            self._recordings.clear()
            self._unfinished.clear()

    def contents(self) -> tuple[list[Meeting], list[Recording]]:
        """Return everything itself, not copies: for when nobody serves any more."""
        with self._lock:
            self._advance(self._unfinished.values())
            return list(self._meetings.values()), list(self._recordings.values())

    def restore(self, meetings: Iterable[Meeting], recordings: Iterable[Recording], with_files: set[str]) -> None:
        """Go on with these instead, and make the files of the recordings whose ids are named."""
        with self._lock:
            self._meetings = {meeting.id: meeting for meeting in meetings}
            self._recordings = {recording.id: recording for recording in recordings}
            self._unfinished = {key: r for key, r in self._recordings.items() if r.state not in TERMINAL}
            for recording_id in with_files:
                self._lifecycle.make_files(self._recordings[recording_id])

    # What the six operations do

    def start(self, owner: Owner, config: dict[str, Any]) -> Recording:
        """Start a composite recording."""
        with self._lock:
            meeting = self._find_or_open_meeting(config["meeting_id"], owner)
            rival = self._newest_active(meeting, "composite")
            if rival is None or config.get("allow_multiple_recordings") or self._settings.second_start == "start":
                return self._create_recording(meeting, config, owner)
            if self._settings.second_start == "accept":
                return copy.copy(rival)
            raise AlreadyRecordingError("The meeting is being recorded already")

    def start_tracks(self, owner: Owner, config: dict[str, Any]) -> Recording:
        """Start a track recording, for which somebody must be in the meeting."""
        with self._lock:
            meeting = self._find_or_open_meeting(config["meeting_id"], owner)
            if not meeting.participants:
                raise NoLiveSessionError("The meeting has no live session")
            rival = self._newest_active(meeting, "track")
            if rival is None or self._settings.second_start == "start":
                return self._create_recording(meeting, config, owner, "track")
            if self._settings.second_start == "accept":
                return copy.copy(rival)
            raise AlreadyRecordingError("The meeting's tracks are being recorded already")

    def active(self, owner: Owner, meeting_id: str) -> Recording:
        """Return the newest recording that is under way in a meeting."""
        with self._lock:
            meeting = self._meetings.get(meeting_id)
            recording = meeting and self._newest_active(meeting)
            if not recording or not _is_visible_to(owner, recording):
                raise NotFoundError("No active recording found for this meeting")
            return copy.copy(recording)

    def get(self, recording_id: str, owner: Owner | None = None) -> Recording:
        """Return a recording; without an owner, whosever it is."""
        with self._lock:
            return copy.copy(self._find_recording(recording_id, owner))

    def act(self, owner: Owner, recording_id: str, action: str) -> Recording:
        """Stop, pause or resume a recording."""
        with self._lock:
            recording = self._find_recording(recording_id, owner)
            is_done = self._lifecycle.apply_action(recording, action, self._clock(), _describe_caller(owner))
            if not is_done and self._settings.idle_action != "accept":
                raise ActionNotAllowedError(f"Cannot {action} a recording that is {recording.status}")
            return copy.copy(recording)

    def page(
        self, owner: Owner, keep: Callable[[Recording], bool], window: slice, *, newest_first: bool
    ) -> tuple[list[Recording], int]:
        """Return a window on the recordings that `keep` picks, by their invocation, and how many those are."""
        with self._lock:
            self._advance(self._unfinished.values())
            kept = [r for r in self._recordings.values() if _is_visible_to(owner, r) and keep(r)]
            kept.sort(key=lambda recording: recording.invoked_at)
            if newest_first:
                kept.reverse()
            return [copy.copy(recording) for recording in kept[window]], len(kept)

    def recordings(self) -> list[Recording]:
        """Return all recordings of all owners, in the order of their invocation."""
        with self._lock:
            self._advance(self._unfinished.values())
            return [copy.copy(recording) for recording in self._recordings.values()]

    # What people in meetings do

    def open_meeting(
        self,
        meeting_id: str | None = None,
        *,
        title: str | None = None,
        participants: Iterable[str] = (),
        record_on_start: bool = False,
        recording_config: dict[str, Any] | None = None,
        owner: Owner | None = None,
    ) -> Meeting:
        """Open a meeting, or change a known one; a meeting without an owner is in every app."""
        with self._lock:
            now = self._clock()
            meeting_id = meeting_id or str(uuid.uuid4())
            new = Meeting(meeting_id, f"Meeting {meeting_id[:8]}", owner, now, empty_since=now)
            meeting = self._meetings.setdefault(meeting_id, new)
            meeting.title = title or meeting.title
            meeting.record_on_start, meeting.recording_config = record_on_start, recording_config
            for participant in participants:
                self.join(meeting_id, participant)
            return meeting

    def join(self, meeting_id: str, participant: str) -> None:
        """Let somebody into a meeting; the first one begins a session."""
        with self._lock:
            meeting = self._find_meeting(meeting_id)
            self._advance(meeting.recordings)
            begins = not meeting.participants
            meeting.participants[participant] = None
            meeting.empty_since = None
            for recording in meeting.recordings:
                if recording.state in ACTIVE and participant not in recording.participants:
                    recording.participants = (*recording.participants, participant)
            if begins:
                self._begin_session(meeting)

    def leave(self, meeting_id: str, participant: str | None = None) -> None:
        """Let somebody, or everybody, leave a meeting."""
        with self._lock:
            meeting = self._find_meeting(meeting_id)
            self._advance(meeting.recordings)
            for name in [participant] if participant else list(meeting.participants):
                meeting.participants.pop(name, None)
            if not meeting.participants and meeting.empty_since is None:
                meeting.empty_since = self._clock()

    # How it is done

    def _begin_session(self, meeting: Meeting) -> None:
        meeting.session_id = str(uuid.uuid4())
        if meeting.record_on_start and not self._newest_active(meeting):
            self._create_recording(meeting, meeting.recording_config or {}, meeting.owner, reason="RECORD_ON_START")

    def _create_recording(
        self,
        meeting: Meeting,
        config: dict[str, Any],
        owner: Owner | None,
        kind: RecordingKind = "composite",
        reason: str = "API_CALL",
    ) -> Recording:
        now = self._clock()
        recording = Recording(
            id=str(uuid.uuid4()),
            kind=kind,
            meeting=meeting,
            owner=owner,
            config=config,
            start_reason={"reason": reason},
            invoked_at=now,
            state_since=now,
            session_id=meeting.session_id if meeting.participants else None,
            participants=tuple(meeting.participants),
            is_hanging=self._settings.hang_invoked,
        )
        if reason == "API_CALL" and owner:
            recording.start_reason["caller"] = _describe_caller(owner)
        self._recordings[recording.id] = self._unfinished[recording.id] = recording
        meeting.recordings.append(recording)
        return copy.copy(recording)

    def _find_or_open_meeting(self, meeting_id: str, owner: Owner) -> Meeting:
        meeting = self._meetings.get(meeting_id)
        if meeting is None and not self._settings.strict_meetings:
            return self.open_meeting(meeting_id, participants=["participant"], owner=owner)
        if meeting is None or meeting.owner not in (None, owner):
            raise NotFoundError("Meeting not found")
        return meeting

    def _find_meeting(self, meeting_id: str) -> Meeting:
        if meeting_id not in self._meetings:
            raise NotFoundError("Meeting not found")
        return self._meetings[meeting_id]

    def _newest_active(self, meeting: Meeting, kind: RecordingKind | None = None) -> Recording | None:
        self._advance(meeting.recordings)
        newest_first = reversed(meeting.recordings)
        return next((r for r in newest_first if r.state in ACTIVE and kind in (None, r.kind)), None)

    def _find_recording(self, recording_id: str, owner: Owner | None = None) -> Recording:
        recording = self._recordings.get(recording_id)
        if recording is None or not _is_visible_to(owner, recording):
            raise NotFoundError("Recording not found")
        self._advance([recording])
        return recording

    def _advance(self, recordings: Iterable[Recording]) -> None:
        now = self._clock()
        for recording in list(recordings):
            self._lifecycle.advance(recording, now)
            if recording.state in TERMINAL:
                self._unfinished.pop(recording.id, None)


def _is_visible_to(owner: Owner | None, recording: Recording) -> bool:
    return owner is None or recording.owner in (None, owner)


def _describe_caller(owner: Owner) -> dict[str, Any]:
    _, app_id = owner
    user_id = str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(owner)))
    return {"name": app_id, "type": "ORGANIZATION", "user_Id": user_id}
