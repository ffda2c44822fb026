"""The sensor that waits for a recording."""

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
from airflow_provider_realtimekit.operators.deferral import (
    default_deferrable,
    defer,
    log_status_history,
    out_of_time,
    seconds,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_realtimekit.hooks import RealtimeKitHook
    from airflow_provider_realtimekit.models import Recording
    from airflow_provider_realtimekit.waiting.outcome import Event, Wait

# ``soft_fail`` forgives a meeting that went wrong, never a wrong token or argument: that would hide for ever.
_MISCONFIGURED = (RealtimeKitAuthError, RealtimeKitInputError)
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

    :param recording_id: the recording (templated), or
    :param meeting_id: the meeting (templated) whose newest recording is meant, of those invoked at or after
    :param invoked_after: this time (templated; ISO 8601 or datetime; required with ``meeting_id``)
    :param fail_on_error: whether ERRORED fails the task; if not, the recording is returned (default: yes)
    :param invoked_timeout: seconds that the recording may stay in INVOKED (default: 600)
    :param deferrable: whether to wait in the triggerer (default: ``[operators] default_deferrable``)
    :param stop_on_kill: whether ``recording_id`` is stopped when a person marks the task as failed or successful, or
        clears it (default: no, since a sensor looks at what others started)
    :param poke_interval: seconds between two looks (default: 30)
    :param timeout: seconds to wait, counted from the first try where Airflow keeps task state (3.3), and from
        this try before (default: ``[sensors] default_timeout``)
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
        """Stop the recording if that was asked for and a person ended the task."""
        if self.stop_on_kill and self.recording_id:
            from airflow_provider_realtimekit.start.on_kill import on_worker

            on_worker(self._stop_if_killed)

    def _stop_if_killed(self) -> None:
        from airflow_provider_realtimekit.hooks import RealtimeKitHook
        from airflow_provider_realtimekit.models import Action
        from airflow_provider_realtimekit.start.on_kill import is_kill, task_state

        if self._ti is None or not is_kill(task_state(self._ti)):
            return
        try:
            with RealtimeKitHook(self.realtimekit_conn_id, self.app_id) as hook:
                recording = hook.apply_action(str(self.recording_id), Action.STOP)
        except Exception:
            self.log.exception("Recording %s may go on: it could not be stopped", self.recording_id)
            return
        self.log.info("Recording %s was stopped and is %s", recording.id, recording.status)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once."""
        from airflow_provider_realtimekit.waiting.outcome import evaluate

        wait = self._wait()
        event = evaluate(self._look(wait), wait)
        return PokeReturnValue(True, self._conclude(event, wait)) if event else False

    def execute(self, context: Context) -> Any:
        """Wait, here or in the triggerer."""
        self._ti = context["ti"]
        with self._verdict():
            if self.mode == "poke" or self.deferrable:
                # Airflow counts from the first try by itself only when the task was rescheduled.
                self.timeout = max(0.0, self.timeout - self._seconds_since_first_try(context))
            return self._defer() if self.deferrable else super().execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the triggerer."""
        with self._verdict():
            return super().resume_execution(next_method, next_kwargs, context)

    def execute_complete(
        self, context: Context, event: Event | None = None, wait: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the recording that the trigger's event tells of, or raise what it means."""
        from airflow_provider_realtimekit.waiting.outcome import Wait

        log_status_history(self.log, event)
        return self._conclude(event, Wait(**(wait or {})))

    def _defer(self) -> dict[str, Any]:
        from airflow_provider_realtimekit.waiting.outcome import evaluate

        wait = replace(self._wait(), deadline=time.time() + self.timeout)
        recording = self._look(wait)
        if event := evaluate(recording, wait):
            return self._conclude(event, wait)
        return defer(self, wait.seen(recording), self.poke_interval, stop_on_kill=self.stop_on_kill)

    def _look(self, wait: Wait) -> Recording | None:
        from airflow_provider_realtimekit.waiting.outcome import look

        client = self.hook.get_conn()
        return client.run(look(client.api, wait), polling=True)

    def _conclude(self, event: Event | None, wait: Wait) -> dict[str, Any]:
        from airflow_provider_realtimekit.waiting.outcome import result_from_event

        try:
            result = result_from_event(event, wait, fail_on_error=self.fail_on_error)
        except RecordingTimeoutError as error:
            if wait.limit == "timeout":
                raise AirflowSensorTimeout(str(error)) from error
            raise out_of_time(error, wait) from None
        self.log.info("Recording %s is %s", result["id"], result["status"])
        return result

    def _wait(self) -> Wait:
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
        """Ask the task's state store (Airflow 3.3) when the first try since the last clear began to wait."""
        store: Any = context.get("task_state_store")
        if store is None:
            return 0.0
        # Airflow counts on from the tries made so far when a task is cleared, and leaves this alone otherwise.
        generation = context["ti"].max_tries
        kept = store.get(_FIRST_TRY)
        if not isinstance(kept, dict) or kept.get("generation") != generation:
            kept = {"generation": generation, "at": time.time()}
            store.set(_FIRST_TRY, kept)
        return time.time() - float(kept["at"])

    @contextmanager
    def _verdict(self) -> Iterator[None]:
        """Have ``soft_fail`` skip the same cases in every mode, and no misconfiguration."""
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
                raise AirflowSkipException(f"Skipped, since soft_fail is set: {error}") from error
            raise
