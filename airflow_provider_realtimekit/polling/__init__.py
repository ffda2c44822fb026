"""One poll for many waits: all waits of a triggerer on the same credentials share a poller.

A wait joins, and is told each change of its recording's status and, once, the event that ends it. The poller looks
in rounds, as often as the tightest interval demands, and at everything that is due within half of its own interval,
so that waits fall into step. A round that fails is repeated with growing pauses and fails nobody, until a wait has
gone without an answer for as long as the connection's patience says.

``entries`` holds what is known of one wait, ``source`` the connection that it came by, ``book`` all that have joined;
``looks`` is one round, ``poller`` runs the rounds, and ``shared`` finds for each wait the poller it belongs to.
"""

from __future__ import annotations

from airflow_provider_realtimekit.polling.shared import wait_for

__all__ = ["wait_for"]
