"""One DAG run on distributed Airflow, as the tests see it: where its tasks run, open calls, and the ledger."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import httpx
import psutil
import pytest

from scripts.distributed_airflow import DistributedAirflow
from scripts.local_emulator import LocalEmulator
from tests.distributed.conftest import ACCOUNT_ID, APP_ID, TOKEN

Json = dict[str, Any]


class MonitoredRun:
    """One run of a DAG on the cluster, with the emulator that it calls."""

    def __init__(
        self, cluster: DistributedAirflow, emulator: LocalEmulator, dag_id: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.cluster = cluster
        self.emulator = emulator
        self.control = emulator.control
        self._dag_id = dag_id
        self._run_id = ""
        self._capsys = capsys
        self._began = time.monotonic()

    def begin(self, conf: Json | None = None) -> None:
        """Start the run."""
        self.cluster.wait_for_dag(self._dag_id)
        self.cluster.api.unpause(self._dag_id)
        self._run_id = self.cluster.api.trigger(self._dag_id, conf)
        self.report(f"{self._dag_id} begins")

    def report(self, *lines: str) -> None:
        """Print lines even if pytest captures the output, the first with the time since the beginning."""
        with self._capsys.disabled():
            print(f"\n{time.monotonic() - self._began:6.1f} s  " + "\n".join(lines), end="", flush=True)

    def wait_for(self, condition: Callable[[], Any], what: str, timeout: float = 120.0) -> None:
        """Wait until a condition holds; the error at a timeout counts the tasks by state."""
        try:
            self.cluster.wait_for(lambda: bool(condition()), what, timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the tasks: {self.states()}; recordings: {len(self.started())}") from None

    # Airflow's side

    def tasks(self) -> list[Json]:
        """Return the latest try of each task."""
        return self.cluster.api.task_instances(self._dag_id, self._run_id)

    def task(self, task_id: str) -> Json:
        """Return the latest try of one task."""
        return self.cluster.api.task_instance(self._dag_id, self._run_id, task_id)

    def states(self) -> Counter[str]:
        """Count the tasks by state and host."""
        return Counter(f"{task['state']} {_host(task)}".strip() for task in self.tasks())

    def running_on(self, worker: str) -> set[str]:
        """Return the tasks that run on a worker."""
        return {task["task_id"] for task in self.tasks() if task["state"] == "running" and task["hostname"] == worker}

    def waiting(self) -> set[str]:
        """Return the tasks whose wait has begun: in a triggerer, or on a worker with a poll by the current try."""
        last_polls = {recording_id: max(times) for recording_id, times in self.polls().items()}
        last = {task_id: recordings[-1]["id"] for task_id, recordings in self.by_task().items()}
        running = {task["task_id"]: _began(task) for task in self.tasks() if task["state"] == "running"}
        in_triggerers = {task["task_id"] for task in self.tasks() if task["state"] == "deferred" and _host(task)}
        on_workers = {task for task, began in running.items() if last_polls.get(last.get(task, ""), 0.0) > began}
        return in_triggerers | on_workers

    def deferred_to(self, triggerer: str = "") -> set[str]:
        """Return the tasks that wait in one triggerer, or all deferred tasks if none is named."""
        deferred = [task for task in self.tasks() if task["state"] == "deferred"]
        return {task["task_id"] for task in deferred if triggerer in ("", _host(task))}

    def mark(self, task_id: str, state: str) -> None:
        """Set the state of a task, as a user does in the UI."""
        self.cluster.api.set_state(self._dag_id, self._run_id, task_id, state)

    def clear(self, task_id: str) -> None:
        """Clear a task, as a user does in the UI."""
        self.cluster.api.clear(self._dag_id, self._run_id, task_id)

    def finish(self, timeout: float) -> str:
        """Wait for the end of the run, and return its state."""
        self.wait_for(lambda: self._run()["state"] in ("success", "failed"), "the end of the run", timeout)
        return str(self._run()["state"])

    def result(self, task_id: str) -> Json | None:
        """Return what a task returned."""
        result: Json | None = self.cluster.api.xcom(self._dag_id, self._run_id, task_id)
        return result

    def _run(self) -> Json:
        return self.cluster.api.dag_run(self._dag_id, self._run_id)

    # RealtimeKit's side

    def ledger(self) -> Json:
        """Return the emulator's ledger."""
        ledger: Json = self.control.get("ledger").raise_for_status().json()
        return ledger

    def started(self) -> list[str]:
        """Return the ids of all recordings, in the order of their invocation."""
        return list(self.ledger()["started"])

    def unanswered_starts(self, worker: str, since: float = 0.0) -> list[Json]:
        """Return the start calls that processes of a worker have sent and that are not answered yet."""
        # The ledger has the address of each client, which is that of a connection of a process.
        pids = {process.pid for process in self.cluster.processes(worker)}
        ports = {f"{c.laddr.ip}:{c.laddr.port}" for c in psutil.net_connections("tcp") if c.pid in pids and c.laddr}
        calls = [call for call in self.ledger()["requests"] if call["operation"] == "start" and call["at"] > since]
        return [call for call in calls if call["status"] is None and call["client"] in ports]

    def polls(self) -> dict[str, list[float]]:
        """Return the times of the GETs of each recording."""
        polls: dict[str, list[float]] = {}
        for call in self.ledger()["requests"]:
            if call["operation"] == "get":
                polls.setdefault(call["path"].rpartition("/")[2], []).append(call["at"])
        return polls

    def faults(self, *faults: Json) -> float:
        """Replace all faults by these, and return the time of the change."""
        self.control.delete("faults").raise_for_status()
        for fault in faults:
            self.control.post("faults", json=fault).raise_for_status()
        return time.time()

    def by_task(self) -> dict[str, list[Json]]:
        """Return the recordings of each task's meeting, oldest first, as the API lists them."""
        address = f"{self.emulator.base_url}/accounts/{ACCOUNT_ID}/realtime/kit/{APP_ID}/recordings"
        query: dict[str, str | int] = {"per_page": 100, "page_no": 1, "sort_by": "invokedTime", "sort_order": "ASC"}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = httpx.get(address, params=query, headers=headers, trust_env=False).raise_for_status().json()
        assert answer["paging"]["total_count"] == len(answer["data"])
        found: dict[str, list[Json]] = {}
        for recording in answer["data"]:
            found.setdefault(recording["meeting"]["id"].removeprefix("meeting-of-"), []).append(recording)
        return found

    def end_recordings(self, ids: Iterable[str]) -> None:
        """End recordings as UPLOADED."""
        for recording_id in ids:
            self.control.post(f"recordings/{recording_id}/status", json={"status": "UPLOADED"}).raise_for_status()

    def table(self) -> list[str]:
        """Format the ledger: the recordings and the result of each task, and the number of calls."""
        ledger, tries = self.ledger(), {task["task_id"]: task["try_number"] for task in self.tasks()}
        recordings = {
            task_id: ", ".join(f"{recording['id']} {recording['status']}" for recording in found)
            for task_id, found in self.by_task().items()
        }
        width = max(map(len, recordings.values()), default=0)
        lines = [f"{'task':<17} tries  {'recordings of its meeting':<{width}}  result"]
        for task_id in sorted(tries):
            result = (self.result(task_id) or {}).get("id", "none")
            lines.append(f"{task_id:<17} {tries[task_id]:>5}  {recordings.get(task_id, ''):<{width}}  {result}")
        calls = "; ".join(
            f"{operation} " + ", ".join(f"{count} × {status}" for status, count in sorted(counts.items()))
            for operation, counts in sorted(ledger["counts"].items())
        )
        return [*lines, f"calls: {calls}", f"started: {len(ledger['started'])}, running: {len(ledger['running'])}"]


def _began(task: Json) -> float:
    return datetime.fromisoformat(task["start_date"]).timestamp() if task["start_date"] else math.inf


def _host(task: Json) -> str:
    job = task.get("triggerer_job") if task["state"] == "deferred" else task
    return str((job or {}).get("hostname") or "")
