"""What happens to a recording when its start fails: Cloudflare's own SDK in a plain task, compared with this provider.

One DAG is written twice: a task with two retries starts a recording of a meeting, and another one stops it. The first
start fails in every way that the emulator offers, before or after the server started the recording. Prints for each
what the user sees, how many recordings were started, and how many still run when the DAG has ended: with one recording
at a time, which is RealtimeKit's default, and with ``allow_multiple_recordings``. All cases run against one emulator.
The SDK's pauses between its retries are shortened; their number is unchanged.

    python benchmarks/faults.py            # about two minutes
    python benchmarks/faults.py --save     # also writes the table to faults.md

Exits with 1 if this provider did not start exactly one recording, and stop it, in every case.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

HOME = tempfile.TemporaryDirectory(prefix="realtimekit-faults-")
# Set before the imports below, because Airflow reads them when it is imported.
os.environ |= {
    "AIRFLOW_HOME": HOME.name,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
    "NO_PROXY": "127.0.0.1,localhost",
}

import cloudflare  # noqa: E402
import httpx  # noqa: E402
from airflow.exceptions import AirflowFailException  # noqa: E402
from airflow.sdk import DAG, task  # noqa: E402
from cloudflare import _base_client  # noqa: E402

from airflow_provider_realtimekit.emulator import EmulatorServer, Settings  # noqa: E402
from airflow_provider_realtimekit.operators import (  # noqa: E402
    RealtimeKitStartRecordingOperator,
    RealtimeKitStopRecordingOperator,
)

RETRIES = 2
#: Seconds for a request, the same for both.
TIMEOUT = 0.5
#: The factor by which the SDK's pauses are shortened.
SPEEDUP = 20
IDS = {"account_id": "account", "app_id": "app"}
BOTH = ("before", "after")
ERROR_BODY = {"success": False, "error": {"code": 500, "message": "Something went wrong"}}
#: By name: whether the fault happens before or after the server's change of state, and the fault itself.
FAULTS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "none": (("",), {}),
    "HTTP 500": (BOTH, {"status": 500, "body": ERROR_BODY}),
    "HTTP 502": (BOTH, {"status": 502, "body": "<html>bad gateway</html>"}),
    "HTTP 503": (BOTH, {"status": 503}),
    "HTTP 504": (BOTH, {"status": 504}),
    "HTTP 502 three times": (BOTH, {"status": 502, "count": 3}),
    "connection reset": (BOTH, {"reset": True}),
    "no answer in time": (BOTH, {"delay": 1.6 * TIMEOUT}),
    "200, not JSON": (BOTH, {"status": 200, "body": "<html>welcome</html>"}),
    "200, empty": (BOTH, {"status": 200, "body": ""}),
    "200, success: false": (BOTH, {"status": 200, "body": ERROR_BODY}),
    "answer cut off": (("after",), {"cut": 20}),
    "slow answer": (("after",), {"rate": 2000}),
    "429": (("before",), {"status": 429, "headers": {"Retry-After": "1"}}),
    "worker dies": ((*BOTH, "with the answer in hand"), {}),
}
HEAD = ("what the user sees", "started", "still run")


class Crash(BaseException):
    """The worker dies: no code of the task runs after this."""


@dataclass
class Store:
    """Airflow's task state store."""

    values: dict[str, str] = field(default_factory=dict)

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any, **_: Any) -> None:
        self.values[key] = json.dumps(value)


@dataclass(frozen=True)
class Way:
    """One of the two ways to write the DAG: two functions that return an operator each."""

    name: str
    start: Callable[..., Any]
    stop: Callable[[str], Any]


@dataclass(frozen=True)
class Seen:
    """The result of one case."""

    user_sees: str
    started: int
    running: int

    @property
    def is_right(self) -> bool:
        return (self.started, self.running) == (1, 0)


# The two DAGs


def sdk_way(base_url: str) -> Way:
    """Return the tasks as a user writes them with the SDK."""

    def client() -> Any:
        return cloudflare.Cloudflare(api_token="token", base_url=base_url, timeout=TIMEOUT)

    @task(retries=RETRIES)
    def start(meeting_id: str, allow_multiple_recordings: bool) -> str:
        with client() as api:
            answer = api.realtime_kit.recordings.start_recordings(
                **IDS, meeting_id=meeting_id, allow_multiple_recordings=allow_multiple_recordings
            )
            return str(answer.data.id)

    @task
    def stop(recording_id: str) -> None:
        with client() as api:
            api.realtime_kit.recordings.pause_resume_stop_recording(recording_id, **IDS, action="stop")

    with DAG("plain"):
        return Way(
            "SDK", lambda **arguments: start(**arguments).operator, lambda recording_id: stop(recording_id).operator
        )


def our_way() -> Way:
    """Return the tasks as a user writes them with this provider."""
    return Way(
        "ours",
        lambda **arguments: RealtimeKitStartRecordingOperator(task_id="start", retries=RETRIES, **arguments),
        lambda recording_id: RealtimeKitStopRecordingOperator(task_id="stop", recording_id=recording_id),
    )


# How they are run


def run_with_retries(make: Callable[[], Any], death: str = "") -> tuple[str, Any]:
    """Run a task with Airflow's retries; return what the user sees and the result."""
    store = Store()
    seen = ""
    for number in range(1, RETRIES + 2):
        ti = SimpleNamespace(try_number=number, max_tries=RETRIES, dag_id="dag", run_id="run", task_id="start")
        try:
            with kill_worker(death if number == 1 else ""):
                result = make().execute({"ti": ti, "task_state_store": store})
        except Crash:
            continue
        except AirflowFailException as error:
            return f"failed: {type(error).__name__}", None
        except Exception as error:
            seen = f"failed: {type(error).__name__}"
        else:
            if number > 1 or not death.startswith("with"):
                return "success" if number == 1 else f"success at try {number}", result
    return seen, None


@contextmanager
def kill_worker(death: str) -> Iterator[None]:
    """Kill the worker when it sends a start, before or after the server receives it."""
    send = httpx.Client.send

    def watched(client: httpx.Client, request: httpx.Request, **more: Any) -> httpx.Response:
        if request.method != "POST" or death not in BOTH:
            return send(client, request, **more)
        if death == "after":
            send(client, request, **more)
        raise Crash

    with mock.patch.object(httpx.Client, "send", watched):
        yield


def run_case(emulator: Any, way: Way, fault: dict[str, Any], death: str, several: bool) -> Seen:
    """Run the DAG once with one fault, and count the recordings."""
    emulator.reset()
    if fault:
        emulator.faults.add(operation="start", **fault)
    arguments = {"meeting_id": "standup", "allow_multiple_recordings": several}
    user_sees, result = run_with_retries(lambda: way.start(**arguments), death)
    emulator.faults.clear()
    if result is not None:
        way.stop(result["id"] if isinstance(result, dict) else result).execute({})
    # A request that timed out at the client may still take effect at the server.
    time.sleep(fault.get("delay", 0))
    recordings = emulator.world.recordings()
    running = [recording for recording in recordings if recording.stopped_at is None]
    return Seen(user_sees, len(recordings), len(running))


def rows(emulator: Any, ways: tuple[Way, ...]) -> Iterator[tuple[str, list[Seen]]]:
    """Yield fault, moment and the result of each way, with one recording at a time and with several."""
    for name, (moments, fields) in FAULTS.items():
        for moment in moments:
            is_death = name == "worker dies"
            fault = {"count": 1, "when": moment, **fields} if fields else {}
            cells = [
                run_case(emulator, way, fault, moment if is_death else "", several)
                for several in (False, True)
                for way in ways
            ]
            yield f"{name} | {moment}", cells


def line(*cells: Any) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(emulator: Any, ways: tuple[Way, ...]) -> Iterator[tuple[str, bool]]:
    """Yield the lines of the table, each with whether our result is right."""
    titles = [
        f"{way.name}{' (several)' if several else ''}: {part}"
        for several in (False, True)
        for way in ways
        for part in HEAD
    ]
    yield line("fault", "seen from the server's change", *titles), True
    yield line(*["---"] * (2 + len(titles))), True
    for what, cells in rows(emulator, ways):
        shown = [part for seen in cells for part in (seen.user_sees, seen.started, seen.running)]
        yield line(what, *shown), all(seen.is_right for seen in cells[1 :: len(ways)])


def run() -> tuple[list[str], bool]:
    """Run all cases; return the table's lines, and whether all our results are right."""
    logging.disable(logging.CRITICAL)
    # The meeting never ends, so that only a stop ends a recording.
    with EmulatorServer(Settings(invoked_seconds=0.02, uploading_seconds=0.02, media="tiny")) as emulator:
        connection = json.loads(emulator.connection_json(**IDS))
        connection["extra"]["timeout"] = TIMEOUT
        os.environ["AIRFLOW_CONN_REALTIMEKIT_DEFAULT"] = json.dumps(connection)
        with shorten_sdk_pauses():
            lines, rights = [], []
            for shown, is_right in table(emulator, (sdk_way(emulator.base_url), our_way())):
                print(shown, flush=True)
                lines.append(shown)
                rights.append(is_right)
    return lines, all(rights)


@contextmanager
def shorten_sdk_pauses() -> Iterator[None]:
    """Shorten the SDK's pauses between its retries."""
    clock = SimpleNamespace(**vars(time) | {"sleep": lambda seconds: time.sleep(seconds / SPEEDUP)})
    with mock.patch.object(_base_client, "time", clock):
        yield


def main() -> int:
    """Run all cases, print the table, and save it if wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help="also write the table to benchmarks/faults.md")
    options = parser.parse_args()
    lines, is_right = run()
    verdict = "Ours started one recording and stopped it in every case." if is_right else "Ours is wrong somewhere."
    print(f"\n{verdict}")
    if options.save:
        text = f"# Recordings whose start fails\n\n{introduction()}\n\n"
        Path(__file__).with_suffix(".md").write_text(text + "\n".join([*lines, "", verdict, ""]))
    return 0 if is_right else 1


def introduction() -> str:
    return (
        f"`python benchmarks/faults.py --save`, with cloudflare {version('cloudflare')} in plain `@task` functions "
        f"(“SDK”) and this provider's operators (“ours”), Airflow {version('apache-airflow')}, {RETRIES} retries, "
        "one emulator. *started*: recordings that the server started; *still run*: those that nothing had stopped "
        "when the DAG ended. *(several)*: with `allow_multiple_recordings`."
    )


if __name__ == "__main__":
    sys.exit(main())
