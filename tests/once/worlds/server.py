"""RealtimeKit's recordings, written from the reference alone: a model of meetings, and HTTP in front of it.

It imports nothing of the package. What the reference leaves open is a setting (:class:`Behaviour`). Time is the
world's; the server never blocks, so that one thread serves all and the order of events is always the same.
"""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.once.worlds.clock import Clock
from tests.once.worlds.virtual_time import EPOCH

ACTIVE = ("INVOKED", "RECORDING", "PAUSED")
_PREFIX = re.compile(r"^/accounts/[^/]+/realtime/kit/[^/]+/recordings(?P<rest>/.*)?$")
# Seconds from INVOKED to RECORDING, and from UPLOADING to UPLOADED.
_BEGINS, _UPLOADS = 2.0, 15.0
_PER_PAGE = 25


@dataclass(frozen=True)
class Start:
    """How one start is handled.

    :param answer: ``ok``, a status, ``reset`` (the connection is cut) or ``false`` (200 that says it did not succeed)
    :param answers_at: seconds after the request came
    :param acts_at: seconds after the request came at which the recording begins; ``None`` if it never does
    :param checks: when it is looked whether one runs: at ``receipt``, when it ``acts``, or ``never``
    :param refusal: the answer where one runs: 409, 400, 422, ``false``, or ``theirs`` (200 with the one that runs)
    :param retry_after: seconds, with 429
    """

    answer: int | str = "ok"
    answers_at: float = 0.5
    acts_at: float | None = 0.2
    checks: str = "receipt"
    refusal: int | str = 409
    retry_after: int | None = None


@dataclass(frozen=True)
class Fault:
    """How calls of an operation other than a start go wrong.

    :param operation: ``active``, ``list``, ``get``, ``stop``, or one of these with `` after stop``, which counts only
        calls after the first stop
    :param numbers: which calls of it, counted from 1
    :param answer: a status, ``reset``, ``html`` (200 with a page of a proxy), ``false`` (200 that says it did not
        succeed), ``no effect`` (a stop that is answered with 200 and does nothing), ``lie`` (the same, and the answer
        says UPLOADING) or ``slow`` (answered well, but late)
    :param seconds: how long the answer takes
    """

    operation: str
    numbers: tuple[int, ...]
    answer: int | str = 502
    seconds: float = 0.1


@dataclass(frozen=True)
class Behaviour:
    """What the reference leaves open, and what goes wrong.

    :param starts: how the first, second, … start is handled; the last one stands for all further ones
    :param faults: what goes wrong with other calls
    :param list_lag: seconds after which a list shows what is
    :param active_lag: seconds after which ``active-recording`` shows what is
    :param behind: seconds by which the origin's clock, which dates recordings, is behind the one of ``Date``
    :param has_invoked_time: whether recordings carry ``invoked_time``
    :param has_date: whether answers carry ``Date``
    :param names: ``prefixed`` names of files, ``plain`` ones (the prefix is ignored) or ``null``
    :param named_after: seconds after which a recording shows its name
    :param active_shows: what ``active-recording`` shows when none is active: ``uploading`` (one that has just ended),
        or the recording of another meeting, which names its meeting in ``meeting`` or in ``meeting_id``; ``None``
        for 404, as the reference says
    :param latency: seconds that each other answer takes
    """

    starts: tuple[Start, ...] = (Start(),)
    faults: tuple[Fault, ...] = ()
    list_lag: float = 0.0
    active_lag: float = 0.0
    behind: float = 0.0
    has_invoked_time: bool = True
    has_date: bool = True
    names: str = "prefixed"
    named_after: float = 0.0
    active_shows: str | None = None
    latency: float = 0.1


@dataclass(eq=False)
class Recording:
    """A recording as it really is.

    :param owner: the process that asked for it; ``others`` for what nobody of ours started
    :param began: the world's time at which it was invoked
    :param history: when it came to which status
    :param stopped_by: who stopped it, ``None`` if nobody did
    """

    id: str
    meeting: str
    owner: str
    began: float
    prefix: str = ""
    tracks: bool = False
    reason: str = "API_CALL"
    history: list[tuple[float, str]] = field(default_factory=list)
    stopped_by: str | None = None

    @property
    def status(self) -> str:
        """The status now."""
        return self.history[-1][1]

    @property
    def is_active(self) -> bool:
        """Whether it runs."""
        return self.status in ACTIVE

    @property
    def ended(self) -> float | None:
        """When it stopped being active."""
        return next((moment for moment, status in self.history if status not in ACTIVE), None)

    def status_at(self, moment: float) -> str | None:
        """Return the status that it had at a time, ``None`` if it was not there yet."""
        return next((status for began, status in reversed(self.history) if began <= moment), None)


class Model:
    """The meetings and their recordings.

    :param tell: called with each event, as :attr:`World.story` names them
    """

    def __init__(self, clock: Clock, behaviour: Behaviour, tell: Callable[[str, str], None]) -> None:
        self.clock = clock
        self.behaviour = behaviour
        self.tell = tell
        self.recordings: list[Recording] = []
        self.counts: dict[str, int] = {}

    # What happens without a request

    def begin(self, meeting: str, owner: str, **more: Any) -> Recording:
        """Begin a recording."""
        now = self.clock.now
        number = len(self.recordings) + 1
        recording = Recording(f"{number:08d}-0000-4000-8000-000000000000", meeting, owner, now, **more)
        recording.history.append((now, "INVOKED"))
        self.recordings.append(recording)
        self.clock.after(_BEGINS, lambda: self._move(recording, "INVOKED", "RECORDING"))
        self.tell("began", f"recording {number} of {meeting} by {owner}, prefix {recording.prefix!r}")
        return recording

    def end(self, recording: Recording, by: str | None = None) -> None:
        """End a recording that runs, and upload it."""
        if not recording.is_active:
            return
        recording.stopped_by = by
        recording.history.append((self.clock.now, "UPLOADING"))
        self.tell("ended", f"recording {int(recording.id[:8])}, by {by or 'its meeting'}")
        self.clock.after(_UPLOADS, lambda: self._move(recording, "UPLOADING", "UPLOADED"))

    def leave(self, meeting: str) -> None:
        """Have everybody leave the meeting: what records it ends."""
        for recording in self.recordings:
            if recording.meeting == meeting:
                self.end(recording)

    def running(self, meeting: str) -> Recording | None:
        """Return the recording that runs, of several the first."""
        return next((row for row in self.recordings if row.meeting == meeting and row.is_active), None)

    def name_of(self, recording: Recording) -> str | None:
        """Return the name of the file."""
        if self.behaviour.names == "null" or self.clock.now < recording.began + self.behaviour.named_after:
            return None
        prefix = recording.prefix if self.behaviour.names == "prefixed" else ""
        name = f"{recording.meeting}_{int(recording.began * 1000)}.{'webm' if recording.tracks else 'mp4'}"
        return f"{prefix}_{name}" if prefix else name

    def _move(self, recording: Recording, old: str, new: str) -> None:
        if recording.status == old:
            recording.history.append((self.clock.now, new))

    # What a request asks for: each returns a status, a body and the seconds after which to answer

    def number(self, operation: str) -> int:
        """Count a call."""
        self.counts[operation] = self.counts.get(operation, 0) + 1
        return self.counts[operation]

    def read(self, recording: Recording, status: str | None = None) -> dict[str, Any]:
        """Return what the API shows of a recording."""
        invoked = self._stamp(recording.began) if self.behaviour.has_invoked_time else None
        row = {
            "id": recording.id,
            "status": status or recording.status,
            "invoked_time": invoked,
            "started_time": self._reached(recording, "RECORDING"),
            "stopped_time": self._reached(recording, "UPLOADING"),
            "download_url": None,
            "download_url_expiry": None,
            "audio_download_url": None,
            "file_size": None,
            "session_id": f"session-{recording.meeting}",
            "output_file_name": self.name_of(recording),
            "start_reason": {"reason": recording.reason, "caller": {"type": "ORGANIZATION"}},
        }
        if row["status"] == "UPLOADED":
            row |= {"download_url": f"https://files.example/{recording.id}", "file_size": 1000}
        return row

    def _stamp(self, moment: float) -> str:
        there = datetime.fromtimestamp(EPOCH + moment - self.behaviour.behind, UTC)
        return there.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _reached(self, recording: Recording, status: str) -> str | None:
        return next((self._stamp(moment) for moment, reached in recording.history if reached == status), None)

    def active(self, meeting: str) -> dict[str, Any] | None:
        """Return what ``active-recording`` shows."""
        seen = self.clock.now - self.behaviour.active_lag
        rows = [(row, row.status_at(seen)) for row in self.recordings]
        own = [(row, status) for row, status in rows if row.meeting == meeting and status]
        for row, status in own:
            if status in ACTIVE:
                return self.read(row, status)
        if self.behaviour.active_shows == "uploading" and own:
            return self.read(*own[-1])
        if self.behaviour.active_shows in ("meeting", "meeting_id"):
            for row, status in rows:
                if row.meeting != meeting and status in ACTIVE:
                    names = {"id": row.meeting} if self.behaviour.active_shows == "meeting" else row.meeting
                    return {**self.read(row, status), self.behaviour.active_shows: names}
        return None

    def list(self, query: Mapping[str, str]) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """Return a page of the list, and its paging block."""
        seen = self.clock.now - self.behaviour.list_lag
        rows = [(row, row.status_at(seen)) for row in self.recordings]
        shown = [
            {**self.read(row, status), "meeting": {"id": row.meeting}}
            for row, status in rows
            if status and query.get("meeting_id") in (None, row.meeting) and query.get("status") in (None, status)
        ]
        for name, keeps in (("start_time", _is_at_or_after), ("end_time", _is_at_or_before)):
            if name in query:
                shown = [row for row in shown if keeps(row["invoked_time"], query[name])]
        shown.sort(key=lambda row: row["invoked_time"] or "", reverse=query.get("sort_order") == "DESC")
        size = min(100, int(query.get("per_page", _PER_PAGE)))
        first = (int(query.get("page_no", 1)) - 1) * size
        page = shown[first : first + size]
        start = first + 1 if page else 0
        return page, {"total_count": len(shown), "start_offset": start, "end_offset": first + len(page)}


def _is_at_or_after(invoked: str | None, limit: str) -> bool:
    return invoked is None or datetime.fromisoformat(invoked) >= datetime.fromisoformat(limit)


def _is_at_or_before(invoked: str | None, limit: str) -> bool:
    return invoked is None or datetime.fromisoformat(invoked) <= datetime.fromisoformat(limit)


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

    def __init__(self, clock: Clock, behaviour: Behaviour, tell: Callable[[str, str], None]) -> None:
        self.clock = clock
        self.behaviour = behaviour
        self.model = Model(clock, behaviour, tell)
        self.connections: list[Connection] = []
        self._tell = tell
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
            self._look(request, rest)
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
                self._tell(f"start {number} acted", "")

        def answer() -> None:
            kind = start.refusal if refused and start.answer == "ok" else start.answer
            self._tell(f"start {number} answered", f"{kind} to {request.who}")
            self._answer_start(request, kind, begun, refused, start)

        self._tell(f"start {number} received", f"from {request.who}, prefix {prefix!r}")
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
        self._tell(f"{operation} {numbers[operation]} received", "")
        if "stop" in self.model.counts:
            numbers[f"{operation} after stop"] = self.model.number(f"{operation} after stop")
        faults = self.behaviour.faults
        return next((fault for fault in faults if numbers.get(fault.operation) in fault.numbers), None)

    def _act(self, request: Request, recording_id: str) -> None:
        action = str(request.body.get("action"))
        fault = self._fault(action)
        row = next((row for row in self.model.recordings if row.id == recording_id), None)
        does = fault is None or fault.answer == "slow"
        self._tell(
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

    def _look(self, request: Request, rest: str) -> None:
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
            self._tell("active", f"shows {request.who} {_brief([data] if data else [])}")
        elif rest:
            data = next((self.model.read(row) for row in self.model.recordings if row.id == rest[1:]), None)
        else:
            data, paging = self.model.list(request.query)
            self._tell("list", f"shows {request.who} {_brief(data)}")
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
