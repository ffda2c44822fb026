"""What the host of a file says of it, and whether an answer still speaks of the same file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_realtimekit.downloads.hosts import Reply

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
