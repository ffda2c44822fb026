"""A connection that waits refer to, looked at once for all of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from airflow_provider_realtimekit.api.client import Credentials
from airflow_provider_realtimekit.hooks import RealtimeKitHook

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
