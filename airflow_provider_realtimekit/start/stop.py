"""How a recording is stopped. Every operator, sensor and trigger stops it with this flow."""

from __future__ import annotations

import time

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.recordings import RecordingsAPI
from airflow_provider_realtimekit.exceptions import RealtimeKitResponseError, RecordingStateError
from airflow_provider_realtimekit.models import Action, Recording

# Seconds between two requests that wait for a change at the server: doubled each time, up to the second number.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0


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
