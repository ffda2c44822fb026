from __future__ import annotations

import pytest

from airflow_provider_realtimekit.api import client
from airflow_provider_realtimekit.api.rate_limit import RateLimiter
from tests.support.api import Clock, Face, patch_sleep


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Face:
    clock = Clock()
    patch_sleep(monkeypatch, clock)
    gate = RateLimiter(clock=clock)
    monkeypatch.setattr(client, "rate_limiter_for", lambda *_: gate)
    return Face(request.param, clock)
