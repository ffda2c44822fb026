"""The trigger that waits for a recording in the triggerer."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_realtimekit.defaults import POLL_INTERVAL

if TYPE_CHECKING:
    from airflow_provider_realtimekit.waiting.outcome import Wait

# The module that the trigger waits with. Its import lasts a tenth of a second, which is too long on a triggerer's loop.
_SHARED_POLLING = "airflow_provider_realtimekit.waiting.shared"


class RealtimeKitRecordingTrigger(BaseTrigger):
    """Waits until a recording is UPLOADED or ERRORED, and fires one event (``GET …/recordings/{recording_id}``).

    Its arguments are plain JSON and hold no credentials: these are read from the connection in the triggerer. The event
    is described in :mod:`.waiting.outcome`. An error becomes an event, too.

    :param realtimekit_conn_id: connection of type ``realtimekit``
    :param app_id: another app than the connection's
    :param poll_interval: seconds between two polls (default: 30)
    :param stop_on_kill: whether the recording is stopped (``PUT …/recordings/{recording_id}``) when a person kills
        the deferred task: marks it as failed or successful, or clears it. Airflow 3.3 and later
    :param wait: the fields of :class:`~.waiting.outcome.Wait`
    """

    def __init__(
        self,
        *,
        realtimekit_conn_id: str,
        app_id: str | None = None,
        poll_interval: float = POLL_INTERVAL,
        stop_on_kill: bool = False,
        **wait: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.realtimekit_conn_id = realtimekit_conn_id
        self.app_id = app_id
        self.poll_interval = poll_interval
        self.stop_on_kill = stop_on_kill
        self._wait = wait

    @property
    def wait(self) -> Wait:
        """The wait: a recording or a meeting, and the limits."""
        from airflow_provider_realtimekit.waiting.outcome import Wait

        return Wait.from_json(self._wait)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments from which another process builds the trigger again."""
        arguments = {
            "realtimekit_conn_id": self.realtimekit_conn_id,
            "app_id": self.app_id,
            "poll_interval": self.poll_interval,
            "stop_on_kill": self.stop_on_kill,
            **asdict(self.wait),
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire the one event."""
        yield TriggerEvent(await self._run())

    async def on_kill(self) -> None:
        """Stop the recording, if ``stop_on_kill`` is set and a person ended the task."""
        # Not in cleanup(): Airflow calls that at each restart of a triggerer, too.
        recording_id = self.wait.recording_id
        if not self.stop_on_kill or recording_id is None:
            return
        from airflow_provider_realtimekit.start.on_kill import stop_if_ended_by_person

        await stop_if_ended_by_person(self.task_instance, recording_id, self.realtimekit_conn_id, self.app_id)

    async def _run(self) -> dict[str, Any]:
        try:
            # A module is in sys.modules while it is still being imported; the name is there once that is over.
            if not hasattr(sys.modules.get(_SHARED_POLLING), "shared_polling"):
                await asyncio.to_thread(import_module, _SHARED_POLLING)
            from airflow_provider_realtimekit.waiting.shared import shared_polling

            return await shared_polling().wait_for(
                self.wait, self.realtimekit_conn_id, self.app_id, self.poll_interval, self._log_line
            )
        except Exception as error:  # an error that is raised here would lose its class on the way to the task
            from airflow_provider_realtimekit.waiting.outcome import fault_event

            await self._log_line(f"The wait ended with an error: {error}", logging.ERROR)
            return fault_event(error)

    async def _log_line(self, line: str, level: int = logging.INFO) -> None:
        """Write a line to the task's log, on a thread."""
        # The log goes through a pipe that Airflow does not read while it stores events, and that many waits that end
        # together fill. Making the logger touches the disk, so that is done on the thread, too.
        await asyncio.to_thread(lambda: self.log.log(level, line))
