"""A host of files, for which a test sets the answer to each request."""

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
class Answer:
    """The answer to one request.

    :param ranges: ``honest``: the requested range; ``ignored``: the full file; ``refused``: 416; ``early`` or
        ``late``: the part begins before or after the requested one; ``short``: it ends before the requested end;
        ``unsaid``: 206 without Content-Range
    :param cut: how many bytes of the body are sent before the connection is closed; ``None``: all
    :param reset: whether the connection is closed with a reset
    :param status: a status that is sent instead of the file
    :param validators: whether the answer has an ETag
    :param length: whether it has Content-Length; otherwise it is chunked
    """

    ranges: str = "honest"
    cut: int | None = None
    reset: bool = False
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    validators: bool = True
    length: bool = True


class ScriptedHost:
    """The host; ``content`` may be changed at any time."""

    def __init__(self, content: bytes = b"", address: str = "127.0.0.1") -> None:
        self.content = content
        self.version = 1
        self.answers: Iterator[Answer] = iter(())
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
                    answer = next(host.answers, Answer())
                    host.on_request(len(host.requests))
                _answer(self, host, answer)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                """Ignore clients that close the connection."""

        self.server = Server((address, 0), Handler)
        self.url = f"http://{address}:{self.server.server_port}/file?Signature=S3CRET"


@contextmanager
def scripted_host(address: str = "127.0.0.1") -> Iterator[ScriptedHost]:
    host = ScriptedHost(address=address)
    thread = threading.Thread(target=host.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.server.shutdown()
        host.server.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, host: ScriptedHost, answer: Answer) -> None:
    etag, content = f'"{host.version}"', host.content
    if answer.status is not None:
        _send(handler, answer, answer.status, {"Content-Length": "0", **answer.headers}, b"")
        return
    headers = {"Accept-Ranges": "bytes", **answer.headers}
    if answer.validators:
        headers["ETag"] = etag
    asked = _RANGE.fullmatch(handler.headers.get("Range", ""))
    stale = handler.headers.get("If-Range") not in (None, etag)
    if asked is None or stale or answer.ranges == "ignored":
        _send(handler, answer, 200, headers, content)
        return
    first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
    if answer.ranges == "refused" or first >= len(content):
        _send(handler, answer, 416, {"Content-Range": f"bytes */{len(content)}"}, b"")
        return
    first = {"early": first // 2, "late": min(first + 1, last)}.get(answer.ranges, first)
    last = (first + last) // 2 if answer.ranges == "short" else last
    if answer.ranges != "unsaid":
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    _send(handler, answer, 206, headers, content[first : last + 1])


def _send(handler: BaseHTTPRequestHandler, answer: Answer, status: int, headers: dict[str, str], body: bytes) -> None:
    handler.send_response(status)
    chunked = not answer.length and status == 200
    framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))}
    for name, value in {**framing, **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    piece = body if answer.cut is None else body[: answer.cut]
    if chunked:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b"")
        handler.wfile.write(b"0\r\n\r\n" if len(piece) == len(body) else b"")
    else:
        handler.wfile.write(piece)
    handler.wfile.flush()
    if len(piece) < len(body):
        handler.close_connection = True
        if answer.reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
