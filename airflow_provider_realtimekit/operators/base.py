"""The common parts of all operators: the connection, masking of secrets, and waiting on the worker or in the triggerer.

The sensor waits with the same functions. Nothing heavy is imported here before a task runs.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator, conf

from airflow_provider_realtimekit.defaults import (
    DEFAULT_CONN_NAME,
    INVOKED_TIMEOUT,
    LONGEST_RECORDING_SECONDS,
    POLL_INTERVAL,
)
from airflow_provider_realtimekit.exceptions import RealtimeKitInputError, RecordingTimeoutError
from airflow_provider_realtimekit.extra_links import RealtimeKitAppLink

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_realtimekit.hooks import RealtimeKitHook
    from airflow_provider_realtimekit.models import Recording
    from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger
    from airflow_provider_realtimekit.waiting.outcome import Wait

# Airflow ends a deferral this long after the trigger's own deadline. The trigger should be first, because its event
# has the status of the recording.
BACKSTOP = timedelta(minutes=2)
# Airflow kills a task's process 5 seconds after it asked the process to end.
KILL_SECONDS = 4.0
_LONGEST_SECONDS = 365 * 86_400


class RealtimeKitOperator(BaseOperator):
    """Base of all operators.

    :param realtimekit_conn_id: connection of type ``realtimekit`` (templated)
    :param app_id: another app than the connection's (templated)
    """

    template_fields: Sequence[str] = ("realtimekit_conn_id", "app_id")
    operator_extra_links = (RealtimeKitAppLink(),)
    ui_color = "#fbe0c7"

    def __init__(
        self, *, realtimekit_conn_id: str = DEFAULT_CONN_NAME, app_id: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.realtimekit_conn_id = realtimekit_conn_id
        self.app_id = app_id

    @cached_property
    def hook(self) -> RealtimeKitHook:
        """The hook on the connection."""
        from airflow_provider_realtimekit.hooks import RealtimeKitHook

        return RealtimeKitHook(self.realtimekit_conn_id, self.app_id)

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render the templates, and make Airflow mask the secrets among the arguments in logs and in the UI."""
        super().render_template_fields(context, jinja_env)
        from airflow.sdk.log import mask_secret

        for secret in self._secrets():
            mask_secret(secret)

    def _secrets(self) -> Iterator[str]:
        """Yield the secrets among the arguments."""
        return iter(())


class WaitingOperator(RealtimeKitOperator):
    """An operator that can wait until the recording has finished, on its worker or in the triggerer.

    :param wait_for_completion: whether to wait until the recording is UPLOADED (default: no)
    :param deferrable: whether to wait in the triggerer (default: ``[operators] default_deferrable``)
    :param poll_interval: seconds between two polls (default: 30)
    :param timeout: seconds to wait at most (default: 26 hours)
    :param invoked_timeout: seconds that the recording may stay in INVOKED (default: 600)
    """

    def __init__(
        self,
        *,
        wait_for_completion: bool = False,
        deferrable: bool | None = None,
        poll_interval: float = POLL_INTERVAL,
        timeout: float | timedelta = LONGEST_RECORDING_SECONDS,
        invoked_timeout: float = INVOKED_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.poll_interval = seconds("poll_interval", poll_interval)
        self.timeout = seconds("timeout", timeout)
        self.invoked_timeout = seconds("invoked_timeout", invoked_timeout)

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        wait: dict[str, Any] | None = None,
        app_url: str = "",
        **_: Any,
    ) -> dict[str, Any]:
        """Return the recording in the trigger's event, or raise the error in the event."""
        from airflow_provider_realtimekit.waiting.outcome import Wait, result_from_event

        self.app_url = app_url
        log_status_history(self.log, event)
        described = Wait.from_json(wait)
        try:
            result = result_from_event(event, described)
        except RecordingTimeoutError as error:
            raise out_of_time(error, described) from None
        self.log.info("Recording %s is %s", result["id"], result["status"])
        return result

    def _plan_wait(self) -> Wait:
        """Return the wait that will follow, with its deadline.

        :raises RealtimeKitInputError: when the wait cannot be stored for the triggerer
        """
        from airflow_provider_realtimekit.waiting.outcome import Wait

        wait = Wait(invoked_timeout=self.invoked_timeout, deadline=time.time() + self.timeout)
        if self.deferrable:
            # Airflow stores a trigger as JSON when the recording runs already. What it cannot store fails here, before
            # anything is started.
            make_trigger(self, wait, self.poll_interval)
        return wait

    def _finish(self, recording: Recording, planned: Wait | None) -> dict[str, Any]:
        """Return the recording as plain JSON, after waiting for its end if a wait is planned."""
        if planned is None:
            return recording.to_json()
        from airflow_provider_realtimekit.waiting.outcome import evaluate, poll_until_over, result_from_event

        wait = replace(planned, recording_id=recording.id).with_invoked_time(recording)
        event = evaluate(recording, wait)
        if event is None and self.deferrable:
            return self._defer(wait)
        if event is None:
            event = self.hook.get_conn().run(
                poll_until_over(self.hook.get_conn().api, wait, self.poll_interval), polling=True
            )
        return result_from_event(event, wait)

    def _defer(self, wait: Wait) -> NoReturn:
        defer(self, wait, self.poll_interval)


def default_deferrable() -> bool:
    """Whether ``[operators] default_deferrable`` is on."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


def seconds(name: str, value: float | timedelta) -> float:
    """Return a duration in seconds.

    :raises RealtimeKitInputError: when it is not a number above zero, or is more than a year
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
        raise RealtimeKitInputError(
            f"{name}={value!r} is not allowed: must be a number of seconds above 0, or a timedelta"
        )
    # Airflow stores the end of a deferral as a date. One that no date can hold would fail only after the start.
    if number > _LONGEST_SECONDS:
        raise RealtimeKitInputError(f"{name}={value!r} is not allowed: must be a year at most (31536000 seconds)")
    return float(number)


def make_trigger(
    task: Any, wait: Wait, poll_interval: float, *, stop_on_kill: bool = False
) -> RealtimeKitRecordingTrigger:
    """Build the trigger of a wait.

    :raises RealtimeKitInputError: when it cannot be stored as JSON
    """
    from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger

    trigger = RealtimeKitRecordingTrigger(
        realtimekit_conn_id=task.realtimekit_conn_id,
        app_id=task.app_id,
        poll_interval=poll_interval,
        stop_on_kill=stop_on_kill,
        **asdict(wait),
    )
    try:
        json.dumps(trigger.serialize()[1])
    except TypeError as error:
        raise RealtimeKitInputError(f"an argument cannot be stored as JSON for the triggerer: {error}") from None
    return trigger


def defer(
    task: Any, wait: Wait, poll_interval: float, *, stop_on_kill: bool = False, more: dict[str, Any] | None = None
) -> NoReturn:
    """Defer the task until the wait in the triggerer ends; it then resumes in its ``execute_complete``.

    :param stop_on_kill: whether the trigger stops the recording when a person ends the task
    :param more: further arguments of ``execute_complete``, besides the event and the wait
    """
    task.log.info("Waiting in the triggerer for %s", wait.description)
    if task.execution_timeout is not None:
        # Airflow does not enforce execution_timeout while a task is deferred, so the trigger does.
        ends = time.time() + task.execution_timeout.total_seconds()
        if wait.deadline is None or wait.deadline > ends:
            wait = replace(wait, deadline=ends, limit="execution_timeout")
    timeout = None if wait.deadline is None else timedelta(seconds=max(0.0, wait.deadline - time.time())) + BACKSTOP
    task.defer(
        trigger=make_trigger(task, wait, poll_interval, stop_on_kill=stop_on_kill),
        method_name="execute_complete",
        kwargs={"wait": asdict(wait), "app_url": task.hook.app_url, **(more or {})},
        timeout=timeout,
    )
    raise AssertionError("defer() does not return")


def out_of_time(error: RecordingTimeoutError, wait: Wait) -> BaseException:
    """Return the error of a wait whose deadline passed: Airflow's own one if ``execution_timeout`` set the deadline."""
    return AirflowTaskTimeout(str(error)) if wait.limit == "execution_timeout" else error


def log_status_history(log: Any, event: Mapping[str, Any] | None) -> None:
    """Log the statuses that the triggerer saw, because its own log may be gone."""
    from airflow_provider_realtimekit.waiting.outcome import status_history

    for moment, status in status_history(event):
        log.info("The status was %s at %s", status, moment)


def run_before_exit(act: Callable[[], None]) -> None:
    """Run a function while the task's process is being ended, and wait at most 4 seconds for it."""
    # On a thread, because the signal interrupted the main thread, which may hold any lock, such as that of an import.
    thread = threading.Thread(target=act, name="realtimekit-on-kill", daemon=True)
    thread.start()
    thread.join(KILL_SECONDS)
