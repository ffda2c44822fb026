"""Trace three typical calls through the package, for docs/architecture.md: a start, a deferred wait, a download.

    python -m scripts.walks          # files touched, moves from one file to another, calls
    python -m scripts.walks -v       # also the number of calls of each file, in the order of the first call

A move is a call, or the resumption of a generator, in another file than the previous call on the same thread.
How often the wait polls depends on the machine: compare its moves per request.
The emulator runs in a process of its own and is not traced. Tasks are executed as a worker and a triggerer would,
without Airflow's processes around them.
"""

# Airflow and the package are imported inside functions: Airflow reads its settings from the environment when it is
# imported, and they are set at the end of this file.

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

TOKEN = "token-of-nobody"
# The recording is stopped after this time, so that the wait sees its status change between two polls.
SPEED, POLL_INTERVAL, STOP_AFTER = 20, 0.3, 1.0


@dataclass
class Trace:
    """Counts the calls into one package on all threads, during a `with` block."""

    root: str
    calls: dict[str, int] = field(default_factory=dict)
    moves: int = 0
    requests: int = 0
    _current: dict[int, str] = field(default_factory=dict)

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        path = code.co_filename
        self.requests += event == "call" and code.co_qualname == "Request.__init__" and "httpx" in path
        if event != "call" or not path.startswith(self.root) or code.co_name == "<module>":
            return
        file, thread = path.removeprefix(self.root), threading.get_ident()
        self.calls[file] = self.calls.get(file, 0) + 1
        self.moves += self._current.get(thread) != file
        self._current[thread] = file

    def __enter__(self) -> Trace:
        threading.setprofile(self)
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]

    def show(self, name: str, *, verbose: bool) -> None:
        """Print one line, and with `verbose` one for each file."""
        calls, per_request = sum(self.calls.values()), self.moves / self.requests
        print(
            f"{name:8} {len(self.calls):3} files {self.moves:5} moves {calls:5} calls "
            f"{self.requests:3} requests {per_request:5.1f} moves per request"
        )
        for file, count in self.calls.items() if verbose else ():
            print(f"{count:17} {file}")


class StateStore(dict[str, Any]):
    """Airflow 3.3's task state store: values are stored as JSON."""

    def set(self, key: str, value: Any) -> None:
        """Store a value."""
        self[key] = json.loads(json.dumps(value))


class TaskInstance:
    """The attributes of a task instance that the operators read."""

    dag_id, task_id, run_id, map_index = "dag", "task", "run", -1
    try_number, max_tries = 1, 0


def context() -> Any:
    """Return the context of a first try."""
    return {"ti": TaskInstance(), "task_state_store": StateStore()}


@contextlib.contextmanager
def emulator() -> Iterator[str]:
    """Run the emulator in a process of its own, and yield its address."""
    command = [sys.executable, "-m", "airflow_provider_realtimekit.emulator", "--port", "0", "--speed", str(SPEED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def start(meeting_id: str, trace: contextlib.AbstractContextManager[Any]) -> str:
    """Start a recording as a worker does; return its id."""
    from airflow_provider_realtimekit.operators import RealtimeKitStartRecordingOperator

    task = RealtimeKitStartRecordingOperator(task_id="start", meeting_id=meeting_id)
    with trace:
        recording_id: str = task.execute(context())["id"]
    return recording_id


def wait(recording_id: str, trace: contextlib.AbstractContextManager[Any]) -> None:
    """Wait for a recording with a deferred sensor: on a worker, in the triggerer, on a worker again."""
    from airflow.providers.common.compat.sdk import TaskDeferred

    from airflow_provider_realtimekit.sensors import RealtimeKitRecordingSensor
    from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger

    def sensor() -> RealtimeKitRecordingSensor:
        return RealtimeKitRecordingSensor(
            task_id="wait", recording_id=recording_id, deferrable=True, poke_interval=POLL_INTERVAL, timeout=60
        )

    async def event(arguments: dict[str, Any]) -> Any:
        return await anext(aiter(RealtimeKitRecordingTrigger(**arguments).run()))

    before, after = sensor(), sensor()
    with trace:
        try:
            before.execute(context())
        except TaskDeferred as deferred:
            fired = asyncio.run(event(json.loads(json.dumps(deferred.trigger.serialize()[1]))))
            after.resume_execution("execute_complete", {**(deferred.kwargs or {}), "event": fired.payload}, context())


def download(recording_id: str, trace: contextlib.AbstractContextManager[Any]) -> None:
    """Download a recording's file as a worker does."""
    from airflow_provider_realtimekit.transfers import RealtimeKitDownloadRecordingOperator

    with tempfile.TemporaryDirectory() as folder:
        task = RealtimeKitDownloadRecordingOperator(task_id="download", recording_id=recording_id, destination=folder)
        with trace:
            task.execute(context())


def stop_later(url: str, recording_id: str) -> threading.Thread:
    """Stop the recording from another thread, while the sensor waits for it."""

    def stop() -> None:
        time.sleep(STOP_AFTER)
        request = urllib.request.Request(
            f"{url}/accounts/account/realtime/kit/app/recordings/{recording_id}",
            data=b'{"action": "stop"}',
            method="PUT",
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).close()

    thread = threading.Thread(target=stop)
    thread.start()
    return thread


def main() -> None:
    """Run the three calls twice, and print the traces of the second time: the first time, modules are imported."""
    import airflow_provider_realtimekit

    root = str(Path(airflow_provider_realtimekit.__file__).parent) + os.sep
    verbose = "-v" in sys.argv
    with emulator() as url:
        connection = {"conn_type": "realtimekit", "host": url, "login": "account", "password": TOKEN}
        os.environ["AIRFLOW_CONN_REALTIMEKIT_DEFAULT"] = json.dumps({**connection, "extra": {"app_id": "app"}})
        for meeting_id in ("warm-up", "traced"):
            traces = {name: Trace(root) for name in ("start", "wait", "download")}
            recording_id = start(meeting_id, traces["start"])
            stopper = stop_later(url, recording_id)
            wait(recording_id, traces["wait"])
            stopper.join()
            download(recording_id, traces["download"])
    for name, trace in traces.items():
        trace.show(name, verbose=verbose)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        os.environ |= {"AIRFLOW__CORE__UNIT_TEST_MODE": "True", "NO_PROXY": "127.0.0.1,localhost"}
        main()
