"""Operators that pause, resume and stop recordings: each aims at a state, not at a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_realtimekit.operators.base import RealtimeKitOperator, WaitingOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_realtimekit.models import Recording


class _ActionOperator(RealtimeKitOperator):
    """Asks ``_action`` of a recording, or of the one that is active in a meeting.

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
        """Bring the recording where the action leads."""
        recording = self._act()
        return recording.to_json() if recording else None

    def _act(self) -> Recording | None:
        from airflow_provider_realtimekit.models import Action

        recording_id = self._target()
        if recording_id is None:
            return None
        recording = self.hook.apply_action(recording_id, Action(self._action))
        self.log.info("Recording %s is %s", recording.id, recording.status)
        return recording

    def _target(self) -> str | None:
        from airflow_provider_realtimekit.exceptions import RealtimeKitInputError

        if bool(self.recording_id) == bool(self.meeting_id):
            raise RealtimeKitInputError(
                f"recording_id={self.recording_id!r} and meeting_id={self.meeting_id!r}: give one of the two"
            )
        if self.recording_id:
            return self.recording_id
        active = self.hook.get_active_recording(str(self.meeting_id))
        if active is None:
            self._miss()
        return active.id if active else None

    def _miss(self) -> None:
        from airflow_provider_realtimekit.exceptions import RecordingStateError

        raise RecordingStateError(f"meeting {self.meeting_id} has no active recording to {self._action}")


class RealtimeKitPauseRecordingOperator(_ActionOperator):
    """Pause a recording (``PUT …/recordings/{recording_id}``); one that is paused already is fine.

    Returns the recording as plain JSON, ``id`` first.

    :param recording_id: the recording (templated), or
    :param meeting_id: the meeting whose active recording is meant (templated)
    :raises RecordingStateError: when it is neither paused nor can be
    """

    _action = "pause"


class RealtimeKitResumeRecordingOperator(_ActionOperator):
    """Resume a paused recording (``PUT …/recordings/{recording_id}``); one that records already is fine.

    Returns the recording as plain JSON, ``id`` first.

    :param recording_id: the recording (templated), or
    :param meeting_id: the meeting whose active recording is meant (templated)
    :raises RecordingStateError: when it neither records nor can be resumed
    """

    _action = "resume"


class RealtimeKitStopRecordingOperator(_ActionOperator, WaitingOperator):
    """Stop a recording (``PUT …/recordings/{recording_id}``), and wait for the file if told to.

    One that is stopped, uploading or uploaded already is fine. With ``meeting_id``, a meeting that has no active
    recording is fine too: there is nothing to stop or to wait for, and the result is ``None``.

    Returns the recording as plain JSON, ``id`` first.

    :param recording_id: the recording (templated), or
    :param meeting_id: the meeting whose active recording is meant (templated)
    :raises RecordingStateError: when it still records and cannot be stopped
    """

    _action = "stop"

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Stop, and finish as told."""
        planned = self._plan()
        recording = self._act()
        return self._finish(recording, planned) if recording else None

    def _miss(self) -> None:
        self.log.info("Meeting %s has no active recording: nothing to stop", self.meeting_id)
