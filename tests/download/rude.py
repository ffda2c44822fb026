"""A host of files that answers as a test tells it to, request by request."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Manner:
    """How one request is answered.

    :param ranges: ``honest``; ``ignored``: all of the file; ``refused``: 416; ``early``: the part begins before
        what was asked for; ``short``: it ends before; ``unsaid``: 206 that does not say which part it is;
        ``late``: it begins after what was asked for
    :param cut: bytes of the body, then the connection ends
    :param reset: whether it ends with a reset
    :param status: answered in place of the file
    :param validators: whether the answer tells ETag and Last-Modified
    :param length: whether it tells how long it is; if not, it comes in chunks
    """

    ranges: str = "honest"
    cut: int | None = None
    reset: bool = False
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    validators: bool = True
    length: bool = True


class RudeHost:
    """The host; ``content`` may be changed at any time."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.version = 1
        self.manners: Iterator[Manner] = iter(())
        self.requests: list[dict[str, Any]] = []
        self.on_request: Callable[[int], None] = lambda number: None
        self.lock = threading.Lock()
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body are written one after the other: the second must not wait until the first is acknowledged.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                with host.lock:
                    host.requests.append({"path": self.path, "headers": dict(self.headers)})
                    manner = next(host.manners, Manner())
                    host.on_request(len(host.requests))
                _answer(self, host, manner)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                """Clients that go away are what this is about."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/file?Signature=S3CRET"


@contextmanager
def rude_host() -> Iterator[RudeHost]:
    host = RudeHost()
    thread = threading.Thread(target=host.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.server.shutdown()
        host.server.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, host: RudeHost, manner: Manner) -> None:
    etag, content = f'"{host.version}"', host.content
    if manner.status is not None:
        _send(handler, manner, manner.status, {"Content-Length": "0", **manner.headers}, b"")
        return
    headers = {"Accept-Ranges": "bytes", **manner.headers}
    if manner.validators:
        headers["ETag"] = etag
    asked = _RANGE.fullmatch(handler.headers.get("Range", ""))
    stale = handler.headers.get("If-Range") not in (None, etag)
    if asked is None or stale or manner.ranges == "ignored":
        _send(handler, manner, 200, headers, content)
        return
    first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
    if manner.ranges == "refused" or first >= len(content):
        _send(handler, manner, 416, {"Content-Range": f"bytes */{len(content)}"}, b"")
        return
    first = {"early": first // 2, "late": min(first + 1, last)}.get(manner.ranges, first)
    last = (first + last) // 2 if manner.ranges == "short" else last
    if manner.ranges != "unsaid":
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    _send(handler, manner, 206, headers, content[first : last + 1])


def _send(handler: BaseHTTPRequestHandler, manner: Manner, status: int, headers: dict[str, str], body: bytes) -> None:
    handler.send_response(status)
    chunked = not manner.length and status == 200
    framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))}
    for name, value in {**framing, **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    piece = body if manner.cut is None else body[: manner.cut]
    if chunked:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b"")
        handler.wfile.write(b"0\r\n\r\n" if len(piece) == len(body) else b"")
    else:
        handler.wfile.write(piece)
    handler.wfile.flush()
    if len(piece) < len(body):
        handler.close_connection = True
        if manner.reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
