"""Real Airflow on this machine: its four components as processes, an embedded database, a REST client."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Self

from scripts.airflow_api import AirflowApi
from scripts.airflow_config import HOST, Settings, find_free_port, make_environment, make_settings, write_config
from scripts.processes import Children, ProcessDiedError, title

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import psutil

# The logs are read from the disk they are written to: `--skip-serve-logs` saves two servers.
COMPONENTS = {
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "api-server": ["api-server"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
RUN_ENDS = {"success", "failed"}
TASK_ENDS = {"success", "failed", "upstream_failed", "skipped", "removed"}
LOOK_AGAIN_SECONDS = 0.2


class UnexpectedEndError(RuntimeError):
    """A task ended otherwise than it was to."""


class LocalAirflow:
    """Airflow in `home`, which is emptied of an earlier database and configuration when it starts.

    `airflow standalone` is not used, since its children outlive it. `environment` is added to that of all
    components: connections, or settings as `AIRFLOW__…`. `empty_database` names a file in which the migrated,
    empty database is kept for the next start; it serves one version of Airflow only.
    """

    components: Mapping[str, Sequence[str]] = COMPONENTS

    def __init__(
        self,
        home: Path,
        dags: Path,
        *,
        environment: Mapping[str, str] | None = None,
        empty_database: Path | None = None,
        parallelism: int = 4,
    ) -> None:
        self.home = home.resolve()
        self.url = ""
        self._dags = dags.resolve()
        self._extra = dict(environment or {})
        self._empty_database = empty_database
        self._parallelism = parallelism
        self._api: AirflowApi | None = None
        self._children = Children(self.home)

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_healthy()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def api(self) -> AirflowApi:
        """The REST client."""
        if self._api is None:
            self._api = AirflowApi(self.url)
        return self._api

    def start(self) -> None:
        """Make the database and start all components; they are not ready yet when this returns."""
        port = find_free_port()
        self.url = f"http://{HOST}:{port}"
        self._clear_home()
        write_config(self.home / "airflow.cfg", self._settings(port))
        self._make_database()
        for name in self.components:
            self.start_component(name)

    def start_component(self, name: str) -> None:
        """Start one component (again)."""
        self._run(name, self.components[name])

    def stop_component(self, name: str, grace: float = 5.0) -> None:
        """End one component with all its descendants; at once and without warning if `grace` is 0."""
        self._children.stop(name, grace=grace)

    def wait_healthy(self, timeout: float = 240.0) -> None:
        """Wait until every part of Airflow says that it is healthy, and can run tasks without delay."""
        self.wait_for(lambda: not self.api.unhealthy(), "Airflow is healthy", timeout)
        self.api.warm_up()

    def wait_for_dag(self, dag_id: str, timeout: float = 60.0) -> None:
        """Wait until the DAG processor has stored a DAG; says why not if a DAG file cannot be imported."""
        try:
            self.wait_for(lambda: self.api.has_dag(dag_id), f"the DAG {dag_id} is known", timeout)
        except TimeoutError as error:
            raise TimeoutError("\n".join([str(error), *self.api.import_errors()])) from None

    def wait_for(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait until a condition holds, as long as all components live."""
        deadline = time.monotonic() + timeout
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout:g} s: {what}")
            time.sleep(LOOK_AGAIN_SECONDS)

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 120.0) -> str:
        """Wait until a run has ended; gives its state."""
        self.wait_for(lambda: self.api.dag_run(dag_id, run_id)["state"] in RUN_ENDS, f"the end of {run_id}", timeout)
        return str(self.api.dag_run(dag_id, run_id)["state"])

    def wait_for_task(self, dag_id: str, run_id: str, task_id: str, state: str, timeout: float = 60.0) -> None:
        """Wait until a task is in a state; raises `UnexpectedEndError` once it has ended in another one."""

        def is_there() -> bool:
            instance = self.api.task_instance(dag_id, run_id, task_id)
            if instance["state"] != state and instance["state"] in TASK_ENDS:
                log = self.api.task_log(dag_id, run_id, task_id, max(1, instance["try_number"]))
                raise UnexpectedEndError("\n".join([f"{task_id} is {instance['state']}, not {state}", *log]))
            return bool(instance["state"] == state)

        self.wait_for(is_there, f"{task_id} is {state}", timeout)

    def check(self) -> None:
        """Raise `ProcessDiedError` if a component has ended by itself."""
        self._children.check()

    def processes(self, *components: str) -> list[psutil.Process]:
        """Give the living processes of the named components, or of all, with all their descendants."""
        return self._children.processes(*components)

    def task_processes(self, dag_id: str, run_id: str, task_id: str) -> list[psutil.Process]:
        """Give the processes that are at work on a task; they carry its id in their title (not on macOS)."""
        instance_id = self.api.task_instance(dag_id, run_id, task_id)["id"]
        return [process for process in self.processes("scheduler") if instance_id in title(process)]

    def stop(self, grace: float = 5.0) -> None:
        """End everything that was started; may be called at any time, and more than once."""
        if self._api is not None:
            self._api.close()
            self._api = None
        self._children.stop(grace=grace)

    def _settings(self, port: int) -> Settings:
        return make_settings(self._dags, port, self._parallelism)

    def _clear_home(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        for name in ("airflow.cfg", "airflow.db", "airflow.db-wal", "airflow.db-shm"):
            (self.home / name).unlink(missing_ok=True)
        shutil.rmtree(self.home / "logs", ignore_errors=True)
        for log in self.home.glob("*.log"):
            log.unlink()

    def _make_database(self) -> None:
        database = self.home / "airflow.db"
        if self._empty_database and self._empty_database.exists():
            shutil.copyfile(self._empty_database, database)
            return
        self._migrate()
        if self._empty_database:
            _copy_whole(database, self._empty_database)

    def _migrate(self) -> None:
        self._run("db-migrate", ["db", "migrate"])
        if code := self._children.wait("db-migrate"):
            raise ProcessDiedError(f"airflow db migrate failed ({code}):\n{self._children.log_tail('db-migrate')}")

    def _run(self, name: str, arguments: Sequence[str]) -> None:
        environment = make_environment(self.home, self._extra | self._own_environment(name))
        self._children.start(name, [sys.executable, "-m", "airflow", *arguments], environment)

    def _own_environment(self, name: str) -> dict[str, str]:
        """Give what one component's environment has beside that of all."""
        return {}


def _copy_whole(source: Path, target: Path) -> None:
    """Copy a file so that the target is never seen half-written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.copyfile(source, half)
    half.replace(target)
