"""A client of Airflow's REST API, version 2: what the demo and the system tests ask of it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import httpx

Json = dict[str, Any]
HEALTH_PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class AirflowApi:
    """One Airflow's REST API, as its administrator."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30.0, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(self, method: str, path: str, **arguments: Any) -> Json:
        """Call a path below `/api/v2`; an HTTP error shows what the server said."""
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
        """Name the parts of Airflow that do not report themselves healthy."""
        try:
            health = self._http.get("/api/v2/monitor/health").raise_for_status().json()
        except httpx.HTTPError:
            return ["api_server"]
        return [part for part in HEALTH_PARTS if (health.get(part) or {}).get("status") != "healthy"]

    def warm_up(self) -> None:
        """Have the API that tasks use built, which takes seconds and happens when it is first asked.

        The first task would time out and try again meanwhile.
        """
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
        """Give the stack traces of DAG files that cannot be imported."""
        return [error["stack_trace"] for error in self.request("GET", "/importErrors")["import_errors"]]

    def unpause(self, dag_id: str) -> None:
        """Let a DAG's runs be scheduled."""
        self.request("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: Json | None = None) -> str:
        """Start a run of an unpaused DAG; gives the run's id."""
        body = {"logical_date": None, "conf": conf or {}}
        run_id: str = self.request("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"]
        return run_id

    def dag_run(self, dag_id: str, run_id: str) -> Json:
        """Give one run; `state` is what one looks for."""
        return self.request("GET", _run_path(dag_id, run_id))

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """Give the latest try of each task of a run, mapped ones included."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances"
        instances: list[Json] = self.request("GET", path, params={"limit": 100})["task_instances"]
        return instances

    def task_instance(self, dag_id: str, run_id: str, task_id: str) -> Json:
        """Give the latest try of one unmapped task."""
        return self.request("GET", _task_path(dag_id, run_id, task_id))

    def set_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark one task as `success`, `failed` or `skipped`, as a person does in the UI."""
        self.request("PATCH", _task_path(dag_id, run_id, task_id), json={"new_state": state})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear one task, with what comes after it, so that it runs again."""
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
        """Give one XCom's value; `None` where there is none."""
        try:
            return self.request("GET", f"{_task_path(dag_id, run_id, task_id)}/xcomEntries/{key}")["value"]
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return None
            raise

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> list[str]:
        """Give the lines of one try's log."""
        path = f"{_task_path(dag_id, run_id, task_id)}/logs/{try_number}"
        content = self.request("GET", path, params={"full_content": True})["content"]
        return [log_line(entry) for entry in content]


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{dag_id}/dagRuns/{run_id}"


def _task_path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}"


def log_line(entry: Json | str) -> str:
    """Give one entry of a task's log as text, its exceptions included."""
    if isinstance(entry, str):
        return entry
    details = [f"{detail['exc_type']}: {detail['exc_value']}" for detail in entry.get("error_detail") or []]
    return " ".join([str(entry.get("event", "")), *details])
