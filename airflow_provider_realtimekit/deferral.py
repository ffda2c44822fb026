"""How an operator or a sensor hands its wait to the triggerer."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import conf

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError

if TYPE_CHECKING:
    from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger
    from airflow_provider_realtimekit.waiting import Wait

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


def make_trigger(task: Any, wait: Wait, poll_interval: float) -> RealtimeKitRecordingTrigger:
    """Build the trigger and prove that it is plain JSON: to be called before anything is started."""
    from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger

    trigger = RealtimeKitRecordingTrigger(
        realtimekit_conn_id=task.realtimekit_conn_id,
        app_id=task.app_id,
        poll_interval=poll_interval,
        **asdict(wait),
    )
    try:
        json.dumps(trigger.serialize()[1])
    except TypeError as error:
        raise RealtimeKitInputError(f"an argument cannot be stored as JSON for the triggerer: {error}") from None
    return trigger


def defer(task: Any, wait: Wait, poll_interval: float, timeout: float) -> NoReturn:
    """Hand the wait to the triggerer; the task goes on in its ``execute_complete``."""
    task.log.info("Waiting in the triggerer for %s", wait.subject)
    task.defer(
        trigger=make_trigger(task, wait, poll_interval),
        method_name="execute_complete",
        kwargs={"wait": asdict(wait)},
        timeout=timedelta(seconds=timeout) + BACKSTOP,
    )
    raise AssertionError("defer() does not return")
