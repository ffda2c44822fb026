"""The life of a recording.

    status     what ends it                                              next
    INVOKED    invoked_seconds (unless it hangs)                         RECORDING
    INVOKED    stop                                                      UPLOADING
    RECORDING  pause                                                     PAUSED
    RECORDING  max_seconds recorded; stop; meeting empty                 UPLOADING
    PAUSED     resume                                                    RECORDING
    PAUSED     stop; meeting empty                                       UPLOADING
    UPLOADING  uploading_seconds, and the files are made                 UPLOADED
    UPLOADING  uploading_seconds, and a file could not be made           ERRORED
    any but UPLOADED  too short when it ends; told to by a test          ERRORED

Nothing runs in the background: whoever looks at a recording first settles it, which makes up for the time that
has passed, each step at the moment when it was due.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from airflow_provider_realtimekit.emulator.media.specs import MediaEncoder, shrink
from airflow_provider_realtimekit.emulator.settings import Settings
from airflow_provider_realtimekit.emulator.world.models import OutputFile, RecordedFile, Recording, Status
from airflow_provider_realtimekit.emulator.world.output_files import list_output_files

#: What each action makes of the statuses that allow it.
ACTIONS = {
    ("stop", Status.INVOKED): Status.UPLOADING,
    ("stop", Status.RECORDING): Status.UPLOADING,
    ("stop", Status.PAUSED): Status.UPLOADING,
    ("pause", Status.RECORDING): Status.PAUSED,
    ("resume", Status.PAUSED): Status.RECORDING,
}


class Step(NamedTuple):
    """A change of state that time brings."""

    at: float
    state: Status
    reason: str = ""


def _moment(step: Step) -> float:
    return step.at


class Lifecycle:
    """Moves recordings from state to state."""

    def __init__(self, settings: Settings, encoder: MediaEncoder) -> None:
        self._settings = settings
        self._encoder = encoder

    def advance(self, recording: Recording, now: float) -> None:
        """Take every step that was due by now."""
        while (step := min(self._steps(recording), key=_moment, default=None)) and step.at <= now:
            # A setting that was changed meanwhile can put a step before the one that led to it.
            at = max(step.at, recording.state_since)
            if step.state is Status.ERRORED:
                self.fail(recording, at, step.reason)
            else:
                recording.stop_reason = {"reason": step.reason} if step.reason else recording.stop_reason
                self.enter_state(recording, step.state, at)

    def apply_action(self, recording: Recording, action: str, now: float, caller: dict[str, Any]) -> bool:
        """Carry out an action, or return False where the state does not allow it."""
        target = ACTIONS.get((action, recording.state))
        if target is None:
            return False
        if action == "stop":
            recording.stop_reason = {"reason": "API_CALL", "caller": caller}
        self.enter_state(recording, target, now)
        return True

    def enter_state(self, recording: Recording, state: Status, at: float) -> None:
        """Enter a state at a moment."""
        recording.recorded_seconds = recording.recorded_seconds_at(at, self._settings.speed)
        recording.state, recording.state_since = state, at
        if state is Status.RECORDING:
            recording.started_at = recording.started_at or at
        elif state is Status.UPLOADING:
            self._begin_upload(recording, at)
        elif state is Status.UPLOADED:
            recording.uploaded_at = at
            recording.expires_at = at + self._settings.file_seconds

    def fail(self, recording: Recording, at: float, message: str) -> None:
        """End a recording in ERRORED."""
        self.enter_state(recording, Status.ERRORED, at)
        recording.stopped_at = recording.stopped_at or at
        recording.stop_reason = recording.stop_reason or {"reason": "INTERNAL_ERROR"}
        recording.err_message = message

    def _begin_upload(self, recording: Recording, at: float) -> None:
        recording.stopped_at = at
        if recording.recorded_seconds < self._settings.errored_below_seconds:
            self.fail(recording, at, "The recording is too short")
        else:
            self.make_files(recording)

    def make_files(self, recording: Recording) -> None:
        """Begin to make the files of a recording that has ended."""
        recording.files = tuple(self._request_file(output) for output in list_output_files(recording))

    def _request_file(self, output: OutputFile) -> RecordedFile:
        spec = output.spec if self._settings.media == "real" else shrink(output.spec)
        return RecordedFile(dataclasses.replace(output, spec=spec), self._encoder.encode(spec))

    def _steps(self, recording: Recording) -> Iterator[Step]:
        settings, state = self._settings, recording.state
        if state is Status.INVOKED and not recording.is_hanging:
            yield Step(recording.state_since + settings.invoked_seconds / settings.speed, Status.RECORDING)
        elif state is Status.RECORDING:
            left = recording.config.get("max_seconds", 86_400) - recording.recorded_seconds
            yield Step(recording.state_since + left / settings.speed, Status.UPLOADING)
        elif state is Status.UPLOADING:
            yield from self._uploaded(recording)
        if state in (Status.RECORDING, Status.PAUSED):
            yield from self._deserted(recording)

    def _uploaded(self, recording: Recording) -> Iterator[Step]:
        wait = 0.0 if recording.is_upload_immediate else self._settings.uploading_seconds / self._settings.speed
        if all(file.future_path.done() for file in recording.files):
            broken = next((file for file in recording.files if file.future_path.exception()), None)
            end = (Status.ERRORED, "A file could not be made") if broken else (Status.UPLOADED, "")
            yield Step(recording.state_since + wait, *end)

    def _deserted(self, recording: Recording) -> Iterator[Step]:
        empty_since = recording.meeting.empty_since
        if empty_since is not None and recording.started_at is not None:
            wait = self._settings.empty_seconds / self._settings.speed
            yield Step(max(empty_since, recording.started_at) + wait, Status.UPLOADING, "ALL_PEERS_LEFT")
