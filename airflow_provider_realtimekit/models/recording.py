"""A recording as the API returns it: its fields, its files, and the JSON that is published.

Published JSON holds no storage credential, and signed URLs only if the caller sets ``include_urls``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

import pendulum
from pydantic import AfterValidator, AliasChoices, AliasPath, BeforeValidator, Field, SecretStr

from airflow_provider_realtimekit.models.base import FrozenModel, LenientModel, NonEmptyText, Timestamp
from airflow_provider_realtimekit.models.status import ACTIVE, GOALS, TERMINAL, Action, RecordingStatus
from airflow_provider_realtimekit.redaction import strip_queries

# The API's messages may quote a signed URL.
MessageText = Annotated[str, AfterValidator(strip_queries)]
_LINK_KEYS = ("download_url", "audio_download_url")


class Caller(LenientModel):
    """Who started or stopped a recording."""

    name: str | None = None
    type: str | None = None
    # The reference spells it user_Id.
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
    """The meeting of a recording. Only lists contain it."""

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
    """The user's own storage that a recording was uploaded to.

    The API repeats the storage's keys here. They are not read.
    """

    type: str | None = None
    bucket: str | None = None
    region: str | None = None
    path: str | None = None
    host: str | None = None
    port: float | None = None
    username: str | None = None
    auth_method: str | None = None


class FileKind(StrEnum):
    """The content of a file: the complete meeting as video, its sound, or one participant's track."""

    VIDEO = "video"
    AUDIO = "audio"
    TRACK = "track"


class RecordingFile(FrozenModel):
    """One file of a recording. Its URL is signed, so whoever has it can fetch the file: it is a secret."""

    kind: FileKind
    name: str
    url: SecretStr
    layer: str | None = None

    @property
    def is_main(self) -> bool:
        """Whether the recording's ``file_size`` is the size of this file."""
        return self.kind == FileKind.VIDEO

    @property
    def safe_name(self) -> str:
        """The name without folders, so that the file cannot be stored outside of its folder."""
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


def _drop_malformed_layers(value: Any) -> Any:
    return [layer for layer in value if isinstance(layer, Mapping)] if isinstance(value, list) else value


TrackLayers = Annotated[tuple[TrackLinks, ...], BeforeValidator(_drop_malformed_layers)]


class Recording(LenientModel):
    """A recording as the API returns it.

    Only ``id`` is always present: the API sometimes answers partial recordings. Times are aware pendulum times,
    durations are in seconds, sizes in bytes. A status that this version does not know stays a plain string.
    """

    id: NonEmptyText
    # Left to right, because otherwise pydantic prefers the plain string to the enum.
    status: Annotated[RecordingStatus | str | None, Field(union_mode="left_to_right")] = None
    output_file_name: str | None = None
    # Lists contain the meeting as an object. A single recording sometimes has its id, which is not in the reference.
    meeting_id: str | None = Field(
        default=None, validation_alias=AliasChoices("meeting_id", AliasPath("meeting", "id"))
    )
    session_id: str | None = None
    type: str | None = None
    invoked_time: Timestamp | None = None
    started_time: Timestamp | None = None
    stopped_time: Timestamp | None = None
    recording_duration: float | None = None
    file_size: int | None = None
    # A string for a composite recording, a list of layers for one of tracks.
    download_url: SecretStr | TrackLayers | None = Field(default=None, repr=False, union_mode="left_to_right")
    download_url_expiry: Timestamp | None = None
    audio_download_url: SecretStr | None = Field(default=None, repr=False)
    start_reason: StartReason | None = None
    stop_reason: StopReason | None = None
    storage_config: RecordingStorage | None = None
    meeting: Meeting | None = None
    err_message: MessageText | None = None

    @property
    def is_active(self) -> bool:
        """Whether it records, is paused, or was invoked and does not record yet."""
        return self.status in ACTIVE

    @property
    def is_terminal(self) -> bool:
        """Whether its status will not change any more: UPLOADED or ERRORED."""
        return self.status in TERMINAL

    @property
    def is_uploaded(self) -> bool:
        """Whether its files are stored, so that it ended well."""
        return self.status == RecordingStatus.UPLOADED

    def has_reached(self, action: Action) -> bool:
        """Whether its status is one that the action leads to, for any reason."""
        return self.status in GOALS[action]

    def is_stuck_in_invoked(self, before: pendulum.DateTime) -> bool:
        """Whether it was invoked before a time and does not record yet."""
        return self.status == RecordingStatus.INVOKED and self.invoked_time is not None and self.invoked_time < before

    @property
    def error_reason(self) -> str:
        """Why the recording ended in ERRORED, as the API says."""
        reasons = (self.err_message, self.stop_reason.reason if self.stop_reason else None)
        return ", ".join(reason for reason in reasons if reason) or "the API gave no reason"

    @property
    def files(self) -> tuple[RecordingFile, ...]:
        """The files of this recording that have a URL, whether it is a composite recording or one of tracks."""
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
        """Whether the URLs of the files have expired.

        :param now: another time than the present
        """
        expiry = self.download_url_expiry
        return expiry is not None and expiry <= (now or pendulum.now("UTC"))

    def to_json(self, *, include_urls: bool = False) -> dict[str, Any]:
        """Return the recording as plain JSON, ``id`` first.

        :param include_urls: whether it holds the signed URLs (default: no). Whoever reads one can fetch the file.
        """
        published = self.model_dump(mode="json", exclude=None if include_urls else set(_LINK_KEYS))
        if include_urls:
            for key in _LINK_KEYS:
                links = getattr(self, key)
                if isinstance(links, tuple):
                    published[key] = [layer.model_dump(mode="json") for layer in links]
                else:
                    published[key] = links.get_secret_value() if links else None
        return published


def name_in_url(url: str) -> str:
    """Return the last part of a URL's path, without the query."""
    return url.partition("?")[0].rstrip("/").rpartition("/")[2]
