"""Pagination with servers that count from 0 or 1, limit the page size, add rows, and omit offsets."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_realtimekit.api.client import Client
from airflow_provider_realtimekit.api.retry import RetryPolicy
from airflow_provider_realtimekit.exceptions import RealtimeKitError, RealtimeKitInputError
from tests.support.api import API, CREDENTIALS, Driver, ok

STATUSES = ["RECORDING", "UPLOADED", "ERRORED", "NEW"]


@dataclass
class World:
    """A server with rows, oldest first, that grows between two requests."""

    total: int = 0
    cap: int = 25
    first: int = 1
    offsets: bool = True
    past_end: str = "empty"  # or "last": the last page again
    page_zero: str = "first"  # what a server that counts from 1 does with page 0: "first", "empty", "refused"
    growth: list[int] = field(default_factory=list)
    filters: bool = True
    queries: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows = [self._row(number) for number in range(self.total)]

    def _row(self, number: int) -> dict[str, Any]:
        return {"id": f"r{number}", "status": STATUSES[number % len(STATUSES)]}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        if len(self.queries) > 1 and self.growth:
            grown = len(self.rows)
            self.rows += [self._row(grown + more) for more in range(self.growth.pop())]
        self.queries.append(query)
        assert len(self.queries) < 200, "the pagination does not end"
        number = int(query["page_no"]) - self.first
        if number < 0:
            if self.page_zero == "refused":
                return httpx.Response(400, json={"success": False, "error": {"code": 400, "message": "page_no"}})
            number = 0 if self.page_zero == "first" else 10**6
        return self._page(query, number)

    def _page(self, query: dict[str, str], number: int) -> httpx.Response:
        rows = [row for row in self.rows if not self.filters or query.get("status") in (None, row["status"])]
        if query["sort_order"] == "DESC":
            rows.reverse()
        size = min(int(query["per_page"]), self.cap)
        if self.past_end == "last":
            number = min(number, max(0, math.ceil(len(rows) / size) - 1))
        page = rows[number * size : (number + 1) * size]
        if not self.offsets:
            return ok(page)
        start = number * size + 1 if page else 0
        paging = {"total_count": len(rows), "start_offset": start, "end_offset": start + len(page) - 1 if page else 0}
        return ok(page, paging=paging)


def ids(world: World, **filters: Any) -> list[str]:
    policy = RetryPolicy(retry_timeout=0)
    with Client(CREDENTIALS, policy, httpx.MockTransport(world)) as client:
        return [recording.id for recording in client.walk(API.list_recordings(**filters))]


TOTALS = st.integers(0, 40)
CAPS = st.integers(1, 12)
QUIET = st.builds(
    World,
    total=TOTALS,
    cap=CAPS,
    first=st.sampled_from([0, 1]),
    page_zero=st.sampled_from(["first", "empty", "refused"]),
    past_end=st.sampled_from(["empty", "last"]),
)
SILENT = st.builds(
    World,
    total=TOTALS,
    cap=CAPS,
    offsets=st.just(False),
    page_zero=st.sampled_from(["first", "empty", "refused"]),
    past_end=st.sampled_from(["empty", "last"]),
)
relaxed = settings(max_examples=60, deadline=None)


@relaxed
@given(QUIET | SILENT, st.sampled_from(["ASC", "DESC"]))
def test_every_recording_is_returned_once_and_in_order(world: World, order: str) -> None:
    expected = [row["id"] for row in world.rows]
    assert ids(world, sort_order=order) == (expected if order == "ASC" else expected[::-1])
    assert len(world.queries) <= math.ceil(world.total / world.cap) + 3


@relaxed
@given(st.data(), st.sampled_from(["ASC", "DESC"]), st.booleans())
def test_rows_that_are_added_between_two_pages_hide_no_recording(
    data: st.DataObject, order: str, offsets: bool
) -> None:
    cap = data.draw(st.integers(2, 8))
    growth = data.draw(st.lists(st.integers(0, cap - 1), max_size=6))
    world = World(total=data.draw(TOTALS), cap=cap, growth=growth, offsets=offsets)
    before = {row["id"] for row in world.rows}
    found = ids(world, sort_order=order)
    assert len(found) == len(set(found))
    assert before <= set(found)
    assert len(world.queries) <= math.ceil(len(world.rows) / cap) + 3


@pytest.mark.parametrize("grown", [4, 5, 9])
def test_a_full_page_of_new_rows_in_front_does_not_end_the_pagination(grown: int) -> None:
    world = World(total=20, cap=4, growth=[grown])
    before = {row["id"] for row in world.rows}
    assert before <= set(ids(world, sort_order="DESC"))
    assert len(world.queries) <= math.ceil(len(world.rows) / 4) + 3


@pytest.mark.parametrize("offsets", [True, False])
def test_a_server_that_ignores_the_page_number_ends_the_pagination(offsets: bool) -> None:
    rows = [{"id": f"r{number}"} for number in range(5)]
    paging = {"total_count": 500, "start_offset": 1, "end_offset": 5}
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        assert len(requests) < 200, "the pagination does not end"
        return ok(rows, paging=paging) if offsets else ok(rows)

    with Client(CREDENTIALS, transport=httpx.MockTransport(answer)) as client:
        assert [found.id for found in client.walk(API.list_recordings())] == [row["id"] for row in rows]
    assert len(requests) <= 4


@relaxed
@given(QUIET, st.integers(1, 45), st.sampled_from([None, "UPLOADED", ["UPLOADED", "NEW"]]), st.booleans())
def test_limit_and_statuses(world: World, limit: int, status: Any, filters: bool) -> None:
    world.filters = filters
    wanted = [row["id"] for row in world.rows if status is None or row["status"] in status]
    assert ids(world, limit=limit, status=status) == wanted[:limit]
    if status is None:
        assert len(world.queries) <= math.ceil(min(limit, world.total) / world.cap) + 3


def test_an_unknown_status_can_be_a_filter() -> None:
    assert ids(World(total=9), status="NEW") == ["r3", "r7"]
    assert ids(World(total=9), status=["NEW", "ERRORED"]) == ["r2", "r3", "r6", "r7"]


def test_an_empty_list_of_statuses_reads_no_pages() -> None:
    world = World(total=20, cap=2)
    try:
        found = ids(world, status=[])
    except RealtimeKitInputError:
        found = []
    assert found == [] or len(found) == 20
    assert found or not world.queries


def test_pages_are_fetched_when_needed_and_not_before(driver: Driver) -> None:
    world = World(total=20, cap=5)
    walk = API.list_recordings()
    assert world.queries == []
    assert driver.answers(world).walk(walk, limit=5) == ["r0", "r1", "r2", "r3", "r4"]
    assert len(world.queries) == 1
    later = World(total=20, cap=5)
    assert len(driver.answers(later).walk(API.list_recordings(), limit=6)) == 6
    assert len(later.queries) == 2


def test_both_clients_paginate_in_the_same_way(driver: Driver) -> None:
    world = World(total=23, cap=5, first=0)
    assert driver.answers(world).walk(API.list_recordings()) == [row["id"] for row in world.rows]


def test_every_page_has_the_same_filters(driver: Driver) -> None:
    world = World(total=12, cap=4)
    driver.answers(world).walk(API.list_recordings(meeting_id="m", search="s", expired=True, status="UPLOADED"))
    first = {key: value for key, value in world.queries[0].items() if key != "page_no"}
    assert first["search"] == "s"
    for query in world.queries:
        assert {key: value for key, value in query.items() if key != "page_no"} == first


def test_a_row_without_an_id_is_skipped() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        pages = {"1": [{"id": "a"}, {}, None, 5], "2": [{"id": ""}, {"id": "b"}], "3": []}
        return ok(pages[request.url.params["page_no"]])

    with Client(CREDENTIALS, transport=httpx.MockTransport(answer)) as client:
        assert [found.id for found in client.walk(API.list_recordings())] == ["a", "b"]


def test_a_page_of_unreadable_rows_does_not_end_the_pagination() -> None:
    pages = {"1": [{"id": "a"}], "2": [{"id": None}], "3": [{"id": "b"}]}

    def answer(request: httpx.Request) -> httpx.Response:
        number = request.url.params["page_no"]
        paging = {"total_count": 3, "start_offset": int(number), "end_offset": int(number)}
        return ok(pages[number], paging=paging)

    with Client(CREDENTIALS, transport=httpx.MockTransport(answer)) as client:
        assert [found.id for found in client.walk(API.list_recordings())] == ["a", "b"]


@pytest.mark.parametrize(
    "paging",
    [
        "null",
        "5",
        "[]",
        '"x"',
        "{}",
        '{"total_count": null, "start_offset": "1", "end_offset": []}',
        '{"total_count": NaN, "start_offset": 1e999, "end_offset": -1e999}',
        '{"total_count": 2.0, "start_offset": 1.0, "end_offset": 2.0}',
        '{"total_count": -1, "start_offset": -1, "end_offset": -9}',
        '{"total_count": true, "start_offset": false, "end_offset": true}',
    ],
)
def test_a_malformed_paging_block_is_ignored(paging: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        rows = '[{"id": "a"}, {"id": "b"}]' if request.url.params["page_no"] == "1" else "[]"
        return httpx.Response(200, content=f'{{"success": true, "data": {rows}, "paging": {paging}}}')

    with Client(CREDENTIALS, transport=httpx.MockTransport(answer)) as client:
        assert [found.id for found in client.walk(API.list_recordings())] == ["a", "b"]


@pytest.mark.parametrize("data", [{}, "x", 5, None])
def test_data_that_is_not_a_list_is_an_error(data: Any) -> None:
    with pytest.raises(RealtimeKitError):
        ids_of(ok(data))


def ids_of(answer: httpx.Response) -> list[str]:
    with Client(CREDENTIALS, transport=httpx.MockTransport(lambda _: answer)) as client:
        return [found.id for found in client.walk(API.list_recordings())]
