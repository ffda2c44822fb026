"""Operators that start recordings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_realtimekit.operators.start_base import OwningOperator

_STORAGE = ("storage_conn_id", "storage_bucket", "storage_path", "storage_region")


class _StartOperator(OwningOperator):
    """Sends the arguments named in ``_body``, and the storage of a connection."""

    _body: ClassVar[tuple[str, ...]]
    template_fields: Sequence[str] = (*OwningOperator.template_fields, *_STORAGE)

    def __init__(
        self,
        *,
        storage_conn_id: str | None = None,
        storage_bucket: str | None = None,
        storage_path: str | None = None,
        storage_region: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.storage_conn_id = storage_conn_id
        self.storage_bucket = storage_bucket
        self.storage_path = storage_path
        self.storage_region = storage_region

    def _arguments(self) -> dict[str, Any]:
        """Return what to send; the storage's credentials are in this value only, and on no attribute."""
        from airflow_provider_realtimekit.connections.storage import read_storage
        from airflow_provider_realtimekit.operators.storing import add_storage

        arguments = {name: getattr(self, name) for name in self._body}
        said = [getattr(self, name) or None for name in _STORAGE]
        return add_storage(arguments, read_storage(*said)) if any(said) else arguments

    def _secrets(self) -> Iterator[str]:
        from airflow_provider_realtimekit.redaction import find_secrets

        return find_secrets([getattr(self, name) for name in self._body])


class RealtimeKitStartRecordingOperator(_StartOperator):
    """Start recording a meeting (``POST …/recordings``), and wait for the file if told to.

    Returns the recording as plain JSON, ``id`` first. All arguments of the recording are templated.

    :param meeting_id: the meeting to record
    :param max_seconds: end the recording after so many seconds, 60 to 86400 (the server's default: 86400)
    :param allow_multiple_recordings: start even though the meeting is being recorded (default: no)
    :param file_name_prefix: what the file's name begins with
    :param url: a page of your own to record instead of the meeting's
    :param audio_config: ``codec`` (MP3, AAC), ``channel`` (mono, stereo), ``export_file``
    :param video_config: ``codec`` (H264, VP8, VP9), ``width``, ``height``, ``export_file``, ``watermark``
    :param interactive_config: ``{"type": "ID3"}`` for timed metadata
    :param rtmp_out_config: ``{"rtmp_url": …}`` for a live stream beside the recording
    :param realtimekit_bucket_config: ``{"enabled": …}``; disabled needs ``storage_config``
    :param storage_config: your own storage; its credentials are masked, but ``storage_conn_id`` keeps them out of DAGs
    :param extra_fields: fields that the API gained since, merged into the body unchecked
    :param storage_conn_id: instead of ``storage_config``: connection of a storage of your own, type ``aws`` (S3, R2,
        Spaces), ``google_cloud_platform``, ``wasb``, ``sftp`` or ``ssh``, read when the task runs
    :param storage_bucket: bucket or container in it (default: the connection's extra field ``bucket_name``)
    :param storage_path: folder in it (default: the connection's extra field ``path``)
    :param storage_region: the bucket's region (default: the connection's extra field ``region_name``)
    :raises RealtimeKitInputError: when a rendered value is not allowed; nothing was sent then
    :raises StartOutcomeUnknownError: when no clear answer came; it is never sent again on a guess
    """

    _body = (
        "meeting_id",
        "max_seconds",
        "allow_multiple_recordings",
        "file_name_prefix",
        "url",
        "audio_config",
        "video_config",
        "interactive_config",
        "rtmp_out_config",
        "realtimekit_bucket_config",
        "storage_config",
        "extra_fields",
    )
    template_fields: Sequence[str] = (*_StartOperator.template_fields, *_body)

    def __init__(
        self,
        *,
        meeting_id: str,
        max_seconds: int | str | None = None,
        allow_multiple_recordings: bool | str | None = None,
        file_name_prefix: str | None = None,
        url: str | None = None,
        audio_config: Mapping[str, Any] | None = None,
        video_config: Mapping[str, Any] | None = None,
        interactive_config: Mapping[str, Any] | None = None,
        rtmp_out_config: Mapping[str, Any] | None = None,
        realtimekit_bucket_config: Mapping[str, Any] | None = None,
        storage_config: Mapping[str, Any] | None = None,
        extra_fields: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.meeting_id = meeting_id
        self.max_seconds = max_seconds
        self.allow_multiple_recordings = allow_multiple_recordings
        self.file_name_prefix = file_name_prefix
        self.url = url
        self.audio_config = audio_config
        self.video_config = video_config
        self.interactive_config = interactive_config
        self.rtmp_out_config = rtmp_out_config
        self.realtimekit_bucket_config = realtimekit_bucket_config
        self.storage_config = storage_config
        self.extra_fields = extra_fields


class RealtimeKitStartTrackRecordingOperator(_StartOperator):
    """Start recording each participant's track of a meeting (``POST …/recordings/track``).

    Returns the recording as plain JSON, ``id`` first. All arguments of the recording are templated.

    :param meeting_id: the meeting to record; somebody must be in it
    :param layers: by name, ``{file_name_prefix, media_kind, outputs[{type, storage_config}]}``
    :param user_ids: only the tracks of these participants, 100 at most
    :param max_seconds: end the recording after so many seconds, 60 to 86400
    :param extra_fields: fields that the API gained since, merged into the body unchecked
    :param storage_conn_id: instead of ``storage_config``: connection of a storage of your own, type ``aws`` (S3, R2,
        Spaces), ``google_cloud_platform``, ``wasb``, ``sftp`` or ``ssh``, read when the task runs
    :param storage_bucket: bucket or container in it (default: the connection's extra field ``bucket_name``)
    :param storage_path: folder in it (default: the connection's extra field ``path``)
    :param storage_region: the bucket's region (default: the connection's extra field ``region_name``)
    :raises RealtimeKitInputError: when a rendered value is not allowed; nothing was sent then
    :raises StartOutcomeUnknownError: when no clear answer came; it is never sent again on a guess
    """

    _tracks = True
    _body = ("meeting_id", "layers", "user_ids", "max_seconds", "extra_fields")
    template_fields: Sequence[str] = (*_StartOperator.template_fields, *_body)

    def __init__(
        self,
        *,
        meeting_id: str,
        layers: Mapping[str, Any] | None = None,
        user_ids: list[str] | None = None,
        max_seconds: int | str | None = None,
        extra_fields: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.meeting_id = meeting_id
        self.layers = layers
        self.user_ids = user_ids
        self.max_seconds = max_seconds
        self.extra_fields = extra_fields
