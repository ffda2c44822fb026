"""One run of the demo: Airflow records a meeting, downloads the file and makes a report of it."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.local_airflow import LocalAirflow
from scripts.local_emulator import LocalEmulator
from scripts.progress import as_path, changed, clock, failed_tasks, now_states, results

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.progress import ProgressPrinter

ROOT = Path(__file__).resolve().parent.parent
DAG_ID = "example_record_meeting"
MEETING_ID = "demo-meeting"
PARTICIPANTS = ["ann", "ben"]

# The emulator runs ten times as fast as real time. A meeting of 3 seconds, and the time that the tasks need, make about
# a minute of recording. The upload of 40 seconds lasts 4, so that the DAG has to wait for it.
SPEED = 10
MEETING_MINUTES = 0.05
EMULATOR = ["--speed", str(SPEED), "--uploading-seconds", "40"]

RUN_SECONDS = 240.0
LOG_LINES = 30


class Demo:
    """One run of the demo in one folder. A signal may interrupt every method except `stop`."""

    def __init__(self, printer: ProgressPrinter, folder: Path) -> None:
        self._printer = printer
        self._folder = folder
        self._output = folder / "output"
        self._emulator: LocalEmulator | None = None
        self._airflow: LocalAirflow | None = None

    def run(self, stay: bool) -> bool:
        """Start the emulator and Airflow, run the DAG, and return whether it succeeded."""
        _empty(self._output)
        emulator = self._start_emulator()
        airflow = self._start_airflow(emulator)
        run_id = self._trigger(airflow)
        succeeded = self._follow(airflow, run_id)
        if succeeded:
            self._print_results(airflow, run_id)
        else:
            self._print_failures(airflow, run_id)
        if stay:
            # A signal is the usual end of this, and not a failure.
            with suppress(SystemExit):
                self._stay(airflow)
        return succeeded

    def stop(self) -> None:
        """Stop Airflow and the emulator, as far as they were started."""
        # Airflow first, so that its tasks can still stop their recordings.
        if self._airflow:
            self._airflow.stop(grace=3.0)
        if self._emulator:
            self._emulator.stop()

    def _start_emulator(self) -> LocalEmulator:
        emulator = self._emulator = LocalEmulator(self._folder, EMULATOR)
        emulator.start_and_wait()
        meeting = {"title": "A demonstration", "participants": PARTICIPANTS}
        emulator.control.put(f"meetings/{MEETING_ID}", json=meeting).raise_for_status()
        self._printer.print_progress("RealtimeKit", f"listens on {emulator.base_url} (the emulator)")
        return emulator

    def _start_airflow(self, emulator: LocalEmulator) -> LocalAirflow:
        connection = emulator.connection("demo-account", "demo-app", "demo-token")
        airflow = self._airflow = LocalAirflow(
            self._folder / "airflow",
            ROOT / "example_dags",
            environment={"AIRFLOW_CONN_REALTIMEKIT_DEFAULT": connection},
            empty_database=self._folder / f"empty-{version('apache-airflow-core')}.db",
        )
        self._printer.print_progress("Airflow", "starts: API server, scheduler, DAG processor, triggerer")
        airflow.start_and_wait()
        airflow.wait_for_dag(DAG_ID)
        self._printer.print_progress("Airflow", f"listens on {airflow.url}")
        return airflow

    def _trigger(self, airflow: LocalAirflow) -> str:
        conf = {"meeting_id": MEETING_ID, "minutes": MEETING_MINUTES, "destination": str(self._output)}
        airflow.api.unpause(DAG_ID)
        run_id = airflow.api.trigger(DAG_ID, conf)
        self._printer.print_progress("DAG run", f"{DAG_ID} {run_id}")
        return run_id

    def _follow(self, airflow: LocalAirflow, run_id: str) -> bool:
        states: dict[str, str] = {}

        def has_ended() -> bool:
            nonlocal states
            # The run's state first: a task that changes between the two calls is then in the second answer.
            run_state = airflow.api.dag_run(DAG_ID, run_id)["state"]
            now = now_states(airflow.api.task_instances(DAG_ID, run_id))
            for name, state in changed(states, now).items():
                self._printer.print_progress(name, state)
            states = now
            return run_state in {"success", "failed"}

        airflow.wait_for(has_ended, "the DAG run has ended", RUN_SECONDS)
        return bool(airflow.api.dag_run(DAG_ID, run_id)["state"] == "success")

    def _print_results(self, airflow: LocalAirflow, run_id: str) -> None:
        report = as_path(airflow.api.xcom(DAG_ID, run_id, "page"))
        took = clock(self._printer.seconds)
        self._printer.print_lines("", f"Succeeded in {took}. The results are in {short(self._output)}:")
        self._printer.print_indented(results(self._output))
        if report:
            self._printer.print_lines("Open in a browser:", f"    {short(report)}")

    def _print_failures(self, airflow: LocalAirflow, run_id: str) -> None:
        self._printer.print_lines(
            "", f"FAILED after {clock(self._printer.seconds)}. Airflow's logs: {short(airflow.home)}"
        )
        for instance in failed_tasks(airflow.api.task_instances(DAG_ID, run_id)):
            self._print_log(airflow, run_id, instance)

    def _print_log(self, airflow: LocalAirflow, run_id: str, instance: Mapping[str, Any]) -> None:
        task_id = instance["task_id"]
        log = airflow.api.task_log(DAG_ID, run_id, task_id, max(1, instance["try_number"]))
        self._printer.print_lines(f"The end of the log of {task_id}:")
        self._printer.print_indented(log[-LOG_LINES:])

    def _stay(self, airflow: LocalAirflow) -> None:
        self._printer.print_lines("", f"Airflow is at {airflow.url} (no password). Ctrl-C ends it.")
        while True:
            airflow.check()
            time.sleep(1)


def short(path: Path) -> str:
    """Return a path relative to the project's folder if it is inside, or else as it is."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
