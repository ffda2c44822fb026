"""A local RealtimeKit: the documented recordings API, its meetings and its files, as a server on this machine.

Run it with `python -m airflow_provider_realtimekit.emulator`, or in a test:

    from airflow_provider_realtimekit.emulator import EmulatorServer, Settings

    with EmulatorServer(Settings(invoked_seconds=0.1)) as emulator:
        ...  # emulator.base_url is the host of a connection

It imports nothing of the provider, so that it can contradict the provider, which does not import it. Read `settings`,
then `world/` (meetings and recordings), `media/` (their files), `http/` (the API), and `server`, which starts it all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_realtimekit.emulator.http.faults import Fault
    from airflow_provider_realtimekit.emulator.server import EmulatorServer
    from airflow_provider_realtimekit.emulator.settings import Settings

__all__ = ["EmulatorServer", "Fault", "Settings"]

_MODULES = {"EmulatorServer": "server", "Fault": "http.faults", "Settings": "settings"}


def __getattr__(name: str) -> object:
    """Import on first use, because FastAPI, uvicorn and PyAV are slow to import."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
