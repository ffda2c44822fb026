"""Airflow as it is run on a cluster: Celery workers, Redis, PostgreSQL, two triggerers, all on this machine."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil

from scripts.local_airflow import COMPONENTS, LocalAirflow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from scripts.airflow_config import Settings
    from scripts.services import Services

WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer-1", "triggerer-2")
SLOTS = 16

# Airflow notices within half a minute, not after five, that a process is gone.
WATCHFUL: Settings = {
    "scheduler": {
        "task_instance_heartbeat_timeout": "30",
        "task_instance_heartbeat_timeout_detection_interval": "3",
        "scheduler_health_check_threshold": "20",
        "orphaned_tasks_check_interval": "10",
        # A worker that dies takes along what it had fetched and not begun.
        "task_queued_timeout": "60",
        "task_queued_timeout_check_interval": "5",
        "num_stuck_in_queued_retries": "10",
    },
    "workers": {"min_heartbeat_interval": "3"},
    "triggerer": {"job_heartbeat_sec": "1", "triggerer_health_check_threshold": "10"},
}


class PostgresAirflow(LocalAirflow):
    """Airflow with a PostgreSQL of its own for its database, as for many tasks side by side and for backfills."""

    def __init__(
        self, home: Path, dags: Path, services: Services, *, environment: Mapping[str, str], parallelism: int
    ) -> None:
        super().__init__(home, dags, environment=environment, parallelism=parallelism)
        self._services = services

    def _settings(self, port: int) -> Settings:
        database = self._services.database
        postgres: Settings = {
            "database": {
                "sql_alchemy_conn": f"postgresql+psycopg2://{database}",
                "sql_alchemy_conn_async": f"postgresql+asyncpg://{database}",
            },
        }
        return merged(super()._settings(port), postgres)

    def _make_database(self) -> None:
        self._migrate()


class DistributedAirflow(PostgresAirflow):
    """Airflow on Celery; a component is ended and started again by name, as a supervisor would."""

    components = {name: command for name, command in COMPONENTS.items() if name != "triggerer"} | {
        **dict.fromkeys(TRIGGERERS, COMPONENTS["triggerer"]),
        **{name: ["celery", "worker", "--skip-serve-logs", "--without-gossip"] for name in WORKERS},
    }

    def __init__(self, home: Path, dags: Path, services: Services, *, environment: Mapping[str, str]) -> None:
        super().__init__(home, dags, services, environment=environment, parallelism=2 * SLOTS * len(WORKERS))
        self._log_starts: dict[str, int] = {}

    def start_component(self, name: str) -> None:
        """Start one component (again), workers under their own name."""
        log = self._children.log(name)
        self._log_starts[name] = log.stat().st_size if log.exists() else 0
        own = ["--celery-hostname", name, "--pid", str(self.home / f"{name}.pid")] if name in WORKERS else []
        self._run(name, [*self.components[name], *own])

    def kill(self, name: str) -> None:
        """End one component with all its descendants by SIGKILL, as when its machine is gone."""
        self.stop_component(name, grace=0)

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """Let components stand still for a while, as when a virtual machine is moved."""
        processes = self.processes(*names)
        try:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def wait_healthy(self, timeout: float = 300.0) -> None:
        """Wait until every part of Airflow says that it is healthy, and both workers take tasks."""
        super().wait_healthy(timeout)
        for name in WORKERS:
            self.wait_ready(name)

    def wait_ready(self, worker: str, timeout: float = 120.0) -> None:
        """Wait until a worker that was started says that it takes tasks."""

        def is_ready() -> bool:
            with self._children.log(worker).open("rb") as log:
                log.seek(self._log_starts[worker])
                return f"{worker} ready".encode() in log.read()

        self.wait_for(is_ready, f"{worker} is ready", timeout)

    def _settings(self, port: int) -> Settings:
        celery: Settings = {
            "core": {
                "executor": "CeleryExecutor",
                "max_active_tasks_per_dag": "200",
                # Each component has a name for its host, from its environment, as if on a machine of its own.
                "hostname_callable": "getpass.getuser",
            },
            "celery": {
                "broker_url": self._services.broker,
                "result_backend": f"db+postgresql+psycopg2://{self._services.database}",
                "worker_concurrency": str(SLOTS),
            },
            # As long as the longest task; Airflow, not Redis, is to notice that a worker is gone.
            "celery_broker_transport_options": {"visibility_timeout": "86400"},
        }
        return merged(super()._settings(port), WATCHFUL, celery)

    def _own_environment(self, name: str) -> dict[str, str]:
        return {"LOGNAME": name}


def merged(*layers: Settings) -> Settings:
    """Lay settings one over the other."""
    names = {name for layer in layers for name in layer}
    return {name: {key: value for layer in layers for key, value in layer.get(name, {}).items()} for name in names}
