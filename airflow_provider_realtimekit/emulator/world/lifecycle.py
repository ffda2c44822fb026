"""How a recording moves through its states: by time, by an action, or because a test pushes it.

    status     what ends it                                              next
    INVOKED    invoked_seconds (unless it hangs)                         RECORDING
    INVOKED    stop                                                      UPLOADING
    RECORDING  pause                                                     PAUSED
    RECORDING  max_seconds recorded; stop; meeting empty                 UPLOADING
    PAUSED     resume                                                    RECORDING
    PAUSED     stop; meeting empty                                       UPLOADING
    UPLOADING  uploading_seconds, and the files are made                 UPLOADED
    UPLOADING  uploading_seconds, and a file could not be made           ERRORED
    any but UPLOADED  too short when it ends; pushed by a test           ERRORED

Nothing runs in the background. `advance` makes each change that is due, with the time at which it was due.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from operator import attrgetter
from typing import Any, NamedTuple

from airflow_provider_realtimekit.emulator.media.specs import MediaEncoder, shrink
from airflow_provider_realtimekit.emulator.settings import Settings
from airflow_provider_realtimekit.emulator.world.errors import ImpossibleChangeError
from airflow_provider_realtimekit.emulator.world.models import TERMINAL, RecordedFile, Recording, Status
from airflow_provider_realtimekit.emulator.world.output_files import list_output_files

#: The state that an action leads to, for each state that allows it.
ACTION_TARGETS = {
    ("stop", Status.INVOKED): Status.UPLOADING,
    ("stop", Status.RECORDING): Status.UPLOADING,
    ("stop", Status.PAUSED): Status.UPLOADING,
    ("pause", Status.RECORDING): Status.PAUSED,
    ("resume", Status.PAUSED): Status.RECORDING,
}

#: The position of each state. A test can push a recording forward only, or between RECORDING and PAUSED.
_PROGRESS = {Status.INVOKED: 0, Status.RECORDING: 1, Status.PAUSED: 1, Status.UPLOADING: 2, Status.UPLOADED: 3}

#: The states that a push passes through. It ends in UPLOADING for UPLOADED, because the files must be made first.
_PUSH_PATHS = {
    Status.INVOKED: (),
    Status.RECORDING: (Status.RECORDING,),
    Status.PAUSED: (Status.RECORDING, Status.PAUSED),
    Status.UPLOADING: (Status.RECORDING, Status.UPLOADING),
    Status.UPLOADED: (Status.RECORDING, Status.UPLOADING),
}

# What the API records when a start does not set max_seconds: a day.
_DEFAULT_MAX_SECONDS = 86_400


class Change(NamedTuple):
    """A change of state at a given time. `reason` is the stop reason, or the error message of ERRORED."""

    at: float
    state: Status
    reason: str = ""


class Lifecycle:
    """Moves recordings from state to state. The caller holds the lock of the world."""

    def __init__(self, settings: Settings, encoder: MediaEncoder) -> None:
        self._settings = settings
        self._encoder = encoder

    def advance(self, recording: Recording, now: float) -> None:
        """Make every change that is due by now."""
        while (change := min(self._changes(recording), key=attrgetter("at"), default=None)) and change.at <= now:
            # If a setting has changed since, the change can be due before the present state began.
            at = max(change.at, recording.state_since)
            if change.state is Status.ERRORED:
                self.fail(recording, at, change.reason)
            else:
                recording.stop_reason = {"reason": change.reason} if change.reason else recording.stop_reason
                self.enter_state(recording, change.state, at)

    def apply_action(self, recording: Recording, action: str, now: float, caller: dict[str, Any]) -> bool:
        """Stop, pause or resume a recording, or return False if its state does not allow that."""
        target = ACTION_TARGETS.get((action, recording.state))
        if target is None:
            return False
        if action == "stop":
            recording.stop_reason = {"reason": "API_CALL", "caller": caller}
        self.enter_state(recording, target, now)
        return True

    def push(self, recording: Recording, target: Status, now: float, err_message: str | None = None) -> None:
        """Bring a recording to a state at once, through all states between.

        :raises ImpossibleChangeError: if the recording has ended otherwise, or is past that state
        """
        state = recording.state
        if state in TERMINAL - {target}:
            raise ImpossibleChangeError(f"Recording {recording.id} is {state}, which is final, and cannot be {target}")
        if target is Status.ERRORED:
            self.fail(recording, now, err_message or "The recording failed")
            return
        if _PROGRESS[target] < _PROGRESS[state]:
            raise ImpossibleChangeError(f"Recording {recording.id} is {state} and cannot go back to {target}")
        for step in _PUSH_PATHS[target]:
            if step is not recording.state and _PROGRESS[step] >= _PROGRESS[recording.state]:
                self.enter_state(recording, step, now)
        recording.is_upload_immediate = target is Status.UPLOADED

    def enter_state(self, recording: Recording, state: Status, at: float) -> None:
        """Change the state, with the times and files that come with it. Nothing is checked."""
        recording.recorded_seconds = recording.recorded_seconds_at(at, self._settings.speed)
        recording.state, recording.state_since = state, at
        if state is Status.RECORDING:
            recording.started_at = recording.started_at or at
        elif state is Status.UPLOADING:
            recording.stopped_at = at
            # The guides warn that recordings of a few seconds may end ERRORED.
            if recording.recorded_seconds < self._settings.errored_below_seconds:
                self.fail(recording, at, "The recording is too short")
            else:
                self.make_files(recording)
        elif state is Status.UPLOADED:
            recording.uploaded_at = at
            recording.expires_at = at + self._settings.file_seconds

    def fail(self, recording: Recording, at: float, message: str) -> None:
        """End a recording in ERRORED."""
        self.enter_state(recording, Status.ERRORED, at)
        recording.stopped_at = recording.stopped_at or at
        recording.stop_reason = recording.stop_reason or {"reason": "INTERNAL_ERROR"}
        recording.err_message = message

    def make_files(self, recording: Recording) -> None:
        """Start to make the files of a recording that has ended."""
        files = []
        for output in list_output_files(recording):
            spec = output.spec if self._settings.media == "real" else shrink(output.spec)
            files.append(RecordedFile(replace(output, spec=spec), self._encoder.encode(spec)))
        recording.files = tuple(files)

    def _changes(self, recording: Recording) -> Iterator[Change]:
        """Yield the possible changes from the present state, of which the earliest one is made."""
        settings, state, since = self._settings, recording.state, recording.state_since
        if state is Status.INVOKED and not recording.is_hanging:
            yield Change(since + settings.invoked_seconds / settings.speed, Status.RECORDING)
        elif state is Status.RECORDING:
            left = recording.config.get("max_seconds", _DEFAULT_MAX_SECONDS) - recording.recorded_seconds
            yield Change(since + left / settings.speed, Status.UPLOADING)
        elif state is Status.UPLOADING and all(file.future_path.done() for file in recording.files):
            at = since + (0 if recording.is_upload_immediate else settings.uploading_seconds / settings.speed)
            if any(file.future_path.exception() for file in recording.files):
                yield Change(at, Status.ERRORED, "A file could not be made")
            else:
                yield Change(at, Status.UPLOADED)
        empty_since = recording.meeting.empty_since
        if state in (Status.RECORDING, Status.PAUSED) and empty_since is not None and recording.started_at is not None:
            # A meeting that nobody has joined yet counts as empty from the start of the recording.
            at = max(empty_since, recording.started_at) + settings.empty_seconds / settings.speed
            yield Change(at, Status.UPLOADING, "ALL_PEERS_LEFT")
