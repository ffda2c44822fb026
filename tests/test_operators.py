"""The operators: what they send, return and refuse, and how they change a recording."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAuthError,
    RealtimeKitInputError,
    RealtimeKitNotFoundError,
    RecordingFailedError,
    RecordingStateError,
    RecordingTimeoutError,
)
from airflow_provider_realtimekit.hooks import RealtimeKitHook
from airflow_provider_realtimekit.operators import (
    RealtimeKitPauseRecordingOperator,
    RealtimeKitResumeRecordingOperator,
    RealtimeKitStartRecordingOperator,
    RealtimeKitStartTrackRecordingOperator,
    RealtimeKitStopRecordingOperator,
)
from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger
from tests.conftest import TOKEN, connect
from tests.support.start import started
from tests.support.tasks import Ended, make_context, run_task, when

START = RealtimeKitStartRecordingOperator
TRACKS = RealtimeKitStartTrackRecordingOperator
PAUSE = RealtimeKitPauseRecordingOperator
RESUME = RealtimeKitResumeRecordingOperator
STOP = RealtimeKitStopRecordingOperator
AWS = {"type": "aws", "access_key": "AKIA-SECRET", "secret": "storage-secret", "bucket": "b", "region": "r"}


def run(operator: Any, context: dict[str, Any] | None = None, **arguments: Any) -> Ended:
    return run_task(lambda: operator(task_id="task", **arguments), context)


@pytest.fixture
def hook(emulator: EmulatorServer) -> Iterator[RealtimeKitHook]:
    with RealtimeKitHook() as hook:
        yield hook


def status_of(emulator: EmulatorServer, recording_id: str) -> str:
    return str(emulator.world.get(recording_id).status)


def recording_in(emulator: EmulatorServer, status: str, **seed: Any) -> str:
    (recording_id,) = emulator.world.seed(1, status="RECORDING", **seed)
    if status != "RECORDING":
        emulator.world.jump(recording_id, status)
    return str(recording_id)


def test_start_returns_plain_json_id_first(emulator: EmulatorServer) -> None:
    ended = run(START, meeting_id="{{ 'm-' ~ 1 }}", max_seconds="{{ 30 * 4 }}", video_config={"width": "{{ 640 }}"})
    assert ended.state == "success", ended.error
    assert next(iter(ended.result)) == "id"
    assert emulator.world.get(ended.result["id"]).meeting.id == "m-1"
    assert emulator.ledger.count("start") == 1


def test_start_of_tracks(emulator: EmulatorServer) -> None:
    ended = run(TRACKS, meeting_id="m-1", layers={"default": {"file_name_prefix": "{{ 'call' }}"}}, user_ids=["ann"])
    assert ended.state == "success", ended.error
    assert ended.result["id"] in started(emulator)


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("operator", [START, TRACKS])
def test_start_can_wait_for_the_file(emulator: EmulatorServer, operator: Any, deferrable: bool) -> None:
    when(lambda: emulator.ledger.count("get") >= 2, lambda: emulator.world.leave("m-1"))
    emulator.settings.empty_seconds = 0.05
    ended = run(
        operator, meeting_id="m-1", wait_for_completion=True, deferrable=deferrable, poll_interval=0.02, timeout=20
    )
    assert (ended.state, ended.deferrals) == ("success", int(deferrable)), ended.error
    assert ended.result["status"] == "UPLOADED"
    assert started(emulator) == [ended.result["id"]]


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_recording_that_fails_while_waited_for_fails_the_task_at_once(
    emulator: EmulatorServer, deferrable: bool
) -> None:
    when(
        lambda: emulator.ledger.count("get") >= 2,
        lambda: emulator.world.jump(started(emulator)[0], "ERRORED", err_message="no space"),
    )
    ended = run(START, meeting_id="m", wait_for_completion=True, deferrable=deferrable, poll_interval=0.02, timeout=20)
    assert ended.state == "failed"
    assert isinstance(ended.error, RecordingFailedError)
    assert "no space" in str(ended.error)


@pytest.mark.parametrize("deferrable", [False, True])
def test_waiting_ends_at_the_timeout(emulator: EmulatorServer, deferrable: bool) -> None:
    ended = run(START, meeting_id="m", wait_for_completion=True, deferrable=deferrable, poll_interval=0.02, timeout=0.2)
    assert ended.state == "failed"
    assert isinstance(ended.error, RecordingTimeoutError)
    assert "did not finish in time: it is RECORDING" in str(ended.error)


BAD_STARTS: list[tuple[Any, dict[str, Any], str]] = [
    (START, {"meeting_id": "{{ '' }}"}, "meeting_id='' is not allowed"),
    (START, {"meeting_id": "m", "max_seconds": "{{ 59 }}"}, "max_seconds='59' is not allowed: must be from 60 to"),
    (START, {"meeting_id": "m", "max_seconds": 86401}, "max_seconds=86401 is not allowed"),
    (START, {"meeting_id": "m", "audio_config": {"codec": "OPUS"}}, "audio_config.codec='OPUS' is not allowed"),
    (START, {"meeting_id": "m", "video_config": {"width": 1921}}, "video_config.width=1921 is not allowed: must"),
    (
        START,
        {"meeting_id": "m", "video_config": {"codec": "{{ 'VP8' }}"}, "audio_config": {"codec": "AAC"}},
        "audio_config.codec='AAC' is not allowed with video_config.codec='VP8'",
    ),
    (START, {"meeting_id": "m", "realtimekit_bucket_config": {"enabled": False}}, "would be lost"),
    (START, {"meeting_id": "m", "storage_config": {**AWS, "bucket": "{{ '' }}"}}, "storage_config.bucket='' is not"),
    (START, {"meeting_id": "m", "storage_config": {**AWS, "host": "h"}}, "storage of type 'aws' does not have host"),
    (TRACKS, {"meeting_id": "m", "user_ids": ["u"] * 101}, "user_ids=a list of 101 is not allowed: must be from 1"),
    (
        TRACKS,
        {"meeting_id": "m", "layers": {"default": {"file_name_prefix": "{{ 'a/b' }}"}}},
        "layers.default.file_name_prefix='a/b' is not allowed: must consist of letters",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "arguments", "message"), BAD_STARTS, ids=[case[2] for case in BAD_STARTS])
def test_bad_input_is_named_when_rendered_before_any_call(
    emulator: EmulatorServer, operator: Any, arguments: dict[str, Any], message: str
) -> None:
    ended = run(operator, **arguments)
    assert ended.state == "failed"
    assert isinstance(ended.error, RealtimeKitInputError)
    assert message in str(ended.error)
    assert "storage-secret" not in str(ended.error)
    assert emulator.ledger.count() == 0


@pytest.mark.parametrize("name", ["poll_interval", "timeout", "invoked_timeout"])
def test_durations_are_checked_when_the_dag_is_parsed(name: str) -> None:
    with pytest.raises(RealtimeKitInputError, match=f"{name}=0 is not allowed: must be a number of seconds above 0"):
        START(task_id="start", meeting_id="m", **{name: 0})


@pytest.mark.parametrize("name", ["poll_interval", "timeout", "invoked_timeout"])
@pytest.mark.parametrize("value", [float("inf"), timedelta.max, 1e12])
def test_a_duration_of_more_than_a_year_is_refused_when_the_dag_is_read(name: str, value: Any) -> None:
    with pytest.raises(RealtimeKitInputError, match=f"{name}=.* is not allowed: must be a year at most"):
        START(task_id="start", meeting_id="m", **{name: value})


def test_a_wait_that_cannot_be_stored_as_json_fails_before_the_start(
    emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RealtimeKitRecordingTrigger, "serialize", lambda _: ("path", {"x": object()}))
    ended = run(START, meeting_id="m", wait_for_completion=True, deferrable=True)
    assert ended.state == "failed"
    assert "cannot be stored as JSON" in str(ended.error)
    assert emulator.ledger.count() == 0


@pytest.mark.parametrize(
    "arguments", [{}, {"deferrable": True}, {"wait_for_completion": True, "deferrable": False}], ids=repr
)
def test_a_start_that_does_not_defer_builds_no_trigger(
    emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]
) -> None:
    built: list[Any] = []
    monkeypatch.setattr(RealtimeKitRecordingTrigger, "__init__", lambda self, **_: built.append(self))
    when(lambda: emulator.ledger.count("get") >= 1, lambda: emulator.world.leave("m"))
    emulator.settings.empty_seconds = 0.05
    ended = run(START, meeting_id="m", poll_interval=0.02, timeout=20, **arguments)
    assert ended.state == "success", ended.error
    assert built == []


def test_stop_and_wait(emulator: EmulatorServer) -> None:
    recording_id = recording_in(emulator, "RECORDING")
    ended = run(
        STOP, recording_id=recording_id, wait_for_completion=True, deferrable=True, poll_interval=0.02, timeout=20
    )
    assert ended.state == "success", ended.error
    assert ended.result["status"] == "UPLOADED"


@pytest.mark.parametrize("status", ["UPLOADING", "UPLOADED", "ERRORED"])
def test_stopping_a_stopped_recording_succeeds(emulator: EmulatorServer, status: str) -> None:
    recording_id = recording_in(emulator, status)
    ended = run(STOP, recording_id=recording_id)
    assert ended.state == "success", ended.error
    assert ended.result["id"] == recording_id


@pytest.mark.parametrize(
    ("operator", "begin", "end"),
    [
        (PAUSE, "RECORDING", "PAUSED"),
        (PAUSE, "PAUSED", "PAUSED"),
        (RESUME, "PAUSED", "RECORDING"),
        (RESUME, "RECORDING", "RECORDING"),
    ],
)
def test_pause_and_resume_succeed_if_the_recording_has_the_status(
    emulator: EmulatorServer, operator: Any, begin: str, end: str
) -> None:
    recording_id = recording_in(emulator, begin)
    ended = run(operator, recording_id=recording_id)
    assert ended.state == "success", ended.error
    assert status_of(emulator, recording_id) == end


@pytest.mark.parametrize(("operator", "status"), [(PAUSE, "UPLOADED"), (RESUME, "ERRORED")])
def test_an_action_without_effect_is_an_error(emulator: EmulatorServer, operator: Any, status: str) -> None:
    ended = run(operator, recording_id=recording_in(emulator, status))
    assert ended.state == "up_for_retry"
    assert isinstance(ended.error, RecordingStateError)
    assert f"did not take effect: its status is {status}" in str(ended.error)


@pytest.mark.parametrize("fault", [{"status": 400}, {"status": 200, "body": "garbage"}], ids=str)
def test_after_an_error_the_status_of_the_recording_decides(emulator: EmulatorServer, fault: dict[str, Any]) -> None:
    recording_id = recording_in(emulator, "RECORDING")
    emulator.faults.add(operation="action", count=1, when="after", **fault)
    ended = run(STOP, recording_id=recording_id)
    assert ended.state == "success", ended.error
    assert emulator.ledger.count("action") == 1


@pytest.mark.parametrize("operator", [PAUSE, STOP])
def test_a_meeting_id_means_its_active_recording(emulator: EmulatorServer, operator: Any) -> None:
    recording_id = recording_in(emulator, "RECORDING", meeting_id="standup")
    ended = run(operator, meeting_id="{{ 'stand' }}up")
    assert ended.state == "success", ended.error
    assert ended.result["id"] == recording_id


def test_stopping_a_meeting_without_active_recording_succeeds(emulator: EmulatorServer) -> None:
    recording_in(emulator, "UPLOADED", meeting_id="standup")
    ended = run(STOP, meeting_id="standup", wait_for_completion=True)
    assert (ended.state, ended.result) == ("success", None)


@pytest.mark.parametrize("operator", [PAUSE, RESUME])
def test_pausing_a_meeting_without_active_recording_is_an_error(emulator: EmulatorServer, operator: Any) -> None:
    emulator.world.open_meeting("standup")
    ended = run(operator, meeting_id="standup")
    assert isinstance(ended.error, RecordingStateError)
    assert "meeting standup has no active recording" in str(ended.error)


@pytest.mark.parametrize("operator", [PAUSE, RESUME, STOP])
@pytest.mark.parametrize("arguments", [{}, {"recording_id": "r", "meeting_id": "m"}], ids=repr)
def test_exactly_one_of_recording_and_meeting_is_required(
    emulator: EmulatorServer, operator: Any, arguments: dict[str, str]
) -> None:
    ended = run(operator, **arguments)
    assert (ended.state, type(ended.error)) == ("failed", RealtimeKitInputError)
    assert "set exactly one of them" in str(ended.error)


@pytest.mark.parametrize("operator", [PAUSE, RESUME, STOP])
def test_unknown_recordings_and_refused_tokens_raise_different_errors(emulator: EmulatorServer, operator: Any) -> None:
    assert type(run(operator, recording_id="unknown").error) is RealtimeKitNotFoundError
    emulator.tokens.set_state(TOKEN, "refused")
    ended = run(operator, recording_id="unknown")
    assert (ended.state, type(ended.error)) == ("failed", RealtimeKitAuthError)
    assert TOKEN not in str(ended.error)


@pytest.mark.parametrize("operator", [START, TRACKS, PAUSE, RESUME, STOP])
def test_every_argument_that_may_be_computed_is_templated(operator: Any) -> None:
    fixed = {"self", "kwargs", "wait_for_completion", "deferrable", "poll_interval", "timeout", "invoked_timeout"}
    fixed |= {"stop_on_kill", "stop_reused", "mark_name"}
    arguments = {
        name
        for kind in operator.__mro__
        if kind.__module__.startswith("airflow_provider_realtimekit")
        for name in inspect.signature(kind.__init__).parameters
    }
    assert arguments - fixed == set(operator.template_fields)


def test_another_connection_and_app_can_be_templated(emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(emulator, monkeypatch, "other")
    monkeypatch.delenv("AIRFLOW_CONN_REALTIMEKIT_DEFAULT")
    context = make_context(params={"conn": "other"})
    ended = run(START, context, meeting_id="m", realtimekit_conn_id="{{ params.conn }}", app_id="{{ 'app-7' }}")
    assert ended.state == "success", ended.error
    assert "/kit/app-7/" in emulator.ledger.requests[-1].path
