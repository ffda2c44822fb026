"""Things that go wrong on the way: late, wrong, cut-off and slow answers, and connections that break.

Either told one by one (:class:`Fault`) or by chance, the same ones for the same seed (:class:`RandomFaults`).
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import sys
from collections import Counter, deque
from collections.abc import Iterable
from threading import Lock
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Operation = Literal["list", "start", "active", "get", "action", "start_track", "verify", "download", "unknown"]
FaultKind = Literal["late", "reset", "error", "limit", "garbage", "refusal", "cut", "slow"]

_PIECES_A_SECOND = 10
# What the answer that tells of one recording is long, about.
_TYPICAL_BYTES = 600
_RANGE_HEADERS = frozenset({b"range", b"if-range"})


class Fault(BaseModel):
    """One thing that goes wrong.

    Without `status`, `body` and `reset`, the true answer is sent: late, cut off or slowly. With `when="after"`
    the request is carried out before its answer is lost; otherwise it never reaches RealtimeKit.
    """

    model_config = ConfigDict(extra="forbid")

    operation: Literal[
        "any", "list", "start", "active", "get", "action", "start_track", "verify", "download", "unknown"
    ] = "any"
    count: Annotated[int, Field(ge=1)] | None = Field(1, description="how often; null: until it is removed")
    skip: int = Field(0, ge=0, description="requests that pass unharmed before the first")
    when: Literal["before", "after"] = "before"
    delay: float = Field(0, ge=0, description="seconds before the answer")
    status: int | None = Field(None, ge=200, le=599)
    headers: dict[str, str] = {}
    body: Any = Field(None, description="text is sent as it is, anything else as JSON")
    reset: bool = Field(False, description="break the connection instead of answering")
    cut: Annotated[int, Field(ge=0)] | None = Field(None, description="bytes of the body, then the connection ends")
    rate: Annotated[float, Field(gt=0)] | None = Field(None, description="bytes of the body in a second")
    length: Annotated[int, Field(ge=0)] | None = Field(None, description="Content-Length, whatever the body's is")
    no_ranges: bool = Field(False, description="answer as a host that knows nothing of parts")

    @property
    def has_own_response(self) -> bool:
        """Whether the true answer is replaced by another."""
        return self.status is not None or self.body is not None

    def create_response(self) -> Response:
        """Return the answer that replaces the true one."""
        textual = self.body is None or isinstance(self.body, str)
        content = (self.body or "") if textual else json.dumps(self.body)
        media_type = "text/html" if textual else "application/json"
        return Response(content, self.status or 200, self.headers, media_type)


class RandomFaults(BaseModel):
    """Things that go wrong by chance: the n-th request for an operation always meets the same, for the same seed.

    Where it can make a difference, chance also says whether a request is carried out before its answer is lost.
    """

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    probability: Annotated[float, Field(ge=0, le=1, description="how likely a request is to meet a fault")] = 0.1
    operations: tuple[Operation, ...] = Field(get_args(Operation), description="all others are left alone")
    kinds: tuple[FaultKind, ...] = Field(
        get_args(FaultKind),
        min_length=1,
        description="late: delayed; reset; error: 500 to 504; limit: 429; garbage: not JSON; "
        "refusal: 200 that says no; cut: ends early; slow: comes in pieces",
    )
    seconds: float = Field(
        1, gt=0, description="how late or slow, about, and the Retry-After of a 429 in whole seconds"
    )

    def draw(self, operation: str, number: int) -> Fault | None:
        """Return the fault that the request with a number meets, counted from 0 for each operation."""
        if operation not in self.operations:
            return None
        chance = random.Random(f"{self.seed} {operation} {number}")
        if chance.random() >= self.probability:
            return None
        kind = chance.choice(self.kinds)
        # The API refuses what is too much before it looks at it.
        when = "before" if kind == "limit" else chance.choice(("before", "after"))
        return Fault.model_validate({"operation": operation, "when": when, **self._fields(kind, chance)})

    def _fields(self, kind: FaultKind, chance: random.Random) -> dict[str, Any]:
        fields: dict[FaultKind, dict[str, Any]] = {
            "late": {"delay": self.seconds},
            "reset": {"reset": True},
            "error": {"status": chance.choice((500, 502, 503, 504)), "body": "<html>The server is unwell</html>"},
            "limit": {"status": 429, "headers": {"Retry-After": str(round(self.seconds))}},
            "garbage": {"body": chance.choice(("", "<html>Welcome</html>", '{"success": true, "da', "[]"))},
            "refusal": {"body": {"success": False, "error": {"code": 500, "message": "Something went wrong"}}},
            "cut": {"cut": chance.randrange(_TYPICAL_BYTES // 10)},
            "slow": {"rate": _TYPICAL_BYTES / self.seconds},
        }
        return fields[kind]


class Faults:
    """The faults that are in force, oldest first; chance has what they leave."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._random: RandomFaults | None = None
        self._numbers: Counter[str] = Counter()
        self._lock = Lock()

    def add(self, fault: Fault | None = None, /, **fields: Any) -> Fault:
        """Put a fault in force."""
        fault = fault.model_copy() if fault else Fault(**fields)
        with self._lock:
            self._faults.append(fault)
        return fault

    def randomly(self, faults: RandomFaults | None = None, /, **fields: Any) -> RandomFaults:
        """Let things go wrong by chance from now on, in place of what chance brought before."""
        faults = faults or RandomFaults(**fields)
        with self._lock:
            self._random = faults
            self._numbers.clear()
        return faults

    def clear(self) -> None:
        """Let everything go right again."""
        with self._lock:
            self._faults.clear()
            self._random = None

    def pending(self) -> list[Fault]:
        """Return the faults that are in force, with what is left of their counts."""
        with self._lock:
            return [fault.model_copy() for fault in self._faults]

    def next_fault(self, operation: str) -> Fault | None:
        """Return the fault that hits a request, and count it down."""
        with self._lock:
            fault = next((fault for fault in self._faults if fault.operation in ("any", operation)), None)
            if fault is None:
                return self._draw(operation)
            if fault.skip:
                fault.skip -= 1
                return None
            if fault.count is not None:
                fault.count -= 1
                if not fault.count:
                    self._faults.remove(fault)
            return fault

    def _draw(self, operation: str) -> Fault | None:
        if self._random is None:
            return None
        number = self._numbers[operation]
        self._numbers[operation] += 1
        return self._random.draw(operation, number)


class ClientConnection:
    """A `send` that can also break the connection, for which ASGI has no words."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def __call__(self, message: Message) -> None:
        """Send a part of the answer."""
        await self._send(message)

    async def read(self) -> None:
        """Read the request to its end."""
        while (await self._receive()).get("more_body"):
            pass

    async def reset(self) -> None:
        """Break the connection, so that the client's system reports a reset."""
        client = self._transport.get_extra_info("socket")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
        await self._gone()

    async def close(self) -> None:
        """End the connection after what was sent so far."""
        self._transport.close()
        await self._gone()

    @property
    def _transport(self) -> asyncio.Transport:
        # uvicorn's `send` is a method of the object that holds the transport.
        transport: asyncio.Transport = self._send.__self__.transport  # type: ignore[attr-defined]
        return transport

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


class _FaultySend:
    """A `send` that delivers an answer as badly as a fault demands."""

    def __init__(self, fault: Fault, connection: ClientConnection) -> None:
        self._fault = fault
        self._connection = connection
        self._left = min((limit for limit in (fault.cut, fault.length) if limit is not None), default=sys.maxsize)
        self._owed = fault.length or 0
        self._closed = False

    async def __call__(self, message: Message) -> None:
        if self._closed:
            return
        if message["type"] == "http.response.start":
            if self._fault.when == "after":
                await asyncio.sleep(self._fault.delay)
            await self._connection({**message, "headers": self._headers(message["headers"])})
        else:
            await self._deliver(message)

    def _headers(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        dropped = {b"accept-ranges"} if self._fault.no_ranges else set()
        added = []
        if self._fault.length is not None:
            dropped.add(b"content-length")
            added.append((b"content-length", str(self._fault.length).encode()))
        return [(name, value) for name, value in headers if name.lower() not in dropped] + added

    async def _deliver(self, message: Message) -> None:
        body = message.get("body", b"")
        piece = body[: self._left]
        self._left -= len(piece)
        self._owed -= len(piece)
        more = message.get("more_body", False)
        # Too short a Content-Length is kept to, and looks well; too long a one is found out at the end.
        whole = self._fault.length is not None and self._left == 0 and self._owed == 0
        self._closed = len(piece) < len(body) or whole or (not more and self._owed > 0)
        await self._drip({**message, "body": piece, "more_body": not whole and (self._closed or more)})
        if self._closed and not whole:
            await self._connection.close()

    async def _drip(self, message: Message) -> None:
        body, rate = message["body"], self._fault.rate
        while rate and body:
            size = max(1, int(rate / _PIECES_A_SECOND))
            await self._connection({**message, "body": body[:size], "more_body": True})
            await asyncio.sleep(min(size, len(body)) / rate)
            body = body[size:]
        await self._connection({**message, "body": body})


async def respond_with_fault(
    fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, connection: ClientConnection
) -> None:
    """Let an application answer a request as well as the fault allows."""
    if fault.when == "before":
        if not fault.reset:
            receive = await _read_ahead(receive)
        await asyncio.sleep(fault.delay)
    elif fault.has_own_response or fault.reset:
        await app(scope, receive, _discard)
    if fault.reset:
        await _reset(fault, connection)
        return
    answer = fault.create_response() if fault.has_own_response else app
    if fault.no_ranges:
        scope = {**scope, "headers": [header for header in scope["headers"] if header[0] not in _RANGE_HEADERS]}
    await answer(scope, receive, _FaultySend(fault, connection))


async def _read_ahead(receive: Receive) -> Receive:
    """Read a request to its end: once it was sent it is carried out, however late, even if its sender is gone."""
    messages = deque([await receive()])
    while messages[-1].get("more_body"):
        messages.append(await receive())

    async def again() -> Message:
        return messages.popleft() if messages else await receive()

    return again


async def _reset(fault: Fault, connection: ClientConnection) -> None:
    if fault.when == "before":
        # A client that still writes would see the break in the middle of its request.
        await connection.read()
    else:
        await asyncio.sleep(fault.delay)
    await connection.reset()


async def _discard(message: Message) -> None:
    """Send an answer nowhere."""
