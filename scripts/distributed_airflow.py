"""Airflow as on a cluster, but on this machine: Celery workers, Redis, PostgreSQL and two triggerers."""

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

# Airflow notices a dead process within half a minute. With its defaults it needs five minutes.
QUICK_DETECTION: Settings = {
    "scheduler": {
        "task_instance_heartbeat_timeout": "30",
        "task_instance_heartbeat_timeout_detection_interval": "3",
        "scheduler_health_check_threshold": "20",
        "orphaned_tasks_check_interval": "10",
        # Tasks that a worker had fetched but not begun are lost when it dies, and are queued again after this time.
        "task_queued_timeout": "60",
        "task_queued_timeout_check_interval": "5",
        "num_stuck_in_queued_retries": "10",
    },
    "workers": {"min_heartbeat_interval": "3"},
    "triggerer": {"job_heartbeat_sec": "1", "triggerer_health_check_threshold": "10"},
}


class PostgresAirflow(LocalAirflow):
    """Airflow with its database in PostgreSQL, which parallel tasks and backfills need."""

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
        return merge_settings(super()._settings(port), postgres)

    def _make_database(self) -> None:
        self._migrate()


class DistributedAirflow(PostgresAirflow):
    """Airflow on Celery, whose components can be ended and started again by name."""

    components = {name: command for name, command in COMPONENTS.items() if name != "triggerer"} | {
        **dict.fromkeys(TRIGGERERS, COMPONENTS["triggerer"]),
        **{name: ["celery", "worker", "--skip-serve-logs", "--without-gossip"] for name in WORKERS},
    }

    def __init__(self, home: Path, dags: Path, services: Services, *, environment: Mapping[str, str]) -> None:
        super().__init__(home, dags, services, environment=environment, parallelism=2 * SLOTS * len(WORKERS))
        self._log_starts: dict[str, int] = {}

    def start_component(self, name: str) -> None:
        """Start one component (again); a worker gets its name as its host name."""
        log = self._children.log(name)
        self._log_starts[name] = log.stat().st_size if log.exists() else 0
        own = ["--celery-hostname", name, "--pid", str(self.home / f"{name}.pid")] if name in WORKERS else []
        self._run(name, [*self.components[name], *own])

    def kill(self, name: str) -> None:
        """End one component and all its descendants by SIGKILL, as if its machine had failed."""
        self.stop_component(name, grace=0)

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """Suspend components during the block, as happens when a virtual machine is moved."""
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
        """Wait until every part of Airflow reports itself healthy, and both workers accept tasks."""
        super().wait_healthy(timeout)
        for name in WORKERS:
            self.wait_ready(name)

    def wait_ready(self, worker: str, timeout: float = 120.0) -> None:
        """Wait until a worker that was started logs that it accepts tasks."""

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
                # getpass.getuser reads LOGNAME, so that each component has a host name of its own.
                "hostname_callable": "getpass.getuser",
            },
            "celery": {
                "broker_url": self._services.broker,
                "result_backend": f"db+postgresql+psycopg2://{self._services.database}",
                "worker_concurrency": str(SLOTS),
            },
            # Longer than any task, so that Redis does not deliver a task again: Airflow handles the loss of a worker.
            "celery_broker_transport_options": {"visibility_timeout": "86400"},
        }
        return merge_settings(super()._settings(port), QUICK_DETECTION, celery)

    def _own_environment(self, name: str) -> dict[str, str]:
        return {"LOGNAME": name}


def merge_settings(*layers: Settings) -> Settings:
    """Merge settings; later ones win."""
    names = {name for layer in layers for name in layer}
    return {name: {key: value for layer in layers for key, value in layer.get(name, {}).items()} for name in names}
