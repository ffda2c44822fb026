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

# What it waits with. Whatever holds up the loop while that is imported would hold up all triggers.
_POLLING = "airflow_provider_realtimekit.waiting.shared"


class RealtimeKitRecordingTrigger(BaseTrigger):
    """Waits until a recording is UPLOADED or ERRORED and fires one event (``GET …/recordings/{recording_id}``).

    Everything in it is plain JSON; credentials are read from the connection where it runs. The event is that of
    :mod:`.waiting`; an error becomes an event too, never an exception.

    :param realtimekit_conn_id: connection of type ``realtimekit``
    :param app_id: another app than the connection's
    :param poll_interval: seconds between two looks
    :param stop_on_kill: whether the recording is stopped (``PUT …/recordings/{recording_id}``) when a person kills
        the deferred task: marks it as failed or successful, or clears it. Airflow 3.3 and later
    :param wait: the fields of :class:`~.waiting.Wait`
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
        """What is waited for."""
        from airflow_provider_realtimekit.waiting.outcome import Wait

        return Wait(**self._wait)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the trigger is built from again in another process."""
        arguments = {
            "realtimekit_conn_id": self.realtimekit_conn_id,
            "app_id": self.app_id,
            "poll_interval": self.poll_interval,
            "stop_on_kill": self.stop_on_kill,
            **asdict(self.wait),
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire."""
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
            # The first import takes a tenth of a second; the name is there once it is over.
            if not hasattr(sys.modules.get(_POLLING), "wait_for"):
                await asyncio.to_thread(import_module, _POLLING)
            from airflow_provider_realtimekit.waiting.shared import wait_for

            return await wait_for(self.wait, self.realtimekit_conn_id, self.app_id, self.poll_interval, self._tell)
        except Exception as error:  # whatever it is, the task must hear of it
            from airflow_provider_realtimekit.waiting.outcome import fault_event

            await self._tell(f"The wait cannot go on: {error}", logging.ERROR)
            return fault_event(error)

    async def _tell(self, news: str, level: int = logging.INFO) -> None:
        """Write to the task's log, on a thread.

        It goes through a pipe that Airflow does not read while it stores events, and that the ends of many waits fill.
        The logger is made there, too: that touches the disk, and few of many waits have something to tell at a time.
        """
        await asyncio.to_thread(lambda: self.log.log(level, news))
