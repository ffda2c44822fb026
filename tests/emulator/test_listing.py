"""Lists of recordings over HTTP: filters, order and pages."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from tests.support.emulator import ISO, STORAGES, api_error, cases, data, start


def list_ids(api: httpx.Client, **query: Any) -> list[str]:
    return [recording["id"] for recording in data(api.get("/recordings", params=query))]


def test_a_listed_recording_has_its_meeting_but_no_reasons(api: httpx.Client, emulator: EmulatorServer) -> None:
    config = {"max_seconds": 90, "storage_config": STORAGES["cloudflare"]}
    emulator.world.open_meeting("standup", title="Standup", participants=["ann"], recording_config=config)
    start(api)
    ((recording),) = data(api.get("/recordings"))
    assert (recording["meeting"]["id"], recording["meeting"]["title"]) == ("standup", "Standup")
    assert ISO.fullmatch(recording["meeting"]["created_at"])
    assert recording["meeting"]["recording_config"] == config
    assert not {"start_reason", "stop_reason"} & set(recording)
    emulator.settings.hide_secrets = True
    ((recording),) = data(api.get("/recordings"))
    assert "SK" not in str(recording)


def test_the_newest_come_first_by_default(api: httpx.Client) -> None:
    ids = [start(api, meeting_id)["id"] for meeting_id in "abc"]
    assert list_ids(api) == ids[::-1]
    assert list_ids(api, sort_by="invokedTime", sort_order="DESC") == ids[::-1]
    assert list_ids(api, sort_order="ASC") == ids


def test_pages_are_counted_from_one_and_offsets_include_both_ends(api: httpx.Client, emulator: EmulatorServer) -> None:
    ids = emulator.world.seed(7, "RECORDING")
    offsets = {1: (1, 3), 2: (4, 6), 3: (7, 7), 4: (10, 9)}
    for page_no, (start_offset, end_offset) in offsets.items():
        body = api.get("/recordings", params={"page_no": page_no, "per_page": 3, "sort_order": "ASC"}).json()
        paging = {"total_count": 7, "start_offset": start_offset, "end_offset": end_offset}
        assert body["paging"] == paging, f"page {page_no}"
        assert [recording["id"] for recording in body["data"]] == ids[3 * page_no - 3 : 3 * page_no], f"page {page_no}"


def test_page_sizes_have_a_default_and_a_maximum_without_an_error(api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.world.seed(120, "RECORDING")
    assert len(list_ids(api)) == 25
    assert len(list_ids(api, per_page=1000)) == 100
    emulator.configure(per_page=10, max_per_page=20)
    assert len(list_ids(api)) == 10
    assert len(list_ids(api, per_page=1000)) == 20


def test_pages_can_be_counted_from_zero(api: httpx.Client, emulator: EmulatorServer) -> None:
    ids = emulator.world.seed(3, "RECORDING")
    emulator.settings.first_page = 0
    assert list_ids(api, page_no=0, per_page=2, sort_order="ASC") == ids[:2]
    assert list_ids(api, page_no=1, per_page=2, sort_order="ASC") == ids[2:]


@pytest.mark.parametrize(
    ("status", "found"),
    cases(
        {
            "one": ("PAUSED", {"PAUSED"}),
            "repeated": (["PAUSED", "ERRORED"], {"PAUSED", "ERRORED"}),
            "with commas": ("PAUSED,ERRORED", {"PAUSED", "ERRORED"}),
            "both": (["PAUSED,ERRORED", "INVOKED"], {"PAUSED", "ERRORED", "INVOKED"}),
            "none has it": ("UPLOADING", set()),
        }
    ),
)
def test_filter_by_status(
    api: httpx.Client, emulator: EmulatorServer, status: str | list[str], found: set[str]
) -> None:
    emulator.settings.hang_invoked = True
    ids = {name: emulator.world.seed(1, name)[0] for name in ("INVOKED", "PAUSED", "UPLOADED", "ERRORED")}
    listed = list_ids(api, status=status)
    assert sorted(listed) == sorted(ids[name] for name in found)


@pytest.mark.parametrize(
    ("query", "found"),
    cases(
        {
            "complete id": ({"meeting_id": "m-1"}, {"m-1"}),
            "part of the id": ({"meeting_id": "m-"}, set()),
            "search in the title": ({"search": "standup"}, {"m-1"}),
            "search in the id": ({"search": "M-2"}, {"m-2"}),
            "search for what both have": ({"search": "m-"}, {"m-1", "m-2"}),
        }
    ),
)
def test_filter_by_meeting_and_search_its_id_and_title(
    api: httpx.Client, emulator: EmulatorServer, query: dict[str, str], found: set[str]
) -> None:
    emulator.world.open_meeting("m-1", title="Daily Standup", participants=["ann"])
    emulator.world.open_meeting("m-2", title="Retrospective", participants=["ann"])
    ids = {meeting_id: start(api, meeting_id)["id"] for meeting_id in ("m-1", "m-2")}
    listed = list_ids(api, **query)
    assert sorted(listed) == sorted(ids[meeting_id] for meeting_id in found)


def test_filter_by_the_time_of_invocation_with_both_ends_included(api: httpx.Client) -> None:
    first, second = start(api, "one"), start(api, "two")
    assert first["id"] in list_ids(api, start_time=first["invoked_time"])
    assert list_ids(api, end_time="2020-01-01") == []
    assert set(list_ids(api, start_time="2020-01-01T00:00:00Z")) == {first["id"], second["id"]}
    assert list_ids(api, start_time="2999-01-01T00:00:00+02:00") == []


def test_filter_by_whether_the_files_are_expired(api: httpx.Client, emulator: EmulatorServer) -> None:
    expired, available = emulator.world.seed(2)
    (running,) = emulator.world.seed(1, "RECORDING")
    emulator.world.expire(expired)
    assert list_ids(api, expired="true") == [expired]
    assert set(list_ids(api, expired="false")) == {available, running}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page_no", 0),
        ("page_no", "one"),
        ("per_page", 0),
        ("per_page", -5),
        ("status", "DONE"),
        ("status", "UPLOADED,DONE"),
        ("sort_by", "startedTime"),
        ("sort_order", "asc"),
        ("expired", "perhaps"),
        ("start_time", "yesterday"),
        ("end_time", "2026-13-01"),
    ],
)
def test_an_invalid_query_is_refused(api: httpx.Client, name: str, value: Any) -> None:
    status, message = api_error(api.get("/recordings", params={name: value}))
    assert status == 400
    assert message.startswith(name)
