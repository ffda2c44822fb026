"""Ask the hosts of files: one kept connection, redirects checked, and no link in any message.

Python's own HTTP client, not httpx: it reads a body straight into a buffer, several times as fast, and logs nothing.
"""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Self
from urllib.request import getproxies, proxy_bypass

import httpx

from airflow_provider_realtimekit.api.client import TLS
from airflow_provider_realtimekit.connections.realtimekit import is_loopback
from airflow_provider_realtimekit.exceptions import DownloadError

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
