"""The link from a task to its app in the Cloudflare dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_provider_realtimekit.hooks import RealtimeKitHook


class RealtimeKitAppLink(BaseOperatorLink):
    """The recording's app in the Cloudflare dashboard; never a link to a file, since those are signed."""

    name = "Cloudflare dashboard"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address; empty if the task has not read its connection. Runs on the worker after each task."""
        # Only a connection that was read already: to read it again would need a request to the API server or to a
        # secrets backend for each task. A task that was resumed after a deferral has the address from before it.
        attributes = vars(operator)
        hook: RealtimeKitHook | None = attributes.get("hook")
        return (hook.app_url if hook else "") or str(attributes.get("app_url", ""))
