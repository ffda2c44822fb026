"""What ends a wait for a recording. Sensor, operator and trigger all ask here, in every mode.

A wait is described by a :class:`Wait`, looked at by :func:`look` (a flow), and ends with an *event*: plain JSON
that says the outcome and the recording. :func:`result_from_event` turns an event into a result or an error, wherever it
arrives.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import pendulum

from airflow_provider_realtimekit import exceptions
from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.recordings import RecordingsAPI
from airflow_provider_realtimekit.defaults import INVOKED_TIMEOUT
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitError,
    RealtimeKitInputError,
    RealtimeKitResponseError,
    RecordingFailedError,
    RecordingStuckError,
    RecordingTimeoutError,
)
from airflow_provider_realtimekit.models import Recording
from airflow_provider_realtimekit.models.base import parse_timestamp
from airflow_provider_realtimekit.redaction import strip_queries, truncate

Event = dict[str, Any]


class Outcome(StrEnum):
    """How a wait ended."""

    UPLOADED = "uploaded"
    ERRORED = "errored"
    STUCK = "stuck"
    TIMEOUT = "timeout"
    FAULT = "fault"


@dataclass(frozen=True)
class Wait:
    """What is waited for, and how long; plain JSON throughout, so that it moves between processes.

    :param recording_id: the recording, or
    :param meeting_id: the meeting whose newest recording is meant, of those invoked at or after
    :param invoked_after: this time (ISO 8601); with ``recording_id``, when it was invoked, as a hint where to look
    :param invoked_timeout: seconds that the recording may stay in INVOKED
    :param deadline: when the wait ends at the latest, in seconds since the epoch: it must not start again
        when the wait moves to another process
    :param limit: which of the task's limits the deadline is: ``timeout`` or ``execution_timeout``
    """

    recording_id: str | None = None
    meeting_id: str | None = None
    invoked_after: str | None = None
    invoked_timeout: float = INVOKED_TIMEOUT
    deadline: float | None = None
    limit: str = "timeout"

    @property
    def subject(self) -> str:
        """What is waited for, in words."""
        if self.recording_id:
            return f"recording {self.recording_id}"
        return f"a recording of meeting {self.meeting_id} invoked at or after {self.invoked_after}"

    def seen(self, recording: Recording | None) -> Wait:
        """Return the wait with what a first look told: since when a list is to be read to find the recording."""
        if recording is None or recording.invoked_time is None or not self.recording_id:
            return self
        return replace(self, invoked_after=recording.invoked_time.isoformat())

    def check(self) -> None:
        """Check what a template may have rendered to.

        :raises RealtimeKitInputError: naming the argument
        """
        if bool(self.recording_id) == bool(self.meeting_id):
            raise RealtimeKitInputError(
                f"recording_id={self.recording_id!r} and meeting_id={self.meeting_id!r}: give one of the two"
            )
        if self.recording_id:
            return
        if not self.invoked_after:
            raise RealtimeKitInputError(
                "invoked_after is required with meeting_id: which of the meeting's recordings is meant? "
                "Give the earliest time at which it may have been invoked"
            )
        try:
            parse_timestamp(self.invoked_after)
        except ValueError as error:
            raise RealtimeKitInputError(f"invoked_after={error}") from None


def look(api: RecordingsAPI, wait: Wait) -> Flow[Recording | None]:
    """Return what is waited for as it is now, ``None`` if it is not to be seen yet."""
    if wait.recording_id:
        return (yield from api.get_recording(wait.recording_id))
    return (yield from api.get_newest_recording(str(wait.meeting_id), parse_timestamp(wait.invoked_after)))


def evaluate(recording: Recording | None, wait: Wait) -> Event | None:
    """Decide whether the wait is over: the one place where a status means something to a waiter.

    An unknown status means: keep waiting.
    """
    if recording is None:
        return None
    if recording.is_uploaded:
        return _event(Outcome.UPLOADED, recording)
    if recording.is_terminal:
        return _event(Outcome.ERRORED, recording)
    if recording.is_invoked_since(pendulum.now("UTC").subtract(seconds=wait.invoked_timeout)):
        return _event(Outcome.STUCK, recording)
    return None


def is_past_deadline(wait: Wait) -> bool:
    """Whether the deadline has passed."""
    return wait.deadline is not None and time.time() >= wait.deadline


def timeout_event(recording: Recording | None) -> Event:
    """Return the event of a wait whose deadline passed."""
    return _event(Outcome.TIMEOUT, recording)


def fault_event(error: Exception) -> Event:
    """Return the event of a wait that cannot go on; what went wrong is keyed by its class."""
    return {
        "outcome": Outcome.FAULT.value,
        "recording": None,
        "error": {
            "type": type(error).__name__,
            "message": truncate(strip_queries(str(error))),
            "details": vars(error) if isinstance(error, RealtimeKitError) else {},
        },
    }


def status_history(event: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return what a wait in the triggerer saw: times (ISO 8601) and statuses."""
    story = (event or {}).get("status_history")
    return [(str(moment), str(status)) for moment, status in story] if isinstance(story, list) else []


def result_from_event(event: Mapping[str, Any] | None, wait: Wait, *, fail_on_error: bool = True) -> dict[str, Any]:
    """Return the recording that an event tells of, or raise what it means.

    :raises RecordingFailedError: ERRORED, unless ``fail_on_error`` is off
    :raises RecordingStuckError: INVOKED for too long
    :raises RecordingTimeoutError: the deadline passed
    :raises RealtimeKitError: what stopped the wait; an event that nobody understands, too
    """
    outcome = (event or {}).get("outcome")
    recording = (event or {}).get("recording")
    error = (event or {}).get("error")
    if outcome == Outcome.FAULT and isinstance(error, Mapping):
        raise _rebuild(error)
    if outcome == Outcome.TIMEOUT:
        seen = f"it is {recording.get('status')}" if recording else "it was not to be seen"
        raise RecordingTimeoutError(f"{wait.subject} did not finish in time: {seen}", recording_id=wait.recording_id)
    if not isinstance(recording, Mapping):
        raise RealtimeKitResponseError(f"the wait for {wait.subject} ended with an event that makes no sense")
    return _conclude_recording(outcome, dict(recording), wait, fail_on_error)


def _conclude_recording(outcome: Any, published: dict[str, Any], wait: Wait, fail_on_error: bool) -> dict[str, Any]:
    recording = Recording.model_validate(published)
    if outcome == Outcome.UPLOADED or (outcome == Outcome.ERRORED and not fail_on_error):
        return published
    if outcome == Outcome.ERRORED:
        raise RecordingFailedError(
            f"recording {recording.id} failed: {recording.error_reason}", recording_id=recording.id
        )
    if outcome == Outcome.STUCK:
        raise RecordingStuckError(
            f"recording {recording.id} has been INVOKED since {recording.invoked_time}, longer than "
            f"invoked_timeout={wait.invoked_timeout:g} s; it may never start",
            recording_id=recording.id,
        )
    raise RealtimeKitResponseError(f"the wait for {wait.subject} ended with the unknown outcome {outcome!r}")


def watch(api: RecordingsAPI, wait: Wait, poll_interval: float) -> Flow[Event]:
    """Look until the wait is over; the first look comes at once."""
    while True:
        recording = yield from look(api, wait)
        if event := evaluate(recording, wait):
            return event
        if is_past_deadline(wait):
            return timeout_event(recording)
        yield next_pause(wait, poll_interval)


def next_pause(wait: Wait, poll_interval: float) -> float:
    """Return the seconds until the next look, a little jittered, and not past the deadline."""
    pause = poll_interval * random.uniform(0.9, 1.0)
    return pause if wait.deadline is None else max(0.0, min(pause, wait.deadline - time.time()))


def _event(outcome: Outcome, recording: Recording | None) -> Event:
    return {"outcome": outcome.value, "recording": recording and recording.to_json(), "error": None}


def _rebuild(error: Mapping[str, Any]) -> RealtimeKitError:
    kind = getattr(exceptions, str(error.get("type")), None)
    message = str(error.get("message"))
    if isinstance(kind, type) and issubclass(kind, RealtimeKitError):
        return kind(message, **(error.get("details") or {}))
    return RealtimeKitError(f"{error.get('type')}: {message}")
