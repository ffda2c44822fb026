"""Finds for each wait the poller that all waits of its loop on the same credentials share."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

from airflow_provider_realtimekit.api.client import Credentials
from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.hooks import RealtimeKitHook
from airflow_provider_realtimekit.waiting.outcome import Event, Wait
from airflow_provider_realtimekit.waiting.poller import Poller, Tell
from airflow_provider_realtimekit.waiting.waiter import Entry

# The loop (its id), the connection's id, and another app than the connection's.
Key = tuple[int, str, str | None]


@dataclass(eq=False)
class Source:
    """A connection, as far as the waits of one loop know it.

    :param key: which loop, and which connection
    :param users: how many waits there are
    :param refused: what it said and the API refused, since the API last took what it says
    """

    key: Key
    users: int = 0
    refused: set[Credentials] = field(default_factory=set)
    _reading: asyncio.Task[Credentials] | None = None

    async def read(self) -> Credentials:
        """Return what the connection says; however many ask, it is read once."""
        if self._reading is None:
            hook = RealtimeKitHook(*self.key[1:])
            self._reading = asyncio.create_task(hook.get_async_credentials())
        try:
            return await asyncio.shield(self._reading)
        except Exception:
            self._reading = None
            raise

    async def renew(self, refused: Credentials) -> bool | Exception:
        """Read the connection again; return whether it says something new, or why it cannot be read.

        What was refused before is nothing new: a secrets backend that tells two wrong tokens in turn would keep the
        waits going round for ever.
        """
        self.refused.add(refused)
        self._reading = None
        try:
            return await self.read() not in self.refused
        except Exception as unreadable:  # whatever the secrets backend raises
            return unreadable

    def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()


sources: dict[Key, Source] = {}
pollers: list[Poller] = []


async def wait_for(wait: Wait, realtimekit_conn_id: str, app_id: str | None, interval: float, tell: Tell) -> Event:
    """Wait with the poller that all waits of this loop on the same credentials share.

    :param wait: what for, and how long
    :param realtimekit_conn_id: the connection
    :param app_id: another app than the connection's
    :param interval: seconds between two looks
    :param tell: is told each change of status, in words
    :raises RealtimeKitInputError: an interval that is no time, or a connection that makes no sense
    """
    if not 0 < interval < math.inf:
        raise RealtimeKitInputError(f"poll_interval={interval!r} is not allowed: must be a number of seconds above 0")
    source = _enter(realtimekit_conn_id, app_id)
    try:
        entry = Entry(wait, source, interval)
        while True:
            poller = _poller_for(await source.read())
            if (event := await poller.wait(entry, tell)) is not None:
                return event
    finally:
        _leave(source)


def _enter(realtimekit_conn_id: str, app_id: str | None) -> Source:
    """Share what is known of a connection among the waits of a loop."""
    key = (id(asyncio.get_running_loop()), realtimekit_conn_id, app_id)
    source = sources.setdefault(key, Source(key))
    source.users += 1
    return source


def _leave(source: Source) -> None:
    source.users -= 1
    if not source.users:
        del sources[source.key]
        source.close()


def _poller_for(credentials: Credentials) -> Poller:
    loop = asyncio.get_running_loop()
    for poller in pollers:
        if poller.loop is loop and poller.credentials == credentials:
            return poller
    poller = Poller(credentials, pollers.remove)
    pollers.append(poller)
    return poller
