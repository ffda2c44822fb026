"""The retry policy: which requests are sent again, after how many seconds, and until when."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_realtimekit.api.retry import RetryPolicy, backoff
from airflow_provider_realtimekit.defaults import RETRY_TIMEOUT
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitConnectionError,
    RealtimeKitRateLimitError,
)
from tests.support.api import API, Driver, no, ok

NEVER_SENT = [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout]
PERHAPS_SENT = [
    httpx.ReadTimeout,
    httpx.WriteTimeout,
    httpx.ReadError,
    httpx.WriteError,
    httpx.CloseError,
    httpx.RemoteProtocolError,
    httpx.DecodingError,
]
FINAL = [200, 201, 301, 400, 401, 403, 404, 405, 409, 410, 422, 423, 499]
TRANSIENT = [408, 500, 501, 502, 503, 504, 507, 520, 521, 522, 523, 524, 525, 526, 527, 529, 530, 598, 599]
TABLE = [
    *((method, error, True) for method in ("GET", "PUT", "POST") for error in NEVER_SENT),
    *((method, error, method != "POST") for method in ("GET", "PUT", "POST") for error in PERHAPS_SENT),
    *((method, status, False) for method in ("GET", "PUT", "POST") for status in FINAL),
    *((method, status, method != "POST") for method in ("GET", "PUT", "POST") for status in TRANSIENT),
    *((method, 429, True) for method in ("GET", "PUT", "POST")),
]


def outcome_of(what: Any, **headers: str) -> Any:
    return what("x") if isinstance(what, type) else httpx.Response(what, headers=headers)


def named(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else str(value)


@pytest.mark.parametrize(("method", "what", "again"), TABLE, ids=named)
def test_which_requests_are_sent_again(method: str, what: Any, again: bool) -> None:
    request = httpx.Request(method, "https://h/")
    wait = RetryPolicy(draw=lambda: 0.5).next_wait(request, outcome_of(what), 1, 0.0)
    assert (wait is not None) == again


POLICIES = st.builds(
    lambda base, factor, draw: RetryPolicy(retry_timeout=math.inf, base=base, cap=base * factor, draw=lambda: draw),
    st.floats(0.01, 10),
    st.floats(1, 100),
    st.floats(0, 1),
)


@given(POLICIES, st.integers(1, 5000))
def test_the_wait_is_random_between_zero_and_a_capped_power(policy: RetryPolicy, attempts: int) -> None:
    wait = policy.next_wait(httpx.Request("GET", "https://h/"), httpx.Response(503), attempts, 0.0)
    top = min(policy.cap, policy.base * 2.0 ** min(attempts - 1, 200))
    assert wait == pytest.approx(policy.draw() * top)


def test_the_waits_double_up_to_the_cap() -> None:
    policy = RetryPolicy(draw=lambda: 1.0, retry_timeout=math.inf)
    waits = [policy.next_wait(httpx.Request("GET", "https://h/"), httpx.Response(503), n, 0) for n in range(1, 9)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


@given(st.floats(0, 300), st.floats(0, 1), st.integers(1, 50), st.sampled_from([429, 503, 408]))
def test_the_wait_is_at_least_retry_after(retry_after: float, draw: float, attempts: int, status: int) -> None:
    policy = RetryPolicy(draw=lambda: draw)
    answer = httpx.Response(status, headers={"retry-after": str(retry_after)})
    wait = policy.next_wait(httpx.Request("GET", "https://h/"), answer, attempts, 0.0)
    assert wait is not None
    assert retry_after <= wait <= retry_after + policy.base


@given(st.floats(0, 400), st.floats(0, 400), st.floats(0, 400), st.floats(0, 1))
def test_no_attempt_begins_after_retry_timeout(
    retry_timeout: float, elapsed: float, retry_after: float, draw: float
) -> None:
    policy = RetryPolicy(retry_timeout=retry_timeout, draw=lambda: draw)
    answer = httpx.Response(429, headers={"retry-after": str(retry_after)})
    wait = policy.next_wait(httpx.Request("GET", "https://h/"), answer, 1, elapsed)
    assert wait is None or elapsed + wait <= retry_timeout
    assert wait is not None or elapsed + retry_after + draw >= retry_timeout - 1e-6


def test_the_default_retry_timeout_is_longer_than_the_longest_block() -> None:
    wait = RetryPolicy(draw=lambda: 1.0).next_wait(
        httpx.Request("GET", "https://h/"), httpx.Response(429, headers={"retry-after": "300"}), 1, 10.0
    )
    assert wait is not None
    assert wait >= 300


@pytest.mark.parametrize("what", [503, 429, httpx.ConnectError, httpx.ReadTimeout], ids=named)
@pytest.mark.parametrize("base", [0.0, 1.0])
def test_retry_timeout_0_means_one_attempt(what: Any, base: float) -> None:
    policy = RetryPolicy(retry_timeout=0, base=base, draw=lambda: 0.0)
    assert policy.next_wait(httpx.Request("GET", "https://h/"), outcome_of(what), 1, 0.0) is None


@pytest.mark.parametrize("what", [*TRANSIENT, *NEVER_SENT, *PERHAPS_SENT], ids=named)
@pytest.mark.parametrize("flow", [lambda: API.get_recording("r"), lambda: API.stop_recording("r")], ids=["get", "put"])
def test_requests_are_retried_until_a_fault_ends(driver: Driver, flow: Any, what: Any) -> None:
    fault = what if isinstance(what, type) else httpx.Response(what)
    assert driver.answers(fault, fault, ok()).run(flow()).id == "rec-1"
    assert len(driver.requests) == 3
    assert driver.slept == [0.5, 1.0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_final_error_is_raised_without_a_retry(driver: Driver, status: int) -> None:
    with pytest.raises(RealtimeKitAPIError):
        driver.answers(no(status)).run(API.get_recording("r"))
    assert driver.slept == []


def test_a_lasting_fault_ends_within_retry_timeout(driver: Driver) -> None:
    with pytest.raises(RealtimeKitAPIError) as caught:
        driver.answers(lambda _: no(503)).run(API.get_recording("r"))
    assert caught.value.status == 503
    assert sum(driver.slept) <= RETRY_TIMEOUT
    assert sum(driver.slept) > RETRY_TIMEOUT - 30
    assert len(driver.requests) == len(driver.slept) + 1 < 40


def test_the_time_of_slow_requests_counts_towards_retry_timeout(driver: Driver) -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        driver.clock.now += 100
        raise httpx.ReadTimeout("slow", request=request)

    with pytest.raises(RealtimeKitConnectionError):
        driver.answers(slow).run(API.get_recording("r"))
    assert len(driver.requests) == 4


def test_each_page_of_a_list_has_its_own_retry_timeout(driver: Driver) -> None:
    pages = [ok([{"id": str(page)}]) for page in range(3)]
    faults = [no(429, **{"retry-after": "200"}) for _ in pages]
    answers = [answer for pair in zip(faults, pages, strict=True) for answer in pair]
    assert driver.answers(*answers, ok([])).walk(API.list_recordings(limit=3)) == ["0", "1", "2"]
    assert sum(driver.slept) > 600


@pytest.mark.parametrize(
    "flow",
    [
        lambda: API.get_recording("r"),
        lambda: API.stop_recording("r"),
        lambda: API.start_recording(meeting_id="m"),
        lambda: API.start_track_recording(meeting_id="m"),
    ],
    ids=["get", "put", "post", "tracks"],
)
def test_a_call_is_repeated_after_retry_after(driver: Driver, flow: Any) -> None:
    assert driver.answers(no(429, **{"retry-after": "300"}), ok()).run(flow()).id == "rec-1"
    (slept,) = driver.slept
    assert 300 <= slept <= 301


@pytest.mark.parametrize("retry_after", ["301", "330", "3600", "1e9"])
def test_a_retry_after_beyond_retry_timeout_is_raised_at_once(driver: Driver, retry_after: str) -> None:
    driver.policy = RetryPolicy(retry_timeout=300, draw=lambda: 0.5, clock=driver.clock)
    with pytest.raises(RealtimeKitRateLimitError) as caught:
        driver.answers(no(429, **{"retry-after": retry_after})).run(API.get_recording("r"))
    assert caught.value.retry_after == float(retry_after)
    assert caught.value.status == 429
    assert driver.slept == []


def test_a_connection_that_is_always_lost_is_an_error(driver: Driver) -> None:
    with pytest.raises(RealtimeKitConnectionError):
        driver.answers(*[httpx.ConnectError] * 1000).run(API.get_recording("r"))
    assert sum(driver.slept) <= RETRY_TIMEOUT


@given(st.integers(1, 5000), st.floats(0.01, 10), st.floats(0.01, 100), st.floats(0, 1))
def test_a_backoff_is_never_longer_than_its_cap(failures: int, base: float, cap: float, draw: float) -> None:
    assert 0 <= backoff(failures, base, cap, lambda: draw) <= cap
    assert backoff(failures, base, cap, lambda: draw) <= backoff(failures + 1, base, cap, lambda: draw)
