"""Fault by operation, waiting on a worker or in the triggerer: always one recording, and none left running."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.operators import (
    RealtimeKitPauseRecordingOperator,
    RealtimeKitResumeRecordingOperator,
    RealtimeKitStartRecordingOperator,
    RealtimeKitStartTrackRecordingOperator,
    RealtimeKitStopRecordingOperator,
)
from airflow_provider_realtimekit.sensors import RealtimeKitRecordingSensor
from tests.conftest import FAULT_ROW
from tests.once.conftest import TIMEOUT
from tests.support.tasks import Ended, run_with_retries, when

RETRIES = 2
BOTH = ("before", "after")
# By name: when it strikes, seen from the change of state at the server, and what it is.
FAULTS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "HTTP 500": (BOTH, {"status": 500, "body": {"success": False, "error": {"code": 500, "message": "oops"}}}),
    "HTTP 502": (BOTH, {"status": 502, "body": "<html>bad gateway</html>"}),
    "HTTP 503": (BOTH, {"status": 503}),
    "HTTP 504": (BOTH, {"status": 504}),
    "reset": (BOTH, {"reset": True}),
    "no answer": (BOTH, {"delay": 2 * TIMEOUT}),
    "200, not JSON": (BOTH, {"status": 200, "body": "<html>welcome</html>"}),
    "200, empty": (BOTH, {"status": 200, "body": ""}),
    "200, success: false": (BOTH, {"status": 200, "body": {"success": False, "error": {"message": "no"}}}),
    "cut off": (("after",), {"cut": 20}),
    "slow drip": (("after",), {"rate": 2000}),
    "429": (("before",), {"status": 429, "headers": {"Retry-After": "1"}}),
    "three times 503": (("before",), {"status": 503, "count": 3}),
}
STARTS = {"start": RealtimeKitStartRecordingOperator, "start_track": RealtimeKitStartTrackRecordingOperator}
FEWER = ("HTTP 502", "reset", "no answer", "200, not JSON", "200, success: false", "429")


def rows() -> Iterator[tuple[str, str, str, bool]]:
    """Give fault, moment, operation and whether to wait in the triggerer."""
    for name, (moments, _) in FAULTS.items():
        for moment in moments:
            for deferrable in (False, True):
                yield name, moment, "start", deferrable
                if name in FEWER:
                    for operation in ("start_track", "active", "get", "list", "stop", "pause", "resume"):
                        is_waited_for = operation not in ("pause", "resume")
                        if operation in ("start_track", "stop") or (moment == "before" and is_waited_for >= deferrable):
                            yield name, moment, operation, deferrable


@pytest.mark.parametrize(("name", "moment", "operation", "deferrable"), list(rows()))
def test_one_recording_is_started_and_none_left_running(
    quick: EmulatorServer,
    record_property: Callable[[str, object], None],
    name: str,
    moment: str,
    operation: str,
    deferrable: bool,
) -> None:
    quick.settings.empty_seconds = 0.05
    struck = "action" if operation in ("stop", "pause", "resume") else operation
    fault = {"operation": struck, "count": 1, "when": moment, **FAULTS[name][1]}
    ended = scenario(quick, operation, deferrable, fault)
    started = quick.world.recordings()
    running = [recording.id for recording in started if recording.status in ("INVOKED", "RECORDING", "PAUSED")]
    tries = f" at try {ended.tries}" if ended.tries > 1 else ""
    sees = f"{ended.state}{tries}" if ended.state == "success" else f"{ended.state}: {type(ended.error).__name__}"
    waits = "triggerer" if deferrable else "worker"
    row = f"{name} ({moment}) | {operation} | {waits} | {sees} | {len(started)} | {len(running)}"
    record_property(FAULT_ROW, row)
    assert (len(started), len(running)) == (1, 0), ended.error
    assert ended.state == "success", ended.error
    assert ended.result["id"] == started[0].id
    assert not quick.faults.pending(), "the fault has not struck"


def scenario(quick: EmulatorServer, operation: str, deferrable: bool, fault: dict[str, Any]) -> Ended:
    if operation in STARTS or operation in ("active", "list"):
        quick.faults.add(**fault)
        return start_and_wait(quick, STARTS.get(operation, RealtimeKitStartRecordingOperator), deferrable)
    started = run_with_retries(lambda: RealtimeKitStartRecordingOperator(task_id="start", meeting_id="m"), RETRIES)
    recording_id = started.result["id"]
    if operation == "get":
        quick.faults.add(**fault)
        when(lambda: not quick.faults.pending(), lambda: quick.world.leave("m"))
        return run_with_retries(
            lambda: RealtimeKitRecordingSensor(
                task_id="wait", recording_id=recording_id, deferrable=deferrable, poke_interval=0.05, timeout=20
            ),
            RETRIES,
        )
    quick.world.jump(recording_id, "PAUSED" if operation == "resume" else "RECORDING")
    quick.faults.add(**fault)
    if operation == "stop":
        return stop_and_wait(recording_id, deferrable)
    action = RealtimeKitPauseRecordingOperator if operation == "pause" else RealtimeKitResumeRecordingOperator
    acted = run_with_retries(lambda: action(task_id="act", recording_id=recording_id), RETRIES)
    assert acted.result["status"] == ("PAUSED" if operation == "pause" else "RECORDING"), acted.error
    return stop_and_wait(recording_id, deferrable)


def start_and_wait(quick: EmulatorServer, operator: Any, deferrable: bool) -> Ended:
    # Once it is waited for, people leave and the recording ends.
    when(lambda: quick.ledger.count("get") >= 1, lambda: quick.world.leave("m"))
    return run_with_retries(
        lambda: operator(
            task_id="start",
            meeting_id="m",
            wait_for_completion=True,
            deferrable=deferrable,
            poll_interval=0.05,
            timeout=20,
        ),
        RETRIES,
    )


def stop_and_wait(recording_id: str, deferrable: bool) -> Ended:
    return run_with_retries(
        lambda: RealtimeKitStopRecordingOperator(
            task_id="stop",
            recording_id=recording_id,
            wait_for_completion=True,
            deferrable=deferrable,
            poll_interval=0.05,
            timeout=20,
        ),
        RETRIES,
    )
