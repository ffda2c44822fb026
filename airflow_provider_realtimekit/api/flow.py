"""A flow: one call of the API, or several, as a generator without I/O.

A flow yields an :class:`httpx.Request` and is sent the :class:`httpx.Response`; if none came, a
:class:`~.exceptions.RealtimeKitConnectionError` is raised at its ``yield``. It may also yield a number: seconds to
sleep. It returns its result, and flows compose with ``yield from``. The two clients in :mod:`.client` run any flow,
one on the calling thread, one on the event loop, so that nothing is written twice.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import httpx

T = TypeVar("T")
Flow = Generator[httpx.Request | float, httpx.Response, T]
