"""What the operators share: the connection, masking, and waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_realtimekit.defaults import (
    DEFAULT_CONN_NAME,
    INVOKED_TIMEOUT,
    LONGEST_RECORDING_SECONDS,
    POLL_INTERVAL,
)
from airflow_provider_realtimekit.exceptions import RecordingTimeoutError
from airflow_provider_realtimekit.extra_links import RealtimeKitAppLink
from airflow_provider_realtimekit.operators.deferral import (
    default_deferrable,
    defer,
    log_status_history,
    make_trigger,
    out_of_time,
    seconds,
)

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_realtimekit.hooks import RealtimeKitHook
    from airflow_provider_realtimekit.models import Recording
    from airflow_provider_realtimekit.waiting.outcome import Wait


class RealtimeKitOperator(BaseOperator):
    """What the operators share: the connection, its hook, the link, and masking of what templates brought.

    :param realtimekit_conn_id: connection of type ``realtimekit`` (templated)
    :param app_id: another app than the connection's (templated)
    """

    template_fields: Sequence[str] = ("realtimekit_conn_id", "app_id")
    operator_extra_links = (RealtimeKitAppLink(),)
    ui_color = "#fbe0c7"

    def __init__(
        self, *, realtimekit_conn_id: str = DEFAULT_CONN_NAME, app_id: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.realtimekit_conn_id = realtimekit_conn_id
        self.app_id = app_id

    @cached_property
    def hook(self) -> RealtimeKitHook:
        """The hook on the connection."""
        from airflow_provider_realtimekit.hooks import RealtimeKitHook

        return RealtimeKitHook(self.realtimekit_conn_id, self.app_id)

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render, and have Airflow mask the storage credentials wherever it shows something."""
        super().render_template_fields(context, jinja_env)
        from airflow.sdk.log import mask_secret

        for secret in self._secrets():
            mask_secret(secret)

    def _secrets(self) -> Iterator[str]:
        return iter(())


class WaitingOperator(RealtimeKitOperator):
    """An operator that may wait for the recording to finish, on its worker or in the triggerer.

    :param wait_for_completion: whether to wait until the recording is UPLOADED (default: no)
    :param deferrable: whether to wait in the triggerer (default: ``[operators] default_deferrable``)
    :param poll_interval: seconds between two looks (default: 30)
    :param timeout: seconds to wait at most (default: 26 hours)
    :param invoked_timeout: seconds that the recording may stay in INVOKED (default: 600)
    """

    def __init__(
        self,
        *,
        wait_for_completion: bool = False,
        deferrable: bool | None = None,
        poll_interval: float = POLL_INTERVAL,
        timeout: float | timedelta = LONGEST_RECORDING_SECONDS,
        invoked_timeout: float = INVOKED_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.poll_interval = seconds("poll_interval", poll_interval)
        self.timeout = seconds("timeout", timeout)
        self.invoked_timeout = seconds("invoked_timeout", invoked_timeout)

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        wait: dict[str, Any] | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """Return the recording that the trigger's event tells of, or raise what it means."""
        from airflow_provider_realtimekit.waiting.outcome import Wait, result_from_event

        log_status_history(self.log, event)
        waited = Wait(**(wait or {}))
        try:
            result = result_from_event(event, waited)
        except RecordingTimeoutError as error:
            raise out_of_time(error, waited) from None
        self.log.info("Recording %s is %s", result["id"], result["status"])
        return result

    def _plan(self) -> Wait:
        """Describe the wait and prove that it can be stored, before anything is started."""
        from airflow_provider_realtimekit.waiting.outcome import Wait

        deadline = time.time() + self.timeout
        wait = Wait(invoked_timeout=self.invoked_timeout, deadline=deadline)
        make_trigger(self, wait, self.poll_interval)
        return wait

    def _finish(self, recording: Recording, planned: Wait) -> dict[str, Any]:
        """Return the recording, finished if that was asked for."""
        if not self.wait_for_completion:
            return recording.to_json()
        from airflow_provider_realtimekit.waiting.outcome import evaluate, result_from_event, watch

        wait = replace(planned, recording_id=recording.id).seen(recording)
        event = evaluate(recording, wait)
        if event is None and self.deferrable:
            return self._defer(wait)
        if event is None:
            client = self.hook.get_conn()
            event = client.run(watch(client.api, wait, self.poll_interval), polling=True)
        return result_from_event(event, wait)

    def _defer(self, wait: Wait) -> dict[str, Any]:
        return defer(self, wait, self.poll_interval)
