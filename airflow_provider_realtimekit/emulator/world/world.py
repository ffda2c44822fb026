"""Meetings and recordings, as the API's callers, people in meetings and tests change them."""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from threading import RLock
from typing import Any

from airflow_provider_realtimekit.emulator.media.specs import MediaEncoder
from airflow_provider_realtimekit.emulator.settings import Settings
from airflow_provider_realtimekit.emulator.world.errors import (
    ActionNotAllowedError,
    AlreadyRecordingError,
    ImpossibleChangeError,
    NoLiveSessionError,
    NotFoundError,
)
from airflow_provider_realtimekit.emulator.world.lifecycle import Lifecycle
from airflow_provider_realtimekit.emulator.world.models import (
    ACTIVE,
    TERMINAL,
    Meeting,
    Owner,
    RecordedFile,
    Recording,
    RecordingKind,
    Status,
)


class World:
    """All meetings and recordings. Every method may be called from any thread, and returns copies of recordings.

    :param clock: the present time, in seconds since the epoch
    """

    def __init__(self, settings: Settings, encoder: MediaEncoder, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._lifecycle = Lifecycle(settings, encoder)
        self._clock = clock
        self._lock = RLock()
        self._meetings: dict[str, Meeting] = {}
        self._recordings: dict[str, Recording] = {}
        # Time changes only these recordings, so that thousands of ended ones need no time.
        self._unfinished: dict[str, Recording] = {}

    def reset(self) -> None:
        """Remove every meeting and recording."""
        with self._lock:
            self._meetings.clear()
            self._recordings.clear()
            self._unfinished.clear()

    def contents(self) -> tuple[list[Meeting], list[Recording]]:
        """Return the meetings and recordings themselves, not copies. For use after the last request only."""
        with self._lock:
            self._advance(self._unfinished.values())
            return list(self._meetings.values()), list(self._recordings.values())

    def restore(self, meetings: Iterable[Meeting], recordings: Iterable[Recording], with_files: set[str]) -> None:
        """Replace all meetings and recordings, and make the files of the recordings with the given ids."""
        with self._lock:
            self._meetings = {meeting.id: meeting for meeting in meetings}
            self._recordings = {recording.id: recording for recording in recordings}
            self._unfinished = {key: r for key, r in self._recordings.items() if r.state not in TERMINAL}
            for recording_id in with_files:
                self._lifecycle.make_files(self._recordings[recording_id])

    # The operations of the API

    def start(self, owner: Owner, config: dict[str, Any]) -> Recording:
        """Start a composite recording; `config` is the body of the request.

        :raises NotFoundError: if the meeting is unknown and `strict_meetings` is set
        :raises AlreadyRecordingError: if one is active in the meeting and the settings do not allow another
        """
        with self._lock:
            meeting = self._find_or_open_meeting(config["meeting_id"], owner)
            active = self._find_active(meeting, "composite")
            if active is None or config.get("allow_multiple_recordings") or self._settings.second_start == "start":
                return self._create_recording(meeting, config, owner)
            if self._settings.second_start == "accept":
                return copy.copy(active)
            raise AlreadyRecordingError("The meeting is being recorded already")

    def start_tracks(self, owner: Owner, config: dict[str, Any]) -> Recording:
        """Start a track recording; `config` is the body of the request.

        :raises NotFoundError: if the meeting is unknown and `strict_meetings` is set
        :raises NoLiveSessionError: if nobody is in the meeting
        :raises AlreadyRecordingError: if one is active in the meeting and the settings do not allow another
        """
        with self._lock:
            meeting = self._find_or_open_meeting(config["meeting_id"], owner)
            if not meeting.participants:
                raise NoLiveSessionError("The meeting has no live session")
            active = self._find_active(meeting, "track")
            if active is None or self._settings.second_start == "start":
                return self._create_recording(meeting, config, owner, "track")
            if self._settings.second_start == "accept":
                return copy.copy(active)
            raise AlreadyRecordingError("The meeting's tracks are being recorded already")

    def active(self, owner: Owner, meeting_id: str) -> Recording:
        """Return the newest active recording of a meeting.

        :raises NotFoundError: if there is none
        """
        with self._lock:
            meeting = self._meetings.get(meeting_id)
            recording = meeting and self._find_active(meeting)
            if not recording or not _is_visible_to(owner, recording):
                raise NotFoundError("No active recording found for this meeting")
            return copy.copy(recording)

    def get(self, recording_id: str, owner: Owner | None = None) -> Recording:
        """Return a recording; with an owner, only one that this owner can see.

        :raises NotFoundError: if there is none
        """
        with self._lock:
            return copy.copy(self._find_recording(recording_id, owner))

    def act(self, owner: Owner, recording_id: str, action: str) -> Recording:
        """Stop, pause or resume a recording.

        :raises NotFoundError: if the owner has no such recording
        :raises ActionNotAllowedError: if its state does not allow the action, unless `idle_action` is "accept"
        """
        with self._lock:
            recording = self._find_recording(recording_id, owner)
            is_applied = self._lifecycle.apply_action(recording, action, self._clock(), _describe_caller(owner))
            if not is_applied and self._settings.idle_action != "accept":
                raise ActionNotAllowedError(f"Cannot {action} a recording that is {recording.status}")
            return copy.copy(recording)

    def page(
        self, owner: Owner, matches: Callable[[Recording], bool], window: slice, *, newest_first: bool
    ) -> tuple[list[Recording], int]:
        """Return the recordings of an owner that match, sorted by invocation and cut to a window, and their total."""
        with self._lock:
            self._advance(self._unfinished.values())
            found = [r for r in self._recordings.values() if _is_visible_to(owner, r) and matches(r)]
            found.sort(key=lambda recording: recording.invoked_at)
            # Not sort(reverse=True), which would not reverse recordings of the same moment.
            if newest_first:
                found.reverse()
            return [copy.copy(recording) for recording in found[window]], len(found)

    def recordings(self) -> list[Recording]:
        """Return the recordings of all owners, the oldest first."""
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
        """Open a meeting, or change the one that has this id.

        :param participants: who joins at once
        :param record_on_start: whether a recording starts with each session
        :param recording_config: the configuration of such a recording, as in the body of a start
        :param owner: the only account and app that see its recordings; default: all
        """
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
        """Add somebody to a meeting; the first one begins a session.

        :raises NotFoundError: if nobody opened the meeting
        """
        with self._lock:
            meeting = self._find_meeting(meeting_id)
            self._advance(meeting.recordings)
            is_first = not meeting.participants
            meeting.participants[participant] = None
            meeting.empty_since = None
            for recording in meeting.recordings:
                if recording.state in ACTIVE and participant not in recording.participants:
                    recording.participants = (*recording.participants, participant)
            if is_first:
                meeting.session_id = str(uuid.uuid4())
                if meeting.record_on_start and not self._find_active(meeting):
                    config = meeting.recording_config or {}
                    self._create_recording(meeting, config, meeting.owner, reason="RECORD_ON_START")

    def leave(self, meeting_id: str, participant: str | None = None) -> None:
        """Remove somebody from a meeting; without a name, everybody.

        :raises NotFoundError: if nobody opened the meeting
        """
        with self._lock:
            meeting = self._find_meeting(meeting_id)
            self._advance(meeting.recordings)
            for name in [participant] if participant else list(meeting.participants):
                meeting.participants.pop(name, None)
            if not meeting.participants and meeting.empty_since is None:
                meeting.empty_since = self._clock()

    # What only tests do

    def jump(self, recording_id: str, status: str, err_message: str | None = None) -> Recording:
        """Push a recording forward to a status. UPLOADED waits until the files are made.

        A word that the API does not document is shown instead of the true state, until the next jump.

        :raises NotFoundError: if there is no such recording
        :raises ImpossibleChangeError: if the recording has ended otherwise, or is past that status
        """
        with self._lock:
            recording = self._find_recording(recording_id)
            self._push(recording, status, err_message)
        return self._wait_for_files(recording) if status == Status.UPLOADED else self.get(recording_id)

    def hang(self, recording_id: str) -> None:
        """Leave a recording in INVOKED until it is stopped or pushed.

        :raises NotFoundError: if there is no such recording
        :raises ImpossibleChangeError: if it is not INVOKED any more
        """
        with self._lock:
            recording = self._find_recording(recording_id)
            if recording.state is not Status.INVOKED:
                raise ImpossibleChangeError(
                    f"Recording {recording_id} is {recording.state}; only an INVOKED one can hang"
                )
            recording.is_hanging = True

    def expire(self, recording_id: str) -> None:
        """Delete the files of a recording from the bucket; their links expire.

        :raises NotFoundError: if there is no such recording
        """
        with self._lock:
            self._find_recording(recording_id).expires_at = self._clock()

    def replace_file(self, recording_id: str, path: Path) -> None:
        """Replace the first file of a recording, to serve known bytes or a file that changes during a download.

        :raises NotFoundError: if there is no such recording
        :raises ImpossibleChangeError: if the recording has no file yet
        """
        future_path: Future[Path] = Future()
        future_path.set_result(path)
        with self._lock:
            recording = self._find_recording(recording_id)
            if not recording.files:
                raise ImpossibleChangeError(f"Recording {recording_id} is {recording.state} and has no file to replace")
            first, *others = recording.files
            recording.files = (RecordedFile(first.output, future_path), *others)

    def finish_uploads(self) -> list[str]:
        """Push every UPLOADING recording to UPLOADED, wait for their files, and return their ids."""
        uploading = [recording.id for recording in self.recordings() if recording.state is Status.UPLOADING]
        for recording_id in uploading:
            self.jump(recording_id, Status.UPLOADED)
        return uploading

    def seed(
        self,
        count: int,
        status: str = Status.UPLOADED,
        *,
        meeting_id: str | None = None,
        seconds: float = 60,
        owner: Owner | None = None,
    ) -> list[str]:
        """Create many recordings in a status and return their ids.

        :param meeting_id: the meeting of all of them; default: a new one for each
        :param seconds: the length of each, in emulated seconds
        :param owner: the only account and app that see them; default: all
        """
        created = []
        with self._lock:
            for _ in range(count):
                meeting = self._meetings.get(meeting_id or "") or self.open_meeting(
                    meeting_id, participants=["participant"], owner=owner
                )
                recording = self._recordings[self._create_recording(meeting, {}, owner).id]
                if status != Status.INVOKED:
                    self._lifecycle.enter_state(recording, Status.RECORDING, self._clock())
                    recording.recorded_seconds = seconds
                self._push(recording, status)
                created.append(recording)
        if status == Status.UPLOADED:
            for recording in created:
                self._wait_for_files(recording)
        return [recording.id for recording in created]

    # Shared by the above; the caller holds the lock unless the method says otherwise

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

    def _push(self, recording: Recording, status: str, err_message: str | None = None) -> None:
        is_documented = status in Status.__members__
        recording.shown_status = None if is_documented else status
        if is_documented:
            self._lifecycle.push(recording, Status(status), self._clock(), err_message)

    def _wait_for_files(self, recording: Recording) -> Recording:
        # Without the lock: the files may take seconds, and other callers must not wait for them.
        for file in recording.files:
            file.future_path.exception()
        return self.get(recording.id)

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

    def _find_active(self, meeting: Meeting, kind: RecordingKind | None = None) -> Recording | None:
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
    # Tests may give a plain tuple, so the fields are not read by name.
    _, app_id = owner
    user_id = str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(owner)))
    # The API writes this one key with a capital letter.
    return {"name": app_id, "type": "ORGANIZATION", "user_Id": user_id}
