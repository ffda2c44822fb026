from __future__ import annotations

import pytest

from airflow_provider_realtimekit.api import client
from airflow_provider_realtimekit.api.rate_limit import RateLimiter
from tests.support.api import Clock, Driver


@pytest.fixture(params=["sync", "async"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Driver:
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    monkeypatch.setattr(client, "rate_limiter_for", lambda *_: limiter)
    return Driver(request.param, clock)
