from __future__ import annotations

import pytest

from .support import Clock, Face, patch_sleep


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Face:
    clock = Clock()
    patch_sleep(monkeypatch, clock)
    return Face(request.param, clock)
