"""The only network I/O to the API: one synchronous and one asynchronous client, which run flows.

Both send a flow's requests in the same way: wait for the rate limiter, send, ask the retry policy after a failure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Self

import httpx
from airflow.providers.common.compat.sdk import Stats

from airflow_provider_realtimekit import __version__, metrics
from airflow_provider_realtimekit.api.flow import Flow, T
from airflow_provider_realtimekit.api.pagination import PageWalk
from airflow_provider_realtimekit.api.rate_limit import rate_limiter_for
from airflow_provider_realtimekit.api.recordings import DEFAULT_BASE_URL, RecordingsAPI
from airflow_provider_realtimekit.api.retry import NEVER_SENT, TRANSIENT_STATUSES, RetryPolicy, SendResult
from airflow_provider_realtimekit.defaults import POLLING_SHARE, REQUEST_TIMEOUT, RETRY_TIMEOUT
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitRateLimitError,
)
from airflow_provider_realtimekit.models import Recording
from airflow_provider_realtimekit.redaction import redact_error

# The certificates that requests trust, those for files included. Made at import, which the triggerer does on a
# thread: reading all certificates would block its event loop.
TLS = httpx.create_ssl_context()


@dataclass(frozen=True)
class Credentials:
    """The checked fields of a connection: token, account, app, address and limits.

    :param token: the API token; hidden in ``repr``
    :param account_id: Cloudflare's account id
    :param app_id: the RealtimeKit app's id
    :param base_url: up to and including ``/client/v4``
    :param timeout: seconds that one request may take
    :param retry_timeout: seconds to keep trying when no good answer comes, see :class:`~.retry.RetryPolicy`
    :param polling_share: the share of the token's quota that polling may use, from 0 to 1
    """

    token: str = field(repr=False)
    account_id: str
    app_id: str
    base_url: str = DEFAULT_BASE_URL
    timeout: float = REQUEST_TIMEOUT
    retry_timeout: float = RETRY_TIMEOUT
    polling_share: float = POLLING_SHARE

    @property
    def api(self) -> RecordingsAPI:
        """The flows for this app."""
        return RecordingsAPI(self.account_id, self.app_id, self.base_url, self.timeout)


class _FlowRunner:
    """The common part of both clients: when each request of a flow is sent, delayed and repeated."""

    def __init__(self, credentials: Credentials, policy: RetryPolicy | None) -> None:
        self._policy = policy or RetryPolicy(retry_timeout=credentials.retry_timeout)
        self._limiter = rate_limiter_for(credentials.base_url, credentials.token, credentials.polling_share)
        self._token = credentials.token
        #: The flows that can be run, for the app of the credentials.
        self.api = credentials.api

    def _steps(self, flow: Flow[T], polling: bool) -> Generator[httpx.Request | float, SendResult | None, T]:
        """Run a flow: each step is a request to send, or a number of seconds to sleep.

        :returns: the flow's result
        :raises RealtimeKitError: without secrets in its message
        """
        try:
            step = next(flow)
            while True:
                if not isinstance(step, httpx.Request):
                    yield step
                    step = next(flow)
                    continue
                outcome = yield from self._attempts(step, polling)
                if isinstance(outcome, httpx.Response):
                    step = flow.send(outcome)
                else:
                    step = flow.throw(_make_connection_error(step, outcome))
        except StopIteration as stop:
            result: T = stop.value
            return result
        except RealtimeKitError as error:
            # An answer may repeat the request's Authorization header.
            redact_error(error, [self._token])
            raise

    def _attempts(
        self, request: httpx.Request, polling: bool
    ) -> Generator[httpx.Request | float, SendResult | None, SendResult]:
        """Send one request, and repeat it after failures as the retry policy decides."""
        policy = self._policy
        began = policy.clock()
        operation = str(request.extensions.get("operation", "other"))
        attempts = 0
        while True:
            while (wait := self._limiter.acquire(polling=polling)) > 0:
                # A poll may wait for ever: its caller has a deadline of its own.
                if not polling and policy.clock() - began + wait > policy.retry_timeout:
                    raise RealtimeKitRateLimitError(
                        f"no request can be sent for {wait:.0f} s, since the quota of this token is used up, and the "
                        f"connection's retry_timeout is {policy.retry_timeout:g} s: try again later, or raise it",
                        status=429,
                        retry_after=wait,
                    )
                yield wait
            # Set here and not by the flow, which knows no token. `send` ignores the headers of the httpx client.
            request.headers["Authorization"] = f"Bearer {self._token}"
            request.headers["User-Agent"] = f"airflow-provider-realtimekit/{__version__}"
            outcome = yield request
            if outcome is None:
                raise TypeError("a client must send the answer to a request, or the error, into the flow")
            attempts += 1
            if isinstance(outcome, httpx.Response):
                Stats.incr(metrics.REQUESTS, tags={"operation": operation, "outcome": str(outcome.status_code)})
                self._limiter.update_from(outcome)
                if outcome.status_code not in TRANSIENT_STATUSES:
                    return outcome
            else:
                Stats.incr(metrics.REQUESTS, tags={"operation": operation, "outcome": type(outcome).__name__})
            pause = policy.next_wait(request, outcome, attempts, policy.clock() - began)
            if pause is None:
                return outcome
            yield pause


def _make_connection_error(request: httpx.Request, error: httpx.RequestError) -> RealtimeKitConnectionError:
    # Only the kind of the error and the host: the error's own text may quote the address and the headers.
    processed = False if isinstance(error, NEVER_SENT) else None
    return RealtimeKitConnectionError(
        f"no answer from {request.url.host} to {request.method} ({type(error).__name__})", processed=processed
    )


class Client(_FlowRunner):
    """Runs flows on the calling thread.

    :param credentials: the token, the account and the app
    :param policy: when requests are repeated (default: as the credentials say)
    :param transport: another transport, for tests
    :param sleep: sleeps for some seconds, for tests (default: :func:`time.sleep`)
    """

    def __init__(
        self,
        credentials: Credentials,
        policy: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(credentials, policy)
        self._sleep = sleep
        self._http = httpx.Client(timeout=credentials.timeout, transport=transport, verify=TLS)

    def run(self, flow: Flow[T], *, polling: bool = False) -> T:
        """Run a flow and return its result.

        :param polling: whether this is a poll, which leaves part of the quota to other requests (default: no)
        """
        steps = self._steps(flow, polling)
        outcome: SendResult | None = None
        try:
            while True:
                step = steps.send(outcome)
                outcome = None
                if not isinstance(step, httpx.Request):
                    self._sleep(step)
                    continue
                try:
                    outcome = self._http.send(step)
                except httpx.RequestError as error:
                    outcome = error
        except StopIteration as stop:
            result: T = stop.value
            return result

    def walk(self, walk: PageWalk) -> Iterator[Recording]:
        """Yield the recordings of a list; each page is fetched when the one before is used up."""
        while not walk.is_done:
            yield from walk.accept(self.run(walk.next_page()))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_FlowRunner):
    """Runs flows on the event loop; otherwise as :class:`Client`."""

    def __init__(
        self,
        credentials: Credentials,
        policy: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        super().__init__(credentials, policy)
        self._sleep = sleep
        self._http = httpx.AsyncClient(timeout=credentials.timeout, transport=transport, verify=TLS)

    async def run(self, flow: Flow[T], *, polling: bool = False) -> T:
        """Run a flow and return its result.

        :param polling: whether this is a poll, which leaves part of the quota to other requests (default: no)
        """
        steps = self._steps(flow, polling)
        outcome: SendResult | None = None
        try:
            while True:
                step = steps.send(outcome)
                outcome = None
                if not isinstance(step, httpx.Request):
                    await self._sleep(step)
                    continue
                try:
                    outcome = await self._http.send(step)
                except httpx.RequestError as error:
                    outcome = error
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def walk(self, walk: PageWalk) -> AsyncIterator[Recording]:
        """Yield the recordings of a list; each page is fetched when the one before is used up."""
        while not walk.is_done:
            for recording in walk.accept(await self.run(walk.next_page())):
                yield recording

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
