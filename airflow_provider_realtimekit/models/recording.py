"""What the API tells of a recording, read leniently and published without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

import pendulum
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticUseDefault

from airflow_provider_realtimekit.models.base import Timestamp
from airflow_provider_realtimekit.models.status import ACTIVE, GOALS, TERMINAL, Action, RecordingStatus
from airflow_provider_realtimekit.redaction import strip_queries

# What the API says in words may quote a signed URL.
ScrubbedText = Annotated[str, AfterValidator(strip_queries)]
_LINK_KEYS = ("download_url", "audio_download_url")


class LenientModel(BaseModel):
    """Takes what the API says: unknown fields are ignored, and a malformed one costs itself, not the answer."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _tolerate(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except (ValidationError, ValueError):
            raise PydanticUseDefault from None


class Caller(LenientModel):
    """Who started or stopped a recording."""

    name: str | None = None
    type: str | None = None
    user_id: str | None = Field(default=None, validation_alias=AliasChoices("user_Id", "user_id"))


class StartReason(LenientModel):
    """Why a recording started: ``API_CALL`` or ``RECORD_ON_START``."""

    reason: str | None = None
    caller: Caller | None = None


class StopReason(LenientModel):
    """Why a recording stopped: ``API_CALL``, ``INTERNAL_ERROR`` or ``ALL_PEERS_LEFT``."""

    reason: str | None = None
    caller: Caller | None = None


class Meeting(LenientModel):
    """The meeting of a recording, as lists tell it."""

    id: str | None = None
    title: str | None = None
    status: str | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    live_stream_on_start: bool | None = None
    persist_chat: bool | None = None
    record_on_start: bool | None = None
    session_keep_alive_time_in_secs: float | None = None
    summarize_on_end: bool | None = None


class RecordingStorage(LenientModel):
    """The user's own storage that a recording was uploaded to; the API's echo of keys is not read."""

    type: str | None = None
    bucket: str | None = None
    region: str | None = None
    path: str | None = None
    host: str | None = None
    port: float | None = None
    username: str | None = None
    auth_method: str | None = None


class FileKind(StrEnum):
    """What a file of a recording holds."""

    VIDEO = "video"
    AUDIO = "audio"
    TRACK = "track"


class RecordingFile(LenientModel):
    """One file of a recording; its signed URL is a secret."""

    kind: FileKind
    name: str
    url: SecretStr
    layer: str | None = None

    @property
    def is_main(self) -> bool:
        """Whether the recording's ``file_size`` speaks of this file."""
        return self.kind == FileKind.VIDEO

    @property
    def safe_name(self) -> str:
        """The name without any folder that it may try to lead to."""
        name = self.name.replace("\\", "/").rpartition("/")[2]
        return name if name.strip(".") else "recording"


class TrackLinks(LenientModel):
    """The links of one layer of a track recording."""

    layer_name: str = ""
    download_urls: Mapping[str, Any] = Field(default_factory=dict, repr=False)

    def files(self) -> Iterator[RecordingFile]:
        """Yield the layer's files."""
        for name, value in self.download_urls.items():
            url = value.get("download_url") if isinstance(value, Mapping) else value
            if isinstance(url, str):
                yield RecordingFile(kind=FileKind.TRACK, name=name, url=SecretStr(url), layer=self.layer_name)


class Recording(LenientModel):
    """A recording as the API tells it.

    Only ``id`` is sure to be there: partial answers happen. Times are aware pendulum times, durations are seconds,
    sizes bytes. An unknown ``status`` is kept as it came.
    """

    id: str
    status: Annotated[RecordingStatus | str | None, Field(union_mode="left_to_right")] = None
    output_file_name: str | None = None
    meeting_id: str | None = None
    session_id: str | None = None
    type: str | None = None
    invoked_time: Timestamp | None = None
    started_time: Timestamp | None = None
    stopped_time: Timestamp | None = None
    recording_duration: float | None = None
    file_size: int | None = None
    download_url: SecretStr | tuple[TrackLinks, ...] | None = Field(default=None, repr=False)
    download_url_expiry: Timestamp | None = None
    audio_download_url: SecretStr | None = Field(default=None, repr=False)
    start_reason: StartReason | None = None
    stop_reason: StopReason | None = None
    storage_config: RecordingStorage | None = None
    meeting: Meeting | None = None
    err_message: ScrubbedText | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_meeting_id(cls, data: Any) -> Any:
        # Lists tell the meeting as an object; a single recording sometimes tells its id, which the reference lacks.
        if isinstance(data, Mapping) and not data.get("meeting_id") and isinstance(data.get("meeting"), Mapping):
            return {**data, "meeting_id": data["meeting"].get("id")}
        return data

    @field_validator("id", mode="before")
    @classmethod
    def _has_id(cls, value: Any) -> Any:
        return value or None

    @field_validator("download_url", mode="before")
    @classmethod
    def _keep_readable_layers(cls, value: Any) -> Any:
        return [layer for layer in value if isinstance(layer, Mapping)] if isinstance(value, list) else value

    @property
    def is_active(self) -> bool:
        """Whether it still records, is paused, or was just invoked."""
        return self.status in ACTIVE

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will change any more: UPLOADED or ERRORED."""
        return self.status in TERMINAL

    @property
    def is_uploaded(self) -> bool:
        """Whether it ended well: the files are where they belong."""
        return self.status == RecordingStatus.UPLOADED

    def has_reached(self, action: Action) -> bool:
        """Whether it is where ``action`` leads, however it came there."""
        return self.status in GOALS[action]

    def is_invoked_since(self, moment: pendulum.DateTime) -> bool:
        """Whether it was invoked before ``moment`` and has not begun to record yet."""
        return self.status == RecordingStatus.INVOKED and self.invoked_time is not None and self.invoked_time < moment

    @property
    def error_reason(self) -> str:
        """What the API says of why the recording ended in ERRORED."""
        reason = self.stop_reason.reason if self.stop_reason else None
        told = [part for part in (self.err_message, reason) if part]
        return ", ".join(told) or "the API gave no reason"

    @property
    def files(self) -> tuple[RecordingFile, ...]:
        """The files of this recording that can be fetched now, whether composite or tracks."""
        return tuple(self._files())

    def _files(self) -> Iterator[RecordingFile]:
        if isinstance(self.download_url, tuple):
            for layer in self.download_url:
                yield from layer.files()
        elif self.download_url:
            name = self.output_file_name or f"{self.id}.mp4"
            yield RecordingFile(kind=FileKind.VIDEO, name=name, url=self.download_url)
        if self.audio_download_url:
            name = name_in_url(self.audio_download_url.get_secret_value()) or f"{self.id}-audio"
            yield RecordingFile(kind=FileKind.AUDIO, name=name, url=self.audio_download_url)

    def is_expired(self, now: pendulum.DateTime | None = None) -> bool:
        """Whether the links to the files have run out."""
        expiry = self.download_url_expiry
        return expiry is not None and expiry <= (now or pendulum.now("UTC"))

    def to_json(self, *, include_urls: bool = False) -> dict[str, Any]:
        """Return the recording as plain JSON, ``id`` first.

        :param include_urls: whether the signed URLs are in it; whoever reads one can fetch the file
        """
        published = self.model_dump(mode="json", exclude=None if include_urls else set(_LINK_KEYS))
        if include_urls:
            published |= {key: _reveal_links(getattr(self, key)) for key in _LINK_KEYS}
        return published


def _reveal_links(value: SecretStr | tuple[TrackLinks, ...] | None) -> Any:
    if isinstance(value, tuple):
        return [links.model_dump(mode="json") for links in value]
    return value.get_secret_value() if value else None


def name_in_url(url: str) -> str:
    """Return the last part of a URL's path, the query left out."""
    return url.partition("?")[0].rstrip("/").rpartition("/")[2]
