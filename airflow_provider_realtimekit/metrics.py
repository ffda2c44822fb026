"""The names of the metrics that this provider emits, through Airflow's own ``Stats``.

========================================  =======  ===================================================
name                                      kind     meaning
========================================  =======  ===================================================
``realtimekit.requests``                  counter  requests sent, tagged ``operation`` and ``outcome``
                                                   (the HTTP status, or the kind of network error)
``realtimekit.waits``                     gauge    recordings that this triggerer waits for
``realtimekit.poll_rounds``               counter  poll rounds, tagged ``outcome``: answered, failed, refused
                                                   (the token), crashed (a defect of this provider)
``realtimekit.staleness``                 gauge    seconds since the API last answered for the wait that
                                                   has been without an answer for longest
``realtimekit.held_back``                 timer    how long the quota held requests back
========================================  =======  ===================================================
"""

from __future__ import annotations

REQUESTS = "realtimekit.requests"
WAITS = "realtimekit.waits"
POLL_ROUNDS = "realtimekit.poll_rounds"
STALENESS = "realtimekit.staleness"
HELD_BACK = "realtimekit.held_back"
