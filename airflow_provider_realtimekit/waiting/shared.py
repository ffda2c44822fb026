"""Decides which poller a wait uses, and when its connection is read. All waits of an event loop share both.

Waits on the same credentials share a poller. Waits that name the same connection read it once; after the API refused
its token it is read again, because the token may have been rotated.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import Stats

from airflow_provider_realtimekit import metrics
from airflow_provider_realtimekit.api.client import AsyncClient, Credentials
from airflow_provider_realtimekit.api.retry import RetryPolicy
from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.hooks import RealtimeKitHook
from airflow_provider_realtimekit.waiting.outcome import Clock, Event, Wait
from airflow_provider_realtimekit.waiting.poller import Log, Poller
from airflow_provider_realtimekit.waiting.waiter import Waiter

ReadCredentials = Callable[[str, str | None], Awaitable[Credentials]]


@dataclass(eq=False)
class SharedConnection:
    """A connection that waits of one loop name; it is read once for all of them.

    :param key: the connection's id, and another app than its own
    :param read_credentials: reads the connection
    :param waits: how many waits name it
    :param refused: credentials that it held and the API refused, since the API last accepted some
    """

    key: tuple[str, str | None]
    read_credentials: Callable[[], Awaitable[Credentials]]
    waits: int = 0
    refused: set[Credentials] = field(default_factory=set)
    _reading: asyncio.Future[Credentials] | None = None

    async def read(self) -> Credentials:
        """Return the connection's credentials."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self.read_credentials())
        try:
            # Shielded: one wait that is cancelled must not end the reading for the others.
            return await asyncio.shield(self._reading)
        except Exception:
            self._reading = None
            raise

    async def read_again(self, refused: Credentials) -> bool | Exception:
        """Read the connection again after a refusal.

        :param refused: the credentials that the API refused
        :returns: whether it has credentials now that were not refused, or why it cannot be read
        """
        # All that were refused, not only the last: with a secrets backend that returns two wrong tokens in turn, the
        # waits would change pollers for ever.
        self.refused.add(refused)
        self._reading = None
        try:
            return await self.read() not in self.refused
        except Exception as error:  # a secrets backend may raise any error
            return error

    def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()


async def _read_credentials(realtimekit_conn_id: str, app_id: str | None) -> Credentials:
    return await RealtimeKitHook(realtimekit_conn_id, app_id).get_async_credentials()


def _make_client(credentials: Credentials) -> AsyncClient:
    # The client itself must not retry: the poller decides this for all waits together.
    return AsyncClient(credentials, RetryPolicy(retry_timeout=0.0))


@dataclass(eq=False)
class SharedPolling:
    """The connections and pollers that the waits of one event loop share.

    :param read_credentials: reads a connection, given its id and another app than its own
    :param make_client: makes the client of a poller
    :param clock: seconds since the epoch
    """

    read_credentials: ReadCredentials = _read_credentials
    make_client: Callable[[Credentials], AsyncClient] = _make_client
    clock: Clock = time.time
    connections: dict[tuple[str, str | None], SharedConnection] = field(default_factory=dict)
    pollers: dict[Credentials, Poller] = field(default_factory=dict)
    _waits: int = 0

    async def wait_for(
        self, wait: Wait, realtimekit_conn_id: str, app_id: str | None, interval: float, log: Log
    ) -> Event:
        """Wait with the poller that all waits on the same credentials share.

        :param wait: what is awaited, and for how long
        :param realtimekit_conn_id: connection of type ``realtimekit``
        :param app_id: another app than the connection's
        :param interval: seconds between two polls
        :param log: is called with a line of text for each change of status
        :raises RealtimeKitInputError: when the interval is not a time, the wait names no recording, or a field of the
            connection is wrong
        """
        if not 0 < interval < math.inf:
            raise RealtimeKitInputError(
                f"poll_interval={interval!r} is not allowed: must be a number of seconds above 0"
            )
        wait.check()
        connection = self._connection_for((realtimekit_conn_id, app_id))
        connection.waits += 1
        self._count(1)
        try:
            waiter = Waiter(wait, connection, interval, self.clock)
            # Each change of the credentials is one more turn.
            while True:
                poller = self._poller_for(await connection.read())
                if (event := await poller.wait(waiter, log)) is not None:
                    return event
        finally:
            self._count(-1)
            connection.waits -= 1
            if not connection.waits:
                del self.connections[connection.key]
                connection.close()

    # Not part of wait_for: the cells of the closure would exist for each of thousands of waits.
    def _connection_for(self, key: tuple[str, str | None]) -> SharedConnection:
        if key not in self.connections:
            self.connections[key] = SharedConnection(key, lambda: self.read_credentials(*key))
        return self.connections[key]

    def _poller_for(self, credentials: Credentials) -> Poller:
        if credentials not in self.pollers:
            forget = partial(self.pollers.pop, credentials)
            self.pollers[credentials] = Poller(credentials, self.make_client(credentials), forget, self.clock)
        return self.pollers[credentials]

    def _count(self, change: int) -> None:
        self._waits += change
        Stats.gauge(metrics.WAITS, self._waits)


# Keyed by the loop and not by its id: the id of a loop that is gone may be given to another one.
_polling_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, SharedPolling] = WeakKeyDictionary()


# Last in this file: the trigger checks for this name to find out whether the import of this module has ended.
def shared_polling() -> SharedPolling:
    """Return the connections and pollers of the running loop."""
    loop = asyncio.get_running_loop()
    if (polling := _polling_of_loops.get(loop)) is None:
        polling = _polling_of_loops[loop] = SharedPolling()
    return polling
