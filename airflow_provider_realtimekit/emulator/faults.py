"""Things that go wrong on the way: late, wrong, cut-off and slow answers, and connections that break."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PIECES_A_SECOND = 10


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

    @property
    def replaces(self) -> bool:
        """Whether the true answer is replaced by another."""
        return self.status is not None or self.body is not None

    def response(self) -> Response:
        """Return the answer that replaces the true one."""
        textual = self.body is None or isinstance(self.body, str)
        content = (self.body or "") if textual else json.dumps(self.body)
        media_type = "text/html" if textual else "application/json"
        return Response(content, self.status or 200, self.headers, media_type)


class Faults:
    """The faults that are in force, oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = Lock()

    def add(self, fault: Fault | None = None, /, **fields: Any) -> Fault:
        """Put a fault in force."""
        fault = fault.model_copy() if fault else Fault(**fields)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Let everything go right again."""
        with self._lock:
            self._faults.clear()

    def pending(self) -> list[Fault]:
        """Return the faults that are in force, with what is left of their counts."""
        with self._lock:
            return [fault.model_copy() for fault in self._faults]

    def take(self, operation: str) -> Fault | None:
        """Return the fault that hits a request, and count it down."""
        with self._lock:
            fault = next((fault for fault in self._faults if fault.operation in ("any", operation)), None)
            if fault is None:
                return None
            if fault.skip:
                fault.skip -= 1
                return None
            if fault.count is not None:
                fault.count -= 1
                if not fault.count:
                    self._faults.remove(fault)
            return fault


class Wire:
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


class _Spoiled:
    """A `send` that delivers an answer as badly as a fault demands."""

    def __init__(self, fault: Fault, wire: Wire) -> None:
        self._fault = fault
        self._wire = wire
        self._left = sys.maxsize if fault.cut is None else fault.cut
        self._closed = False

    async def __call__(self, message: Message) -> None:
        if self._closed:
            return
        if message["type"] == "http.response.start":
            if self._fault.when == "after":
                await asyncio.sleep(self._fault.delay)
            await self._wire(message)
        else:
            await self._deliver(message)

    async def _deliver(self, message: Message) -> None:
        body = message.get("body", b"")
        piece = body[: self._left]
        self._left -= len(piece)
        self._closed = len(piece) < len(body)
        await self._drip({**message, "body": piece, "more_body": self._closed or message.get("more_body", False)})
        if self._closed:
            await self._wire.close()

    async def _drip(self, message: Message) -> None:
        body, rate = message["body"], self._fault.rate
        while rate and body:
            size = max(1, int(rate / _PIECES_A_SECOND))
            await self._wire({**message, "body": body[:size], "more_body": True})
            await asyncio.sleep(min(size, len(body)) / rate)
            body = body[size:]
        await self._wire({**message, "body": body})


async def answer_with(fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, wire: Wire) -> None:
    """Let an application answer a request as well as the fault allows."""
    if fault.when == "before":
        await asyncio.sleep(fault.delay)
    elif fault.replaces or fault.reset:
        await app(scope, receive, _discard)
    if fault.reset:
        await _reset(fault, wire)
        return
    answer = fault.response() if fault.replaces else app
    await answer(scope, receive, _Spoiled(fault, wire))


async def _reset(fault: Fault, wire: Wire) -> None:
    if fault.when == "before":
        # A client that still writes would see the break in the middle of its request.
        await wire.read()
    else:
        await asyncio.sleep(fault.delay)
    await wire.reset()


async def _discard(message: Message) -> None:
    """Send an answer nowhere."""
