"""How an operator or a sensor hands its wait to the triggerer."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, conf

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError, RecordingTimeoutError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger
    from airflow_provider_realtimekit.waiting.outcome import Wait

# Airflow's own deferral timeout is the backstop behind the trigger's deadline, which tells more.
BACKSTOP = timedelta(minutes=2)


def default_deferrable() -> bool:
    """Whether ``[operators] default_deferrable`` is on."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


def seconds(name: str, value: float | timedelta) -> float:
    """Return a duration in seconds.

    :raises RealtimeKitInputError: when it is not one above zero
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
        raise RealtimeKitInputError(
            f"{name}={value!r} is not allowed: must be a number of seconds above 0, or a timedelta"
        )
    return float(number)


def make_trigger(
    task: Any, wait: Wait, poll_interval: float, *, stop_on_kill: bool = False
) -> RealtimeKitRecordingTrigger:
    """Build the trigger and prove that it is plain JSON: to be called before anything is started."""
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
    """Hand the wait to the triggerer; the task goes on in its ``execute_complete``.

    :param stop_on_kill: whether the trigger stops the recording when a person kills the task
    :param more: what ``execute_complete`` is given besides the event and the wait
    """
    task.log.info("Waiting in the triggerer for %s", wait.description)
    wait = _within_execution_timeout(wait, task.execution_timeout)
    timeout = None if wait.deadline is None else timedelta(seconds=max(0.0, wait.deadline - time.time())) + BACKSTOP
    task.defer(
        trigger=make_trigger(task, wait, poll_interval, stop_on_kill=stop_on_kill),
        method_name="execute_complete",
        kwargs={"wait": asdict(wait), **(more or {})},
        timeout=timeout,
    )
    raise AssertionError("defer() does not return")


def _within_execution_timeout(wait: Wait, limit: timedelta | None) -> Wait:
    """Have the wait end at the task's ``execution_timeout``, which Airflow does not watch while it is deferred."""
    if limit is None:
        return wait
    ends = time.time() + limit.total_seconds()
    if wait.deadline is not None and wait.deadline <= ends:
        return wait
    return replace(wait, deadline=ends, limit="execution_timeout")


def out_of_time(error: RecordingTimeoutError, wait: Wait) -> BaseException:
    """Return what a task raises whose wait met its deadline: Airflow's own error where the limit is Airflow's."""
    return AirflowTaskTimeout(str(error)) if wait.limit == "execution_timeout" else error


def log_status_history(log: Any, event: Mapping[str, Any] | None) -> None:
    """Repeat in the task's log what the triggerer saw, whose own log may be gone."""
    from airflow_provider_realtimekit.waiting.outcome import status_history

    for moment, status in status_history(event):
        log.info("It was %s at %s", status, moment)
