"""What Airflow's connection form shows for ``realtimekit``, as data.

Airflow reads it through ``get_provider_info`` while it is being imported itself, so nothing here may import Airflow.
"""

from __future__ import annotations

from typing import Any

CONN_TYPE = "realtimekit"
HOOK_NAME = "Cloudflare RealtimeKit"
HOOK_CLASS = "airflow_provider_realtimekit.hooks.RealtimeKitHook"

#: What Airflow's connection form shows, in the form of ``provider.yaml``.
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
        "description": "The RealtimeKit app whose recordings are meant; tasks may name another one.",
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Timeout (seconds)",
        "description": "How long one request may take; 30 when empty.",
        "schema": {"type": ["number", "null"], "minimum": 0.1, "maximum": 300},
    },
    "retry_timeout": {
        "label": "Retry timeout (seconds)",
        "description": "How long to keep trying when the API gives no good answer; 330 when empty, which outlasts "
        "Cloudflare's longest block.",
        "schema": {"type": ["number", "null"], "minimum": 0, "maximum": 3600},
    },
    "polling_share": {
        "label": "Polling share",
        "description": "How much of the token's quota waiting may use, from 0.05 to 0.95; half of it when empty.",
        "schema": {"type": ["number", "null"], "minimum": 0.05, "maximum": 0.95},
    },
}
