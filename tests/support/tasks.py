"""Runs one task as Airflow's task runner and triggerer do: render, execute, defer, resume.

A deferral passes through JSON, and creates new instances of the task and the trigger, as it does between processes.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk import Context as TaskContext

MakeTask = Callable[[], Any]


_watched: list[threading.Event] = []


def when(condition: Callable[[], bool], act: Callable[[], Any]) -> None:
    """Call ``act`` on another thread as soon as a condition holds."""
    over = threading.Event()
    _watched.append(over)

    def watch() -> None:
        while not over.is_set() and not condition():
            over.wait(0.005)
        if not over.is_set():
            act()

    threading.Thread(target=watch, daemon=True).start()


def stop_watching() -> None:
    """Stop waiting for conditions, so that no ``act`` of one test is called during another."""
    while _watched:
        _watched.pop().set()


@dataclass
class Ended:
    """How a task ended: ``success``, ``skipped``, ``failed`` (at once) or ``up_for_retry``."""

    state: str
    result: Any = None
    error: BaseException | None = None
    deferrals: int = 0
    reschedules: int = 0
    tries: int = 1


@dataclass
class TaskInstance:
    """The attributes of Airflow's task instance that the tested tasks read."""

    max_tries: int = 0
    try_number: int = 1
    dag_id: str = "dag"
    run_id: str = "run"
    task_id: str = "task"
    map_index: int = -1
    first_reschedule: datetime | None = None
    pushed: dict[str, Any] = field(default_factory=dict)

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = json.loads(json.dumps(value))


@dataclass
class StateStore:
    """Airflow's task state store, which survives retries and clears."""

    values: dict[str, Any] = field(default_factory=dict)

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any, **_: Any) -> None:
        self.values[key] = json.loads(json.dumps(value))


HAS_STATE_STORE = "task_state_store" in TaskContext.__annotations__


def make_context(**more: Any) -> dict[str, Any]:
    return {"ti": TaskInstance(), "task_reschedule_count": 0, **more}


def run_with_retries(make: MakeTask, retries: int, context: dict[str, Any] | None = None) -> Ended:
    """Run a task with as many retries as Airflow allows, and with a state store if this Airflow has one."""
    context = make_context() if context is None else context
    if HAS_STATE_STORE:
        context.setdefault("task_state_store", StateStore())
    context["ti"].max_tries = retries
    while True:
        ended = run_task(make, context)
        ended.tries = context["ti"].try_number
        if ended.state != "up_for_retry" or context["ti"].try_number > retries:
            return ended
        context["ti"].try_number += 1


def run_task(make: MakeTask, context: dict[str, Any] | None = None) -> Ended:
    """Run a task to its end."""
    context = make_context() if context is None else context
    ended = Ended("running")
    try:
        ended.result = json.loads(json.dumps(_execute(make, context, ended)))
        ended.state = "success"
    except AirflowSkipException as error:
        ended.state, ended.error = "skipped", error
    except (AirflowFailException, AirflowSensorTimeout) as error:
        ended.state, ended.error = "failed", error
    except Exception as error:
        ended.state, ended.error = "up_for_retry", error
    return ended


def _execute(make: MakeTask, context: dict[str, Any], ended: Ended) -> Any:
    resume: Callable[[Any], Any] = lambda task: task.execute(context)  # noqa: E731
    while True:
        task = make()
        task.render_template_fields(context)
        try:
            return resume(task)
        except TaskDeferred as deferred:
            ended.deferrals += 1
            arguments = (deferred.method_name, _resume_kwargs(deferred), context)
            resume = lambda task, arguments=arguments: task.resume_execution(*arguments)  # noqa: E731
        except AirflowRescheduleException:
            ended.reschedules += 1
            context["ti"].first_reschedule = context["ti"].first_reschedule or datetime.now(UTC)
            context["task_reschedule_count"] = ended.reschedules


def _resume_kwargs(deferred: TaskDeferred) -> dict[str, Any]:
    classpath, kwargs = deferred.trigger.serialize()
    module, _, name = classpath.rpartition(".")
    trigger = getattr(import_module(module), name)(**json.loads(json.dumps(kwargs)))
    event = asyncio.run(first_event(trigger, deferred.timeout.total_seconds()))
    return {**json.loads(json.dumps(deferred.kwargs or {})), "event": json.loads(json.dumps(event))}


async def first_event(trigger: Any, timeout: float = 60.0) -> Any:  # noqa: ASYNC109
    """Run a trigger to its first event, as the triggerer does."""
    async with asyncio.timeout(timeout):
        async for event in trigger.run():
            return event.payload
    raise AssertionError("the trigger ended without an event")
