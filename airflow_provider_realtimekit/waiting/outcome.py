"""Decides when a wait for a recording ends and with which result, for sensor, operators and trigger in every mode.

A :class:`Wait` names the recording. :func:`fetch_awaited` fetches it, :func:`evaluate` decides whether the wait is
over. A wait ends with an *event*, which :func:`result_from_event` turns into the recording or an error.
"""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

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

# How a wait ended, as plain JSON: ``outcome`` (an Outcome), ``recording`` (as published, or None), ``error`` (of a
# fault: ``type``, ``message``, ``details``), and from the triggerer ``status_history`` (pairs of time and status).
Event = dict[str, Any]
# Returns seconds since the epoch; replaced in tests.
Clock = Callable[[], float]


class Outcome(StrEnum):
    """How a wait ended."""

    UPLOADED = "uploaded"
    ERRORED = "errored"
    STUCK = "stuck"
    TIMEOUT = "timeout"
    FAULT = "fault"


class Awaited(Protocol):
    """The fields that name an awaited recording: its id, or a meeting and the earliest time of its invocation."""

    @property
    def recording_id(self) -> str | None: ...  # noqa: D102
    @property
    def meeting_id(self) -> str | None: ...  # noqa: D102
    @property
    def invoked_after(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True)
class Wait:
    """The awaited recording and the limits of the wait, as plain JSON, because a wait moves between processes.

    :param recording_id: the recording; or
    :param meeting_id: the meeting; its newest recording is awaited, of those invoked at or after ``invoked_after``
    :param invoked_after: a time in ISO 8601. With ``recording_id`` it is only a hint: when the recording was invoked
    :param invoked_timeout: seconds that the recording may stay in INVOKED
    :param deadline: when the wait ends at the latest, in seconds since the epoch (default: never)
    :param limit: which argument of the task set the deadline: ``timeout`` or ``execution_timeout``
    """

    recording_id: str | None = None
    meeting_id: str | None = None
    invoked_after: str | None = None
    invoked_timeout: float = INVOKED_TIMEOUT
    # Absolute: a duration would start again whenever the wait moves to another triggerer.
    deadline: float | None = None
    limit: str = "timeout"

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> Wait:
        """Build the wait from the fields that were stored when a task was deferred."""
        # Tasks may stay deferred while the provider is upgraded: a field of another version is ignored.
        return cls(**{key: value for key, value in (stored or {}).items() if key in cls.__dataclass_fields__})

    @property
    def description(self) -> str:
        """The awaited recording, as text for logs and errors."""
        if self.recording_id:
            return f"recording {self.recording_id}"
        return f"a recording of meeting {self.meeting_id} invoked at or after {self.invoked_after}"

    def with_invoked_time(self, recording: Recording | None) -> Wait:
        """Return the wait with the time at which its recording was invoked, so that a list need not begin earlier."""
        if recording is None or recording.invoked_time is None or not self.recording_id:
            return self
        return replace(self, invoked_after=recording.invoked_time.isoformat())

    def check(self) -> None:
        """Check the rendered arguments.

        :raises RealtimeKitInputError: when an argument is missing or malformed; it names the argument
        """
        if bool(self.recording_id) == bool(self.meeting_id):
            raise RealtimeKitInputError(
                f"recording_id={self.recording_id!r} and meeting_id={self.meeting_id!r}: set exactly one of them"
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


def fetch_awaited(api: RecordingsAPI, awaited: Awaited) -> Flow[Recording | None]:
    """Fetch the awaited recording; ``None`` when the API does not show it yet.

    :raises RealtimeKitNotFoundError: when there is no recording of this id
    """
    if awaited.recording_id:
        return api.get_recording(awaited.recording_id)
    return api.get_newest_recording(str(awaited.meeting_id), parse_timestamp(awaited.invoked_after))


def evaluate(recording: Recording | None, wait: Wait, clock: Clock = time.time) -> Event | None:
    """Return the event that ends the wait, or ``None`` if it goes on. The deadline is not checked here.

    This is the only place where a status decides about a wait.
    """
    if recording is None:
        return None
    if recording.is_uploaded:
        return _event(Outcome.UPLOADED, recording)
    if recording.is_terminal:
        return _event(Outcome.ERRORED, recording)
    if recording.is_stuck_in_invoked(pendulum.from_timestamp(clock() - wait.invoked_timeout)):
        return _event(Outcome.STUCK, recording)
    # With any other status the wait continues, also with an unknown one, because the API may get new statuses.
    return None


def is_past_deadline(wait: Wait, clock: Clock = time.time) -> bool:
    """Whether the deadline has passed."""
    return wait.deadline is not None and clock() >= wait.deadline


def timeout_event(recording: Recording | None) -> Event:
    """Return the event of a wait whose deadline passed."""
    return _event(Outcome.TIMEOUT, recording)


def fault_event(error: Exception) -> Event:
    """Return the event of a wait that an error ended."""
    return {
        "outcome": Outcome.FAULT.value,
        "recording": None,
        "error": {
            # The task raises the same class again, found by its name, because the event is JSON.
            "type": type(error).__name__,
            "message": truncate(strip_queries(str(error))),
            "details": vars(error) if isinstance(error, RealtimeKitError) else {},
        },
    }


def status_history(event: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return the statuses that the triggerer saw, each with the time (ISO 8601) at which it first did."""
    history = (event or {}).get("status_history")
    return [(str(moment), str(status)) for moment, status in history] if isinstance(history, list) else []


def result_from_event(event: Mapping[str, Any] | None, wait: Wait, *, fail_on_error: bool = True) -> dict[str, Any]:
    """Return the recording of the event that ended a wait, or raise the error in the event.

    :param event: the event; anything else is an error
    :param wait: the wait that it ended
    :param fail_on_error: whether ERRORED raises; if not, the recording is returned
    :raises RecordingFailedError: when the recording is ERRORED
    :raises RecordingStuckError: when the recording was INVOKED for too long
    :raises RecordingTimeoutError: when the deadline passed
    :raises RealtimeKitResponseError: when the event cannot be read
    :raises RealtimeKitError: the error that ended the wait
    """
    outcome = (event or {}).get("outcome")
    published = (event or {}).get("recording")
    error = (event or {}).get("error")
    if outcome == Outcome.FAULT and isinstance(error, Mapping):
        raise _error_from_event(error)
    if outcome == Outcome.TIMEOUT:
        last_seen = f"it is {published.get('status')}" if published else "the API never showed it"
        raise RecordingTimeoutError(
            f"{wait.description} did not finish in time: {last_seen}", recording_id=wait.recording_id
        )
    if not isinstance(published, Mapping) or outcome not in (Outcome.UPLOADED, Outcome.ERRORED, Outcome.STUCK):
        # An unknown outcome is never a success: another version may have sent the event, or there was none.
        raise RealtimeKitResponseError(
            f"the wait for {wait.description} ended with an event that cannot be read (outcome {outcome!r}); "
            "run the task again, and check that workers and triggerers have the same version of this provider"
        )
    recording = Recording.model_validate(published)
    if outcome == Outcome.STUCK:
        raise RecordingStuckError(
            f"recording {recording.id} has been INVOKED since {recording.invoked_time}, longer than "
            f"invoked_timeout={wait.invoked_timeout:g} s; it may never start",
            recording_id=recording.id,
        )
    if outcome == Outcome.ERRORED and fail_on_error:
        raise RecordingFailedError(
            f"recording {recording.id} failed: {recording.error_reason}", recording_id=recording.id
        )
    return dict(published)


def poll_until_over(api: RecordingsAPI, wait: Wait, poll_interval: float, clock: Clock = time.time) -> Flow[Event]:
    """Poll until the wait is over, and return its event. The first poll is sent at once.

    :param poll_interval: seconds between two polls
    """
    while True:
        recording = yield from fetch_awaited(api, wait)
        if event := evaluate(recording, wait, clock):
            return event
        if is_past_deadline(wait, clock):
            return timeout_event(recording)
        # Jitter: tasks that start together must not poll in step for hours. It only shortens the interval, which
        # bounds how late the end of a recording is noticed.
        pause = poll_interval * random.uniform(0.9, 1.0)
        yield pause if wait.deadline is None else max(0.0, min(pause, wait.deadline - clock()))


def _event(outcome: Outcome, recording: Recording | None) -> Event:
    return {"outcome": outcome.value, "recording": recording and recording.to_json(), "error": None}


def _error_from_event(error: Mapping[str, Any]) -> RealtimeKitError:
    error_class = getattr(exceptions, str(error.get("type")), None)
    message, details = str(error.get("message")), error.get("details") or {}
    if isinstance(error_class, type) and issubclass(error_class, RealtimeKitError):
        # Worker and triggerer may have different versions: a detail that this one does not know is ignored.
        known = inspect.signature(error_class).parameters
        return error_class(message, **{key: value for key, value in details.items() if key in known})
    return RealtimeKitError(f"{error.get('type')}: {message}")
