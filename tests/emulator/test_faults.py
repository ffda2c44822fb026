"""What goes wrong on the way, and what the ledger makes of it."""

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


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def start(api: httpx.Client) -> httpx.Response:
    return api.post("/recordings", json={"meeting_id": "standup"})


def test_a_fault_hits_its_operation_as_often_as_it_should(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="list", count=2, status=503, body="<html>bad</html>", headers={"X-Proxy": "yes"})
    assert api.get("/recordings/unheard-of").status_code == 404
    first, second, third = (api.get("/recordings") for _ in range(3))
    assert (first.status_code, first.text, first.headers["x-proxy"]) == (503, "<html>bad</html>", "yes")
    assert first.headers["content-type"].startswith("text/html")
    assert "ratelimit" in first.headers
    assert (second.status_code, third.status_code) == (503, 200)


def test_a_fault_without_a_count_stays_until_it_is_removed(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(Fault(count=None, status=502))
    assert {api.get("/recordings").status_code for _ in range(5)} == {502}
    emulator.faults.clear()
    assert api.get("/recordings").status_code == 200


def test_a_fault_can_wait_for_its_turn(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="list", skip=2, status=500)
    assert [api.get("/recordings").status_code for _ in range(4)] == [200, 200, 500, 200]


def test_a_fault_can_answer_any_json(api: httpx.Client, emulator: EmulatorServer) -> None:
    body = {"success": False, "error": {"code": 400, "message": "no"}}
    emulator.faults.add(operation="list", body=body)
    response = api.get("/recordings")
    assert (response.status_code, response.json()) == (200, body)


def test_a_429_of_the_tests_own(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(status=429, headers={"Retry-After": "7", "Ratelimit": '"burst";r=0;t=7'})
    response = api.get("/recordings")
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert response.headers.get_list("ratelimit") == ['"burst";r=0;t=7']


@pytest.mark.parametrize(("when", "recordings"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize("fault", [{"status": 502}, {"reset": True}])
def test_a_request_is_lost_before_or_after_it_is_carried_out(
    api: httpx.Client, emulator: EmulatorServer, fault: dict[str, Any], when: str, recordings: int
) -> None:
    emulator.faults.add(operation="start", when=when, **fault)
    if "reset" in fault:
        with pytest.raises(httpx.ReadError, match="reset"):
            start(api)
    else:
        assert start(api).status_code == 502
    assert len(emulator.world.recordings()) == recordings
    assert start(api).status_code == (409 if recordings else 200)


@pytest.mark.parametrize(("when", "recordings"), [("before", 0), ("after", 1)])
def test_an_answer_can_be_late(api: httpx.Client, emulator: EmulatorServer, when: str, recordings: int) -> None:
    emulator.faults.add(operation="start", delay=0.5, when=when)
    began = time.monotonic()
    caller = threading.Thread(target=start, args=(api,))
    caller.start()
    while not emulator.ledger.requests or len(emulator.world.recordings()) < recordings:
        time.sleep(0.005)
    assert len(emulator.world.recordings()) == recordings
    assert emulator.ledger.requests[0].status is None
    caller.join()
    assert time.monotonic() - began >= 0.5
    assert len(emulator.world.recordings()) == 1


def test_a_client_that_gives_up_leaves_the_emulator_unharmed(api: httpx.Client, emulator: EmulatorServer) -> None:
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
    (recording_id,) = emulator.world.seed(1)
    url = api.get(f"/recordings/{recording_id}").json()["data"]["download_url"]
    whole = http.get(url).content
    emulator.faults.add(operation="download", cut=1_000)
    received = b""
    with http.stream("GET", url) as response, contextlib.suppress(httpx.RemoteProtocolError):
        for piece in response.iter_raw():
            received += piece
    assert received == whole[:1_000]
    rest = http.get(url, headers={"Range": "bytes=1000-"})
    assert (rest.status_code, received + rest.content) == (206, whole)


def download_url(api: httpx.Client, emulator: EmulatorServer) -> str:
    (recording_id,) = emulator.world.seed(1)
    return str(api.get(f"/recordings/{recording_id}").json()["data"]["download_url"])


def test_a_host_of_files_can_know_nothing_of_parts(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer
) -> None:
    url = download_url(api, emulator)
    emulator.faults.add(operation="download", no_ranges=True)
    whole = http.get(url, headers={"Range": "bytes=0-9"})
    assert (whole.status_code, len(whole.content)) == (200, int(whole.headers["content-length"]))
    assert "accept-ranges" not in whole.headers
    assert http.get(url, headers={"Range": "bytes=0-9"}).content == whole.content[:10]


def test_a_content_length_can_be_too_short(api: httpx.Client, http: httpx.Client, emulator: EmulatorServer) -> None:
    url = download_url(api, emulator)
    whole = http.get(url).content
    for length in (0, 1, len(whole) - 1):
        emulator.faults.add(operation="download", length=length)
        response = http.get(url)
        assert (response.headers["content-length"], response.content) == (str(length), whole[:length])


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


def chance(seed: int, operation: str = "start", **fields: Any) -> list[Fault | None]:
    faults = RandomFaults(seed=seed, **fields)
    return [faults.draw(operation, number) for number in range(200)]


def test_chance_brings_the_same_faults_for_the_same_seed_and_others_for_another() -> None:
    assert chance(1, probability=0.5) == chance(1, probability=0.5)
    assert chance(1, probability=0.5) != chance(2, probability=0.5)
    assert chance(1, probability=0.5) != chance(1, "active", probability=0.5)
    assert chance(1, probability=0) == [None] * 200
    assert None not in chance(1, probability=1)


def test_chance_hits_about_as_often_as_it_should() -> None:
    hits = sum(fault is not None for seed in range(20) for fault in chance(seed, probability=0.25))
    assert 800 < hits < 1200, "of 4000; the seeds are given, so this is the same each time"


def test_chance_knows_every_kind_and_keeps_to_those_it_is_given() -> None:
    drawn = [fault for fault in chance(1, probability=1) if fault]
    assert {fault.when for fault in drawn} == {"before", "after"}
    assert {fault.status for fault in drawn if fault.status} == {500, 502, 503, 504, 429}
    assert all(fault.when == "before" for fault in drawn if fault.status == 429)
    for is_there in (
        any(fault.delay for fault in drawn),
        any(fault.reset for fault in drawn),
        any(fault.cut is not None for fault in drawn),
        any(fault.rate for fault in drawn),
        any(isinstance(fault.body, dict) and fault.body["success"] is False for fault in drawn),
        any(isinstance(fault.body, str) and fault.status is None for fault in drawn),
    ):
        assert is_there
    only_reset = [fault for fault in chance(1, probability=1, kinds=["reset"]) if fault]
    assert len(only_reset) == 200
    assert all(fault.reset for fault in only_reset)


def test_chance_leaves_some_operations_alone(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.randomly(probability=1, operations=["start"], kinds=["error"])
    assert [api.get("/recordings").status_code for _ in range(5)] == [200] * 5
    assert start(api).status_code >= 500
    emulator.faults.clear()
    assert api.get("/recordings").status_code == 200


def outcomes(api: httpx.Client) -> list[int | str]:
    seen: list[int | str] = []
    for _ in range(30):
        try:
            seen.append(api.get("/recordings").status_code)
        except httpx.RequestError as error:
            seen.append(type(error).__name__)
    return seen


def test_what_chance_brings_is_seen_by_a_client_and_repeats(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer
) -> None:
    order = {"seed": 7, "probability": 0.5, "operations": ["list"], "seconds": 0.01}
    runs = []
    for _ in range(2):
        assert http.put("/_emulator/faults/random", json=order).json()["seed"] == 7
        runs.append(outcomes(api))
    assert runs[0] == runs[1]
    assert len(set(runs[0])) >= 4
    http.delete("/_emulator/faults")
    assert outcomes(api) == [200] * 30


def test_a_fault_that_was_told_comes_before_chance(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.randomly(probability=1, kinds=["error"])
    emulator.faults.add(operation="list", status=418)
    assert api.get("/recordings").status_code == 418
    assert api.get("/recordings").status_code >= 500


@pytest.mark.parametrize(
    "wrong", [{"probability": 1.5}, {"operations": ["lisst"]}, {"kinds": []}, {"seconds": 0}, {"typo": 1}]
)
def test_what_is_left_to_chance_is_checked(http: httpx.Client, emulator: EmulatorServer, wrong: dict[str, Any]) -> None:
    assert http.put("/_emulator/faults/random", json=wrong).status_code == 400
    with pytest.raises(ValidationError):
        emulator.faults.randomly(**wrong)


def test_faults_are_checked(http: httpx.Client, emulator: EmulatorServer) -> None:
    with pytest.raises(ValidationError):
        emulator.faults.add(operation="lisst")
    assert http.post("/_emulator/faults", json={"status": 99}).status_code == 400
    assert http.post("/_emulator/faults", json={"typo": 1}).status_code == 400
    assert emulator.faults.pending() == []


def test_the_ledger_counts_by_operation_and_answer(api: httpx.Client, emulator: EmulatorServer) -> None:
    start(api)
    start(api)
    emulator.faults.add(operation="start", reset=True)
    with pytest.raises(httpx.ReadError):
        start(api)
    api.get("/recordings?page_no=1")
    ledger = emulator.ledger
    assert (ledger.count("start"), ledger.count("start", 200), ledger.count("start", 409)) == (3, 1, 1)
    assert (ledger.count("start", "reset"), ledger.count(), ledger.count(status=200)) == (1, 4, 2)
    last = ledger.requests[-1]
    assert (last.operation, last.method, last.query, last.status) == ("list", "GET", "page_no=1", 200)
    assert ledger.requests[0].at <= last.at


def test_an_answer_to_a_request_before_a_reset_is_not_counted_after_it(
    api: httpx.Client, emulator: EmulatorServer
) -> None:
    emulator.faults.add(operation="list", delay=0.2)
    with pytest.raises(httpx.ReadTimeout):
        api.get("/recordings", timeout=0.05)
    while not emulator.ledger.requests:
        time.sleep(0.005)
    (late,) = emulator.ledger.requests
    emulator.reset()
    while late.status is None:
        time.sleep(0.005)
    assert emulator.ledger.count() == 0


def test_the_ledger_sees_tokens_that_go_astray_but_keeps_no_secrets(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer
) -> None:
    (recording_id,) = emulator.world.seed(1)
    url = api.get(f"/recordings/{recording_id}").json()["data"]["download_url"]
    http.get(url)
    assert emulator.ledger.file_host_saw_authorization == 0
    http.get(url, headers={"Authorization": "Bearer s3cr3t-t0ken"})
    assert emulator.ledger.file_host_saw_authorization == 1
    ledger = http.get("/_emulator/ledger").text
    assert "s3cr3t-t0ken" not in ledger
    assert "Signature" not in ledger


def test_the_ledger_tells_what_became_of_the_recordings(http: httpx.Client, emulator: EmulatorServer) -> None:
    (uploaded,) = emulator.world.seed(1)
    (paused,) = emulator.world.seed(1, "PAUSED")
    ledger = http.get("/_emulator/ledger").json()
    assert ledger["started"] == [uploaded, paused]
    assert ledger["by_status"] == {"UPLOADED": [uploaded], "PAUSED": [paused]}
    assert ledger["running"] == [paused]
    assert ledger["counts"] == {}


def test_a_request_that_was_sent_is_carried_out_however_late(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="start", delay=0.5)
    with pytest.raises(httpx.ReadTimeout):
        api.post("/recordings", json={"meeting_id": "standup"}, timeout=0.1)
    assert emulator.world.recordings() == []
    wait_until(lambda: len(emulator.world.recordings()) == 1)
    assert api.get("/recordings/active-recording/standup").status_code == 200


def test_a_request_that_is_lost_with_its_sender_never_is(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="start", delay=0.5, reset=True)
    with pytest.raises(httpx.ReadTimeout):
        api.post("/recordings", json={"meeting_id": "standup"}, timeout=0.1)
    wait_until(lambda: emulator.ledger.count("start", "reset") == 1)
    assert emulator.world.recordings() == []
