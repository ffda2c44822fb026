"""The values of the recordings API: its answers (:class:`Recording`) and the requests.

May be imported by everything. It imports only ``exceptions`` and ``redaction``. All models are immutable, and show no
secret in ``repr``. Read ``status`` first (the statuses, the actions), then ``recording`` (what is answered, and
published), ``requests`` and ``storage`` (what is sent), and ``base`` (what all models share).
"""

from __future__ import annotations

from airflow_provider_realtimekit.models.recording import (
    Caller,
    FileKind,
    Meeting,
    Recording,
    RecordingFile,
    StartReason,
    StopReason,
)
from airflow_provider_realtimekit.models.requests import (
    AudioConfig,
    BucketConfig,
    InteractiveConfig,
    ListQuery,
    RtmpOutConfig,
    StartRecordingRequest,
    StartTrackRecordingRequest,
    TrackLayer,
    TrackOutput,
    VideoConfig,
    Watermark,
)
from airflow_provider_realtimekit.models.status import Action, RecordingStatus
from airflow_provider_realtimekit.models.storage import StorageConfig

__all__ = [
    "Action",
    "AudioConfig",
    "BucketConfig",
    "Caller",
    "FileKind",
    "InteractiveConfig",
    "ListQuery",
    "Meeting",
    "Recording",
    "RecordingFile",
    "RecordingStatus",
    "RtmpOutConfig",
    "StartReason",
    "StartRecordingRequest",
    "StartTrackRecordingRequest",
    "StopReason",
    "StorageConfig",
    "TrackLayer",
    "TrackOutput",
    "VideoConfig",
    "Watermark",
]
