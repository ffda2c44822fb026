"""Links from a task to where its recording lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator


class RealtimeKitAppLink(BaseOperatorLink):
    """The recording's app in the Cloudflare dashboard; never a link to a file, since those are signed."""

    name = "Cloudflare dashboard"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address, told by the connection; runs on the worker."""
        from airflow_provider_realtimekit.hooks import RealtimeKitHook

        hook = RealtimeKitHook(operator.realtimekit_conn_id, operator.app_id)  # type: ignore[attr-defined]
        credentials = hook.get_credentials()
        return f"https://dash.cloudflare.com/{credentials.account_id}/realtime/kit/{credentials.app_id}"
