"""The ledger: what it counts, and that it has no secret."""

from __future__ import annotations

import httpx
import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from tests.support.emulator import bearer, get, wait_until


def post_start(api: httpx.Client) -> httpx.Response:
    return api.post("/recordings", json={"meeting_id": "standup"})


def test_requests_are_counted_by_operation_and_answer(api: httpx.Client, emulator: EmulatorServer) -> None:
    post_start(api)
    post_start(api)
    emulator.faults.add(operation="start", reset=True)
    with pytest.raises(httpx.ReadError):
        post_start(api)
    api.get("/recordings?page_no=1")
    ledger = emulator.ledger
    assert (ledger.count("start"), ledger.count("start", 200), ledger.count("start", 409)) == (3, 1, 1)
    assert (ledger.count("start", "reset"), ledger.count(), ledger.count(status=200)) == (1, 4, 2)
    last = ledger.requests[-1]
    assert (last.operation, last.method, last.query, last.status) == ("list", "GET", "page_no=1", 200)
    assert ledger.requests[0].at <= last.at


def test_an_answer_to_a_request_from_before_a_reset_is_not_counted(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="list", delay=0.2)
    with pytest.raises(httpx.ReadTimeout):
        api.get("/recordings", timeout=0.05)
    wait_until(lambda: bool(emulator.ledger.requests), "the request")
    (late,) = emulator.ledger.requests
    emulator.reset()
    wait_until(lambda: late.status is not None, "the answer")
    assert emulator.ledger.count() == 0


def test_tokens_that_reach_the_file_host_are_counted_but_no_secret_is_logged(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer
) -> None:
    (recording_id,) = emulator.world.seed(1)
    url = get(api, recording_id)["download_url"]
    http.get(url)
    assert emulator.ledger.file_host_saw_authorization == 0
    http.get(url, headers=bearer("s3cr3t-t0ken"))
    assert emulator.ledger.file_host_saw_authorization == 1
    ledger = http.get("/_emulator/ledger").text
    assert "s3cr3t-t0ken" not in ledger
    assert "Signature" not in ledger


def test_the_summary_has_the_recordings_by_status(http: httpx.Client, emulator: EmulatorServer) -> None:
    (uploaded,) = emulator.world.seed(1)
    (paused,) = emulator.world.seed(1, "PAUSED")
    ledger = http.get("/_emulator/ledger").json()
    assert ledger["started"] == [uploaded, paused]
    assert ledger["by_status"] == {"UPLOADED": [uploaded], "PAUSED": [paused]}
    assert ledger["running"] == [paused]
    assert ledger["counts"] == {}
