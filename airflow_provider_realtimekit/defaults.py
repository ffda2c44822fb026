"""Defaults and limits that several rooms share. Imports nothing, so that DAG files can import it quickly."""

from __future__ import annotations

DEFAULT_CONN_NAME = "realtimekit_default"

#: Seconds between two polls of a recording.
POLL_INTERVAL = 30.0
#: Seconds that a recording may stay in INVOKED. It usually leaves it within seconds, and once took 15 hours.
INVOKED_TIMEOUT = 600.0
#: The longest wait in seconds: RealtimeKit records for at most 24 hours, and two more are for the upload.
LONGEST_RECORDING_SECONDS = 26 * 3600.0

#: Seconds that one request may take.
REQUEST_TIMEOUT = 30.0
#: Seconds to keep trying while no good answer comes. Longer than Cloudflare's longest block of a token, 300 seconds.
RETRY_TIMEOUT = 330.0
#: The share of a token's quota that polling may use.
POLLING_SHARE = 0.5
