"""A recording as setup and teardown of some work, on real Airflow."""

from __future__ import annotations

import httpx
import pytest

from scripts.local_airflow import LocalAirflow
from tests.system.test_airflow import start, state_of


@pytest.mark.parametrize("fail", [False, True])
def test_the_recording_is_stopped_after_success_and_failure_of_the_work(
    airflow_stack: LocalAirflow, emulator_control: httpx.Client, fail: bool
) -> None:
    run_id = start(airflow_stack, "example_setup_teardown", {"meeting_id": "webinar", "fail": fail})
    assert airflow_stack.wait_for_run("example_setup_teardown", run_id, timeout=180) == (
        "failed" if fail else "success"
    )
    assert state_of(airflow_stack, "example_setup_teardown", run_id) == {
        "start_recording": "success",
        "hold_webinar": "failed" if fail else "success",
        "stop_recording": "success",
    }
    ledger = emulator_control.get("ledger").json()
    assert len(ledger["started"]) == 1
    assert ledger["running"] == []
