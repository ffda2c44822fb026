"""The bodies of both starts and the filters of a list, checked before anything is sent.

Limits and allowed values are those of the API's reference, and further ones of the guides and the official SDK.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from airflow_provider_realtimekit.models.base import (
    IDENTIFIER_RULE,
    Identifier,
    RequestModel,
    Timestamp,
    merge,
    reveal,
)
from airflow_provider_realtimekit.models.storage import StorageConfig
from airflow_provider_realtimekit.redaction import parse_json_object

MAX_USER_IDS = 100  # the reference's limit

MaxSeconds = Annotated[int, Field(ge=60, le=86_400)]
_SECONDS_RULE = "must be from 60 to 86400 (seconds; a minute to 24 hours)"
Pixels = Annotated[int, Field(ge=1, le=1920)]
_PIXELS_RULE = "must be from 1 to 1920 (pixels)"
_URL = r"^https?://\S+$"


class AudioConfig(RequestModel):
    """The audio of a recording: codec, channels, and whether it is exported as a file of its own."""

    codec: Literal["MP3", "AAC"] | None = Field(default=None, description="must be 'MP3' or 'AAC'")
    channel: Literal["mono", "stereo"] | None = Field(default=None, description="must be 'mono' or 'stereo'")
    export_file: bool | None = None


class WatermarkSize(RequestModel):
    """The size of a watermark, in pixels."""

    height: Pixels | None = Field(default=None, description=_PIXELS_RULE)
    width: Pixels | None = Field(default=None, description=_PIXELS_RULE)


class Watermark(RequestModel):
    """An image laid over the video."""

    url: str | None = Field(default=None, pattern=_URL, description="must be an http or https URL")
    position: Literal["left top", "right top", "left bottom", "right bottom"] | None = Field(
        default=None, description="must be 'left top', 'right top', 'left bottom' or 'right bottom'"
    )
    size: WatermarkSize | None = None


class VideoConfig(RequestModel):
    """The video of a recording: codec, size, watermark, and whether it is exported as a file."""

    codec: Literal["H264", "VP8", "VP9"] | None = Field(default=None, description="must be 'H264', 'VP8' or 'VP9'")
    width: Pixels | None = Field(default=None, description=_PIXELS_RULE)
    height: Pixels | None = Field(default=None, description=_PIXELS_RULE)
    export_file: bool | None = None
    watermark: Watermark | None = None


class InteractiveConfig(RequestModel):
    """Timed metadata in the recording. The output is then a ``.tar``."""

    type: Literal["ID3"] = Field(default="ID3", description="must be 'ID3'")


class RtmpOutConfig(RequestModel):
    """A live stream of the meeting. Its address holds the stream key, so it is a secret."""

    rtmp_url: Annotated[SecretStr, Field(min_length=1)]

    @field_validator("rtmp_url")
    @classmethod
    def _is_rtmp(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("rtmp://", "rtmps://")):
            raise ValueError("must start with rtmp:// or rtmps://")
        return value


class BucketConfig(RequestModel):
    """Whether RealtimeKit stores the recording in its own bucket, for 7 days."""

    enabled: bool


class _StartBody(RequestModel):
    """The common fields of both starts. ``extra_fields`` are merged into the body unchecked, and take precedence."""

    meeting_id: Identifier = Field(description=IDENTIFIER_RULE)
    max_seconds: MaxSeconds | None = Field(default=None, description=_SECONDS_RULE)
    extra_fields: Mapping[str, Any] | None = Field(default=None, exclude=True, repr=False)

    @field_validator("extra_fields", mode="before")
    @classmethod
    def _check_json(cls, value: Any) -> Any:
        plain = reveal(parse_json_object(value, value) if isinstance(value, str) else value)
        try:
            json.dumps(plain, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError("must hold JSON only: objects, lists, strings, numbers, booleans") from None
        return plain

    def to_body(self) -> dict[str, Any]:
        """Return the JSON body to send, with its secrets unmasked."""
        return merge(reveal(self.model_dump(exclude_none=True)), self.extra_fields or {})


class StartRecordingRequest(_StartBody):
    """The body of a composite start: ``POST …/recordings``."""

    allow_multiple_recordings: bool | None = None
    audio_config: AudioConfig | None = None
    file_name_prefix: Annotated[str, Field(min_length=1)] | None = None
    interactive_config: InteractiveConfig | None = None
    realtimekit_bucket_config: BucketConfig | None = None
    rtmp_out_config: RtmpOutConfig | None = None
    storage_config: StorageConfig | None = None
    url: str | None = Field(default=None, pattern=_URL, description="must be an http or https URL")
    video_config: VideoConfig | None = None

    @model_validator(mode="after")
    def _check_codecs(self) -> Self:
        # The reference: with VP8 or VP9 the audio is vorbis, and the audio codec may not be set.
        video = self.video_config.codec if self.video_config else None
        audio = self.audio_config.codec if self.audio_config else None
        if video in {"VP8", "VP9"} and audio:
            raise ValueError(
                f"audio_config.codec={audio!r} is not allowed with video_config.codec={video!r}: "
                "the audio is then vorbis; leave audio_config.codec out"
            )
        return self

    @model_validator(mode="after")
    def _check_stored(self) -> Self:
        # The guides: without the bucket and without a storage of the user, the recording is lost.
        bucket = self.realtimekit_bucket_config
        has_storage = self.storage_config or (self.extra_fields or {}).get("storage_config")
        if bucket and not bucket.enabled and not has_storage:
            raise ValueError(
                "realtimekit_bucket_config.enabled=False without storage_config is not allowed: "
                "the recording would be lost; add a storage_config or leave the bucket enabled"
            )
        return self


class TrackOutput(RequestModel):
    """Where the files of a layer are stored."""

    type: Literal["REALTIMEKIT_BUCKET", "STORAGE_CONFIG"] = Field(
        description="must be 'REALTIMEKIT_BUCKET' or 'STORAGE_CONFIG'"
    )
    storage_config: StorageConfig | None = None

    @model_validator(mode="after")
    def _check_storage(self) -> Self:
        if self.type == "STORAGE_CONFIG" and not self.storage_config:
            raise ValueError("an output of type 'STORAGE_CONFIG' needs storage_config")
        if self.type == "REALTIMEKIT_BUCKET" and self.storage_config:
            raise ValueError("an output of type 'REALTIMEKIT_BUCKET' must have no storage_config: leave it out")
        return self


class TrackLayer(RequestModel):
    """A layer of a track recording: which tracks, under which names, stored where."""

    file_name_prefix: str | None = Field(
        default=None,
        pattern=r"^[-\w\s]+$",
        description="must consist of letters, digits, '_', '-' and spaces (^[-\\w\\s]+$)",
    )
    media_kind: Literal["audio"] | None = Field(
        default=None, description="must be 'audio', the only kind of track that is recorded"
    )
    outputs: Annotated[list[TrackOutput], Field(min_length=1)] | None = None


class StartTrackRecordingRequest(_StartBody):
    """The body of a track start: ``POST …/recordings/track``, with the fields of the reference and the current SDK."""

    layers: dict[str, TrackLayer] | None = Field(default=None, min_length=1)
    user_ids: Annotated[list[Identifier], Field(min_length=1, max_length=MAX_USER_IDS)] | None = Field(
        default=None,
        description=f"must be from 1 to {MAX_USER_IDS} user ids (leave it out to record everybody)",
    )

    @field_validator("layers")
    @classmethod
    def _check_names(cls, value: dict[str, TrackLayer] | None) -> dict[str, TrackLayer] | None:
        if value and not all(name.strip() for name in value):
            raise ValueError("a layer without a name is not allowed: each needs a name that is not empty")
        return value


class ListQuery(RequestModel):
    """The filters of a list: ``GET …/recordings``."""

    meeting_id: Identifier | None = Field(default=None, description=IDENTIFIER_RULE)
    status: frozenset[str] | None = None
    search: str | None = None
    expired: bool | None = None
    start_time: Timestamp | None = None
    end_time: Timestamp | None = None
    sort_order: Literal["ASC", "DESC"] = Field(default="ASC", description="must be 'ASC' or 'DESC'")
    limit: int | None = Field(default=None, ge=1, description="must be at least 1")

    @field_validator("status", mode="before")
    @classmethod
    def _check_statuses(cls, value: Any) -> Any:
        statuses = [value] if isinstance(value, str) else value
        is_list = isinstance(statuses, list | tuple | set | frozenset) and len(statuses) > 0
        # Any text is a status: the API may gain one.
        if statuses is None or (is_list and all(isinstance(status, str) and status for status in statuses)):
            return statuses
        raise PydanticCustomError("status", "must be a status, or a list of at least one")

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.start_time and self.end_time and self.start_time > self.end_time:
            raise ValueError(f"start_time={self.start_time} is after end_time={self.end_time}: exchange the two")
        return self
