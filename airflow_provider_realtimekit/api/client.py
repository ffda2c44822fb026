"""The only network I/O to the API: one synchronous and one asynchronous driver for the flows."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass, field
from typing import Self

import httpx

from airflow_provider_realtimekit import __version__
from airflow_provider_realtimekit.api.flow import Flow, T
from airflow_provider_realtimekit.api.pagination import PageWalk
from airflow_provider_realtimekit.api.rate_limit import rate_limiter_for
from airflow_provider_realtimekit.api.recordings import DEFAULT_BASE_URL, RecordingsAPI
from airflow_provider_realtimekit.api.retry import Outcome, RetryPolicy, Rules, steps
from airflow_provider_realtimekit.defaults import POLLING_SHARE, REQUEST_TIMEOUT, RETRY_TIMEOUT
from airflow_provider_realtimekit.models import Recording

# Whom requests trust, those for files included. Made at import, which the triggerer does on a thread: reading all
# certificates would hold up its loop.
TLS = httpx.create_ssl_context()


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself: the only one that is talked to without TLS."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Credentials:
    """Who asks, of which app, and where: what a connection says, checked.

    :param token: the API token; hidden in ``repr``
    :param account_id: Cloudflare's account id
    :param app_id: the RealtimeKit app's id
    :param base_url: up to and including ``/client/v4``
    :param timeout: seconds for one request
    :param polling_share: how much of the token's quota polling may use, from 0 to 1
    :param retry_timeout: seconds to keep trying when no good answer comes, see :class:`~.retry.RetryPolicy`
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

    def rules(self, policy: RetryPolicy | None) -> Rules:
        """Return what every request with these credentials goes by."""
        gate = rate_limiter_for(self.base_url, self.token, self.polling_share)
        return Rules(policy or RetryPolicy(retry_timeout=self.retry_timeout), gate, self.token)


class BearerAuth(httpx.Auth):
    """Adds the token when a request is sent, so that none has to be handed to a flow."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Set the header on a request that is about to be sent."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        request.headers["User-Agent"] = f"airflow-provider-realtimekit/{__version__}"
        yield request


class Client:
    """Runs flows on the calling thread.

    :param credentials: who asks
    :param policy: how patient it is (default: as the credentials say)
    :param transport: another transport, for tests
    """

    def __init__(
        self,
        credentials: Credentials,
        policy: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._rules = credentials.rules(policy)
        self._http = httpx.Client(
            auth=BearerAuth(credentials.token), timeout=credentials.timeout, transport=transport, verify=TLS
        )

    def run(self, flow: Flow[T], *, polling: bool = False) -> T:
        """Run a flow to its result; polling yields to everything else where the quota runs short."""
        running = steps(flow, self._rules, polling=polling)
        outcome: Outcome | None = None
        try:
            while True:
                step = running.send(outcome)
                outcome = self._take(step)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def walk(self, walk: PageWalk) -> Iterator[Recording]:
        """Yield recordings, fetching a page when the one before is used up."""
        while not walk.done:
            yield from walk.take(self.run(walk.next_page()))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, step: httpx.Request | float) -> Outcome | None:
        if not isinstance(step, httpx.Request):
            time.sleep(step)
            return None
        try:
            return self._http.send(step)
        except httpx.RequestError as error:
            return error


class AsyncClient:
    """Runs flows on the event loop; otherwise as :class:`Client`."""

    def __init__(
        self,
        credentials: Credentials,
        policy: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._rules = credentials.rules(policy)
        self._http = httpx.AsyncClient(
            auth=BearerAuth(credentials.token), timeout=credentials.timeout, transport=transport, verify=TLS
        )

    async def run(self, flow: Flow[T], *, polling: bool = False) -> T:
        """Run a flow to its result; polling yields to everything else where the quota runs short."""
        running = steps(flow, self._rules, polling=polling)
        outcome: Outcome | None = None
        try:
            while True:
                step = running.send(outcome)
                outcome = await self._take(step)
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def walk(self, walk: PageWalk) -> AsyncIterator[Recording]:
        """Yield recordings, fetching a page when the one before is used up."""
        while not walk.done:
            for recording in walk.take(await self.run(walk.next_page())):
                yield recording

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _take(self, step: httpx.Request | float) -> Outcome | None:
        if not isinstance(step, httpx.Request):
            await asyncio.sleep(step)
            return None
        try:
            return await self._http.send(step)
        except httpx.RequestError as error:
            return error
