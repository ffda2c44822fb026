"""Defaults and limits that several rooms share; imports nothing, so that a DAG file may read them at no cost."""

from __future__ import annotations

DEFAULT_CONN_NAME = "realtimekit_default"

#: Seconds between two polls of a recording.
POLL_INTERVAL = 30.0
#: Seconds that a recording may stay in INVOKED: it takes seconds as a rule, and once hung for 15 hours.
INVOKED_TIMEOUT = 600.0
# RealtimeKit records for 24 hours at most; the upload of so long a file is given two more.
LONGEST_RECORDING_SECONDS = 26 * 3600.0

#: Seconds for one request.
REQUEST_TIMEOUT = 30.0
#: Seconds to keep trying while no good answer comes. Outlasts Cloudflare's longest block of a token, 300 seconds.
RETRY_TIMEOUT = 330.0
#: The share of a token's quota that polling may use.
POLLING_SHARE = 0.5
