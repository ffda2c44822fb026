"""The list operator: its requests, its result, its limit and its log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.exceptions import RealtimeKitAuthError, RealtimeKitInputError
from airflow_provider_realtimekit.operators import RealtimeKitListRecordingsOperator
from tests.conftest import TOKEN
from tests.support.tasks import Ended, run_task


class Listing(RealtimeKitListRecordingsOperator):
    """Runs the operator, and collects its log."""

    log = logging.getLogger("listing")


def run(**arguments: Any) -> Ended:
    return run_task(lambda: Listing(task_id="list", **arguments))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "listing"]


def test_ids_are_sorted_by_invocation(emulator: EmulatorServer) -> None:
    ids = emulator.world.seed(130, status="RECORDING")
    assert run().result == ids
    assert run(sort_order="{{ 'DESC' }}").result == ids[::-1]
    assert emulator.ledger.count("list") == 4, "two pages each"


def test_every_filter_is_templated_and_sent(emulator: EmulatorServer) -> None:
    emulator.world.open_meeting("m-1", title="The weekly")
    (wanted,) = emulator.world.seed(1, status="UPLOADED", meeting_id="m-1")
    emulator.world.seed(1, status="RECORDING", meeting_id="m-1")
    emulator.world.seed(2, status="UPLOADED")
    filters = {
        "meeting_id": "{{ 'm-1' }}",
        "status": "{{ 'UPLOADED' }}",
        "search": "{{ 'weekly' }}",
        "expired": "{{ false }}",
        "start_time": "{{ '2020-01-01' }}",
        "end_time": "{{ '2999-01-01T00:00:00Z' }}",
    }
    ended = run(**filters)
    assert ended.result == [wanted], ended.error
    query = emulator.ledger.requests[-1].query
    for part in ("meeting_id=m-1", "status=UPLOADED", "search=weekly", "expired=false", "start_time=2020", "end_time="):
        assert part in query
    assert set(filters) | {"limit", "sort_order", "fields"} < set(RealtimeKitListRecordingsOperator.template_fields)


@pytest.mark.parametrize(("name", "value"), [("meeting_id", "other"), ("search", "nobody"), ("expired", True)])
def test_recordings_that_do_not_match_are_left_out(emulator: EmulatorServer, name: str, value: Any) -> None:
    emulator.world.seed(2, status="UPLOADED")
    assert run(**{name: value}).result == []


def test_several_statuses(emulator: EmulatorServer) -> None:
    ids = [emulator.world.seed(1, status=status)[0] for status in ("RECORDING", "UPLOADED", "ERRORED")]
    assert run(status=["UPLOADED", "{{ 'ERRORED' }}"]).result == ids[1:]


def test_the_limit_holds_and_is_logged(emulator: EmulatorServer, caplog: pytest.LogCaptureFixture) -> None:
    ids = emulator.world.seed(5, status="RECORDING")
    with caplog.at_level(logging.INFO):
        assert run(limit="{{ 3 }}").result == ids[:3]
        assert said(caplog) == ["Found 3 recordings", "There are more: limit=3 left the others out"]
        caplog.clear()
        assert run(limit=5).result == ids
        assert said(caplog) == ["Found 5 recordings"]


def test_the_argument_fields_returns_json_without_links(emulator: EmulatorServer) -> None:
    (recording_id,) = emulator.world.seed(1, status="UPLOADED", seconds=42)
    (picked,) = run(fields=["recording_duration", "{{ 'status' }}"]).result
    assert picked == {"id": recording_id, "status": "UPLOADED", "recording_duration": pytest.approx(42, abs=1)}
    assert next(iter(picked)) == "id"
    (complete,) = run(fields="all").result
    assert complete["meeting"]["id"]
    assert not [name for name in complete if "url" in name and name != "download_url_expiry"]
    assert "ignature" not in str(complete)


def test_recordings_that_expire_soon_are_logged(emulator: EmulatorServer, caplog: pytest.LogCaptureFixture) -> None:
    emulator.settings.file_seconds = 23 * 3600
    ids = emulator.world.seed(22, status="UPLOADED")
    emulator.settings.file_seconds = 25 * 3600
    (later,) = emulator.world.seed(1, status="UPLOADED")
    emulator.settings.file_seconds = 0
    (gone,) = emulator.world.seed(1, status="UPLOADED")
    with caplog.at_level(logging.INFO):
        assert run().result == [*ids, later, gone]
    _, warning = said(caplog)
    assert warning.startswith(f"22 of them expire within 24 hours: {ids[0]} at 20")
    assert warning.endswith(" and 2 more")
    assert later not in warning
    assert gone not in warning


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 0}, "limit=0 is not allowed: must be at least 1"),
        ({"limit": "{{ 'many' }}"}, "limit='many' is not allowed: must be at least 1"),
        ({"sort_order": "UP"}, "sort_order='UP' is not allowed"),
        ({"start_time": "{{ 'yesterday' }}"}, "'yesterday' is not allowed: must be a datetime, or a time in ISO 8601"),
        ({"start_time": "2026-01-02", "end_time": "2026-01-01"}, "is after end_time"),
        ({"status": []}, "must be a status, or a list of at least one"),
        ({"fields": ["id", "download_url"]}, "fields=['id', 'download_url'] is not allowed: must be 'all' or a list"),
        ({"fields": "status"}, "fields='status' is not allowed"),
    ],
    ids=str,
)
def test_bad_input_is_named_before_any_call(emulator: EmulatorServer, arguments: dict[str, Any], message: str) -> None:
    ended = run(**arguments)
    assert (ended.state, type(ended.error)) == ("failed", RealtimeKitInputError)
    assert message in str(ended.error)
    assert emulator.ledger.count() == 0


def test_a_refused_token_fails_at_once(emulator: EmulatorServer) -> None:
    emulator.tokens.set_state(TOKEN, "refused")
    ended = run()
    assert (ended.state, type(ended.error)) == ("failed", RealtimeKitAuthError)
