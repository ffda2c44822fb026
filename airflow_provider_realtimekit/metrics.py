"""The numbers for whoever runs the platform, through Airflow's own ``Stats``.

========================================  =======  ===================================================
name                                      kind     what
========================================  =======  ===================================================
``realtimekit.requests``                  counter  requests, tagged ``operation`` and ``outcome``
``realtimekit.waits``                     gauge    recordings that this triggerer waits for
``realtimekit.poll_rounds``               counter  poll rounds, tagged ``outcome``: answered, failed, refused (the
                                                   token), crashed (a defect of this provider)
``realtimekit.staleness``                 gauge    seconds since the API last answered for the wait that
                                                   has been without an answer for longest
``realtimekit.held_back``                 timer    how long the quota held requests back
========================================  =======  ===================================================
"""

from __future__ import annotations

from typing import Any

WAITS = "realtimekit.waits"
POLL_ROUNDS = "realtimekit.poll_rounds"
STALENESS = "realtimekit.staleness"


def _stats() -> Any:
    from airflow.providers.common.compat.sdk import Stats

    return Stats


def request(operation: str, outcome: str) -> None:
    """Count a request."""
    _stats().incr("realtimekit.requests", tags={"operation": operation, "outcome": outcome})


def held_back(seconds: float) -> None:
    """Report how long the quota held requests back."""
    _stats().timing("realtimekit.held_back", seconds * 1000.0)
