"""Whether to send a request again, and how long to wait before: pure decisions without a network."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial

import httpx

from airflow_provider_realtimekit import metrics
from airflow_provider_realtimekit.api.flow import Flow, T
from airflow_provider_realtimekit.api.headers import parse_retry_after
from airflow_provider_realtimekit.api.rate_limit import RateLimiter
from airflow_provider_realtimekit.defaults import RETRY_TIMEOUT
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitRateLimitError,
)
from airflow_provider_realtimekit.redaction import redact_error

# These fail before a byte of the request is sent.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

Outcome = httpx.Response | httpx.RequestError
# A driver is told what to send (a request) or how long to sleep (seconds), and sends back what came of it.
Steps = Generator[httpx.Request | float, Outcome | None, T]


@dataclass(frozen=True)
class RetryPolicy:
    """How patient a caller is.

    :param retry_timeout: seconds from the first try after which no further one is begun. A ``Retry-After`` that does
        not fit in is raised as a :class:`~.exceptions.RealtimeKitRateLimitError` that carries it. ``0``: never
        try again.
    :param base: seconds; the first wait is drawn from 0 to ``base``, each further one from twice as much
    :param cap: seconds; no wait is drawn from more than that
    :param draw: the source of chance, from 0 to 1
    :param clock: seconds, never going back
    """

    retry_timeout: float = RETRY_TIMEOUT
    base: float = 1.0
    cap: float = 30.0
    draw: Callable[[], float] = field(default=random.random, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def next_wait(self, request: httpx.Request, outcome: Outcome, tries: int, elapsed: float) -> float | None:
        """Return the seconds to wait before the request is sent again, ``None`` for not at all.

        :param tries: how often it was sent
        :param elapsed: seconds since it was first sent
        """
        if not may_repeat(request, outcome):
            return None
        backoff = self.draw() * min(self.cap, self.base * 2.0 ** min(tries - 1, 16))
        asked = parse_retry_after(outcome.headers.get("retry-after")) if isinstance(outcome, httpx.Response) else None
        # The jitter comes on top of what was asked for, so that not all who were told the same come back at once.
        wait = backoff if asked is None else asked + self.draw() * self.base
        return wait if elapsed + wait <= self.retry_timeout and self.retry_timeout > 0 else None


def may_repeat(request: httpx.Request, outcome: Outcome) -> bool:
    """Whether sending the request again can do no harm: a start only if it surely was not processed."""
    if isinstance(outcome, httpx.RequestError):
        return isinstance(outcome, _NEVER_SENT) or request.method != "POST"
    if request.method == "POST":
        return outcome.status_code == 429
    return outcome.status_code in (408, 429) or outcome.status_code >= 500


@dataclass(frozen=True)
class Rules:
    """What every request of a client goes by.

    :param policy: how patient the caller is
    :param gate: what the token's quota allows
    :param token: what no error may say, even where an answer echoes it
    """

    policy: RetryPolicy
    gate: RateLimiter
    token: str


def steps(flow: Flow[T], rules: Rules, *, polling: bool) -> Steps[T]:
    """Run a flow's requests by the rules: every send and every wait is a step for a driver.

    :param polling: whether this is polling, which yields to starts and stops
    """
    advance: Callable[[], httpx.Request | float] = partial(next, flow)
    try:
        while True:
            step = advance()
            if isinstance(step, httpx.Request):
                advance = _answer(flow, step, (yield from _tries(step, rules, polling)))
            else:
                yield step
                advance = partial(next, flow)
    except StopIteration as stop:
        result: T = stop.value
        return result
    except RealtimeKitError as error:
        redact_error(error, [rules.token])
        raise


def _answer(flow: Flow[T], request: httpx.Request, outcome: Outcome) -> Callable[[], httpx.Request | float]:
    if isinstance(outcome, httpx.Response):
        return partial(flow.send, outcome)
    return partial(flow.throw, _no_answer(request, outcome))


def _tries(request: httpx.Request, rules: Rules, polling: bool) -> Steps[Outcome]:
    policy = rules.policy
    began = policy.clock()
    tries = 0
    while True:
        yield from _pass_gate(rules, polling, began)
        outcome = yield request
        if outcome is None:
            raise TypeError("a driver must send back what came of a request")
        _heed(request, outcome, rules.gate)
        tries += 1
        wait = policy.next_wait(request, outcome, tries, policy.clock() - began)
        if wait is None:
            return outcome
        yield wait


def _pass_gate(rules: Rules, polling: bool, began: float) -> Steps[None]:
    """Wait until the quota allows a request; polling has all the time, another caller as much as it is patient."""
    policy = rules.policy
    while (wait := rules.gate.acquire(polling=polling)) > 0:
        if not polling and policy.clock() - began + wait > policy.retry_timeout:
            raise RealtimeKitRateLimitError(
                f"the quota is spent; requests go on in {wait:.0f} s", status=429, retry_after=wait
            )
        yield wait


def _heed(request: httpx.Request, outcome: Outcome, gate: RateLimiter) -> None:
    operation = str(request.extensions.get("operation", "other"))
    if isinstance(outcome, httpx.Response):
        gate.update_from(outcome)
        metrics.request(operation, str(outcome.status_code))
    else:
        metrics.request(operation, type(outcome).__name__)


def _no_answer(request: httpx.Request, error: httpx.RequestError) -> RealtimeKitConnectionError:
    """Tell of an error without what it may quote: only its kind and where it was sent."""
    processed = False if isinstance(error, _NEVER_SENT) else None
    return RealtimeKitConnectionError(
        f"no answer from {request.url.host} to {request.method} ({type(error).__name__})", processed=processed
    )
