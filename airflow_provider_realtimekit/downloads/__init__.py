"""Fetch the files of a recording from behind their signed URLs into the user's storage, whole or not at all."""

from __future__ import annotations

from airflow_provider_realtimekit.downloads.recording import Fetched, FilesWanted, download_recording

__all__ = ["Fetched", "FilesWanted", "download_recording"]
