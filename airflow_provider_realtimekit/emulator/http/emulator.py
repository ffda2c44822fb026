"""The emulator without its network: its parts, and how they hang together."""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_provider_realtimekit.emulator.http.faults import Faults
from airflow_provider_realtimekit.emulator.http.ledger import Ledger
from airflow_provider_realtimekit.emulator.http.rate_limit import RateLimiter, TokenStates
from airflow_provider_realtimekit.emulator.http.signed_links import SignedLinks
from airflow_provider_realtimekit.emulator.media.media import BackgroundEncoder
from airflow_provider_realtimekit.emulator.settings import Settings
from airflow_provider_realtimekit.emulator.world.puppets import PuppetWorld


class Emulator:
    """All parts of one emulated RealtimeKit."""

    def __init__(self, settings: Settings | None = None, clock: Callable[[], float] = time.time) -> None:
        self.settings = (settings or Settings()).model_copy(deep=True)
        self.clock = clock
        self._initially = self.settings.model_copy(deep=True)
        self._encoder = BackgroundEncoder()
        self.world = PuppetWorld(self.settings, self._encoder, clock)
        self.links = SignedLinks(self.settings, clock)
        self.tokens = TokenStates(self.settings)
        self.rate_limiter = RateLimiter(self.settings, clock)
        self.faults = Faults()
        self.ledger = Ledger(clock)

    def reset(self) -> None:
        """Return to the beginning: no meetings, recordings, faults or records, and the first settings."""
        self.configure(**self._initially.model_dump())
        for part in (self.world, self.tokens, self.rate_limiter, self.ledger):
            part.reset()
        self.faults.clear()

    def configure(self, **settings: object) -> None:
        """Change settings, all or, where one is wrong, none."""
        changed = Settings(**self.settings.model_dump() | settings)
        for name in settings:
            setattr(self.settings, name, getattr(changed, name))

    def close(self) -> None:
        """Remove the files."""
        self._encoder.close()
