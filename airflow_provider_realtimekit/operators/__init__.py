"""Operators that start, pause, resume and stop recordings."""

from __future__ import annotations

from airflow_provider_realtimekit.operators.actions import (
    RealtimeKitPauseRecordingOperator,
    RealtimeKitResumeRecordingOperator,
    RealtimeKitStopRecordingOperator,
)
from airflow_provider_realtimekit.operators.start import (
    RealtimeKitStartRecordingOperator,
    RealtimeKitStartTrackRecordingOperator,
)

__all__ = [
    "RealtimeKitPauseRecordingOperator",
    "RealtimeKitResumeRecordingOperator",
    "RealtimeKitStartRecordingOperator",
    "RealtimeKitStartTrackRecordingOperator",
    "RealtimeKitStopRecordingOperator",
]
