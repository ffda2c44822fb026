"""Download the files of a recording from their signed URLs into the user's storage, completely or not at all.

Only ``transfers`` imports it. It knows no DAG and no context, and imports ``api``, ``models``, ``exceptions`` and
``redaction``. Read ``recording`` first (which files, and the manifest), then ``destination`` (where they go),
``transfer`` (one file: connections, memory, sizes), ``stream`` (retries and resuming), ``http`` (hosts and signed URLs)
and ``sinks`` with ``s3`` (how each store writes a file).
"""

from __future__ import annotations

from airflow_provider_realtimekit.downloads.recording import DownloadResult, FilesWanted, download_recording

__all__ = ["DownloadResult", "FilesWanted", "download_recording"]
