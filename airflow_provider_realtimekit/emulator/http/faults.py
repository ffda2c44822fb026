"""Which faults are injected and how: late, wrong, truncated and slow answers, and broken connections.

Tests add faults one by one (`Fault`), or let them occur at random, repeatable by a seed (`RandomFaults`).
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

_SLOW_PIECES_PER_SECOND = 10
# About the length of an answer with one recording, inside of which random faults must cut it off.
_TYPICAL_BYTES = 600
_RANGE_HEADERS = frozenset({b"range", b"if-range"})


class Fault(BaseModel):
    """A fault to inject.

    With `status`, `body` or `reset` the true answer is replaced; otherwise it is sent late, truncated or slowly.
    With `when="after"` the request is carried out before its answer is lost; with "before" RealtimeKit never gets
    a request whose answer is replaced.
    """

    model_config = ConfigDict(extra="forbid")

    operation: Literal["any", Operation] = "any"
    count: Annotated[int, Field(ge=1)] | None = Field(1, description="requests to hit; null: all until it is removed")
    skip: int = Field(0, ge=0, description="requests that pass unharmed before the first")
    when: Literal["before", "after"] = "before"
    delay: float = Field(0, ge=0, description="seconds before the answer")
    status: int | None = Field(None, ge=200, le=599)
    headers: dict[str, str] = {}
    body: Any = Field(None, description="text is sent as it is, anything else as JSON")
    reset: bool = Field(False, description="break the connection instead of answering")
    cut: Annotated[int, Field(ge=0)] | None = Field(None, description="bytes of the body, then the connection ends")
    rate: Annotated[float, Field(gt=0)] | None = Field(None, description="bytes of the body per second")
    length: Annotated[int, Field(ge=0)] | None = Field(None, description="Content-Length, instead of the true one")
    no_ranges: bool = Field(False, description="answer as a host that does not support ranges")

    @property
    def has_own_response(self) -> bool:
        """Whether the true answer is replaced by another one."""
        return self.status is not None or self.body is not None

    def create_response(self) -> Response:
        """Return the answer that replaces the true one."""
        is_text = self.body is None or isinstance(self.body, str)
        content = (self.body or "") if is_text else json.dumps(self.body)
        # A text is the error page of a proxy.
        return Response(content, self.status or 200, self.headers, "text/html" if is_text else "application/json")


class RandomFaults(BaseModel):
    """Random faults. For one seed, the n-th request for an operation always has the same fault, or none.

    It is also random whether a request is carried out before its answer is lost.
    """

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    probability: Annotated[float, Field(ge=0, le=1, description="how likely a request is to meet a fault")] = 0.1
    operations: tuple[Operation, ...] = Field(get_args(Operation), description="no others meet a fault")
    kinds: tuple[FaultKind, ...] = Field(
        get_args(FaultKind),
        min_length=1,
        description="late: delayed; reset; error: 500 to 504; limit: 429; garbage: not JSON; "
        "refusal: 200 with success false; cut: truncated; slow: in pieces",
    )
    seconds: float = Field(
        1, gt=0, description="the delay of a late or slow answer, about, and Retry-After of a 429, rounded"
    )

    def draw(self, operation: str, number: int) -> Fault | None:
        """Return the fault of the request with this number, counted from 0 for each operation; None for no fault."""
        if operation not in self.operations:
            return None
        # A generator for each request, so that its fault does not depend on the order of requests of several clients.
        chance = random.Random(f"{self.seed} {operation} {number}")
        if chance.random() >= self.probability:
            return None
        kind = chance.choice(self.kinds)
        # The API checks the rate limit first, so a request that gets a 429 is never carried out.
        when = "before" if kind == "limit" else chance.choice(("before", "after"))
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
        return Fault.model_validate({"operation": operation, "when": when, **fields[kind]})


class Faults:
    """The faults that are still active. The oldest one that fits is used, or else a random one."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._random: RandomFaults | None = None
        self._random_counts: Counter[str] = Counter()
        self._lock = Lock()

    def add(self, fault: Fault | None = None, /, **fields: Any) -> Fault:
        """Add a fault, given as an object or by its fields.

        :raises pydantic.ValidationError: if a field is wrong
        """
        fault = fault.model_copy() if fault else Fault(**fields)
        with self._lock:
            self._faults.append(fault)
        return fault

    def randomly(self, faults: RandomFaults | None = None, /, **fields: Any) -> RandomFaults:
        """Inject faults at random from now on, instead of the random faults before.

        :raises pydantic.ValidationError: if a field is wrong
        """
        faults = faults or RandomFaults(**fields)
        with self._lock:
            self._random = faults
            self._random_counts.clear()
        return faults

    def clear(self) -> None:
        """Remove all faults, random ones included."""
        with self._lock:
            self._faults.clear()
            self._random = None

    def pending(self) -> list[Fault]:
        """Return the faults that can still hit, with what is left of their counts. Random ones are not among them."""
        with self._lock:
            return [fault.model_copy() for fault in self._faults]

    def next_fault(self, operation: str) -> Fault | None:
        """Return the fault that hits the next request for an operation, and count it down."""
        with self._lock:
            fault = next((fault for fault in self._faults if fault.operation in ("any", operation)), None)
            if fault is None:
                if self._random is None:
                    return None
                number = self._random_counts[operation]
                self._random_counts[operation] += 1
                return self._random.draw(operation, number)
            if fault.skip:
                fault.skip -= 1
                return None
            if fault.count is not None:
                fault.count -= 1
                if not fault.count:
                    self._faults.remove(fault)
            return fault


class ClientConnection:
    """An ASGI `send` that can also end or break the connection, which ASGI has no message for."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def __call__(self, message: Message) -> None:
        """Send a part of the answer."""
        await self._send(message)

    async def read_request(self) -> None:
        """Read the request to its end."""
        while (await self._receive()).get("more_body"):
            pass

    async def reset(self) -> None:
        """Break the connection, so that the operating system of the client reports a reset."""
        client = self._transport.get_extra_info("socket")
        # To close a socket that lingers for 0 seconds sends RST instead of FIN.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
        await self._wait_for_disconnect()

    async def close(self) -> None:
        """End the connection after what was sent so far."""
        self._transport.close()
        await self._wait_for_disconnect()

    @property
    def _transport(self) -> asyncio.Transport:
        # uvicorn's `send` is a method of the object that holds the transport.
        transport: asyncio.Transport = self._send.__self__.transport  # type: ignore[attr-defined]
        return transport

    async def _wait_for_disconnect(self) -> None:
        # If the application returned earlier, uvicorn would complain that the answer is incomplete.
        while (await self._receive())["type"] != "http.disconnect":
            pass


class _FaultySend:
    """An ASGI `send` that truncates, slows down or mislabels an answer, as a fault demands."""

    def __init__(self, fault: Fault, connection: ClientConnection) -> None:
        self._fault = fault
        self._connection = connection
        limits = [limit for limit in (fault.cut, fault.length) if limit is not None]
        self._bytes_left = min(limits, default=sys.maxsize)
        self._bytes_promised = fault.length or 0
        self._is_closed = False

    async def __call__(self, message: Message) -> None:
        if self._is_closed:
            return
        if message["type"] == "http.response.start":
            if self._fault.when == "after":
                await asyncio.sleep(self._fault.delay)
            await self._connection({**message, "headers": self._change_headers(message["headers"])})
        else:
            await self._send_body(message)

    def _change_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        dropped = {b"accept-ranges"} if self._fault.no_ranges else set()
        added = []
        if self._fault.length is not None:
            dropped.add(b"content-length")
            added.append((b"content-length", str(self._fault.length).encode()))
        return [(name, value) for name, value in headers if name.lower() not in dropped] + added

    async def _send_body(self, message: Message) -> None:
        body = message.get("body", b"")
        piece = body[: self._bytes_left]
        self._bytes_left -= len(piece)
        self._bytes_promised -= len(piece)
        has_more = message.get("more_body", False)
        # If the Content-Length is too short, exactly so many bytes are sent, and the answer looks complete.
        looks_complete = self._fault.length is not None and self._bytes_left == 0 and self._bytes_promised == 0
        # If it is too long, the connection is closed at the end of the body, as after a cut answer.
        is_too_short = not has_more and self._bytes_promised > 0
        self._is_closed = len(piece) < len(body) or looks_complete or is_too_short
        more_body = not looks_complete and (self._is_closed or has_more)
        while self._fault.rate and piece:
            size = max(1, int(self._fault.rate / _SLOW_PIECES_PER_SECOND))
            await self._connection({**message, "body": piece[:size], "more_body": True})
            await asyncio.sleep(min(size, len(piece)) / self._fault.rate)
            piece = piece[size:]
        await self._connection({**message, "body": piece, "more_body": more_body})
        if self._is_closed and not looks_complete:
            await self._connection.close()


async def respond_with_fault(
    fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, connection: ClientConnection
) -> None:
    """Answer a request with an application and a fault."""
    if fault.when == "before":
        if not fault.reset:
            receive = await _read_ahead(receive)
        await asyncio.sleep(fault.delay)
    elif fault.has_own_response or fault.reset:
        await app(scope, receive, _discard)
    if fault.reset:
        if fault.when == "before":
            # A client that is still writing would see the break in the middle of its request.
            await connection.read_request()
        else:
            await asyncio.sleep(fault.delay)
        await connection.reset()
        return
    responder = fault.create_response() if fault.has_own_response else app
    if fault.no_ranges:
        scope = {**scope, "headers": [header for header in scope["headers"] if header[0] not in _RANGE_HEADERS]}
    await responder(scope, receive, _FaultySend(fault, connection))


async def _read_ahead(receive: Receive) -> Receive:
    """Read a request to its end, and return a `receive` that repeats it."""
    # A request that was sent is carried out even after a long delay, and even if its sender has closed the connection.
    messages = deque([await receive()])
    while messages[-1].get("more_body"):
        messages.append(await receive())

    async def repeat() -> Message:
        return messages.popleft() if messages else await receive()

    return repeat


async def _discard(message: Message) -> None:
    """Drop a part of an answer."""
