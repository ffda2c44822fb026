"""What people, machines and other users of the API may do in a world; steps of a row name these methods."""

from __future__ import annotations

from tests.once.worlds.airflow import Airflow
from tests.once.worlds.model import Model
from tests.once.worlds.rows import MEETING


class Actions:
    """The actions of one world."""

    def __init__(self, airflow: Airflow, model: Model) -> None:
        self.airflow = airflow
        self.model = model

    def run(self, name: str) -> None:
        """Run a task."""
        self.airflow.run(name)

    def mark(self, name: str, state: str) -> None:
        """Mark a task as failed or successful."""
        self.airflow.mark(name, state)

    def clear(self, name: str, schedules: float | None = None) -> None:
        """Clear a task."""
        self.airflow.clear(name, schedules=schedules)

    def clear_and_lose(self, name: str) -> None:
        """Clear a task whose worker loses its heartbeat."""
        self.airflow.clear_and_lose(name)

    def clear_another(self) -> None:
        """Clear another task of the run."""
        self.airflow.clear_another()

    def deploy(self, name: str, retries: int) -> None:
        """Deploy the DAG with another number of retries."""
        self.airflow.deploy(name, retries)

    def crash(self, name: str) -> None:
        """Kill a worker's process."""
        self.airflow.crash(name)

    def end_process(self, name: str) -> None:
        """Tell a worker's process to end."""
        self.airflow.end_process(name)

    def restart_triggerer(self, name: str) -> None:
        """Restart the triggerer."""
        self.airflow.restart_triggerer(name)

    def lose_triggerer(self, name: str) -> None:
        """Kill the triggerer."""
        self.airflow.lose_triggerer(name)

    def others_start(self, meeting: str = MEETING, reason: str = "API_CALL") -> None:
        """Have somebody else start a recording, if none runs."""
        if self.model.running(meeting) is None:
            self.model.begin(meeting, "others", prefix="theirs", reason=reason)

    def others_stop(self, meeting: str = MEETING) -> None:
        """Have somebody else stop what runs."""
        if running := self.model.running(meeting):
            self.model.end(running, by="others")

    def leave(self, meeting: str = MEETING) -> None:
        """End the meeting."""
        self.model.leave(meeting)
