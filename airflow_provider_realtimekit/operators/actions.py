"""Operators that pause, resume and stop a recording. They succeed if the recording already has the wanted status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError, RecordingStateError
from airflow_provider_realtimekit.operators.base import RealtimeKitOperator, WaitingOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_realtimekit.models import Recording


class _ActionOperator(RealtimeKitOperator):
    """Applies ``_action`` to a recording, or to the active recording of a meeting.

    :param recording_id: the recording (templated), or
    :param meeting_id: the meeting whose active recording is meant (templated)
    """

    _action: ClassVar[str]
    template_fields: Sequence[str] = (*RealtimeKitOperator.template_fields, "recording_id", "meeting_id")

    def __init__(self, *, recording_id: str | None = None, meeting_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recording_id = recording_id
        self.meeting_id = meeting_id

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Apply the action, and return the recording as plain JSON."""
        recording_id = self._find_recording_id()
        if recording_id is None:
            raise RecordingStateError(f"meeting {self.meeting_id} has no active recording to {self._action}")
        return self._apply_action(recording_id).to_json()

    def _find_recording_id(self) -> str | None:
        """Return the recording's id; ``None`` if the meeting has no active recording.

        :raises RealtimeKitInputError: unless one of the two arguments is given
        """
        if bool(self.recording_id) == bool(self.meeting_id):
            raise RealtimeKitInputError(
                f"recording_id={self.recording_id!r} and meeting_id={self.meeting_id!r}: set exactly one of them"
            )
        if self.recording_id:
            return self.recording_id
        active = self.hook.get_active_recording(str(self.meeting_id))
        return active.id if active else None

    def _apply_action(self, recording_id: str) -> Recording:
        from airflow_provider_realtimekit.models import Action

        recording = self.hook.apply_action(recording_id, Action(self._action))
        self.log.info("Recording %s is %s", recording.id, recording.status)
        return recording


class RealtimeKitPauseRecordingOperator(_ActionOperator):
    """Pause a recording (``PUT …/recordings/{recording_id}``). Succeeds if it is already paused.

    Returns the recording as plain JSON, ``id`` first.

    :param recording_id: the recording (templated), or
    :param meeting_id: the meeting whose active recording is meant (templated)
    :raises RecordingStateError: when it is not paused and cannot be, or when the meeting has no active recording
    """

    _action = "pause"


class RealtimeKitResumeRecordingOperator(_ActionOperator):
    """Resume a paused recording (``PUT …/recordings/{recording_id}``). Succeeds if it already records.

    Returns the recording as plain JSON, ``id`` first.

    :param recording_id: the recording (templated), or
    :param meeting_id: the meeting whose active recording is meant (templated)
    :raises RecordingStateError: when it does not record and cannot be resumed, or when the meeting has no active one
    """

    _action = "resume"


class RealtimeKitStopRecordingOperator(_ActionOperator, WaitingOperator):
    """Stop a recording (``PUT …/recordings/{recording_id}``), and wait for the file if ``wait_for_completion`` is set.

    Succeeds if the recording is already stopped, uploading or uploaded. Succeeds with the result ``None`` if the
    meeting has no active recording. The task ends when the recording is not active any more.

    Returns the recording as plain JSON, ``id`` first.

    :param recording_id: the recording (templated), or
    :param meeting_id: the meeting whose active recording is meant (templated)
    :raises RecordingStateError: when it is still active after the connection's ``timeout`` (default: 30 seconds)
    """

    _action = "stop"

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Stop the recording, wait for its file if ``wait_for_completion`` is set, and return it as plain JSON."""
        planned = self._plan_wait() if self.wait_for_completion else None
        recording_id = self._find_recording_id()
        if recording_id is None:
            self.log.info("Meeting %s has no active recording: nothing to stop", self.meeting_id)
            return None
        return self._finish(self._apply_action(recording_id), planned)

    def _apply_action(self, recording_id: str) -> Recording:
        from airflow_provider_realtimekit.start.stop import stop_and_confirm

        recording = self.hook.get_conn().run(stop_and_confirm(self.hook.get_conn().api, recording_id))
        self.log.info("Recording %s was stopped and is %s", recording.id, recording.status)
        return recording
