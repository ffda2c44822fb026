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
        """Return the address; runs on the worker when the task has ended."""
        return app_url_of(operator)


def app_url_of(task: Any) -> str:
    """Return the address of a task's app in the dashboard; empty if the task has not read its connection."""
    # Account and app come from what the task knows by now: Airflow asks for the link after every task, and reading the
    # connection again would cost a request to the API server or a secrets backend each time.
    hook: RealtimeKitHook | None = vars(task).get("hook")
    credentials = hook.loaded_credentials if hook else None
    if credentials is None:
        # A task that goes on after a deferral has the address from before it.
        return str(vars(task).get("app_url", ""))
    return f"https://dash.cloudflare.com/{credentials.account_id}/realtime/kit/{credentials.app_id}"
