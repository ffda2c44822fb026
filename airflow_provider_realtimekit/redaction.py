"""Decides which values are secret, finds them, and masks them in messages, logs and results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr

E = TypeVar("E", bound=Exception)

#: Keys whose values are never published, logged or put into a message, at any depth.
#: An RTMP address holds its stream key. (Signed URLs are no part of requests: models.recording hides them.)
SECRET_KEYS = frozenset({"access_key", "secret", "password", "private_key", "rtmp_url"})
MASK = "***"

_CHUNK = re.compile(r"[^\s\"'<>]+")
_SCHEME = re.compile(r":(?:\\?/){2}")  # JSON may escape a slash
# A shorter piece is not secret alone, and masking it everywhere would make messages unreadable.
_SHORTEST_SECRET = 4
# Longer than every known message of the API. A proxy's HTML page does not belong in a log.
_LONGEST_MESSAGE = 1000


def strip_queries(text: str) -> str:
    """Mask the query of every URL in a text, which is where a signed URL has its signature."""

    def strip(match: re.Match[str]) -> str:
        chunk = match[0]
        scheme = _SCHEME.search(chunk)
        query = chunk.find("?", scheme.end()) if scheme else -1
        return chunk if query < 0 else f"{chunk[: query + 1]}{MASK}"

    # Two simple patterns, because one for a complete URL can need quadratic time on a hostile text.
    return _CHUNK.sub(strip, text)


def find_secrets(value: Any) -> Iterator[str]:
    """Yield every secret in a value, so that it can be masked; also in JSON text, as templates render objects."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in SECRET_KEYS and isinstance(item, str | SecretStr):
                yield item.get_secret_value() if isinstance(item, SecretStr) else item
            else:
                yield from find_secrets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from find_secrets(item)
    elif isinstance(value, BaseModel):
        yield from find_secrets(dict(value))
    elif isinstance(value, str):
        yield from find_secrets(parse_json_object(value))


def parse_json_object(text: str, otherwise: Any = None) -> Any:
    """Return the object or list that a JSON text holds.

    :param otherwise: what to return if the text holds none (default: ``None``)
    """
    if not text.lstrip().startswith(("{", "[")):
        return otherwise
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return otherwise


def find_strings(value: Any) -> Iterator[str]:
    """Yield every string in a value, for values whose secret parts are not known."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from find_strings(item)


def mask(text: str, secrets: Iterable[str]) -> str:
    """Mask secrets in a text, in every form in which an answer may repeat them."""
    forms = {form for secret in secrets for form in _forms(secret) if len(form) >= _SHORTEST_SECRET}
    # The longest first, since one form may be part of another.
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def mask_error(error: E, secrets: Iterable[str]) -> E:
    """Mask secrets in an error's message, and in the messages of its causes; return the error."""
    secrets = list(secrets)
    for link in _chain(error):
        link.args = tuple(mask(part, secrets) if isinstance(part, str) else part for part in link.args)
    return error


def redact_error(error: E, secrets: Iterable[str]) -> E:
    """Mask secrets in an error's message and in those of its causes, and shorten them; return the error."""
    # Masked before it is cut, because the rest of a cut secret would not be found.
    for link in _chain(mask_error(error, secrets)):
        link.args = tuple(truncate(part) if isinstance(part, str) else part for part in link.args)
    return error


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, each once, even if they form a circle."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and all(link is not known for known in chain):
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


def truncate(text: str) -> str:
    """Cut a message to 1,000 characters. Mask it first: a cut secret is not found any more."""
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it is, escaped, on one line and line by line; of a key file in JSON, each value as well."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    yield " ".join(secret.split())
    yield from secret.splitlines()
    inside = parse_json_object(secret)
    if isinstance(inside, Mapping):
        for item in inside.values():
            if isinstance(item, str):
                yield from _forms(item)
