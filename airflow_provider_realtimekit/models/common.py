"""What all models share: the statuses, timestamps, secrets, and how a wrong value is reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self, get_args

import pendulum
from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, SecretStr, ValidationError

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError


class RecordingStatus(StrEnum):
    """Where a recording stands: INVOKED → RECORDING (⇄ PAUSED) → UPLOADING → UPLOADED, or ERRORED."""

    INVOKED = "INVOKED"
    RECORDING = "RECORDING"
    PAUSED = "PAUSED"
    UPLOADING = "UPLOADING"
    UPLOADED = "UPLOADED"
    ERRORED = "ERRORED"


ACTIVE = frozenset({RecordingStatus.INVOKED, RecordingStatus.RECORDING, RecordingStatus.PAUSED})
TERMINAL = frozenset({RecordingStatus.UPLOADED, RecordingStatus.ERRORED})


class Action(StrEnum):
    """What can be asked of a recording that runs."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"


#: Where an action leads: a recording in one of these needs it no more.
GOALS = {
    Action.PAUSE: frozenset({RecordingStatus.PAUSED}),
    Action.RESUME: frozenset({RecordingStatus.RECORDING}),
    Action.STOP: frozenset({RecordingStatus.UPLOADING}) | TERMINAL,
}

#: Keys whose values are never published, logged or put into a message, wherever they stand in a value.
#: An RTMP address carries its stream key; links to files are signed.
SECRET_KEYS = frozenset({"access_key", "secret", "password", "private_key", "rtmp_url"})
MASK = "***"


def parse_timestamp(value: Any) -> pendulum.DateTime:
    """Return an aware pendulum time; a time without a zone is UTC, as all of the API's are."""
    if isinstance(value, datetime):
        return pendulum.instance(value)
    with suppress(ValueError, TypeError):
        parsed = pendulum.parse(value)
        if isinstance(parsed, pendulum.DateTime):
            return parsed
    raise ValueError(f"{value!r} is not allowed: must be a datetime, or a time in ISO 8601")


Timestamp = Annotated[
    pendulum.DateTime,
    PlainValidator(parse_timestamp),
    PlainSerializer(lambda moment: moment.isoformat(), return_type=str, when_used="json"),
]


class FrozenModel(BaseModel):
    """Immutable, and shown without its secrets."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class RequestModel(FrozenModel):
    """A part of a request body: unknown keys are mistakes, and are refused before any call."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def checked(cls, **arguments: Any) -> Self:
        """Build the model; ``None`` means: not given.

        :raises RealtimeKitInputError: naming the argument, its value and what is allowed
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            raise RealtimeKitInputError(describe(error, cls)) from None

    def to_body(self) -> dict[str, Any]:
        """Return the JSON body to send, its secrets in clear."""
        body: dict[str, Any] = reveal(self.model_dump(exclude_none=True))
        return body


def reveal(value: Any) -> Any:
    """Return ``value`` as plain JSON, with its secrets in clear."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [reveal(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value


def secrets_in(value: Any) -> Iterator[str]:
    """Find every secret in a plain or templated value, so that it can be masked or scrubbed."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in SECRET_KEYS and isinstance(item, str | SecretStr):
                yield reveal(item)
            else:
                yield from secrets_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_in(item)
    elif isinstance(value, BaseModel):
        yield from secrets_in(dict(value))


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Say in one line what was wrong: argument, value, and what is allowed."""
    return "; ".join(
        _describe_one(item["loc"], item.get("input"), item, model)
        for item in error.errors(include_url=False, include_context=True)
    )


def _describe_one(location: tuple[int | str, ...], value: Any, item: Any, model: type[BaseModel]) -> str:
    said = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    if item["type"] == "value_error":
        prefix = ".".join(map(str, location))
        return f"{prefix}: {said}" if prefix else said
    name = ".".join(map(str, location))
    if item["type"] == "missing":
        return f"{name} is required"
    if item["type"] == "extra_forbidden":
        return f"{name} is not known; fields that the API gained since go into extra_fields"
    allowed = _allowed(location, model)
    shown = MASK if SECRET_KEYS & set(map(str, location)) else _shorten(value)
    return f"{name}={shown} is not allowed: {allowed or said}"


def _allowed(location: tuple[int | str, ...], model: type[BaseModel]) -> str | None:
    """Look up what the model's author wrote of the field that ``location`` points at."""
    current: type[BaseModel] | None = model
    description = None
    for name in location:
        field = current.model_fields.get(str(name)) if current else None
        if field is not None:  # anything else is a key of a mapping or an index of a list
            description = field.description
            current = next(_models_in(field.annotation), None)
    return description


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _shorten(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping | BaseModel):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
