"""The parts of one emulator, and how its settings change and reset."""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_provider_realtimekit.emulator.http.authentication import Tokens
from airflow_provider_realtimekit.emulator.http.faults import Faults
from airflow_provider_realtimekit.emulator.http.ledger import Ledger
from airflow_provider_realtimekit.emulator.http.rate_limit import RateLimiter
from airflow_provider_realtimekit.emulator.http.signed_links import SignedLinks
from airflow_provider_realtimekit.emulator.media.encoding import BackgroundEncoder
from airflow_provider_realtimekit.emulator.settings import Settings
from airflow_provider_realtimekit.emulator.world.world import World


class Emulator:
    """One emulated RealtimeKit, without its socket.

    :param settings: default: those of `Settings()`. A copy is made, so later changes go through this object.
    :param clock: the present time, in seconds since the epoch
    """

    def __init__(self, settings: Settings | None = None, clock: Callable[[], float] = time.time) -> None:
        self.settings = (settings or Settings()).model_copy(deep=True)
        self.clock = clock
        self._first_settings = self.settings.model_copy(deep=True)
        self._encoder = BackgroundEncoder()
        # Each part reads the one settings object at each use, so that a change takes effect at once.
        self.world = World(self.settings, self._encoder, clock)
        self.links = SignedLinks(self.settings, clock)
        self.tokens = Tokens(self.settings)
        self.rate_limiter = RateLimiter(self.settings, clock)
        self.faults = Faults()
        self.ledger = Ledger(clock)

    def reset(self) -> None:
        """Remove all meetings, recordings, faults, token states and counts, and return to the first settings."""
        self.configure(**self._first_settings.model_dump())
        for part in (self.world, self.tokens, self.rate_limiter, self.ledger):
            part.reset()
        self.faults.clear()

    def configure(self, **settings: object) -> None:
        """Change settings.

        :raises pydantic.ValidationError: if one is wrong; then none is changed
        """
        changed = Settings(**self.settings.model_dump() | settings)
        for name in settings:
            setattr(self.settings, name, getattr(changed, name))

    def close(self) -> None:
        """Stop the work on files, and remove them."""
        self._encoder.close()
