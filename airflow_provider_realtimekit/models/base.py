"""What all models share: the statuses, timestamps, secrets, and how a wrong value is reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self, get_args, get_origin

import pendulum
from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.redaction import MASK, SECRET_KEYS, parse_json_object


def parse_timestamp(value: Any) -> pendulum.DateTime:
    """Return an aware pendulum time; a time without a zone is UTC, as all of the API's are."""
    if isinstance(value, datetime):
        return pendulum.instance(value)
    with suppress(ValueError, TypeError):
        return pendulum.instance(datetime.fromisoformat(value))
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

    @model_validator(mode="before")
    @classmethod
    def _read_json(cls, value: Any) -> Any:
        """Take an object that a template rendered as JSON for what it is."""
        return parse_json_object(value, value) if isinstance(value, str) else value

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


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Say in one line what was wrong: argument, value, and what is allowed."""
    return "; ".join(
        _describe_one(item["loc"], item.get("input"), item, model)
        for item in error.errors(include_url=False, include_context=True)
    )


def _describe_one(location: tuple[int | str, ...], value: Any, item: Any, model: type[BaseModel]) -> str:
    said = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    name = ".".join(map(str, location))
    if item["type"] == "value_error":
        return f"{name}: {said}" if name else said
    if item["type"] == "missing":
        return f"{name} is required"
    if item["type"] == "extra_forbidden":
        return f"{name} is not known; fields that the API gained since go into extra_fields"
    field, is_whole = _field(location, model)
    is_secret = bool(SECRET_KEYS & set(map(str, location)))
    shown = MASK if is_secret else _shown(value, is_object=field is None or _is_object(field))
    return f"{name}={shown} is not allowed: {(field and is_whole and field.description) or said}"


def _field(location: tuple[int | str, ...], model: type[BaseModel]) -> tuple[FieldInfo | None, bool]:
    """Find the field that ``location`` points at or into, and whether at the whole of it."""
    current: type[BaseModel] | None = model
    found, is_whole = None, False
    for name in location:
        field = current.model_fields.get(str(name)) if current else None
        is_whole = field is not None  # anything else is a key of a mapping or an index of a list
        if field is not None:
            found = field
            current = next(_models_in(field.annotation), None)
    return found, is_whole


def _is_object(field: FieldInfo) -> bool:
    """Whether a field holds more than a scalar: a wrong value of it may be an object gone wrong, secrets and all."""
    return any((get_origin(part) or part) in (dict, Mapping) for part in _parts(field.annotation)) or any(
        _models_in(field.annotation)
    )


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    return (part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel))


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _shown(value: Any, *, is_object: bool) -> str:
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if is_object or isinstance(value, Mapping | BaseModel):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
