"""The statuses of a recording, the actions on it, and which statuses each action leads to."""

from __future__ import annotations

from enum import StrEnum


class RecordingStatus(StrEnum):
    """The statuses of a recording: INVOKED → RECORDING (⇄ PAUSED) → UPLOADING → UPLOADED, or ERRORED from anywhere."""

    INVOKED = "INVOKED"
    RECORDING = "RECORDING"
    PAUSED = "PAUSED"
    UPLOADING = "UPLOADING"
    UPLOADED = "UPLOADED"
    ERRORED = "ERRORED"


class Action(StrEnum):
    """The actions on an active recording."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"


ACTIVE = frozenset({RecordingStatus.INVOKED, RecordingStatus.RECORDING, RecordingStatus.PAUSED})
TERMINAL = frozenset({RecordingStatus.UPLOADED, RecordingStatus.ERRORED})

#: The statuses that an action leads to. A recording with one of them does not need the action any more.
GOALS = {
    Action.PAUSE: frozenset({RecordingStatus.PAUSED}),
    Action.RESUME: frozenset({RecordingStatus.RECORDING}),
    # UPLOADING counts as stopped: the recording has ended, and the API offers no action on it any more.
    Action.STOP: frozenset({RecordingStatus.UPLOADING}) | TERMINAL,
}
