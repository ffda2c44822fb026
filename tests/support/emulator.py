"""A world under a clock that tests turn by hand."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

from airflow_provider_realtimekit.emulator.media.specs import MediaSpec
from airflow_provider_realtimekit.emulator.settings import Settings
from airflow_provider_realtimekit.emulator.world.models import Owner
from airflow_provider_realtimekit.emulator.world.world import World

OWNER = Owner("account", "app")


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


class FakeEncoder:
    """Makes nothing; a file is there as soon as `develop` says so."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.at_once = at_once
        self.made: list[tuple[MediaSpec, Future[Path]]] = []

    def encode(self, spec: MediaSpec) -> Future[Path]:
        future: Future[Path] = Future()
        self.made.append((spec, future))
        if self.at_once:
            future.set_result(Path(__file__))
        return future


class Stage:
    """A world with everything that moves it within reach."""

    def __init__(self, **settings: object) -> None:
        self.clock = Clock()
        self.encoder = FakeEncoder()
        self.settings = Settings(**settings)
        self.world = World(self.settings, self.encoder, self.clock)

    def start(self, meeting_id: str = "standup", **config: object) -> str:
        return self.world.start(OWNER, {"meeting_id": meeting_id, **config}).id

    def status_after(self, seconds: float, recording_id: str) -> str:
        self.clock.pass_by(seconds)
        return self.world.get(recording_id).status
