"""The values of the recordings API: what it answers (:class:`Recording`) and what it is sent (the request bodies)."""

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
