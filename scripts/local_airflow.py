"""Real Airflow on this machine: its four components as processes, with SQLite and a REST client."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

from scripts.airflow_api import AirflowApi
from scripts.airflow_config import HOST, Settings, find_free_port, make_environment, make_settings, write_config
from scripts.processes import Children, ProcessDiedError, Server, title

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import psutil

# All components read the logs from the same disk, so the two servers that would serve them are not needed.
COMPONENTS = {
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "api-server": ["api-server"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
FINAL_RUN_STATES = {"success", "failed"}
FINAL_TASK_STATES = {"success", "failed", "upstream_failed", "skipped", "removed"}
CHECK_INTERVAL = 0.2


class UnexpectedEndError(RuntimeError):
    """A task ended in another state than the expected one."""


class LocalAirflow(Server):
    """A real Airflow in a folder. Each start begins with a new database and configuration.

    :param home: the folder
    :param dags: the folder of the DAG files
    :param environment: variables for all components: connections, or settings as `AIRFLOW__…`
    :param empty_database: a file that stores the migrated, empty database for the next start; it is valid for one
        version of Airflow only
    :param parallelism: how many tasks run at once
    """

    # The children of `airflow standalone` survive it, so each component is started separately.
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

    @property
    def api(self) -> AirflowApi:
        """The REST client."""
        if self._api is None:
            self._api = AirflowApi(self.url)
        return self._api

    def start_and_wait(self) -> None:
        """Create the database, start all components, and wait until they are healthy."""
        port = find_free_port()
        self.url = f"http://{HOST}:{port}"
        self._clear_home()
        write_config(self.home / "airflow.cfg", self._settings(port))
        self._make_database()
        for name in self.components:
            self.start_component(name)
        self.wait_healthy()

    def start_component(self, name: str) -> None:
        """Start one component (again)."""
        self._run(name, self.components[name])

    def stop_component(self, name: str, grace: float = 5.0) -> None:
        """End one component and all its descendants; with SIGKILL at once if `grace` is 0."""
        self._children.stop(name, grace=grace)

    def wait_healthy(self, timeout: float = 240.0) -> None:
        """Wait until every part of Airflow reports itself healthy, and can run tasks without delay."""
        self.wait_for(lambda: not self.api.unhealthy(), "Airflow is healthy", timeout)
        self.api.warm_up()

    def wait_for_dag(self, dag_id: str, timeout: float = 60.0) -> None:
        """Wait until the DAG processor has stored a DAG; the error at a timeout shows the import errors."""
        try:
            self.wait_for(lambda: self.api.has_dag(dag_id), f"the DAG {dag_id} is known", timeout)
        except TimeoutError as error:
            raise TimeoutError("\n".join([str(error), *self.api.import_errors()])) from None

    def wait_for(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait until a condition holds; raise `ProcessDiedError` if a component ends meanwhile."""
        deadline = time.monotonic() + timeout
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout:g} s: {what}")
            time.sleep(CHECK_INTERVAL)

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 120.0) -> str:
        """Wait until a run has ended, and return its state."""
        self.wait_for(
            lambda: self.api.dag_run(dag_id, run_id)["state"] in FINAL_RUN_STATES, f"the end of {run_id}", timeout
        )
        return str(self.api.dag_run(dag_id, run_id)["state"])

    def wait_for_task(self, dag_id: str, run_id: str, task_id: str, state: str, timeout: float = 60.0) -> None:
        """Wait until a task is in a state; raise `UnexpectedEndError` if it ends in another one."""

        def has_state() -> bool:
            instance = self.api.task_instance(dag_id, run_id, task_id)
            if instance["state"] != state and instance["state"] in FINAL_TASK_STATES:
                log = self.api.task_log(dag_id, run_id, task_id, max(1, instance["try_number"]))
                raise UnexpectedEndError("\n".join([f"{task_id} is {instance['state']}, not {state}", *log]))
            return bool(instance["state"] == state)

        self.wait_for(has_state, f"{task_id} is {state}", timeout)

    def check(self) -> None:
        """Raise `ProcessDiedError` if a component has ended."""
        self._children.check()

    def processes(self, *components: str) -> list[psutil.Process]:
        """Return the running processes of the named components, or of all, with all their descendants."""
        return self._children.processes(*components)

    def task_processes(self, dag_id: str, run_id: str, task_id: str) -> list[psutil.Process]:
        """Return the processes that run a task. They are found by the task's id in their title (not on macOS)."""
        instance_id = self.api.task_instance(dag_id, run_id, task_id)["id"]
        return [process for process in self.processes("scheduler") if instance_id in title(process)]

    def stop(self, grace: float = 5.0) -> None:
        """End everything that was started. May be called at any time and repeatedly."""
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
            _copy_atomically(database, self._empty_database)

    def _migrate(self) -> None:
        self._run("db-migrate", ["db", "migrate"])
        if code := self._children.wait("db-migrate"):
            raise ProcessDiedError(f"airflow db migrate failed ({code}):\n{self._children.log_tail('db-migrate')}")

    def _run(self, name: str, arguments: Sequence[str]) -> None:
        environment = make_environment(self.home, self._extra | self._own_environment(name))
        self._children.start(name, [sys.executable, "-m", "airflow", *arguments], environment)

    def _own_environment(self, name: str) -> dict[str, str]:
        """Return the variables that only this component gets."""
        return {}


def _copy_atomically(source: Path, target: Path) -> None:
    """Copy a file so that no process sees an incomplete target."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.copyfile(source, temporary)
    temporary.replace(target)
