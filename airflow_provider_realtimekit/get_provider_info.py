"""The provider's metadata, which Airflow reads through the package's entry point.

Airflow reads it during its own import, so nothing here may import Airflow.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_realtimekit.connections.form import (
    CONN_FIELDS,
    CONN_TYPE,
    HOOK_CLASS,
    HOOK_NAME,
    UI_FIELD_BEHAVIOUR,
)

_INTEGRATION = "Cloudflare RealtimeKit"
_DOCS = "https://developers.cloudflare.com/realtime/realtimekit/"
_PACKAGE = "airflow_provider_realtimekit"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, valid against both of Airflow's schemas."""

    def module(name: str) -> list[dict[str, Any]]:
        return [{"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.{name}"]}]

    return {
        "package-name": "airflow-provider-realtimekit",
        "name": _INTEGRATION,
        "description": f"Recordings of `Cloudflare RealtimeKit <{_DOCS}>`__ meetings.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": _DOCS,
                "tags": ["service"],
            }
        ],
        "operators": module("operators"),
        "sensors": module("sensors"),
        "hooks": module("hooks"),
        "triggers": module("triggers"),
        "connection-types": [
            {
                "connection-type": CONN_TYPE,
                "hook-class-name": HOOK_CLASS,
                "hook-name": HOOK_NAME,
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONN_FIELDS,
            }
        ],
        "extra-links": [f"{_PACKAGE}.extra_links.RealtimeKitAppLink"],
    }
