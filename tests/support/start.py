"""What the tests of starting read: the checkpoint in a state store, and the recordings at the local RealtimeKit."""

from __future__ import annotations

from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.start.checkpoint import STATE_KEY, Checkpoint
from tests.support.tasks import StateStore

ACTIVE = ("INVOKED", "RECORDING", "PAUSED")


def running(server: EmulatorServer) -> list[str]:
    return [recording.id for recording in server.world.recordings() if recording.status in ACTIVE]


def started(server: EmulatorServer) -> list[str]:
    return [recording.id for recording in server.world.recordings()]


def checkpoint_in(store: StateStore) -> Checkpoint:
    checkpoint = Checkpoint.from_json(store.get(STATE_KEY))
    assert checkpoint is not None
    return checkpoint
