"""The sensor that waits for a recording: poke, reschedule and deferrable mode, ``soft_fail``, and the timeout."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_provider_realtimekit.defaults import DEFAULT_CONN_NAME, INVOKED_TIMEOUT, POLL_INTERVAL
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAuthError,
    RealtimeKitInputError,
    RecordingTimeoutError,
)
from airflow_provider_realtimekit.extra_links import RealtimeKitAppLink
from airflow_provider_realtimekit.operators.base import (
    KILL_SECONDS,
    default_deferrable,
    defer,
    log_status_history,
    out_of_time,
    run_before_exit,
    seconds,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_realtimekit.hooks import RealtimeKitHook
    from airflow_provider_realtimekit.models import Recording
    from airflow_provider_realtimekit.waiting.outcome import Event, Wait

# ``soft_fail`` never skips on these: a wrong token or argument would stay unnoticed in green runs.
_MISCONFIGURED = (RealtimeKitAuthError, RealtimeKitInputError)
# The key of the first try's time in the task's state store.
_FIRST_TRY = "realtimekit_first_try"


class RealtimeKitRecordingSensor(BaseSensorOperator):
    """Wait until a recording is UPLOADED, or fail when it is ERRORED (``GET …/recordings/{recording_id}``).

    Returns the recording as plain JSON, ``id`` first. The outcomes are the same in the modes ``poke`` and
    ``reschedule`` and when deferrable:

    =====================================  ==============  ==================
    outcome                                otherwise       with ``soft_fail``
    =====================================  ==============  ==================
    UPLOADED                               success         success
    ERRORED                                failed at once  skipped
    ERRORED, ``fail_on_error=False``       success         success
    INVOKED for over ``invoked_timeout``   failed          failed
    no answer for over 5 minutes           failed          failed
    token refused, argument wrong          failed at once  failed at once
    ``timeout``                            failed at once  skipped
    unknown status                         keeps waiting   keeps waiting
    =====================================  ==============  ==================

    :param recording_id: the recording to wait for (templated); or
    :param meeting_id: the meeting (templated): its newest recording is awaited, of those invoked at or after
        ``invoked_after``
    :param invoked_after: a time (templated; ISO 8601 or datetime); required with ``meeting_id``
    :param fail_on_error: whether ERRORED fails the task; if not, the recording is returned (default: yes)
    :param invoked_timeout: seconds that the recording may stay in INVOKED (default: 600)
    :param deferrable: whether to wait in the triggerer (default: ``[operators] default_deferrable``)
    :param stop_on_kill: whether ``recording_id`` is stopped when a person marks the task as failed or successful, or
        clears it (default: no, because others started it)
    :param poke_interval: seconds between two polls (default: 30)
    :param timeout: seconds to wait (default: ``[sensors] default_timeout``). They count from the first try in Airflow
        3.3 and later, which stores a task's state between tries, and from this try in earlier versions
    :param realtimekit_conn_id: connection of type ``realtimekit`` (templated)
    :param app_id: another app than the connection's (templated)
    """

    template_fields: Sequence[str] = (
        "realtimekit_conn_id",
        "app_id",
        "recording_id",
        "meeting_id",
        "invoked_after",
    )
    operator_extra_links = (RealtimeKitAppLink(),)
    ui_color = "#fde6d2"

    def __init__(
        self,
        *,
        recording_id: str | None = None,
        meeting_id: str | None = None,
        invoked_after: str | datetime | None = None,
        fail_on_error: bool = True,
        invoked_timeout: float = INVOKED_TIMEOUT,
        deferrable: bool | None = None,
        stop_on_kill: bool = False,
        realtimekit_conn_id: str = DEFAULT_CONN_NAME,
        app_id: str | None = None,
        poke_interval: float = POLL_INTERVAL,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=seconds("poke_interval", poke_interval), **kwargs)
        self.realtimekit_conn_id = realtimekit_conn_id
        self.app_id = app_id
        self.recording_id = recording_id
        self.meeting_id = meeting_id
        self.invoked_after = invoked_after
        self.fail_on_error = fail_on_error
        self.invoked_timeout = seconds("invoked_timeout", invoked_timeout)
        self.stop_on_kill = stop_on_kill
        self._ti: Any = None
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    @cached_property
    def hook(self) -> RealtimeKitHook:
        """The hook on the connection."""
        from airflow_provider_realtimekit.hooks import RealtimeKitHook

        return RealtimeKitHook(self.realtimekit_conn_id, self.app_id)

    def on_kill(self) -> None:
        """Stop the recording, if ``stop_on_kill`` is set and a person ended the task."""
        if self.stop_on_kill and self.recording_id and self._ti is not None:
            run_before_exit(self._stop_if_ended_by_person)

    def _stop_if_ended_by_person(self) -> None:
        from airflow_provider_realtimekit.hooks import RealtimeKitHook
        from airflow_provider_realtimekit.start.on_kill import KILL_POLICY, read_known_task_state
        from airflow_provider_realtimekit.start.stop import stop_and_confirm

        state = read_known_task_state(self._ti)
        if not state.is_ended_by_person:
            self.log.info("Recording %s is not stopped: the state of the task is %s", self.recording_id, state.name)
            return
        try:
            # Not the hook of the wait: the main thread was interrupted in the middle of using it.
            with RealtimeKitHook(self.realtimekit_conn_id, self.app_id, policy=KILL_POLICY) as hook:
                client = hook.get_conn()
                recording = client.run(stop_and_confirm(client.api, str(self.recording_id), KILL_SECONDS))
        except Exception:
            self.log.exception(
                "Recording %s could not be stopped and may still run: stop it with RealtimeKitStopRecordingOperator",
                self.recording_id,
            )
            return
        self.log.info(
            "Recording %s was stopped and is %s: the state of the task is %s",
            recording.id,
            recording.status,
            state.name,
        )

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Poll once."""
        from airflow_provider_realtimekit.waiting.outcome import evaluate

        wait = self._make_wait()
        event = evaluate(self._fetch(wait), wait)
        return PokeReturnValue(True, self._result(event, wait)) if event else False

    def execute(self, context: Context) -> Any:
        """Wait, on the worker or in the triggerer."""
        self._ti = context["ti"]
        with self._apply_soft_fail():
            if self.mode == "poke" or self.deferrable:
                # Airflow itself counts from the first try only when the task was rescheduled.
                self.timeout = max(0.0, self.timeout - self._seconds_since_first_try(context))
            return self._defer() if self.deferrable else super().execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume the task after the wait in the triggerer."""
        with self._apply_soft_fail():
            return super().resume_execution(next_method, next_kwargs, context)

    def execute_complete(
        self,
        context: Context,
        event: Event | None = None,
        wait: dict[str, Any] | None = None,
        app_url: str = "",
    ) -> dict[str, Any]:
        """Return the recording of the trigger's event, or raise the error in the event.

        :param event: the trigger's event
        :param wait: the fields of the wait, as they were stored with the deferral
        """
        from airflow_provider_realtimekit.waiting.outcome import Wait

        self.app_url = app_url
        log_status_history(self.log, event)
        return self._result(event, Wait.from_json(wait))

    def _defer(self) -> dict[str, Any]:
        from airflow_provider_realtimekit.waiting.outcome import evaluate

        wait = replace(self._make_wait(), deadline=time.time() + self.timeout)
        # One poll first, because a finished recording needs no deferral.
        recording = self._fetch(wait)
        if event := evaluate(recording, wait):
            return self._result(event, wait)
        return defer(self, wait.with_invoked_time(recording), self.poke_interval, stop_on_kill=self.stop_on_kill)

    def _fetch(self, wait: Wait) -> Recording | None:
        from airflow_provider_realtimekit.waiting.outcome import fetch_awaited

        return self.hook.get_conn().run(fetch_awaited(self.hook.get_conn().api, wait), polling=True)

    def _result(self, event: Event | None, wait: Wait) -> dict[str, Any]:
        from airflow_provider_realtimekit.waiting.outcome import result_from_event

        try:
            result = result_from_event(event, wait, fail_on_error=self.fail_on_error)
        except RecordingTimeoutError as error:
            if wait.limit == "timeout":
                # Airflow's own error for a sensor's timeout: it is not retried.
                raise AirflowSensorTimeout(str(error)) from error
            raise out_of_time(error, wait) from None
        self.log.info("Recording %s is %s", result["id"], result["status"])
        return result

    def _make_wait(self) -> Wait:
        """Return the wait that the rendered arguments describe.

        :raises RealtimeKitInputError: when an argument is missing or malformed
        """
        from airflow_provider_realtimekit.waiting.outcome import Wait

        after = self.invoked_after
        wait = Wait(
            recording_id=self.recording_id or None,
            meeting_id=self.meeting_id or None,
            invoked_after=after.isoformat() if isinstance(after, datetime) else after,
            invoked_timeout=self.invoked_timeout,
        )
        wait.check()
        return wait

    def _seconds_since_first_try(self, context: Context) -> float:
        """Return the seconds since the first try after the last clear began to wait; 0 without a state store."""
        # Airflow 3.3 and later have one.
        store: Any = context.get("task_state_store")
        if store is None:
            return 0.0
        # A clear raises max_tries by the tries made so far, and nothing else changes it.
        generation = context["ti"].max_tries
        first_try = store.get(_FIRST_TRY)
        if not isinstance(first_try, dict) or first_try.get("generation") != generation:
            first_try = {"generation": generation, "at": time.time()}
            store.set(_FIRST_TRY, first_try)
        return time.time() - float(first_try["at"])

    @contextmanager
    def _apply_soft_fail(self) -> Iterator[None]:
        """Apply ``soft_fail`` to the same errors in every mode."""
        # In poke mode Airflow skips on timeouts and fail-fast errors only; after a deferral on any AirflowException.
        try:
            yield
        except AirflowSkipException as skip:
            if self.soft_fail and isinstance(skip.__cause__, _MISCONFIGURED):
                raise skip.__cause__ from None
            raise
        except _MISCONFIGURED:
            raise
        except (AirflowFailException, AirflowSensorTimeout) as error:
            if self.soft_fail:
                raise AirflowSkipException(f"Skipped, because soft_fail is set: {error}") from error
            raise
