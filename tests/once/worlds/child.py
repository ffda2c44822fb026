"""A process of a world: one try of a task, or one trigger, run as Airflow runs them.

Started as a program it is the parent of all of them: it imports the package once, and forks. It reads what to start
from its standard input, a line of JSON each, and writes the ids of the processes and how they ended to its output.
"""

from __future__ import annotations

from tests.once.worlds import virtual_time

virtual_time.install()

import asyncio  # noqa: E402 (after the clocks are in place)
import gc  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import pkgutil  # noqa: E402
import random  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from contextlib import suppress  # noqa: E402
from datetime import UTC, datetime, timedelta  # noqa: E402
from importlib import import_module  # noqa: E402
from types import SimpleNamespace  # noqa: E402
from typing import Any  # noqa: E402

DAG, RUN = "meetings", "scheduled__2027-01-15T08:00:00+00:00"


class Store:
    """Airflow's ``task_state_store``."""

    def __init__(self, world: virtual_time.World, serial: int) -> None:
        self._world = world
        self._serial = serial

    def get(self, key: str, default: Any = None) -> Any:
        """Return what is stored."""
        found = self._world.call({"do": "get", "key": key})
        return default if found is None else found

    def set(self, key: str, value: Any, **_: Any) -> None:
        """Store plain JSON; a process whose task instance has a new id may not."""
        if not self._world.call({"do": "set", "key": key, "value": value, "serial": self._serial}):
            raise RuntimeError("the API server says 404: no such task instance")

    def delete(self, key: str) -> None:
        """Forget a key."""
        self.set(key, None)


class Handler(logging.Handler):
    """Sends the log to the world."""

    def __init__(self, world: virtual_time.World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line."""
        with suppress(Exception):
            lines = [f"{record.levelname} {record.getMessage()}"]
            if record.exc_info and record.exc_info[1]:
                lines += shorten(record.exc_info[1])
            for line in lines:
                self._world.send({"do": "log", "line": line[:1000]})


def shorten(error: BaseException) -> list[str]:
    """Return where in the package an error came from, and what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "airflow_provider_realtimekit" in frame.filename]
    lines = [f"  {frame.filename.rpartition('realtimekit/')[2]}:{frame.lineno} {frame.name}" for frame in ours]
    return [*lines, *"".join(traceback.format_exception_only(error)).splitlines()]


def make_task_instance(spec: dict[str, Any]) -> Any:
    """Return as much of Airflow's task instance as tasks and triggers ask for."""
    return SimpleNamespace(
        id=f"00000000-0000-7000-8000-{spec['serial']:012d}",
        dag_id=DAG,
        run_id=RUN,
        task_id=spec["task_id"],
        map_index=-1,
        try_number=spec["try_number"],
        max_tries=spec["max_tries"],
        start_date=datetime.now(UTC),
        state="running",
        xcom_push=lambda key, value: None,
        xcom_pull=lambda *_, **__: None,
        get_first_reschedule_date=lambda _: None,
    )


def patch_task_states(world: virtual_time.World) -> None:
    """Have Airflow's own way to ask for a task's state ask the small Airflow."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    def get_task_states(dag_id: str, task_ids: list[str] | None = None, **_: Any) -> dict[str, Any]:
        states = world.call({"do": "states"})
        return {RUN: {name: state for name, state in states.items() if task_ids is None or name in task_ids}}

    RuntimeTaskInstance.get_task_states = staticmethod(get_task_states)  # type: ignore[method-assign,assignment]


def make_task(spec: dict[str, Any]) -> Any:
    """Build the operator as a DAG file does."""
    from airflow_provider_realtimekit import operators

    name = "RealtimeKitStartTrackRecordingOperator" if spec["tracks"] else "RealtimeKitStartRecordingOperator"
    arguments = dict(spec["arguments"])
    if "execution_timeout" in arguments:
        arguments["execution_timeout"] = timedelta(seconds=arguments["execution_timeout"])
    return getattr(operators, name)(task_id=spec["task_id"], retries=spec["retries"], **arguments)


def make_context(spec: dict[str, Any], task: Any, world: virtual_time.World) -> dict[str, Any]:
    """Return as much of Airflow's context as tasks ask for."""
    ti = make_task_instance(spec)
    began = datetime(2027, 1, 15, 8, tzinfo=UTC)
    dag_run = SimpleNamespace(
        dag_id=DAG, run_id=RUN, clear_number=spec["clear_number"], logical_date=began, run_after=began, conf={}
    )
    context = {
        "ti": ti,
        "task_instance": ti,
        "task": task,
        "dag": SimpleNamespace(dag_id=DAG),
        "dag_run": dag_run,
        "run_id": RUN,
        "logical_date": began,
        "ds": "2027-01-15",
        "params": {},
        "task_reschedule_count": 0,
    }
    if spec["version"] != "3.1":
        context["task_state_store"] = Store(world, spec["serial"])
    return context


def run_try(spec: dict[str, Any], world: virtual_time.World) -> None:
    """Run one try, as Airflow's task runner does."""
    task = make_task(spec)
    # The handler does no more than that: the task goes on afterwards, until it is killed for good.
    signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
    said = _outcome(spec, task, make_context(spec, task, world))
    world.call({"do": "report", "serial": spec["serial"], "said": said})
    if spec["lingers"]:
        virtual_time._sleep(spec["lingers"])


def _outcome(spec: dict[str, Any], task: Any, context: dict[str, Any]) -> dict[str, Any]:
    from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout, TaskDeferred

    try:
        task.render_template_fields(context)
        result = json.loads(json.dumps(_execute(spec, task, context)))
    except TaskDeferred as deferred:
        classpath, kwargs = deferred.trigger.serialize()
        seconds = deferred.timeout.total_seconds() if deferred.timeout else None
        said = {"classpath": classpath, "trigger": kwargs, "method": deferred.method_name, "timeout": seconds}
        return {"state": "deferred", "kwargs": deferred.kwargs or {}, **json.loads(json.dumps(said))}
    except (AirflowFailException, AirflowSensorTimeout) as error:
        return {"state": "failed", "error": repr(error)}
    except BaseException as error:
        logging.getLogger("worlds").info("the task failed", exc_info=True)
        return {"state": "up_for_retry" if spec["retries_left"] else "failed", "error": repr(error)}
    return {"state": "success", "result": result}


def _execute(spec: dict[str, Any], task: Any, context: dict[str, Any]) -> Any:
    from airflow.providers.common.compat.sdk import AirflowTaskTimeout

    def execute() -> Any:
        if resumes := spec["resumes"]:
            return task.resume_execution(resumes["method"], resumes["kwargs"], context)
        return task.execute(context)

    if not task.execution_timeout:
        return execute()
    from airflow.sdk.execution_time.timeout import timeout

    try:
        with timeout(task.execution_timeout.total_seconds()):
            return execute()
    except AirflowTaskTimeout:
        task.on_kill()
        raise


def run_trigger(spec: dict[str, Any], world: virtual_time.World) -> None:
    """Run one trigger, as Airflow's triggerer does."""
    asyncio.run(_triggerer(spec, world))


async def _triggerer(spec: dict[str, Any], world: virtual_time.World) -> None:
    module, _, name = spec["deferral"]["classpath"].rpartition(".")
    trigger = getattr(import_module(module), name)(**spec["deferral"]["trigger"])
    trigger.task_instance = make_task_instance(spec)
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(_run_trigger(trigger, world))

    def cancel(message: dict[str, Any]) -> None:
        # Airflow does so each second until the trigger has ended.
        if not running.done():
            running.cancel("user-action" if message["is_kill"] else "gone")
            loop.call_later(1.0, cancel, message)

    world.on_message = lambda message: loop.call_soon_threadsafe(cancel, message)
    with suppress(asyncio.CancelledError):
        await running
    # The triggerer goes on for others: what the trigger left running goes on, too.
    await asyncio.sleep(86_400)


async def _run_trigger(trigger: Any, world: virtual_time.World) -> None:
    log = logging.getLogger("worlds")
    try:
        async for event in trigger.run():
            world.send({"do": "event", "event": json.loads(json.dumps(event.payload))})
    except asyncio.CancelledError as cancelled:
        if cancelled.args and cancelled.args[0] == "user-action":
            try:
                await asyncio.wait_for(trigger.on_kill(), timeout=30)
            except asyncio.CancelledError:
                pass
            except Exception:
                log.warning("on_kill failed", exc_info=True)
        raise
    except Exception:
        log.exception("the trigger failed")
    finally:
        await trigger.cleanup()


def live(spec: dict[str, Any]) -> None:
    """Be a process of a world, to its end."""
    code = 1
    try:
        output = os.open(spec["output"], os.O_WRONLY)
        for number in (1, 2):
            os.dup2(output, number)
        world = virtual_time.enter(spec["clock"], spec["socket"], spec["skew"])
        world.send({"do": "hello", "pid": os.getpid()})
        random.seed(spec["name"])
        os.environ["AIRFLOW_CONN_REALTIMEKIT_DEFAULT"] = json.dumps(spec["connection"])
        root = logging.getLogger()
        root.handlers, root.level = [Handler(world)], logging.INFO
        for quiet in ("httpx", "httpcore", "asyncio"):
            logging.getLogger(quiet).setLevel(logging.WARNING)
        patch_task_states(world)
        (run_trigger if spec["do"] == "trigger" else run_try)(spec, world)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def warm_up() -> None:
    """Import everything, and do once what takes time the first time."""
    package = import_module("airflow_provider_realtimekit")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if "emulator" not in module.name:
            import_module(module.name)
    import_module("airflow.sdk.execution_time.task_runner")
    import_module("airflow.providers.common.compat.connection")
    os.environ["AIRFLOW_CONN_WARM"] = json.dumps({"conn_type": "realtimekit"})
    from airflow.providers.common.compat.sdk import BaseHook

    BaseHook.get_connection("warm")
    spec = {"tracks": False, "task_id": "a", "retries": 0, "arguments": {"meeting_id": "{{ ds }}"}}
    make_task(spec).render_template_fields({"ds": "2027-01-15"})
    # The collector of a child must not touch, and so copy, what it shares with its parent.
    gc.freeze()


def main() -> None:
    """Fork a process for each line that is read."""
    # What an import prints is no answer.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    warm_up()
    wake, written = os.pipe()
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    print(json.dumps({"ready": os.getpid()}), file=answers)
    while True:
        ready, _, _ = select.select([sys.stdin.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 1024)
            with suppress(ChildProcessError):
                while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    print(json.dumps({"exit": ended[0], "status": ended[1]}), file=answers)
        if sys.stdin.fileno() in ready:
            line = sys.stdin.buffer.raw.readline()  # type: ignore[attr-defined]
            if not line:
                return
            spec = json.loads(line)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                live(spec)
            print(json.dumps({"pid": pid}), file=answers)


if __name__ == "__main__":
    main()
