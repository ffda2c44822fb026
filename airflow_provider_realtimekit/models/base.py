"""What all models share: identifiers, timestamps, lenient parsing of answers, strict checks of requests.

An answer of the API loses a malformed field and nothing else. A request with a malformed field is refused, with an
error that names the argument, its value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self, get_args, get_origin

import pendulum
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.redaction import MASK, SECRET_KEYS, parse_json_object

IDENTIFIER_RULE = "must be an identifier: 1 to 255 characters, no spaces, no '/', '?', '#', '%' or '\\'"
_LONGEST_SHOWN = 80


def is_identifier(text: str) -> bool:
    """Whether a text can be an id of a recording, a meeting, a user, an account or an app."""
    # Ids become segments of the request's path, so whatever could change the path is refused. Everything else about
    # their form is up to the server: the reference says 32 hex characters, and real ids are UUIDs.
    return 1 <= len(text) <= 255 and text.isprintable() and not set(text) & set(" /?#%\\") and bool(text.strip("."))


def check_identifier(name: str, value: Any, where: str = "") -> str:
    """Return an id without the spaces around it.

    :param name: the argument or field that holds it
    :param value: the id
    :param where: what the field belongs to, for the error
    :raises RealtimeKitInputError: naming the argument, its value and what is allowed
    """
    text = value.strip() if isinstance(value, str) else ""
    if not is_identifier(text):
        raise RealtimeKitInputError(f"{name}={_shown(value)}{where} is not allowed: {IDENTIFIER_RULE}")
    return text


def _validate_identifier(value: str) -> str:
    text = value.strip()
    if not is_identifier(text):
        # Not a ValueError: pydantic would repeat the rule that the field's description states.
        raise PydanticCustomError("identifier", IDENTIFIER_RULE)
    return text


Identifier = Annotated[str, AfterValidator(_validate_identifier)]


def parse_timestamp(value: Any) -> pendulum.DateTime:
    """Return an aware pendulum time.

    :param value: a datetime, or a time in ISO 8601; without a zone it is in UTC, as all of the API's times are
    :raises ValueError: when it is neither
    """
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


def _require_text(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


# Not min_length: pydantic cannot count the characters of a text with half a surrogate pair.
NonEmptyText = Annotated[str, AfterValidator(_require_text)]


class LenientModel(BaseModel):
    """A part of an answer: unknown fields are ignored, and a malformed field counts as missing."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _drop_malformed(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, Mapping):
            return handler(data)
        # The API writes null for unknown values. Without the key, pydantic reads a field's second alias.
        given = {key: value for key, value in data.items() if value is not None}
        try:
            return handler(given)
        except ValidationError as error:
            # One validator per field would be simpler, but is called 20 times for each recording of a list.
            malformed = {details["loc"][0] for details in error.errors(include_input=False) if details["loc"]}
            return handler({key: value for key, value in given.items() if key not in malformed})


class FrozenModel(BaseModel):
    """Immutable, and shown without its secrets."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class RequestModel(FrozenModel):
    """A part of a request: unknown keys are mistakes, and are refused before anything is sent."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _read_json(cls, value: Any) -> Any:
        # A template renders an object as JSON text, unless the DAG sets render_template_as_native_obj.
        return parse_json_object(value, value) if isinstance(value, str) else value

    @classmethod
    def checked(cls, **arguments: Any) -> Self:
        """Build the model from a call's arguments; ``None`` means: not given.

        :raises RealtimeKitInputError: naming the argument, its value and what is allowed
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            raise RealtimeKitInputError(describe(error, cls)) from None


def reveal(value: Any) -> Any:
    """Return a value as plain JSON, with its secrets unmasked."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [reveal(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value


def merge(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``body`` with the fields of ``extra``, which win. Nested objects are merged key by key."""
    merged = dict(body)
    for key, value in extra.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Return one line with each wrong argument of a request, its value, and what is allowed."""
    return "; ".join(_describe_one(details, model) for details in error.errors(include_url=False))


def _describe_one(details: ErrorDetails, model: type[BaseModel]) -> str:
    location = details["loc"]
    name = ".".join(map(str, location))
    rule = details["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if details["type"] == "value_error":
        return f"{name}: {rule}" if name else rule
    if details["type"] == "missing":
        return f"{name} is required"
    if details["type"] == "extra_forbidden":
        return f"{name} is not a known field: check its spelling, or put it into extra_fields if the API has gained it"
    field, is_exact = _find_field(location, model)
    if SECRET_KEYS & set(map(str, location)):
        shown = MASK
    else:
        # A wrong value of a field for objects may be a malformed object with secrets.
        shown = _shown(details.get("input"), is_object=field is None or _holds_objects(field))
    if field and is_exact and field.description:
        rule = field.description
    return f"{name}={shown} is not allowed: {rule}"


def _find_field(location: tuple[int | str, ...], model: type[BaseModel]) -> tuple[FieldInfo | None, bool]:
    """Find the field that a location points at or into, and whether it points at the complete field."""
    current: type[BaseModel] | None = model
    found, is_exact = None, False
    for name in location:
        field = current.model_fields.get(str(name)) if current else None
        is_exact = field is not None  # anything else is a key of a mapping or an index of a list
        if field is not None:
            found = field
            current = next((part for part in _flatten(field.annotation) if _is_model(part)), None)
    return found, is_exact


def _holds_objects(field: FieldInfo) -> bool:
    return any(_is_model(part) or (get_origin(part) or part) in (dict, Mapping) for part in _flatten(field.annotation))


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _flatten(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and all its parts, such as ``list[X] | None``, ``list[X]``, ``X`` and ``None``."""
    yield annotation
    for part in get_args(annotation):
        yield from _flatten(part)


def _shown(value: Any, *, is_object: bool = False) -> str:
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if is_object or isinstance(value, Mapping | BaseModel):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "…"
