"""The numbers for whoever runs the platform, through Airflow's own ``Stats``.

========================================  =======  ===================================================
name                                      kind     what
========================================  =======  ===================================================
``realtimekit.requests``                  counter  requests, tagged ``operation`` and ``outcome``
``realtimekit.waits``                     gauge    recordings waited for in this triggerer
``realtimekit.rounds``                    counter  looks at everything awaited, tagged ``outcome``
``realtimekit.staleness``                 gauge    age in seconds of the oldest look in the last round
``realtimekit.held_back``                 timer    how long the quota held requests back
========================================  =======  ===================================================
"""

from __future__ import annotations

from typing import Any


def _stats() -> Any:
    from airflow.providers.common.compat.sdk import Stats

    return Stats


def request(operation: str, outcome: str) -> None:
    """Count a request."""
    _stats().incr("realtimekit.requests", tags={"operation": operation, "outcome": outcome})


def waits(count: int) -> None:
    """Report how many recordings are waited for."""
    _stats().gauge("realtimekit.waits", count)


def round_ended(outcome: str, staleness: float) -> None:
    """Report a round of looks."""
    _stats().incr("realtimekit.rounds", tags={"outcome": outcome})
    _stats().gauge("realtimekit.staleness", staleness)


def held_back(seconds: float) -> None:
    """Report how long the quota held requests back."""
    _stats().timing("realtimekit.held_back", seconds * 1000.0)
