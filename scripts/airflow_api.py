"""A client of Airflow's REST API, version 2, with the calls that the demo and the system tests need."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import httpx

Json = dict[str, Any]
HEALTH_PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class AirflowApi:
    """The REST API of one Airflow, called as its administrator."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30.0, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(self, method: str, path: str, **arguments: Any) -> Json:
        """Call a path below `/api/v2`; the message of an HTTP error holds the body of the answer."""
        response = self._http.request(method, f"/api/v2{path}", headers=self._headers, **arguments)
        if response.is_error:
            raise httpx.HTTPStatusError(
                f"{method} {path}: {response.status_code} {response.text}",
                request=response.request,
                response=response,
            )
        answer: Json = response.json() if response.content else {}
        return answer

    @cached_property
    def _headers(self) -> dict[str, str]:
        answer = self._http.get("/auth/token").raise_for_status().json()
        return {"Authorization": f"Bearer {answer['access_token']}", "Accept": "application/json"}

    def unhealthy(self) -> list[str]:
        """Return the names of the parts of Airflow that are not healthy."""
        try:
            health = self._http.get("/api/v2/monitor/health").raise_for_status().json()
        except httpx.HTTPError:
            return ["api_server"]
        return [part for part in HEALTH_PARTS if (health.get(part) or {}).get("status") != "healthy"]

    def warm_up(self) -> None:
        """Make Airflow build the API that tasks call."""
        # Airflow builds it at the first request, which takes seconds: the first task would time out and retry.
        self._http.get("/execution/health/ping", timeout=120.0)

    def has_dag(self, dag_id: str) -> bool:
        """Whether the DAG processor has stored this DAG."""
        try:
            self.request("GET", f"/dags/{dag_id}")
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    def import_errors(self) -> list[str]:
        """Return the stack traces of DAG files that cannot be imported."""
        return [error["stack_trace"] for error in self.request("GET", "/importErrors")["import_errors"]]

    def unpause(self, dag_id: str) -> None:
        """Let a DAG's runs be scheduled."""
        self.request("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: Json | None = None) -> str:
        """Start a run of an unpaused DAG, and return the run's id."""
        body = {"logical_date": None, "conf": conf or {}}
        run_id: str = self.request("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"]
        return run_id

    def dag_run(self, dag_id: str, run_id: str) -> Json:
        """Return one run, with its `state`."""
        return self.request("GET", _run_path(dag_id, run_id))

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """Return the latest try of each task of a run, including mapped tasks."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances"
        instances: list[Json] = self.request("GET", path, params={"limit": 100})["task_instances"]
        return instances

    def task_instance(self, dag_id: str, run_id: str, task_id: str) -> Json:
        """Return the latest try of one unmapped task."""
        return self.request("GET", _task_path(dag_id, run_id, task_id))

    def set_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark one task as `success`, `failed` or `skipped`, as a person does in the UI."""
        self.request("PATCH", _task_path(dag_id, run_id, task_id), json={"new_state": state})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear one task and the tasks downstream of it, so that they run again."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "include_downstream": True,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.request("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return the value of one XCom, or `None` if there is no such XCom."""
        try:
            return self.request("GET", f"{_task_path(dag_id, run_id, task_id)}/xcomEntries/{key}")["value"]
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return None
            raise

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> list[str]:
        """Return the lines of one try's log."""
        path = f"{_task_path(dag_id, run_id, task_id)}/logs/{try_number}"
        content = self.request("GET", path, params={"full_content": True})["content"]
        return [log_line(event) for event in content]


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{dag_id}/dagRuns/{run_id}"


def _task_path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}"


def log_line(event: Json | str) -> str:
    """Return one event of a task's log as text, including its exceptions."""
    if isinstance(event, str):
        return event
    details = [f"{detail['exc_type']}: {detail['exc_value']}" for detail in event.get("error_detail") or []]
    return " ".join([str(event.get("event", "")), *details])
