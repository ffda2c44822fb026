"""Faults over HTTP, single and random, and their effect on requests."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from airflow_provider_realtimekit.emulator import EmulatorServer, Fault
from airflow_provider_realtimekit.emulator.http.faults import RandomFaults
from tests.support.emulator import get, wait_until


def post_start(api: httpx.Client, **options: Any) -> httpx.Response:
    return api.post("/recordings", json={"meeting_id": "standup"}, **options)


def list_statuses(api: httpx.Client, count: int) -> list[int]:
    return [api.get("/recordings").status_code for _ in range(count)]


def download_url(api: httpx.Client, emulator: EmulatorServer) -> str:
    (recording_id,) = emulator.world.seed(1)
    return str(get(api, recording_id)["download_url"])


def test_a_fault_hits_its_operation_as_often_as_its_count(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="list", count=2, status=503, body="<html>bad</html>", headers={"X-Proxy": "yes"})
    assert api.get("/recordings/unheard-of").status_code == 404
    first, second, third = (api.get("/recordings") for _ in range(3))
    assert (first.status_code, first.text, first.headers["x-proxy"]) == (503, "<html>bad</html>", "yes")
    assert first.headers["content-type"].startswith("text/html")
    assert "ratelimit" in first.headers
    assert (second.status_code, third.status_code) == (503, 200)


def test_a_fault_without_a_count_stays_until_it_is_removed(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(Fault(count=None, status=502))
    assert list_statuses(api, 5) == [502] * 5
    emulator.faults.clear()
    assert api.get("/recordings").status_code == 200


def test_a_fault_can_skip_requests_first(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="list", skip=2, status=500)
    assert list_statuses(api, 4) == [200, 200, 500, 200]


def test_a_fault_can_answer_any_json(api: httpx.Client, emulator: EmulatorServer) -> None:
    body = {"success": False, "error": {"code": 400, "message": "no"}}
    emulator.faults.add(operation="list", body=body)
    response = api.get("/recordings")
    assert (response.status_code, response.json()) == (200, body)


def test_a_429_keeps_the_headers_of_its_fault(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(status=429, headers={"Retry-After": "7", "Ratelimit": '"burst";r=0;t=7'})
    response = api.get("/recordings")
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert response.headers.get_list("ratelimit") == ['"burst";r=0;t=7']


@pytest.mark.parametrize(("when", "recordings"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize("fault", [{"status": 502}, {"reset": True}], ids=["502", "reset"])
def test_a_request_is_lost_before_or_after_it_is_carried_out(
    api: httpx.Client, emulator: EmulatorServer, fault: dict[str, Any], when: str, recordings: int
) -> None:
    emulator.faults.add(operation="start", when=when, **fault)
    if "reset" in fault:
        with pytest.raises(httpx.ReadError, match="reset"):
            post_start(api)
    else:
        assert post_start(api).status_code == 502
    assert len(emulator.world.recordings()) == recordings
    assert post_start(api).status_code == (409 if recordings else 200)


@pytest.mark.parametrize(("when", "recordings"), [("before", 0), ("after", 1)])
def test_an_answer_can_be_late(api: httpx.Client, emulator: EmulatorServer, when: str, recordings: int) -> None:
    emulator.faults.add(operation="start", delay=0.5, when=when)
    began = time.monotonic()
    caller = threading.Thread(target=post_start, args=(api,))
    caller.start()
    wait_until(
        lambda: bool(emulator.ledger.requests) and len(emulator.world.recordings()) == recordings,
        "the request, and its effect if the delay is after it",
    )
    assert len(emulator.world.recordings()) == recordings
    assert emulator.ledger.requests[0].status is None
    caller.join()
    assert time.monotonic() - began >= 0.5
    assert len(emulator.world.recordings()) == 1


def test_a_client_that_times_out_does_no_harm(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="list", delay=0.3)
    with pytest.raises(httpx.ReadTimeout):
        api.get("/recordings", timeout=0.05)
    assert api.get("/recordings").status_code == 200


def test_an_answer_can_be_cut_off(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="list", cut=10)
    with pytest.raises(httpx.RemoteProtocolError, match="received 10 bytes"):
        api.get("/recordings")
    emulator.faults.add(operation="list", cut=10_000)
    assert api.get("/recordings").status_code == 200


def test_a_download_can_be_cut_off_and_resumed(api: httpx.Client, http: httpx.Client, emulator: EmulatorServer) -> None:
    url = download_url(api, emulator)
    full = http.get(url).content
    emulator.faults.add(operation="download", cut=1_000)
    received = b""
    with http.stream("GET", url) as response, contextlib.suppress(httpx.RemoteProtocolError):
        for piece in response.iter_raw():
            received += piece
    assert received == full[:1_000]
    rest = http.get(url, headers={"Range": "bytes=1000-"})
    assert (rest.status_code, received + rest.content) == (206, full)


def test_the_file_host_can_ignore_ranges(api: httpx.Client, http: httpx.Client, emulator: EmulatorServer) -> None:
    url = download_url(api, emulator)
    emulator.faults.add(operation="download", no_ranges=True)
    full = http.get(url, headers={"Range": "bytes=0-9"})
    assert (full.status_code, len(full.content)) == (200, int(full.headers["content-length"]))
    assert "accept-ranges" not in full.headers
    assert http.get(url, headers={"Range": "bytes=0-9"}).content == full.content[:10]


def test_a_content_length_can_be_too_short(api: httpx.Client, http: httpx.Client, emulator: EmulatorServer) -> None:
    url = download_url(api, emulator)
    full = http.get(url).content
    for length in (0, 1, len(full) - 1):
        emulator.faults.add(operation="download", length=length)
        response = http.get(url)
        assert (response.headers["content-length"], response.content) == (str(length), full[:length])


def test_a_content_length_can_be_too_long(api: httpx.Client, http: httpx.Client, emulator: EmulatorServer) -> None:
    url = download_url(api, emulator)
    size = len(http.get(url).content)
    emulator.faults.add(operation="download", length=size + 1)
    with pytest.raises(httpx.RemoteProtocolError, match=f"received {size} bytes, expected {size + 1}"):
        http.get(url)
    assert len(http.get(url).content) == size


def test_a_body_can_come_slowly(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="list", rate=400)
    began = time.monotonic()
    response = api.get("/recordings")
    assert response.json()["success"] is True
    assert time.monotonic() - began >= 0.9 * len(response.content) / 400


# Random faults


def draw_faults(seed: int, operation: str = "start", **fields: Any) -> list[Fault | None]:
    """Return the faults of the first 200 requests for an operation."""
    faults = RandomFaults(seed=seed, **fields)
    return [faults.draw(operation, number) for number in range(200)]


def test_random_faults_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    first = draw_faults(1, probability=0.5)
    assert draw_faults(1, probability=0.5) == first
    assert draw_faults(2, probability=0.5) != first
    assert draw_faults(1, "active", probability=0.5) != first
    assert draw_faults(1, probability=0) == [None] * 200
    assert None not in draw_faults(1, probability=1)


def test_random_faults_hit_about_as_often_as_their_probability() -> None:
    hits = sum(fault is not None for seed in range(20) for fault in draw_faults(seed, probability=0.25))
    assert 800 < hits < 1200, "of 4000; the seeds are fixed, so every run gives the same number"


#: How to recognise each kind of random fault.
RANDOM_KINDS: dict[str, Callable[[Fault], bool]] = {
    "late": lambda fault: fault.delay > 0,
    "reset": lambda fault: fault.reset,
    "error": lambda fault: fault.status in {500, 502, 503, 504},
    "limit": lambda fault: fault.status == 429 and fault.when == "before",
    "garbage": lambda fault: fault.status is None and isinstance(fault.body, str),
    "refusal": lambda fault: isinstance(fault.body, dict) and fault.body["success"] is False,
    "cut": lambda fault: fault.cut is not None,
    "slow": lambda fault: fault.rate is not None,
}


@pytest.mark.parametrize(("kind", "is_of_kind"), RANDOM_KINDS.items(), ids=RANDOM_KINDS)
def test_random_faults_have_the_kind_of_the_setting_and_every_kind_without_it(
    kind: str, is_of_kind: Callable[[Fault], bool]
) -> None:
    only = [fault for fault in draw_faults(1, probability=1, kinds=[kind]) if fault]
    assert len(only) == 200
    assert [fault for fault in only if not is_of_kind(fault)] == []
    assert [fault for fault in draw_faults(1, probability=1) if fault and is_of_kind(fault)]


def test_random_faults_lose_requests_before_and_after_but_refuse_with_429_only_before() -> None:
    faults = [fault for fault in draw_faults(1, probability=1) if fault]
    assert {fault.when for fault in faults} == {"before", "after"}
    assert {fault.status for fault in faults if fault.status} == {500, 502, 503, 504, 429}
    assert {fault.when for fault in faults if fault.status == 429} == {"before"}


def test_random_faults_hit_only_the_operations_of_the_setting(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.randomly(probability=1, operations=["start"], kinds=["error"])
    assert list_statuses(api, 5) == [200] * 5
    assert post_start(api).status_code >= 500
    emulator.faults.clear()
    assert api.get("/recordings").status_code == 200


def list_outcomes(api: httpx.Client) -> list[int | str]:
    """Return the statuses of 30 answers, or the names of the errors in their place."""
    seen: list[int | str] = []
    for _ in range(30):
        try:
            seen.append(api.get("/recordings").status_code)
        except httpx.RequestError as error:
            seen.append(type(error).__name__)
    return seen


def test_a_client_meets_random_faults_and_the_same_ones_again(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer
) -> None:
    body = {"seed": 7, "probability": 0.5, "operations": ["list"], "seconds": 0.01}
    runs = []
    for _ in range(2):
        assert http.put("/_emulator/faults/random", json=body).json()["seed"] == 7
        runs.append(list_outcomes(api))
    assert runs[0] == runs[1]
    assert len(set(runs[0])) >= 4
    http.delete("/_emulator/faults")
    assert list_outcomes(api) == [200] * 30


def test_single_faults_come_before_random_ones(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.randomly(probability=1, kinds=["error"])
    emulator.faults.add(operation="list", status=418)
    assert api.get("/recordings").status_code == 418
    assert api.get("/recordings").status_code >= 500


@pytest.mark.parametrize(
    "wrong", [{"probability": 1.5}, {"operations": ["lisst"]}, {"kinds": []}, {"seconds": 0}, {"typo": 1}], ids=str
)
def test_invalid_random_faults_are_refused(http: httpx.Client, emulator: EmulatorServer, wrong: dict[str, Any]) -> None:
    assert http.put("/_emulator/faults/random", json=wrong).status_code == 400
    with pytest.raises(ValidationError):
        emulator.faults.randomly(**wrong)


@pytest.mark.parametrize("wrong", [{"operation": "lisst"}, {"status": 99}, {"typo": 1}], ids=str)
def test_invalid_faults_are_refused(http: httpx.Client, emulator: EmulatorServer, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        emulator.faults.add(**wrong)
    assert http.post("/_emulator/faults", json=wrong).status_code == 400
    assert emulator.faults.pending() == []


def test_a_delayed_request_is_carried_out_after_its_sender_has_closed_the_connection(
    api: httpx.Client, emulator: EmulatorServer
) -> None:
    emulator.faults.add(operation="start", delay=0.5)
    with pytest.raises(httpx.ReadTimeout):
        post_start(api, timeout=0.1)
    assert emulator.world.recordings() == []
    wait_until(lambda: len(emulator.world.recordings()) == 1, "the recording")
    assert api.get("/recordings/active-recording/standup").status_code == 200


def test_a_request_that_is_reset_before_is_never_carried_out(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="start", delay=0.5, reset=True)
    with pytest.raises(httpx.ReadTimeout):
        post_start(api, timeout=0.1)
    wait_until(lambda: emulator.ledger.count("start", "reset") == 1, "the reset")
    assert emulator.world.recordings() == []
