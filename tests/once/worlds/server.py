"""The six operations of RealtimeKit's recordings over HTTP, in front of :class:`.model.Model`.

It imports nothing of the package. It never blocks: one thread serves all, and the order of events is always the same.
"""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.once.worlds.clock import Clock
from tests.once.worlds.model import Behaviour, Fault, Model, Recording, Start
from tests.once.worlds.virtual_time import EPOCH

_PREFIX = re.compile(r"^/accounts/[^/]+/realtime/kit/[^/]+/recordings(?P<rest>/.*)?$")


@dataclass
class Request:
    """A request, and the connection that it came on."""

    method: str
    who: str
    path: str
    query: dict[str, str]
    body: dict[str, Any]
    connection: Connection


class Connection:
    """A connection to a client."""

    def __init__(self, stream: socket.socket, handle: Callable[[Request], None]) -> None:
        stream.setblocking(False)
        self.stream = stream
        self.is_open = True
        self._data = b""
        self._handle = handle

    def read(self) -> None:
        """Read what came, and handle a request that is whole."""
        try:
            data = self.stream.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._data += data
        while (request := self._next()) is not None:
            self._handle(request)

    def _next(self) -> Request | None:
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not end:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return None
        self._data = rest[length:]
        method, target, _ = first.split(" ")
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        who = headers.get("authorization", "").removeprefix("Bearer token-of-")
        return Request(method, who, url.path, query, json.loads(rest[:length] or b"{}"), self)

    def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Send an answer; nobody may wait for it any more."""
        if not self.is_open:
            return
        lines = [f"HTTP/1.1 {status} Answer", *(f"{name}: {value}" for name, value in headers.items())]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
        try:
            self.stream.sendall(head.encode() + body)
        except OSError:
            self.close()

    def reset(self) -> None:
        """Cut the connection."""
        with suppress(OSError):
            self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.is_open = False
        self.stream.close()


class Server:
    """HTTP in front of the model. Each process has a token of its own, which says who asks."""

    def __init__(self, clock: Clock, behaviour: Behaviour, log_event: Callable[[str, str], None]) -> None:
        self.clock = clock
        self.behaviour = behaviour
        self.model = Model(clock, behaviour, log_event)
        self.connections: list[Connection] = []
        self._log_event = log_event
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]

    @property
    def sockets(self) -> dict[socket.socket, Callable[[], None]]:
        """What may have something to read, and what reads it."""
        self.connections = [connection for connection in self.connections if connection.is_open]
        readers: dict[socket.socket, Callable[[], None]] = {self._listener: self._accept}
        return readers | {connection.stream: connection.read for connection in self.connections}

    def close(self) -> None:
        """Close everything."""
        self._listener.close()
        for connection in self.connections:
            connection.close()

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            stream, _ = self._listener.accept()
            self.connections.append(Connection(stream, self._handle))

    def _handle(self, request: Request) -> None:
        found = _PREFIX.match(request.path.removeprefix("/client/v4"))
        rest = (found["rest"] or "") if found else None
        if request.method == "POST" and rest in ("", "/track"):
            self._start(request, tracks=rest == "/track")
        elif request.method == "PUT" and rest:
            self._act(request, rest[1:])
        elif request.method == "GET" and rest is not None:
            self._read(request, rest)
        else:
            self._answer(request, 404, {"success": False, "errors": [{"code": 7003, "message": "no route"}]}, 0.0)

    # Starts

    def _start(self, request: Request, *, tracks: bool) -> None:
        number = self.model.number("start")
        start = self.behaviour.starts[min(number, len(self.behaviour.starts)) - 1]
        meeting = str(request.body.get("meeting_id"))
        several = bool(request.body.get("allow_multiple_recordings"))
        prefix = _prefix_of(request.body)
        begun: list[Recording] = []
        refused: list[Recording] = []

        def is_refused(moment: str) -> bool:
            running = None if several or start.checks != moment else self.model.running(meeting)
            if running is not None:
                refused.append(running)
            return bool(refused)

        def act() -> None:
            if not is_refused("acts"):
                begun.append(self.model.begin(meeting, request.who, prefix=prefix, tracks=tracks))
                self._log_event(f"start {number} acted", "")

        def answer() -> None:
            kind = start.refusal if refused and start.answer == "ok" else start.answer
            self._log_event(f"start {number} answered", f"{kind} to {request.who}")
            self._answer_start(request, kind, begun, refused, start)

        self._log_event(f"start {number} received", f"from {request.who}, prefix {prefix!r}")
        if not is_refused("receipt") and start.acts_at is not None:
            self.clock.after(start.acts_at, act)
        self.clock.after(start.answers_at, answer)

    def _answer_start(
        self, request: Request, kind: int | str, begun: list[Recording], refused: list[Recording], start: Start
    ) -> None:
        if kind == "reset" or (kind == "ok" and not begun):
            # An answer to a start that never acted: nobody waits for it any more.
            request.connection.reset()
        elif kind in ("ok", "theirs"):
            row = (begun or refused)[0]
            self._answer(request, 200, {"success": True, "data": self.model.read(row)}, 0.0)
        elif kind == "false":
            error = {"code": 400, "message": "the meeting is being recorded already"}
            self._answer(request, 200, {"success": False, "error": error}, 0.0)
        elif isinstance(kind, int) and kind >= 500:
            self._answer(request, kind, f"<html>{kind}: the gateway got no answer</html>", 0.0)
        else:
            headers = {"Retry-After": str(start.retry_after)} if start.retry_after else {}
            error = {"code": kind, "message": "too many requests" if kind == 429 else "a recording is active"}
            self._answer(request, int(kind), {"success": False, "error": error}, 0.0, headers)

    # Everything else

    def _fault(self, operation: str) -> Fault | None:
        numbers = {operation: self.model.number(operation)}
        self._log_event(f"{operation} {numbers[operation]} received", "")
        if "stop" in self.model.counts:
            numbers[f"{operation} after stop"] = self.model.number(f"{operation} after stop")
        faults = self.behaviour.faults
        return next((fault for fault in faults if numbers.get(fault.operation) in fault.numbers), None)

    def _act(self, request: Request, recording_id: str) -> None:
        action = str(request.body.get("action"))
        fault = self._fault(action)
        row = next((row for row in self.model.recordings if row.id == recording_id), None)
        does = fault is None or fault.answer == "slow"
        self._log_event(
            f"{action}", f"of recording {int(recording_id[:8])} by {request.who}, {fault.answer if fault else 'done'}"
        )
        if fault is not None and fault.answer not in ("no effect", "lie", "slow"):
            self._fail(request, fault)
        elif row is None:
            self._answer(request, 404, _NOT_FOUND)
        else:
            if action == "stop" and does:
                self.model.end(row, by=request.who)
            status = "UPLOADING" if fault is not None and fault.answer == "lie" else None
            self._answer(request, 200, {"success": True, "data": self.model.read(row, status)}, _seconds(fault))

    def _read(self, request: Request, rest: str) -> None:
        operation = "active" if rest.startswith("/active-recording/") else "get" if rest else "list"
        fault = self._fault(operation)
        if fault is not None and fault.answer != "slow":
            self._fail(request, fault)
            return
        # What a slow answer says is what was at its end.
        seconds = _seconds(fault)
        self.clock.after(self.behaviour.latency if seconds is None else seconds, lambda: self._show(request, rest))

    def _show(self, request: Request, rest: str) -> None:
        paging: dict[str, int] | None = None
        data: Any
        if rest.startswith("/active-recording/"):
            data = self.model.active(rest.rpartition("/")[2])
            self._log_event("active", f"shows {request.who} {_brief([data] if data else [])}")
        elif rest:
            data = next((self.model.read(row) for row in self.model.recordings if row.id == rest[1:]), None)
        else:
            data, paging = self.model.list(request.query)
            self._log_event("list", f"shows {request.who} {_brief(data)}")
        if data is None:
            self._answer(request, 404, _NOT_FOUND, 0.0)
        else:
            self._answer(request, 200, {"success": True, "data": data, "paging": paging}, 0.0)

    def _fail(self, request: Request, fault: Fault) -> None:
        if fault.answer == "reset":
            self.clock.after(fault.seconds, request.connection.reset)
        elif fault.answer == "html":
            self._answer(request, 200, "<html>welcome</html>", fault.seconds)
        elif fault.answer == "false":
            self._answer(request, 200, {"success": False, "error": {"code": 400, "message": "no"}}, fault.seconds)
        else:
            self._answer(request, int(fault.answer), f"<html>{fault.answer}</html>", fault.seconds)

    def _answer(
        self,
        request: Request,
        status: int,
        body: dict[str, Any] | str,
        seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        text = body if isinstance(body, str) else json.dumps(body)

        def send() -> None:
            date = {"Date": format_datetime(datetime.fromtimestamp(EPOCH + self.clock.now, UTC), usegmt=True)}
            kind = {"Content-Type": "text/html" if isinstance(body, str) else "application/json"}
            date = date if self.behaviour.has_date else {}
            request.connection.answer(status, text.encode(), {**date, **kind, **(headers or {})})

        self.clock.after(self.behaviour.latency if seconds is None else seconds, send)


_NOT_FOUND = {"success": False, "error": {"code": 404, "message": "no such recording"}}


def _seconds(fault: Fault | None) -> float | None:
    return None if fault is None else fault.seconds


def _brief(rows: list[dict[str, Any]]) -> str:
    return ", ".join(f"{int(row['id'][:8])} {row['status']}" for row in rows) or "nothing"


def _prefix_of(body: Mapping[str, Any]) -> str:
    """Return what the file's name begins with; of tracks, the first layer's."""
    layers = body.get("layers") or {}
    layer = next(iter(layers.values()), {})
    return str(body.get("file_name_prefix") or layer.get("file_name_prefix") or "")
