"""A small Airflow: tasks, their tries, the triggerer, and what people and machines do to them.

It imports nothing of the package, and of Airflow nothing either: what it does was read off Airflow 3.3 (scheduler,
supervisor, triggerer). Every try and every trigger is a process of its own, which it starts and signals.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.once.worlds.clock import Clock

# Airflow ends a task's process for good so many seconds after it asked it to end.
_ESCALATES = 5.0


@dataclass(frozen=True)
class Settings:
    """The Airflow that runs, and how fast it is; seconds.

    :param version: ``3.3`` (keeps task state, calls a trigger's ``on_kill``) or ``3.1`` (neither)
    :param heartbeat: until a worker notices that its task was ended from outside
    :param schedules: until a task that is due runs
    :param triggers: until a triggerer notices that a wait is new or gone
    :param retry_delay: until a failed task is tried again
    :param misses: until Airflow notices that a worker has died
    :param skews: by how much the clocks of the processes are ahead, in the order in which they start
    :param lingers: how long a process goes on after its task has ended
    """

    version: str = "3.3"
    heartbeat: float = 2.0
    schedules: float = 1.0
    triggers: float = 1.0
    retry_delay: float = 10.0
    misses: float = 5.0
    skews: tuple[float, ...] = (0.0,)
    lingers: float = 0.0


@dataclass(frozen=True)
class TaskSpec:
    """A task of the DAG.

    :param arguments: of the operator
    :param tracks: whether it is the one that records tracks
    :param retries: as the DAG says
    """

    arguments: dict[str, Any]
    tracks: bool = False
    retries: int = 1


class Process(Protocol):
    """A process of a world."""

    name: str
    is_alive: bool

    def kill(self, number: int) -> None:
        """Send a signal."""

    def say(self, message: dict[str, Any]) -> None:
        """Send a message."""


Spawn = Callable[[str, dict[str, Any], "Task"], Process]


@dataclass(eq=False)
class Task:
    """A task instance, as Airflow's database has it."""

    name: str
    spec: TaskSpec
    retries: int = 0
    state: str | None = None
    try_number: int = 0
    max_tries: int = 0
    #: Grows whenever Airflow gives the task instance a new id: a process with an old one may store nothing.
    serial: int = 0
    store: dict[str, Any] = field(default_factory=dict)
    stored: int = 0
    xcom: Any = None
    worker: Process | None = None
    trigger: Process | None = None
    deferral: dict[str, Any] | None = None
    #: Whether its worker has lost its heartbeat.
    is_lost: bool = False


class Airflow:
    """What schedules, watches and ends the tasks.

    :param spawn: starts a process
    :param log_event: called with each event
    """

    def __init__(
        self,
        clock: Clock,
        settings: Settings,
        tasks: dict[str, TaskSpec],
        spawn: Spawn,
        log_event: Callable[[str, str], None],
    ) -> None:
        self.clock = clock
        self.settings = settings
        self.tasks = {
            name: Task(name, spec, retries=spec.retries, max_tries=spec.retries) for name, spec in tasks.items()
        }
        self.clear_number = 0
        self._spawn = spawn
        self._log_event = log_event
        self._processes = 0

    # What the scheduler does

    def run(self, name: str) -> None:
        """Run a task of the DAG run for the first time."""
        self._schedule(self.tasks[name], 0.0)

    def _schedule(self, task: Task, seconds: float, *, resumes: dict[str, Any] | None = None) -> None:
        serial = task.serial

        def begin() -> None:
            if task.state in ("success", "failed") or task.serial != serial:
                return
            if resumes is None:
                task.try_number += 1
                task.xcom = None
                task.is_lost = False
            self._set(task, "running", f"try {task.try_number} of {task.max_tries + 1}")
            if resumes is None:
                self._log_event(f"{task.name} try {task.try_number}", "")
            suffix = f"{task.try_number}{'r' if resumes else ''}"
            task.worker = self._start(task, suffix, {"do": "try", "resumes": resumes, **self._describe(task)})

        self.clock.after(seconds, begin)

    def _start(self, task: Task, suffix: str, spec: dict[str, Any]) -> Process:
        skews = self.settings.skews
        spec["skew"] = skews[min(self._processes, len(skews) - 1)]
        self._processes += 1
        return self._spawn(f"{task.name}.{suffix}.{self._processes}", spec, task)

    def _describe(self, task: Task) -> dict[str, Any]:
        return {
            "task_id": task.name,
            "tracks": task.spec.tracks,
            "arguments": task.spec.arguments,
            "retries": task.retries,
            "try_number": task.try_number,
            "max_tries": task.max_tries,
            "serial": task.serial,
            "clear_number": self.clear_number,
            "version": self.settings.version,
            "lingers": self.settings.lingers,
            # Airflow says so when the try begins.
            "retries_left": task.max_tries != 0 and task.try_number <= task.max_tries,
        }

    def _set(self, task: Task, state: str | None, why: str = "") -> None:
        task.state = state
        self._log_event(f"{task.name} {state or 'none'}", why)

    def _retry_or_fail(self, task: Task, why: str) -> None:
        """Do what the scheduler does with a task whose worker is gone."""
        is_eligible = task.state == "restarting" or (task.max_tries > 0 and task.try_number <= task.max_tries)
        task.deferral = None
        if is_eligible:
            task.serial += 1
            self._set(task, "up_for_retry", why)
            self._schedule(task, self.settings.retry_delay)
        else:
            self._set(task, "failed", why)

    # What processes report

    def states(self) -> dict[str, str | None]:
        """Return the state of each task."""
        return {task.name: task.state for task in self.tasks.values()}

    def store(self, task: Task, serial: int, key: str, value: Any) -> bool:
        """Store what a process wants the next try to know; return whether it may."""
        if serial != task.serial:
            self._log_event(f"{task.name} store refused", str(value))
            return False
        task.stored += 1
        task.store[key] = value
        self._log_event(f"{task.name} stored", str(value))
        self._log_event(f"{task.name} store {task.stored}", "")
        return True

    def report(self, task: Task, serial: int, said: dict[str, Any]) -> bool:
        """Set a task's state as its process reports it; return whether Airflow accepts that."""
        state = said["state"]
        if task.state != "running" or task.serial != serial:
            self._log_event(f"{task.name} report refused", f"{state}, but it is {task.state}: {said.get('error', '')}")
            return False
        if state == "success":
            task.xcom = said["result"]
        self._set(task, state, said.get("error") or str(said.get("result") or ""))
        if state == "up_for_retry":
            task.serial += 1
            self._schedule(task, self.settings.retry_delay)
        elif state == "deferred":
            task.deferral = said
            self._await_trigger(task, said)
        return True

    def _await_trigger(self, task: Task, deferral: dict[str, Any]) -> None:
        def run_out() -> None:
            if task.state == "deferred" and task.deferral is deferral:
                self._cancel(task.trigger, is_kill=False)
                self._resume(task, {"method": "__fail__", "kwargs": {"error": "Trigger timeout"}})

        self._begin_trigger(task, deferral)
        if deferral["timeout"] is not None:
            self.clock.after(deferral["timeout"], run_out)

    def _begin_trigger(self, task: Task, deferral: dict[str, Any]) -> None:
        def begin() -> None:
            if task.state == "deferred" and task.deferral is deferral:
                spec = {"do": "trigger", "deferral": deferral, **self._describe(task)}
                task.trigger = self._start(task, f"{task.try_number}t", spec)

        self.clock.after(self.settings.triggers, begin)

    def fire(self, task: Task, process: str, event: Any) -> None:
        """Resume a task with its trigger's event."""
        if task.trigger is None or task.trigger.name != process or task.state != "deferred" or task.deferral is None:
            self._log_event(f"{task.name} event refused", str(event))
            return
        kwargs = {**task.deferral["kwargs"], "event": event}
        self._resume(task, {"method": task.deferral["method"], "kwargs": kwargs})

    def _resume(self, task: Task, resumes: dict[str, Any]) -> None:
        task.deferral = None
        self._set(task, "scheduled", resumes["method"])
        self._schedule(task, self.settings.schedules, resumes=resumes)

    def exited(self, task: Task, process: Process) -> None:
        """Do what Airflow does when a process has ended."""
        if process is not task.worker:
            return
        task.worker = None
        if task.state == "restarting" and not task.is_lost:
            task.max_tries = task.try_number + task.retries
            self._set(task, None, "it was cleared, and its process has ended")
            self._schedule(task, self.settings.schedules)
        elif task.state == "running":
            serial = task.serial

            def notice() -> None:
                if task.state == "running" and task.serial == serial and task.worker is None:
                    self._retry_or_fail(task, "its worker has died")

            self.clock.after(self.settings.misses, notice)

    # What people and machines do

    def mark(self, name: str, state: str) -> None:
        """Mark a task as failed or successful, as a person."""
        task = self.tasks[name]
        self._log_event("person", f"marks {name} as {state}")
        was = task.state
        self._set(task, state, "a person said so")
        self._end(task, was)

    def clear(self, name: str, *, schedules: float | None = None) -> None:
        """Clear a task, as a person.

        :param schedules: seconds until the new try of a task that was not on a worker
        """
        task = self.tasks[name]
        self._log_event("person", f"clears {name}")
        self.clear_number += 1
        task.serial += 1
        was = task.state
        if was == "running":
            self._set(task, "restarting")
        else:
            task.max_tries = task.try_number + task.retries
            self._set(task, None)
            self._schedule(task, self.settings.schedules if schedules is None else schedules)
        self._end(task, was)

    def clear_and_lose(self, name: str) -> None:
        """Clear a task whose worker loses its heartbeat: the scheduler fails it, and knows nothing of the clear."""
        task = self.tasks[name]
        task.is_lost = True
        self.clear(name)
        self.clock.after(self.settings.misses, lambda: self._retry_or_fail(task, "it lost its heartbeat"))

    def clear_another(self) -> None:
        """Clear another task of the same run."""
        self._log_event("person", "clears another task of the run")
        self.clear_number += 1

    def deploy(self, name: str, retries: int) -> None:
        """Deploy a DAG in which the task has another number of retries."""
        self._log_event("deploy", f"{name} has {retries} retries")
        self.tasks[name].retries = retries

    def crash(self, name: str) -> None:
        """Kill the worker's process."""
        task = self.tasks[name]
        self._log_event("crash", f"of {name}'s worker")
        if task.worker:
            task.worker.kill(signal.SIGKILL)

    def restart_triggerer(self, name: str) -> None:
        """Kill the triggerer, and start another."""
        task = self.tasks[name]
        self._log_event("restart", "of the triggerer")
        if task.trigger:
            task.trigger.kill(signal.SIGKILL)
        if task.deferral:
            self._begin_trigger(task, task.deferral)

    def lose_triggerer(self, name: str) -> None:
        """Kill the triggerer, and start no other."""
        self._log_event("crash", "of the triggerer")
        if trigger := self.tasks[name].trigger:
            trigger.kill(signal.SIGKILL)

    def end_process(self, name: str) -> None:
        """End the worker's process, whatever its task's state is: a deploy, or a process that outlives its task."""
        task = self.tasks[name]
        self._log_event("end", f"of the process of {name}")
        if task.worker:
            self._terminate(task.worker)

    def _end(self, task: Task, was: str | None) -> None:
        """End the process of a task that is not wanted any more, once Airflow notices."""
        task.deferral = None
        if was in ("running", "restarting") and (worker := task.worker):
            self.clock.after(self.settings.heartbeat, lambda: self._terminate(worker))
        if was == "deferred" and (trigger := task.trigger):
            is_kill = self.settings.version != "3.1"
            self.clock.after(self.settings.triggers, lambda: self._cancel(trigger, is_kill=is_kill))

    def _terminate(self, worker: Process) -> None:
        def escalate() -> None:
            if worker.is_alive:
                self._log_event("SIGKILL", f"to {worker.name}")
                worker.kill(signal.SIGKILL)

        if worker.is_alive:
            self._log_event("SIGTERM", f"to {worker.name}")
            worker.kill(signal.SIGTERM)
            self.clock.after(_ESCALATES, escalate)

    def _cancel(self, trigger: Process | None, *, is_kill: bool) -> None:
        if trigger is not None and trigger.is_alive:
            self._log_event("cancel", f"of {trigger.name}, {'by a person' if is_kill else 'without on_kill'}")
            trigger.say({"do": "cancel", "is_kill": is_kill})
