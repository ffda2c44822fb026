"""Apache Airflow provider for the recordings of Cloudflare RealtimeKit."""

from __future__ import annotations

__version__ = "0.1.0"
