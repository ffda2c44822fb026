"""Keep secrets out of what others can read: one place that knows where they stand and how to take them out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr

E = TypeVar("E", bound=Exception)

#: Keys whose values are never published, logged or put into a message, wherever they stand in a value.
#: An RTMP address carries its stream key; links to files are signed.
SECRET_KEYS = frozenset({"access_key", "secret", "password", "private_key", "rtmp_url"})
MASK = "***"

_CHUNK = re.compile(r"[^\s\"'<>]+")
_SCHEME = re.compile(r":(?:\\?/){2}")
# A shorter part of a secret is no secret, and masking it would garble every text.
_SHORTEST = 4
_LONGEST_MESSAGE = 1000


def strip_queries(text: str) -> str:
    """Take the query out of every URL in a text: there is where signatures stand."""
    return _CHUNK.sub(lambda chunk: _scrub(chunk[0]), text)


def _scrub(chunk: str) -> str:
    scheme = _SCHEME.search(chunk)
    query = chunk.find("?", scheme.end()) if scheme else -1
    return chunk if query < 0 else f"{chunk[: query + 1]}{MASK}"


def find_secrets(value: Any) -> Iterator[str]:
    """Find every secret in a value, plain or rendered from a template, so that it can be masked."""
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
    """Return the object or list that a template rendered as JSON, ``otherwise`` if it is none."""
    if not text.lstrip().startswith(("{", "[")):
        return otherwise
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return otherwise


def find_strings(value: Any) -> Iterator[str]:
    """Find every string in a value of which nobody knows what is secret in it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from find_strings(item)


def mask(text: str, secrets: Iterable[str]) -> str:
    """Take secrets out of a text, in every form in which an answer may echo them."""
    forms = {form for secret in secrets for form in _forms(secret) if len(form) >= _SHORTEST}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def mask_error(error: E, secrets: Iterable[str]) -> E:
    """Take secrets out of an error's message, and out of those that led to it."""
    secrets = list(secrets)
    for link in _chain(error):
        link.args = tuple(mask(part, secrets) if isinstance(part, str) else part for part in link.args)
    return error


def redact_error(error: E, secrets: Iterable[str]) -> E:
    """Make an error's message, and those that led to it, fit to be read by anybody: masked, and only then cut."""
    for link in _chain(mask_error(error, secrets)):
        link.args = tuple(truncate(part) if isinstance(part, str) else part for part in link.args)
    return error


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and those that led to it; two that name each other end the chain."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and all(link is not known for known in chain):
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


def truncate(text: str) -> str:
    """Cut a message to a bearable length; to be done after masking, never before."""
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret, its escaped and folded forms, its lines, and what is in it if it is a key file in JSON."""
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
