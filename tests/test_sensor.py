"""The sensor: arguments, timeouts, and the same outcomes in every mode."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitAuthError,
    RealtimeKitInputError,
    RecordingFailedError,
    RecordingStuckError,
)
from airflow_provider_realtimekit.sensors import RealtimeKitRecordingSensor
from tests.conftest import TOKEN, connect
from tests.support.tasks import Ended, StateStore, TaskInstance, make_context, run_task, when

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke", "deferrable": False},
    "reschedule": {"mode": "reschedule", "deferrable": False},
    "deferrable": {"deferrable": True},
}


def sense(mode: str, context: dict[str, Any] | None = None, **arguments: Any) -> Ended:
    settings = {"poke_interval": 0.02, "timeout": 30.0, **MODES[mode], **arguments}
    return run_task(lambda: RealtimeKitRecordingSensor(task_id="wait", **settings), context)


def recording_in(emulator: EmulatorServer, status: str, **jump: Any) -> str:
    (recording_id,) = emulator.world.seed(1, status="RECORDING")
    emulator.world.jump(recording_id, status, **jump)
    return str(recording_id)


def count_polls(emulator: EmulatorServer) -> int:
    return emulator.ledger.count("get")


# A function for each outcome: it prepares the emulator, and returns the sensor's arguments.
def uploaded(emulator: EmulatorServer) -> dict[str, Any]:
    recording_id = recording_in(emulator, "RECORDING")
    when(lambda: count_polls(emulator) >= 2, lambda: emulator.world.jump(recording_id, "UPLOADED"))
    return {"recording_id": recording_id}


def errored(emulator: EmulatorServer) -> dict[str, Any]:
    recording_id = recording_in(emulator, "RECORDING")
    when(
        lambda: count_polls(emulator) >= 2,
        lambda: emulator.world.jump(recording_id, "ERRORED", err_message="disk full"),
    )
    return {"recording_id": recording_id}


def errored_tolerated(emulator: EmulatorServer) -> dict[str, Any]:
    return errored(emulator) | {"fail_on_error": False}


def stuck(emulator: EmulatorServer) -> dict[str, Any]:
    (recording_id,) = emulator.world.seed(1, status="INVOKED")
    emulator.world.hang(recording_id)
    return {"recording_id": recording_id, "invoked_timeout": 0.3}


def broken_once(emulator: EmulatorServer) -> dict[str, Any]:
    arguments = uploaded(emulator)
    emulator.faults.add(operation="get", count=1, skip=1, status=503)
    return arguments


def broken_for_ever(emulator: EmulatorServer) -> dict[str, Any]:
    arguments = {"recording_id": recording_in(emulator, "RECORDING")}
    emulator.faults.add(operation="get", count=None, skip=1, status=502, body="<html>bad gateway</html>")
    return arguments


def refused(emulator: EmulatorServer) -> dict[str, Any]:
    arguments = {"recording_id": recording_in(emulator, "RECORDING")}
    when(lambda: count_polls(emulator) >= 2, lambda: emulator.tokens.set_state(TOKEN, "refused"))
    return arguments


def late(emulator: EmulatorServer) -> dict[str, Any]:
    return {"recording_id": recording_in(emulator, "RECORDING"), "timeout": 0.3}


def unknown_status(emulator: EmulatorServer) -> dict[str, Any]:
    recording_id = recording_in(emulator, "TRANSCODING")
    when(lambda: count_polls(emulator) >= 3, lambda: emulator.world.jump(recording_id, "UPLOADED"))
    return {"recording_id": recording_id}


# The function, the task's state without and with soft_fail, and the error.
OUTCOMES: dict[str, tuple[Callable[[EmulatorServer], dict[str, Any]], str, str, type[Exception] | None]] = {
    "uploaded": (uploaded, "success", "success", None),
    "errored": (errored, "failed", "skipped", RecordingFailedError),
    "errored, fail_on_error=False": (errored_tolerated, "success", "success", None),
    "stuck in INVOKED": (stuck, "up_for_retry", "up_for_retry", RecordingStuckError),
    "5xx once": (broken_once, "success", "success", None),
    "5xx for ever": (broken_for_ever, "up_for_retry", "up_for_retry", RealtimeKitAPIError),
    "401": (refused, "failed", "failed", RealtimeKitAuthError),
    "timeout": (late, "failed", "skipped", None),
    "unknown status": (unknown_status, "success", "success", None),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("soft_fail", [False, True], ids=["plain", "soft_fail"])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_outcomes_are_the_same_in_every_mode(
    outcome: str, soft_fail: bool, mode: str, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, plain, soft, error = OUTCOMES[outcome]
    connect(emulator, monkeypatch, retry_timeout=0.2 if outcome == "5xx for ever" else 30)
    arguments = prepare(emulator)

    ended = sense(mode, soft_fail=soft_fail, **arguments)

    assert ended.state == (soft if soft_fail else plain), ended.error
    if ended.state == "success":
        assert next(iter(ended.result)) == "id"
        assert ended.result["id"] == arguments["recording_id"]
    elif ended.state != "skipped" and error:
        assert type(ended.error) is error
    if mode == "deferrable":
        assert ended.deferrals == 1
    if mode == "reschedule":
        assert ended.reschedules >= 1


def test_a_finished_recording_needs_one_poll_and_no_deferral(emulator: EmulatorServer) -> None:
    recording_id = recording_in(emulator, "RECORDING")
    emulator.world.jump(recording_id, "UPLOADED")
    ended = sense("deferrable", recording_id=recording_id)
    assert (ended.state, ended.deferrals, count_polls(emulator)) == ("success", 0, 1)


@pytest.mark.parametrize("soft_fail", [False, True])
def test_errored_at_the_first_poll_is_skipped_when_deferrable_too(emulator: EmulatorServer, soft_fail: bool) -> None:
    recording_id = recording_in(emulator, "RECORDING")
    emulator.world.jump(recording_id, "ERRORED", err_message="disk full")
    ended = sense("deferrable", recording_id=recording_id, soft_fail=soft_fail)
    assert (ended.state, ended.deferrals) == ("skipped" if soft_fail else "failed", 0)
    assert "disk full" in str(ended.error)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "recording_id=None and meeting_id=None: set exactly one of them"),
        ({"recording_id": "r", "meeting_id": "m"}, "recording_id='r' and meeting_id='m': set exactly one of them"),
        ({"recording_id": "{{ '' }}"}, "recording_id=None and meeting_id=None"),
        ({"meeting_id": "m"}, "invoked_after is required with meeting_id"),
        ({"meeting_id": "m", "invoked_after": "{{ 'yesterday' }}"}, "invoked_after='yesterday' is not allowed"),
        ({"recording_id": "{{ 'a/b' }}"}, "recording_id='a/b' is not allowed: must be an identifier"),
    ],
)
def test_wrong_arguments_are_named_when_rendered_and_nothing_is_sent(
    emulator: EmulatorServer, mode: str, arguments: dict[str, Any], message: str
) -> None:
    ended = sense(mode, soft_fail=True, **arguments)
    assert ended.state == "failed"
    assert isinstance(ended.error, RealtimeKitInputError)
    assert message in str(ended.error)
    assert emulator.ledger.count() == 0


@pytest.mark.parametrize("value", [0, -1, "600", None, True, float("nan")])
@pytest.mark.parametrize("name", ["invoked_timeout", "poke_interval"])
def test_durations_are_checked_when_the_dag_is_parsed(name: str, value: Any) -> None:
    with pytest.raises(RealtimeKitInputError, match=rf"{name}=.* is not allowed: must be a number of seconds"):
        RealtimeKitRecordingSensor(task_id="wait", recording_id="r", **{name: value})


@pytest.mark.parametrize("mode", MODES)
def test_a_meeting_means_its_newest_recording_since_invoked_after(emulator: EmulatorServer, mode: str) -> None:
    (old,) = emulator.world.seed(1, status="UPLOADED", meeting_id="standup")
    since = datetime.now(UTC) + timedelta(milliseconds=20)
    when(
        lambda: emulator.ledger.count("list") >= 2 and datetime.now(UTC) > since,
        lambda: emulator.world.seed(1, status="UPLOADED", meeting_id="standup"),
    )
    ended = sense(mode, meeting_id="{{ 'standup' }}", invoked_after=since)
    assert ended.state == "success", ended.error
    assert ended.result["id"] not in (None, old)


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_the_timeout_counts_from_the_first_try(emulator: EmulatorServer, mode: str) -> None:
    store = StateStore()
    recording_id = recording_in(emulator, "RECORDING")
    emulator.faults.add(operation="get", count=1, status=400)
    first = sense(mode, make_context(task_state_store=store), recording_id=recording_id, timeout=3600)
    assert first.state == "up_for_retry"
    store.values["realtimekit_first_try"]["at"] -= 3601

    retry = make_context(task_state_store=store)
    began = count_polls(emulator)
    ended = sense(mode, retry, recording_id=recording_id, timeout=3600)

    assert ended.state == "failed"
    assert count_polls(emulator) - began <= 2


def test_a_clear_restarts_the_timeout(emulator: EmulatorServer) -> None:
    store = StateStore({"realtimekit_first_try": {"try": 0, "at": time.time() - 10_000}})
    recording_id = recording_in(emulator, "RECORDING")
    when(lambda: count_polls(emulator) >= 2, lambda: emulator.world.jump(recording_id, "UPLOADED"))
    # Airflow raises max_tries when a task is cleared.
    context = make_context(ti=TaskInstance(max_tries=1), task_state_store=store)
    assert sense("deferrable", context, recording_id=recording_id, timeout=3600).state == "success"


def test_the_default_of_deferrable_is_airflows_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    assert RealtimeKitRecordingSensor(task_id="wait", recording_id="r").deferrable
    assert not RealtimeKitRecordingSensor(task_id="wait", recording_id="r", deferrable=False).deferrable


def test_fields_of_a_wait_that_another_version_stored_are_ignored() -> None:
    sensor = RealtimeKitRecordingSensor(task_id="wait", recording_id="r")
    event = {"outcome": "uploaded", "recording": {"id": "r", "status": "UPLOADED"}}
    assert sensor.execute_complete({}, event, {"recording_id": "r", "of_another_version": 1})["id"] == "r"
