"""How long the service may take until a start, a view or a stop is certain. Tests replace :data:`BOUNDS`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """Limits of the service, in seconds. They do not depend on the client's ``timeout``.

    :param doubt: from sending a start until it has taken effect, if it ever does, where the answer does not say so.
        Nobody documents how long an origin works on after its gateway has given up: 40 seconds are assumed, and as much
        again as views lag
    :param view_lag: until ``active-recording`` and lists show what is
    :param rivals: after a start, until the start of another task at the same moment must be visible
    :param stop: until a recording that was stopped is not active any more
    :param clock: by how much the clock that dates recordings may differ from the one of the ``Date`` header
    """

    doubt: float = 60.0
    view_lag: float = 25.0
    rivals: float = 6.0
    stop: float = 30.0
    clock: float = 150.0


BOUNDS = Bounds()


def rival_seconds() -> float:
    """Return :attr:`Bounds.rivals`, or the value of ``REALTIMEKIT_RIVAL_SECONDS`` in the environment."""
    # For Airflows that run on the emulator, whose views never lag: the demo, system tests, tests of users' DAGs.
    try:
        return float(os.environ["REALTIMEKIT_RIVAL_SECONDS"])
    except (KeyError, ValueError):
        # A recording runs by now: it must not be lost over a variable that cannot be read.
        return BOUNDS.rivals


def pauses(longest: float = 5.0) -> Iterator[float]:
    """Yield the seconds between requests that wait for a change at the server: 0.25, doubled each time.

    :param longest: the largest of them
    """
    pause = 0.25
    while True:
        yield min(pause, longest)
        pause = min(longest, 2 * pause)
