"""The fields that Airflow's connection form shows for ``realtimekit``, with their limits, as data.

Airflow reads it through ``get_provider_info`` during its own import, so nothing here may import Airflow.
"""

from __future__ import annotations

from typing import Any

CONN_TYPE = "realtimekit"
HOOK_NAME = "Cloudflare RealtimeKit"
HOOK_CLASS = "airflow_provider_realtimekit.hooks.RealtimeKitHook"

# Both in the format of provider.yaml. Airflow 3.3 and later read only this; the hook derives from it what 3.1 reads.
UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["port", "schema"],
    "relabeling": {"login": "Account ID", "password": "API token", "host": "Base URL"},
    "placeholders": {
        "login": "Cloudflare account id",
        "password": "token with the permission Realtime or Realtime Admin",
        "host": "leave empty for https://api.cloudflare.com/client/v4",
    },
}
CONN_FIELDS: dict[str, Any] = {
    "app_id": {
        "label": "App ID",
        "description": "The RealtimeKit app whose recordings are used. A task may name another app.",
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Timeout (seconds)",
        "description": "How long one request may take. 30 if empty.",
        "schema": {"type": ["number", "null"], "minimum": 0.1, "maximum": 300},
    },
    "retry_timeout": {
        "label": "Retry timeout (seconds)",
        "description": "How long to keep trying while the API gives no good answer. 330 if empty, which is longer than "
        "Cloudflare's longest block.",
        "schema": {"type": ["number", "null"], "minimum": 0, "maximum": 3600},
    },
    "polling_share": {
        "label": "Polling share",
        "description": "The share of the token's quota that waiting may use, from 0.05 to 0.95. 0.5 if empty.",
        "schema": {"type": ["number", "null"], "minimum": 0.05, "maximum": 0.95},
    },
}
