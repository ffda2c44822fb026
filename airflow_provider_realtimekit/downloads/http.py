"""How a file is requested from its host: signed URLs, connections, redirects, and what an answer says of the file."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.request import getproxies, proxy_bypass

import httpx

from airflow_provider_realtimekit.api.client import TLS, is_loopback
from airflow_provider_realtimekit.exceptions import DownloadError

if TYPE_CHECKING:
    import pendulum
    from pydantic import SecretStr

#: What a broken connection, or one that does not come about, is in Python.
BROKEN = (OSError, HTTPException)

_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Reply:
    """The answer of a file's host, its body still to be read."""

    def __init__(self, response: HTTPResponse, host: str) -> None:
        self.host = host
        self.status = response.status
        self._response = response

    def header(self, name: str) -> str | None:
        """Return a header's value."""
        return self._response.getheader(name)

    def number(self, name: str) -> int | None:
        """Return a header's value if it is a natural number."""
        value = self.header(name) or ""
        return int(value) if value.isascii() and value.isdigit() else None

    def readinto(self, view: memoryview) -> int:
        """Read as much as is there, at most to the end of the body; return how much: none at its end."""
        return self._response.readinto(view)

    @property
    def spent(self) -> bool:
        """Whether the body was read to its end, so that the connection may serve again."""
        return self._response.isclosed()


class FileHost:
    """One connection to where links lead, kept for as long as they lead to the same place.

    :param timeout: seconds without a byte
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._connection: HTTPConnection | None = None
        self._origin: tuple[str, str, int | None] | None = None
        self._reply: Reply | None = None

    def get(self, link: str, headers: dict[str, str]) -> Reply:
        """Open a signed link, without the API's token, and follow at most three redirects.

        :param link: ``https``, or plain ``http`` on loopback
        :param headers: of the range
        :raises DownloadError: when the link, or a redirect, leads where it may not
        """
        url = _parse(link)
        for _ in range(_MAX_REDIRECTS + 1):
            reply = self._ask(url, headers)
            target = reply.header("Location")
            if reply.status not in _REDIRECTS or target is None:
                return reply
            self.close()
            url = _parse(target, url)
        raise DownloadError(f"{url.host} redirects more than {_MAX_REDIRECTS} times")

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._reply = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, url: httpx.URL, headers: dict[str, str]) -> Reply:
        connection = self._connect(url)
        try:
            connection.request("GET", url.raw_path.decode("ascii"), headers={"Accept-Encoding": "identity", **headers})
            self._reply = Reply(connection.getresponse(), url.host)
        except BROKEN:
            self.close()
            raise
        return self._reply

    def _connect(self, url: httpx.URL) -> HTTPConnection:
        origin = (url.scheme, url.host, url.port)
        if self._connection is None or origin != self._origin or self._reply is None or not self._reply.spent:
            self.close()
            self._connection, self._origin = _connection(url, self._timeout), origin
        return self._connection


def _parse(link: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        url = base.join(link) if base else httpx.URL(link)
    except (httpx.InvalidURL, ValueError):
        raise DownloadError("the link is no URL") from None
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host)):
        raise DownloadError(f"the link leads to {url.scheme}://{url.host}, which is not https")
    return url


def _connection(url: httpx.URL, timeout: float) -> HTTPConnection:
    if url.scheme == "http":
        return HTTPConnection(url.host, url.port, timeout=timeout)
    proxy = None if proxy_bypass(url.host) else getproxies().get("https")
    if not proxy:
        return HTTPSConnection(url.host, url.port, timeout=timeout, context=TLS)
    return _tunnel(url, httpx.URL(proxy if "://" in proxy else f"http://{proxy}"), timeout)


def _tunnel(url: httpx.URL, proxy: httpx.URL, timeout: float) -> HTTPConnection:
    if proxy.scheme != "http":
        raise DownloadError(f"a proxy of scheme {proxy.scheme} is not supported for files")
    connection = HTTPSConnection(proxy.host, proxy.port or 80, timeout=timeout, context=TLS)
    credentials = httpx.BasicAuth(proxy.username, proxy.password) if proxy.username else None
    request = httpx.Request("CONNECT", url.copy_with(query=None))
    if credentials:
        request = next(credentials.auth_flow(request))
    headers = {"Proxy-Authorization": request.headers["Authorization"]} if credentials else {}
    connection.set_tunnel(url.host, url.port or 443, headers=headers)
    return connection


# A link that dies sooner is not begun with: the host may check it at the start only, but clocks differ.
_MARGIN_SECONDS = 60.0


class Signed(NamedTuple):
    """A link as the API gave it, and what it said of the file."""

    url: SecretStr
    expiry: pendulum.DateTime | None
    announced: int | None


class Link:
    """A link that renews itself; safe to share between threads.

    :param renew: asks the API for the file's link; raises when there is none any more
    :param signed: the link to begin with
    """

    def __init__(self, renew: Callable[[], Signed], signed: Signed) -> None:
        self._renew = renew
        self._signed = signed
        self._age = 0
        self._lock = Lock()
        self._asked_at_expiry: float | None = None

    @property
    def announced(self) -> int | None:
        """The size in bytes that the API announced last, if it did."""
        return self._signed.announced

    def current(self) -> tuple[str, int]:
        """Return the link to use now, and its age to name it by should it be refused."""
        with self._lock:
            if self._is_dying():
                self._replace()
            return self._signed.url.get_secret_value(), self._age

    def refuse(self, age: int) -> None:
        """Have the link renewed, unless somebody has done so since."""
        with self._lock:
            if age == self._age:
                self._replace()

    def refresh(self) -> None:
        """Hear what the API says of the file now."""
        with self._lock:
            self._replace()

    def _is_dying(self) -> bool:
        expiry = self._signed.expiry
        if expiry is None or expiry.timestamp() - time.time() > _MARGIN_SECONDS:
            return False
        # Some links cannot be renewed: one with the same expiry is asked for once only.
        return self._asked_at_expiry != expiry.timestamp()

    def _replace(self) -> None:
        self._signed = self._renew()
        self._age += 1
        expiry = self._signed.expiry
        self._asked_at_expiry = expiry.timestamp() if expiry else None


_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)\s*", re.IGNORECASE)


class FileChangedError(Exception):
    """The file is not the one that was begun."""


@dataclass
class Facts:
    """A file as its host tells of it.

    ``ranges`` is whether the host gives parts: so it says, and it has not failed to yet.
    """

    size: int | None
    etag: str | None
    modified: str | None
    ranges: bool

    @property
    def validator(self) -> str | None:
        """What to send as ``If-Range``; a weak ETag is not allowed there."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def check_same(self, reply: Reply, size: int | None, *, partial: bool) -> None:
        """Make sure that an answer speaks of this file.

        A partial answer to ``If-Range`` need not repeat the validators; a whole one must prove itself by them.

        :raises FileChangedError: when it does not, or cannot
        """
        pairs = [(self.etag, reply.header("ETag")), (self.modified, reply.header("Last-Modified"))]
        known = [(ours, theirs) for ours, theirs in pairs if ours and theirs]
        if any(ours != theirs for ours, theirs in known) or (not partial and not known):
            raise FileChangedError
        self.size = size if self.size is None else self.size
        if size is not None and size != self.size:
            raise FileChangedError


def read_facts(reply: Reply) -> Facts:
    """Read the facts off the answer that holds the whole file."""
    accepts = (reply.header("Accept-Ranges") or "").strip().lower()
    encoded = reply.header("Transfer-Encoding") is not None
    facts = Facts(
        size=None if encoded else reply.number("Content-Length"),
        etag=reply.header("ETag"),
        modified=reply.header("Last-Modified"),
        ranges=accepts != "none",
    )
    facts.ranges = facts.ranges and facts.validator is not None
    return facts


def range_of(reply: Reply) -> tuple[int, int, int | None] | None:
    """Return first byte, the one after the last, and the file's size, of a partial answer; None where it is unclear."""
    found = _CONTENT_RANGE.fullmatch(reply.header("Content-Range") or "")
    if found is None:
        return None
    first, last, total = found.groups()
    return int(first), int(last) + 1, None if total == "*" else int(total)
