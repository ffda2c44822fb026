"""Operators that start, pause, resume, stop and list recordings."""

from __future__ import annotations

from airflow_provider_realtimekit.operators.actions import (
    RealtimeKitPauseRecordingOperator,
    RealtimeKitResumeRecordingOperator,
    RealtimeKitStopRecordingOperator,
)
from airflow_provider_realtimekit.operators.list import RealtimeKitListRecordingsOperator
from airflow_provider_realtimekit.operators.start import (
    RealtimeKitStartRecordingOperator,
    RealtimeKitStartTrackRecordingOperator,
)

__all__ = [
    "RealtimeKitListRecordingsOperator",
    "RealtimeKitPauseRecordingOperator",
    "RealtimeKitResumeRecordingOperator",
    "RealtimeKitStartRecordingOperator",
    "RealtimeKitStartTrackRecordingOperator",
    "RealtimeKitStopRecordingOperator",
]
