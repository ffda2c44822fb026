"""How a recording is stopped. Every operator, sensor and trigger stops it with these flows.

=====================  ================================================================================
what is known          what is done when the recording is not wanted any more
=====================  ================================================================================
its id                 it is stopped, until a ``GET`` says that it is not active
the mark of its start  the meeting's recordings are read until one with this mark, or an active one with another
                       mark of the task, shows up, for as long as the caller has time; it is stopped
no mark, no name       the one recording that time, kind and reason allow is stopped; of several, none
nothing was started    nothing
=====================  ================================================================================
"""

from __future__ import annotations

import time

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.recordings import RecordingsAPI
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAuthError,
    RealtimeKitError,
    RealtimeKitInputError,
    RealtimeKitNotFoundError,
    RecordingStateError,
)
from airflow_provider_realtimekit.models import Recording
from airflow_provider_realtimekit.models.base import parse_timestamp
from airflow_provider_realtimekit.start import bounds
from airflow_provider_realtimekit.start.checkpoint import Checkpoint
from airflow_provider_realtimekit.start.search import Finder

# Seconds between two requests of a process that is about to be killed.
_KILL_PAUSE = 0.5


def stop_and_confirm(api: RecordingsAPI, recording_id: str, seconds: float | None = None) -> Flow[Recording]:
    """Stop a recording (``PUT …/recordings/{recording_id}``) and return it once it is not active any more.

    A recording that has stopped already is returned as it is. After an error the stop is sent again.

    :param seconds: how long to try (default: :attr:`.bounds.Bounds.stop`)
    :raises RealtimeKitAuthError: when the token is refused
    :raises RealtimeKitNotFoundError: when the API does not know the recording
    :raises RecordingStateError: when it could not be stopped in that time
    """
    seconds = bounds.BOUNDS.stop if seconds is None else seconds
    deadline = time.monotonic() + seconds
    for pause in bounds.pauses():
        error: RealtimeKitError | None = None
        try:
            yield from api.stop_recording(recording_id)
        except (RealtimeKitAuthError, RealtimeKitInputError):
            raise
        except RealtimeKitError as failure:
            error = failure
        # What the API answers to a stop proves nothing: it was seen to accept one that had no effect. As long as the
        # recording is active, the meeting cannot be recorded anew.
        status = "not known"
        try:
            recording = yield from api.get_recording(recording_id)
        except RealtimeKitAuthError:
            raise
        except RealtimeKitError as failure:
            if isinstance(failure, RealtimeKitNotFoundError) and isinstance(error, RealtimeKitNotFoundError):
                raise
            error = error or failure
        else:
            if not recording.is_active:
                return recording
            status = str(recording.status)
        left = deadline - time.monotonic()
        if left <= 0:
            raise RecordingStateError(
                f"recording {recording_id} could not be stopped within {seconds:g} s, its status is {status}"
                f"{f': {error}' if error else ''}; "
                "stop it with RealtimeKitStopRecordingOperator",
                recording_id=recording_id,
            ) from error
        yield min(pause, left)
    raise AssertionError("the pauses never end")


def stop_started(
    finder: Finder, checkpoint: Checkpoint, seconds: float, stop_seconds: float | None = None
) -> Flow[Recording | None]:
    """Stop the recording that a task started; return ``None`` if no such recording is found.

    :param finder: finds the recording if the checkpoint does not have its id
    :param seconds: how long to search
    :param stop_seconds: how long to try to stop it (default: :attr:`.bounds.Bounds.stop`)
    """
    if checkpoint.recording_id is not None:
        return (yield from stop_and_confirm(finder.api, checkpoint.recording_id, stop_seconds))
    wanted = finder.marks.of_same_try(checkpoint.serial, checkpoint.generation)
    since = parse_timestamp(checkpoint.since)
    found = yield from finder.search(wanted, since, seconds, accepts_marked=True, longest_pause=_KILL_PAUSE)
    if found is None or not found.is_active:
        return found
    return (yield from stop_and_confirm(finder.api, found.id, stop_seconds))
