"""What a flow is: a call of the API as a generator without I/O.

A flow yields an :class:`httpx.Request`, is sent the :class:`httpx.Response` (or has a
:class:`~.exceptions.RealtimeKitConnectionError` thrown into it), and returns a model. It may also yield a number:
seconds to sleep. Flows compose with ``yield from``. The two clients in :mod:`.client` run them, one on the calling
thread, one on the event loop, so that nothing is written twice.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import httpx

T = TypeVar("T")
Flow = Generator[httpx.Request | float, httpx.Response, T]
