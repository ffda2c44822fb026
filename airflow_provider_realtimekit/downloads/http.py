"""How a file is requested from its host: signed URLs and their renewal, redirects, proxies and the headers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import getproxies, proxy_bypass

import httpx

from airflow_provider_realtimekit.api.client import TLS
from airflow_provider_realtimekit.connections.realtimekit import is_loopback
from airflow_provider_realtimekit.exceptions import DownloadError

if TYPE_CHECKING:
    import pendulum
    from pydantic import SecretStr

#: What Python raises when a connection cannot be opened, or breaks.
CONNECTION_ERRORS = (OSError, HTTPException)

# A URL that expires sooner is renewed before it is used. Hosts check the expiry when a request begins, and the clocks
# of host and worker differ.
_EXPIRY_MARGIN_SECONDS = 60.0
_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)\s*", re.IGNORECASE)


class FileChangedError(Exception):
    """The file on the host is not the one whose download was begun."""


class SignedUrl(NamedTuple):
    """A signed URL as the API returned it.

    :param url: the URL; whoever has it can read the file
    :param expiry: when the host stops accepting it, if the API says so
    :param announced_size: bytes of the file according to the API, if it says so
    """

    url: SecretStr
    expiry: pendulum.DateTime | None
    announced_size: int | None


class RenewableUrl:
    """The signed URL of a file, renewed when its host rejects it or shortly before it expires; thread-safe.

    :param request_url: requests the file's URL from the API; raises when the file is gone
    :param signed: the URL to begin with
    :param clock: seconds since 1970
    """

    def __init__(
        self, request_url: Callable[[], SignedUrl], signed: SignedUrl, clock: Callable[[], float] = time.time
    ) -> None:
        self._request_url = request_url
        self._signed = signed
        self._clock = clock
        self._version = 0
        self._lock = Lock()
        self._renewed_to: float | None = None
        self.announced_size = signed.announced_size

    def current(self) -> tuple[str, int]:
        """Return the URL to use now, and its version, to be passed to :meth:`reject`."""
        with self._lock:
            expiry = self._signed.expiry
            # The API may return a URL with the same expiry again: such a URL is renewed only once.
            if (
                expiry is not None
                and expiry.timestamp() - self._clock() <= _EXPIRY_MARGIN_SECONDS
                and expiry.timestamp() != self._renewed_to
            ):
                self._renew()
            return self._signed.url.get_secret_value(), self._version

    def reject(self, version: int) -> None:
        """Renew the URL because its host rejected that version, unless another thread has renewed it since."""
        with self._lock:
            if version == self._version:
                self._renew()

    def renew(self) -> None:
        """Request the URL, and the announced size with it, from the API again."""
        with self._lock:
            self._renew()

    def _renew(self) -> None:
        self._signed = self._request_url()
        self._version += 1
        self.announced_size = self._signed.announced_size
        self._renewed_to = self._signed.expiry.timestamp() if self._signed.expiry else None


@dataclass
class RemoteFile:
    """A file as its host describes it.

    :param size: bytes, ``None`` where the host does not say
    :param has_ranges: whether the host serves parts of it; set to ``False`` once it has failed to
    """

    size: int | None
    etag: str | None
    last_modified: str | None
    has_ranges: bool = False

    @property
    def validator(self) -> str | None:
        """The value to send as ``If-Range``."""
        # RFC 9110, 13.1.5: a weak ETag is not allowed there.
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def check_unchanged(self, other: RemoteFile, *, is_partial: bool) -> None:
        """Check that another answer is about the same file, and learn its size where it was unknown.

        :param is_partial: whether that answer holds a part of the file
        :raises FileChangedError: when it is about another file, or does not prove that it is about this one
        """
        pairs = [(self.etag, other.etag), (self.last_modified, other.last_modified)]
        known = [(ours, theirs) for ours, theirs in pairs if ours and theirs]
        # A partial answer to If-Range need not repeat the validators. It proves that they match.
        if any(ours != theirs for ours, theirs in known) or not (known or is_partial):
            raise FileChangedError
        self.size = other.size if self.size is None else self.size
        if other.size not in (None, self.size):
            raise FileChangedError


class Reply:
    """The answer of a file's host, its body not read yet.

    ``file`` is the file as the headers describe it. ``span`` is where in the file the body begins and ends (``None``
    as the end: when the connection ends). ``span`` itself is ``None`` when a partial answer contradicts itself.
    """

    def __init__(self, response: HTTPResponse, host: str, url_version: int) -> None:
        self.host = host
        self.status = response.status
        self.url_version = url_version
        self.retry_after = response.getheader("Retry-After")
        # Bound here, not wrapped, because they are called for each block of the body.
        self.readinto = response.readinto
        self.is_read = response.isclosed
        self.span, self.file = _parse_headers(response)


class FileHost:
    """One connection to the host of a file, kept open for as long as the URLs lead to the same place.

    :param url: the file's signed URL
    :param timeout: seconds without a byte until the connection counts as broken
    """

    # Python's own HTTP client, not httpx: it reads a body straight into a buffer, which is several times as fast, and
    # it logs no URL.

    def __init__(self, url: RenewableUrl, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._connection: HTTPConnection | None = None
        self._origin: tuple[str, str, int | None] | None = None
        self._response: HTTPResponse | None = None

    def get(self, headers: dict[str, str]) -> Reply:
        """Request the file, without the API's token, and follow at most three redirects.

        :param headers: those of the range, if a part is wanted
        :raises DownloadError: when the URL, or a redirect, is neither ``https`` nor plain ``http`` on loopback
        """
        link, version = self._url.current()
        url = _parse_url(link)
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._send(url, headers)
            target = response.getheader("Location")
            if response.status not in _REDIRECTS or target is None:
                return Reply(response, url.host, version)
            self.close()
            url = _parse_url(target, url)
        raise DownloadError(f"{url.host} redirects more than {_MAX_REDIRECTS} times")

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._response = None

    def _send(self, url: httpx.URL, headers: dict[str, str]) -> HTTPResponse:
        origin = (url.scheme, url.host, url.port)
        # A connection can be used again only when the body before was read to its end.
        if self._connection is None or origin != self._origin or not (self._response and self._response.isclosed()):
            self.close()
            self._connection, self._origin = _connect(url, self._timeout), origin
        # Without "identity" a host may compress, and then its ranges would count other bytes.
        headers = {"Accept-Encoding": "identity", **headers}
        try:
            self._connection.request("GET", url.raw_path.decode("ascii"), headers=headers)
            self._response = self._connection.getresponse()
        except CONNECTION_ERRORS:
            self.close()
            raise
        return self._response


def _parse_url(link: str, base: httpx.URL | None = None) -> httpx.URL:
    # Errors name scheme and host only: the rest of a signed URL is secret.
    try:
        url = base.join(link) if base else httpx.URL(link)
    except (httpx.InvalidURL, ValueError):
        raise DownloadError("the link to the file is not a URL") from None
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host)):
        raise DownloadError(f"the link to the file leads to {url.scheme}://{url.host}, which is not https")
    return url


def _connect(url: httpx.URL, timeout: float) -> HTTPConnection:
    if url.scheme == "http":
        return HTTPConnection(url.host, url.port, timeout=timeout)
    proxy = None if proxy_bypass(url.host) else getproxies().get("https")
    if not proxy:
        return HTTPSConnection(url.host, url.port, timeout=timeout, context=TLS)
    return _connect_through_proxy(url, httpx.URL(proxy if "://" in proxy else f"http://{proxy}"), timeout)


def _connect_through_proxy(url: httpx.URL, proxy: httpx.URL, timeout: float) -> HTTPConnection:
    if proxy.scheme != "http":
        raise DownloadError(
            f"files cannot be downloaded through a proxy of scheme {proxy.scheme}: set HTTPS_PROXY to an http:// URL"
        )
    connection = HTTPSConnection(proxy.host, proxy.port or 80, timeout=timeout, context=TLS)
    headers = {}
    if proxy.username:
        # httpx writes the header. The URL of this request is not used, so it need not contain the signature.
        request = httpx.Request("CONNECT", url.copy_with(query=None))
        request = next(httpx.BasicAuth(proxy.username, proxy.password).auth_flow(request))
        headers["Proxy-Authorization"] = request.headers["Authorization"]
    connection.set_tunnel(url.host, url.port or 443, headers=headers)
    return connection


def _parse_headers(response: HTTPResponse) -> tuple[tuple[int, int | None] | None, RemoteFile]:
    """Return where in the file the body begins and ends, and the file."""
    header = response.getheader
    text = header("Content-Length") or ""
    is_sized = header("Transfer-Encoding") is None and text.isascii() and text.isdigit()
    length = int(text) if is_sized else None
    file = RemoteFile(length, header("ETag"), header("Last-Modified"))
    # Only a validator proves that a part belongs to the same file as what is there already.
    file.has_ranges = (header("Accept-Ranges") or "").strip().lower() != "none" and file.validator is not None
    if response.status != 206:
        return (0, length), file
    file.size = None
    found = _CONTENT_RANGE.fullmatch(header("Content-Range") or "")
    if found is None:
        return None, file
    first, end = int(found[1]), int(found[2]) + 1
    file.size = None if found[3] == "*" else int(found[3])
    return ((first, end) if length in (None, end - first) else None), file
