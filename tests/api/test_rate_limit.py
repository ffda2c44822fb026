"""The rate limiter: how many requests it allows, which headers it reads, and what it logs."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_realtimekit.api import rate_limit
from airflow_provider_realtimekit.api.client import AsyncClient, Client
from airflow_provider_realtimekit.api.rate_limit import RateLimiter, rate_limiter_for
from airflow_provider_realtimekit.api.retry import RetryPolicy
from airflow_provider_realtimekit.exceptions import RealtimeKitRateLimitError
from tests.support.api import API, CREDENTIALS, Clock, no, ok

LOGGER = "airflow_provider_realtimekit.api.rate_limit"


def policy(limit: int, window: int) -> httpx.Response:
    return httpx.Response(200, headers={"ratelimit-policy": f'"default";q={limit};w={window}'})


def remaining(requests: int, seconds: int) -> httpx.Response:
    return httpx.Response(200, headers={"ratelimit": f'"default";r={requests};t={seconds}'})


def make(clock: Clock, share: float = 0.5, limit: int = 0, window: int = 0) -> RateLimiter:
    limiter = RateLimiter(share, clock)
    if limit:
        limiter.update_from(policy(limit, window))
    return limiter


def count_allowed(limiter: RateLimiter, *, polling: bool) -> int:
    """Return how many requests are allowed without a wait."""
    count = 0
    while limiter.acquire(polling=polling) == 0:
        count += 1
        assert count < 5000, "the limiter allows any number of requests"
    return count


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_without_headers_1200_requests_pass_in_300_seconds(clock: Clock) -> None:
    limiter = make(clock)
    assert count_allowed(limiter, polling=False) == 1200
    assert limiter.acquire(polling=False) == 300
    clock.sleep(299)
    assert limiter.acquire(polling=False) == 1
    clock.sleep(1)
    assert count_allowed(limiter, polling=False) == 1200


def test_polling_leaves_the_rest_of_the_quota_for_other_requests(clock: Clock) -> None:
    limiter = make(clock, share=0.25)
    assert count_allowed(limiter, polling=True) == 300
    assert count_allowed(limiter, polling=False) == 900


def test_the_servers_policy_replaces_the_default(clock: Clock) -> None:
    limiter = make(clock, limit=10, window=60)
    assert count_allowed(limiter, polling=False) == 10
    assert limiter.acquire(polling=False) == 60


def test_requests_from_before_a_window_grew_are_counted(clock: Clock) -> None:
    limiter = make(clock, share=1.0, limit=100, window=10)
    for _ in range(50):
        assert limiter.acquire(polling=True) == 0
        clock.sleep(2)
    limiter.update_from(policy(60, 300))
    assert count_allowed(limiter, polling=False) == 10
    assert limiter.acquire(polling=False) == pytest.approx(200)


def test_requests_before_the_window_are_forgotten(clock: Clock) -> None:
    limiter = make(clock, limit=10_000, window=1)
    for _ in range(20_000):
        limiter.acquire(polling=True)
        clock.sleep(0.01)
    assert len(limiter._all._times) <= 5_100


def test_of_several_policies_the_strictest_counts(clock: Clock) -> None:
    limiter = make(clock)
    limiter.update_from(httpx.Response(200, headers={"ratelimit-policy": '"burst";q=100;w=10, "default";q=1200;w=300'}))
    sent = 0
    for _ in range(300):
        sent += count_allowed(limiter, polling=False)
        clock.sleep(1)
    assert sent <= 1200


def test_the_remaining_requests_of_the_header_count_until_they_expire(clock: Clock) -> None:
    limiter = make(clock)
    limiter.update_from(remaining(3, 40))
    assert count_allowed(limiter, polling=False) == 3
    assert limiter.acquire(polling=False) == 40
    clock.sleep(40)
    assert limiter.acquire(polling=False) == 0


def test_polling_leaves_the_last_tenth_of_the_remaining_requests(clock: Clock) -> None:
    limiter = make(clock)
    limiter.update_from(remaining(125, 40))
    assert count_allowed(limiter, polling=True) == 5
    assert count_allowed(limiter, polling=False) == 120


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "17"}, 17), ({}, 300), ({"retry-after": "?"}, 300)],
    ids=["retry-after", "no header", "unreadable header"],
)
def test_after_a_429_no_request_is_allowed_before_retry_after(clock: Clock, headers: Any, seconds: float) -> None:
    limiter = make(clock)
    limiter.update_from(no(429, **headers))
    clock.sleep(seconds / 2)
    limiter.update_from(ok())  # the answer to a request that was sent before the 429 does not end the block
    assert {limiter.acquire(polling=polling) for polling in (True, False)} == {seconds / 2}
    clock.sleep(seconds / 2)
    assert limiter.acquire(polling=True) == 0


def test_a_shorter_refusal_does_not_lift_a_longer_one(clock: Clock) -> None:
    limiter = make(clock)
    limiter.update_from(no(429, **{"retry-after": "100"}))
    limiter.update_from(no(429, **{"retry-after": "1"}))
    assert limiter.acquire(polling=False) == 100


@pytest.mark.parametrize("value", ["", "garbage", '"a";r=-1;t=5', '"a";r=1', '"a";r=x;t=y'])
def test_unreadable_headers_change_nothing(clock: Clock, value: str) -> None:
    limiter = make(clock)
    limiter.update_from(httpx.Response(200, headers={"ratelimit": value, "ratelimit-policy": value}))
    assert count_allowed(limiter, polling=False) == 1200


@pytest.mark.parametrize("polling", [True, False])
def test_a_block_is_logged_once_at_its_beginning_and_once_at_its_end(
    clock: Clock, caplog: pytest.LogCaptureFixture, polling: bool
) -> None:
    limiter = make(clock)
    limiter.update_from(no(429, **{"retry-after": "60"}))
    with caplog.at_level(logging.INFO, LOGGER):
        for _ in range(50):
            limiter.acquire(polling=polling)
        clock.sleep(60)
        for _ in range(100):
            limiter.acquire(polling=polling)
            clock.sleep(1)
    assert len(caplog.records) == 2


@pytest.mark.parametrize("others", [False, True], ids=["polls alone", "polls among starts"])
def test_a_quota_that_stays_used_up_does_not_fill_the_log(
    clock: Clock, caplog: pytest.LogCaptureFixture, others: bool
) -> None:
    limiter = make(clock, limit=20, window=20)
    with caplog.at_level(logging.INFO, LOGGER):
        for _ in range(600):
            limiter.acquire(polling=True)
            clock.sleep(0.5)
            if others:
                limiter.acquire(polling=False)
    assert len(caplog.records) <= 4


STEPS = st.lists(st.tuples(st.booleans(), st.floats(0, 12)), max_size=120)


@settings(max_examples=200)
@given(STEPS, st.integers(1, 12), st.integers(1, 30), st.floats(0, 1))
def test_no_window_has_more_requests_than_the_quota(
    steps: list[tuple[bool, float]], limit: int, window: int, share: float
) -> None:
    clock = Clock()
    limiter = make(clock, share, limit, window)
    sent: list[tuple[float, bool]] = []
    for polling, pause in steps:
        clock.sleep(pause)
        if limiter.acquire(polling=polling) == 0:
            sent.append((clock.now, polling))
        recent = [is_poll for moment, is_poll in sent if moment > clock.now - window]
        assert len(recent) <= limit
        assert sum(recent) <= max(1, limit * share)


@settings(max_examples=200)
@given(STEPS, st.integers(1, 12), st.integers(1, 30), st.floats(0, 1), st.none() | st.integers(0, 60))
def test_a_wait_is_just_long_enough(
    steps: list[tuple[bool, float]], limit: int, window: int, share: float, block: int | None
) -> None:
    clock = Clock()
    limiter = make(clock, share, limit, window)
    if block is not None:
        limiter.update_from(no(429, **{"retry-after": str(block)}))
    for polling, pause in steps:
        wait = limiter.acquire(polling=polling)
        assert wait <= max(window, block or 0)
        if wait > 1e-6:  # shorter waits are rounding errors
            clock.sleep(wait * 0.99)
            assert limiter.acquire(polling=polling) > 0, "the wait was longer than necessary"
            clock.sleep(wait * 0.01 + 1e-6)
            assert limiter.acquire(polling=polling) == 0, "the wait was too short"
        clock.sleep(pause)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Clock:
    """Return the clock that both clients and their rate limiters use."""
    monkeypatch.setattr(rate_limit, "RateLimiter", lambda: RateLimiter(clock=clock))
    return clock


def refuse(request: httpx.Request) -> httpx.Response:
    return no(429, **{"retry-after": "100"})


def sync_get(clock: Clock, retry_timeout: float, answer: Any, **how: Any) -> Any:
    rules = RetryPolicy(retry_timeout=retry_timeout, clock=clock, draw=lambda: 0.0)
    with Client(CREDENTIALS, rules, httpx.MockTransport(answer), clock.sleep) as client:
        return client.run(API.get_recording("r"), **how)


def async_get(clock: Clock, retry_timeout: float, answer: Any, **how: Any) -> Any:
    async def get() -> Any:
        rules = RetryPolicy(retry_timeout=retry_timeout, clock=clock, draw=lambda: 0.0)
        async with AsyncClient(CREDENTIALS, rules, httpx.MockTransport(answer), clock.asleep) as client:
            return await client.run(API.get_recording("r"), **how)

    return asyncio.run(get())


GETS = [sync_get, async_get]


@pytest.mark.parametrize("first", GETS)
@pytest.mark.parametrize("second", GETS)
def test_a_429_of_one_client_delays_the_other(limited: Clock, first: Any, second: Any) -> None:
    with pytest.raises(RealtimeKitRateLimitError):
        first(limited, 0, refuse)
    requests: list[httpx.Request] = []
    with pytest.raises(RealtimeKitRateLimitError) as raised:
        second(limited, 30, lambda request: requests.append(request) or ok())
    assert requests == []
    assert raised.value.retry_after == 100
    assert limited.slept == []


@pytest.mark.parametrize("get", GETS)
def test_polls_and_calls_with_a_long_retry_timeout_wait_for_the_end_of_a_429(limited: Clock, get: Any) -> None:
    for how in ({"retry_timeout": 0, "polling": True}, {"retry_timeout": 200}):
        with pytest.raises(RealtimeKitRateLimitError):
            get(limited, 0, refuse)
        began = limited.now
        assert get(limited, answer=lambda _: ok(), **how).id == "rec-1"
        assert limited.now - began == 100


def test_tokens_and_addresses_have_limiters_of_their_own() -> None:
    assert rate_limiter_for("https://a", "t") is rate_limiter_for("https://a", "t", 0.2)
    keys = [("https://a", "t"), ("https://a", "u"), ("https://b", "t")]
    assert len({id(rate_limiter_for(*key)) for key in keys}) == len(keys)
    assert rate_limiter_for("https://a", "t", 0.2).polling_share == 0.2


def test_a_429_of_one_token_does_not_delay_another(limited: Clock) -> None:
    with pytest.raises(RealtimeKitRateLimitError):
        sync_get(limited, 0, refuse)
    other = replace(CREDENTIALS, token="cfTok-another-one")
    with Client(other, RetryPolicy(retry_timeout=0), httpx.MockTransport(lambda _: ok())) as client:
        assert client.run(API.get_recording("r")).id == "rec-1"
