"""How request bodies are validated: only as the API reference describes them.

Unknown fields are accepted, because the API gets fields before its reference. `listing` validates the query of a list.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Pixels = Annotated[int, Field(ge=1, le=1920)]
MaxSeconds = Annotated[float, Field(ge=60, le=86_400)]
MeetingId = Annotated[str, Field(min_length=1)]
LayerPrefix = Annotated[str, StringConstraints(pattern=r"^[-\w\s]+$")]

# The fields that each type of storage requires. The reference lists no "cloudflare", but the guides do, and it works.
_REQUIRED_FIELDS = {
    "aws": ("access_key", "secret", "bucket", "region"),
    "azure": ("access_key", "bucket"),
    "cloudflare": ("access_key", "secret", "bucket", "account_id"),
    "digitalocean": ("access_key", "secret", "bucket", "region"),
    "gcs": ("secret", "bucket"),
    "sftp": ("host", "username", "auth_method"),
}
_REQUIRED_FOR_SFTP = {"KEY": "private_key", "PASSWORD": "password"}


class _Body(BaseModel):
    # Strict: "60" is not accepted for 60, nor "yes" for true.
    model_config = ConfigDict(extra="allow", strict=True)

    def config(self) -> dict[str, Any]:
        """Return the fields that the client sent, without defaults and nulls."""
        return self.model_dump(exclude_unset=True, exclude_none=True)


class StorageConfig(_Body):
    """A storage of the client that the files are copied to."""

    type: Literal["aws", "azure", "cloudflare", "digitalocean", "gcs", "sftp"]
    access_key: str | None = None
    secret: str | None = None
    bucket: str | None = None
    region: str | None = None
    path: str | None = None
    account_id: str | None = None
    host: str | None = None
    port: float | None = None
    username: str | None = None
    password: str | None = None
    private_key: str | None = None
    auth_method: Literal["KEY", "PASSWORD"] | None = None

    @model_validator(mode="after")
    def _has_required_fields(self) -> StorageConfig:
        required = _REQUIRED_FIELDS[self.type]
        if self.type == "sftp" and self.auth_method:
            required = (*required, _REQUIRED_FOR_SFTP[self.auth_method])
        missing = [name for name in required if not getattr(self, name)]
        if missing:
            raise ValueError(f"storage of type {self.type} needs {', '.join(missing)}")
        return self


class AudioConfig(_Body):
    """How the sound is recorded."""

    codec: Literal["MP3", "AAC"] | None = None
    channel: Literal["mono", "stereo"] | None = None
    export_file: bool | None = None


class WatermarkSize(_Body):
    """The size of a watermark, in pixels."""

    height: Annotated[int, Field(ge=1)] | None = None
    width: Annotated[int, Field(ge=1)] | None = None


class Watermark(_Body):
    """A picture that is laid over the recording."""

    url: str | None = None
    position: Literal["left top", "right top", "left bottom", "right bottom"] | None = None
    size: WatermarkSize | None = None


class VideoConfig(_Body):
    """How the pictures are recorded."""

    codec: Literal["H264", "VP8", "VP9"] | None = None
    width: Pixels | None = None
    height: Pixels | None = None
    export_file: bool | None = None
    watermark: Watermark | None = None


class InteractiveConfig(_Body):
    """Timed metadata."""

    type: Literal["ID3"] | None = None


class BucketConfig(_Body):
    """Whether RealtimeKit's own bucket gets the files."""

    enabled: bool


class RtmpOutConfig(_Body):
    """Where the meeting is streamed to."""

    rtmp_url: str | None = None


class StartBody(_Body):
    """The body of a start."""

    meeting_id: MeetingId
    allow_multiple_recordings: bool = False
    audio_config: AudioConfig | None = None
    file_name_prefix: str | None = None
    interactive_config: InteractiveConfig | None = None
    max_seconds: MaxSeconds = 86_400
    realtimekit_bucket_config: BucketConfig | None = None
    rtmp_out_config: RtmpOutConfig | None = None
    storage_config: StorageConfig | None = None
    url: str | None = None
    video_config: VideoConfig | None = None

    @model_validator(mode="after")
    def _has_codecs_that_fit(self) -> StartBody:
        # The reference: with VP8 or VP9 the audio codec is Vorbis and cannot be chosen.
        is_vpx = self.video_config is not None and self.video_config.codec in ("VP8", "VP9")
        if is_vpx and self.audio_config and self.audio_config.codec:
            raise ValueError("audio_config.codec cannot be set when video_config.codec is VP8 or VP9")
        return self


class LayerOutput(_Body):
    """Where the files of a layer go."""

    type: Literal["REALTIMEKIT_BUCKET", "STORAGE_CONFIG"] | None = None
    storage_config: StorageConfig | None = None


class Layer(_Body):
    """A layer of a track recording: with `outputs` in the older reference, with `media_kind` in the current one."""

    file_name_prefix: LayerPrefix | None = None
    outputs: list[LayerOutput] | None = None
    media_kind: Literal["audio"] | None = None


class TrackStartBody(_Body):
    """The body of a track start, in the form of the older or of the current reference."""

    meeting_id: MeetingId
    layers: dict[str, Layer] | None = None
    max_seconds: MaxSeconds = 86_400
    user_ids: Annotated[list[str], Field(max_length=100)] | None = None


class ActionBody(_Body):
    """The body of an action."""

    action: Literal["stop", "pause", "resume"]
