"""How a recording is stopped. Every operator, sensor and trigger stops it with these flows."""

from __future__ import annotations

import time

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.recordings import RecordingsAPI
from airflow_provider_realtimekit.exceptions import RealtimeKitResponseError, RecordingStateError
from airflow_provider_realtimekit.models import Action, Recording
from airflow_provider_realtimekit.start.checkpoint import Checkpoint
from airflow_provider_realtimekit.start.lookup import FIRST_PAUSE, LONGEST_PAUSE, RecordingLookup, StartRequest


def stop_and_confirm(api: RecordingsAPI, recording_id: str) -> Flow[Recording]:
    """Stop a recording (``PUT …/recordings/{recording_id}``) and return it once it is not active any more.

    A recording that has stopped already is returned as it is.

    :raises RecordingStateError: when it is still active after ``api.timeout`` seconds
    """
    deadline = time.monotonic() + api.timeout
    pause = FIRST_PAUSE
    while True:
        # That the API accepts the action does not prove that the recording has stopped. As long as it is active, the
        # meeting cannot be recorded anew.
        try:
            recording = yield from api.apply_action(recording_id, Action.STOP)
        except (RecordingStateError, RealtimeKitResponseError):
            if time.monotonic() >= deadline:
                raise
        else:
            if not recording.is_active:
                return recording
            if time.monotonic() >= deadline:
                raise RecordingStateError(
                    f"recording {recording_id} is still {recording.status} {api.timeout:g} s after it was first asked "
                    "to stop: stop it by hand",
                    recording_id=recording_id,
                )
        yield min(pause, api.timeout)
        pause = min(LONGEST_PAUSE, 2 * pause)


def stop_started(api: RecordingsAPI, request: StartRequest, checkpoint: Checkpoint) -> Flow[Recording | None]:
    """Stop the recording that a task started; return ``None`` if no such recording is found.

    :param request: the start, by which the recording is looked up when the checkpoint does not know its id
    """
    recording_id = checkpoint.recording_id
    if recording_id is None:
        lookup = RecordingLookup(api, request)
        found = yield from lookup.find_interrupted(checkpoint, lookup.max_start_seconds)
        if found is None:
            return None
        recording_id = found.id
    return (yield from stop_and_confirm(api, recording_id))
