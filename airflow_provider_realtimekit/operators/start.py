"""Operators that start recordings: what they send, and where a storage connection goes in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.operators.start_base import OwningOperator

_STORAGE = ("storage_conn_id", "storage_bucket", "storage_path", "storage_region")


class _StartOperator(OwningOperator):
    """Sends the arguments named in ``_body``, and the storage of a connection if one is given."""

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
        arguments = {name: getattr(self, name) for name in self._body}
        given = [getattr(self, name) or None for name in _STORAGE]
        if not any(given):
            return arguments
        from airflow_provider_realtimekit.connections.storage import read_storage

        # The credentials are in the returned value only. On an attribute, Airflow would show them as a rendered field.
        return add_storage(arguments, read_storage(*given))

    def _secrets(self) -> Iterator[str]:
        from airflow_provider_realtimekit.redaction import find_secrets

        return find_secrets([getattr(self, name) for name in self._body])


class RealtimeKitStartRecordingOperator(_StartOperator):
    """Start recording a meeting (``POST …/recordings``), and wait for the file if that is asked for.

    Returns the recording as plain JSON, ``id`` first. All arguments of the recording are templated.

    :param meeting_id: the meeting to record
    :param max_seconds: seconds after which the recording ends, 60 to 86400 (the server's default: 86400)
    :param allow_multiple_recordings: whether to start also while the meeting is being recorded (default: no)
    :param file_name_prefix: beginning of the file's name; the mark of the task follows it, see ``mark_name``
    :param url: a web page of your own to record instead of the meeting's
    :param audio_config: ``codec`` (MP3, AAC), ``channel`` (mono, stereo), ``export_file``
    :param video_config: ``codec`` (H264, VP8, VP9), ``width``, ``height``, ``export_file``, ``watermark``
    :param interactive_config: ``{"type": "ID3"}`` for timed metadata
    :param rtmp_out_config: ``{"rtmp_url": …}`` for a live stream beside the recording
    :param realtimekit_bucket_config: ``{"enabled": …}``; disabled needs ``storage_config``
    :param storage_config: your own storage. Its credentials are masked; ``storage_conn_id`` keeps them out of the DAG
    :param extra_fields: fields of the body that this package does not know, sent unchecked
    :param storage_conn_id: instead of ``storage_config``, the connection of your own storage: type ``aws`` (S3, R2,
        Spaces), ``google_cloud_platform``, ``wasb``, ``sftp`` or ``ssh``; read when the task runs
    :param storage_bucket: bucket or container (default: the connection's extra field ``bucket_name``)
    :param storage_path: folder in the bucket (default: the connection's extra field ``path``)
    :param storage_region: the bucket's region (default: the connection's extra field ``region_name``)
    :raises RealtimeKitInputError: when a rendered value is not allowed; nothing was sent then
    :raises StartOutcomeUnknownError: when no clear answer came, and whether a recording runs could not be found out
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
    :param layers: for each layer's name, ``{file_name_prefix, media_kind, outputs[{type, storage_config}]}``; the mark
        of the task follows each prefix, see ``mark_name``. Without layers nothing is marked
    :param user_ids: only the tracks of these participants, 100 at most
    :param max_seconds: seconds after which the recording ends, 60 to 86400
    :param extra_fields: fields of the body that this package does not know, sent unchecked
    :param storage_conn_id: instead of ``storage_config``, the connection of your own storage: type ``aws`` (S3, R2,
        Spaces), ``google_cloud_platform``, ``wasb``, ``sftp`` or ``ssh``; read when the task runs
    :param storage_bucket: bucket or container (default: the connection's extra field ``bucket_name``)
    :param storage_path: folder in the bucket (default: the connection's extra field ``path``)
    :param storage_region: the bucket's region (default: the connection's extra field ``region_name``)
    :raises RealtimeKitInputError: when a rendered value is not allowed; nothing was sent then
    :raises StartOutcomeUnknownError: when no clear answer came, and whether a recording runs could not be found out
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


def add_storage(arguments: Mapping[str, Any], storage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a start with a storage added.

    A composite recording gets it as ``storage_config``. Of tracks, each output of type ``STORAGE_CONFIG`` gets it, and
    a layer without outputs goes to RealtimeKit's bucket and to the storage, as a composite recording does.

    :param storage: the storage as the API expects it, credentials included
    :raises RealtimeKitInputError: when the arguments have a storage already, or no layer has an output for one
    """
    if "layers" not in arguments:
        if arguments.get("storage_config"):
            raise RealtimeKitInputError("storage_config and storage_conn_id are both given: set exactly one of them")
        return {**arguments, "storage_config": storage}
    from airflow_provider_realtimekit.redaction import parse_json_object

    layers = arguments["layers"]
    given = parse_json_object(layers) if isinstance(layers, str) else layers or {"default": {}}
    if not isinstance(given, Mapping) or not all(isinstance(layer, Mapping) for layer in given.values()):
        return dict(arguments)  # the check of the request says what is wrong with the layers
    filled = {name: _add_to_layer(name, layer, storage) for name, layer in given.items()}
    if filled == dict(given):
        raise RealtimeKitInputError("storage_conn_id is given, but no layer has an output of type 'STORAGE_CONFIG'")
    return {**arguments, "layers": filled}


def _add_to_layer(name: str, layer: Mapping[str, Any], storage: Mapping[str, Any]) -> dict[str, Any]:
    outputs = layer.get("outputs")
    if outputs is None:
        outputs = [{"type": "REALTIMEKIT_BUCKET"}, {"type": "STORAGE_CONFIG"}]
    if not isinstance(outputs, list | tuple):
        return dict(layer)
    filled = []
    for output in outputs:
        is_storage = isinstance(output, Mapping) and output.get("type") == "STORAGE_CONFIG"
        if is_storage and output.get("storage_config"):
            raise RealtimeKitInputError(
                f"a storage_config in layer {name!r} and storage_conn_id are both given: set exactly one of them"
            )
        filled.append({**output, "storage_config": storage} if is_storage else output)
    return {**layer, "outputs": filled}
