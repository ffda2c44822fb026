"""What happens to a recording that a task started: across retries, at a failure, and when a person ends the task.

The table at :class:`OwningOperator` says when the recording is stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout

from airflow_provider_realtimekit.defaults import LONGEST_RECORDING_SECONDS
from airflow_provider_realtimekit.exceptions import (
    RecordingFailedError,
    RecordingStuckError,
    StartOutcomePendingError,
    StartOutcomeUnknownError,
)
from airflow_provider_realtimekit.operators.base import KILL_SECONDS, WaitingOperator, defer, run_before_exit

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_realtimekit.api.recordings import RecordingsAPI
    from airflow_provider_realtimekit.hooks import RealtimeKitHook
    from airflow_provider_realtimekit.models import Recording
    from airflow_provider_realtimekit.start.checkpoint import Checkpoint, CheckpointStore
    from airflow_provider_realtimekit.start.search import Finder, Marks
    from airflow_provider_realtimekit.waiting.outcome import Wait


class OwningOperator(WaitingOperator):
    """Starts a recording once, and owns it until it has finished.

    ==================================================  ==========================================================
    event                                               what happens to the recording that this task started
    ==================================================  ==========================================================
    worker or triggerer dies, restarts or is deployed   goes on; the next try, or the triggerer, uses it again
    the task fails and is tried again                   goes on; the next try uses it again, unless it is ERRORED
    the task fails for good, or runs out of time        stopped
    a person marks it as failed or successful           stopped, by the worker or, while deferred, by the triggerer
    a person clears it                                  stopped; the new try starts another
    the task ended well, its process is ended later     goes on
    ==================================================  ==========================================================

    Where the recording's id is not known yet, because the start was not answered, it is searched by its mark: for 4
    seconds when the process is about to be killed, and otherwise until the start cannot take effect any more. A process
    that is asked to end sends no start any more, unless Airflow says that the task goes on.

    *Clearing*: the new try may run before or after the triggerer notices the clear. Both stop the old recording, by
    its id; neither stops "the active one". The new try knows the old recording by the generation in its checkpoint, and
    starts another only when the old one has stopped. So in either sequence the old recording is stopped, and the one
    that is active belongs to the new try.

    :param if_active: what to do when somebody else records the meeting already (templated): ``reuse`` (default) uses
        that recording, ``fail`` raises a :class:`~.exceptions.RecordingActiveError`
    :param stop_on_kill: whether the recording is stopped as the table says (default: with ``wait_for_completion``)
    :param stop_reused: whether a recording that somebody else started is stopped, too (default: no)
    :param mark_name: whether the file's name gets a mark behind ``file_name_prefix``, such as ``rtk-4nqz3c7k2m``, by
        which the task recognises its recording after a lost answer (default: yes). Without it, time and kind decide
    """

    meeting_id: str
    _tracks: ClassVar[bool] = False
    template_fields: Sequence[str] = (*WaitingOperator.template_fields, "if_active")

    def __init__(
        self,
        *,
        if_active: str = "reuse",
        stop_on_kill: bool | None = None,
        stop_reused: bool = False,
        mark_name: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.if_active = if_active
        self.stop_on_kill = self.wait_for_completion if stop_on_kill is None else stop_on_kill
        self.stop_reused = stop_reused
        self.mark_name = mark_name
        self._store: CheckpointStore | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Start the recording, or use the one of an earlier try; then wait for its end if that is asked for."""
        from airflow_provider_realtimekit.start.checkpoint import CheckpointStore

        planned = self._plan_wait() if self.wait_for_completion else None
        store = self._store = CheckpointStore(context, self.log)
        with self._stop_at_final_failure(store):
            recording = self._ensure(store)
            if store.is_ended_by_person and store.checkpoint and self._may_stop(store.checkpoint):
                self._stop(store, store.checkpoint, self.hook, "a person ended the task while it was being started")
            self.log.info("Recording %s is %s", recording.id, recording.status)
            result = self._finish(recording, planned)
        # The task has ended well. A process that is asked to end from now on leaves the recording alone.
        self._store = None
        return result

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the wait in the triggerer."""
        from airflow_provider_realtimekit.start.checkpoint import Checkpoint, CheckpointStore

        store = self._store = CheckpointStore(context, self.log)
        # When Airflow itself ends the deferral, it does not pass on what was stored with it.
        store.checkpoint = Checkpoint.from_json((next_kwargs or {}).get("checkpoint")) or store.load()
        with self._stop_at_final_failure(store):
            result = super().resume_execution(next_method, next_kwargs, context)
        self._store = None
        return result

    def on_kill(self) -> None:
        """Stop the recording if a person ended the task. Airflow calls this also when only the process ends."""
        store = self._store
        if store is None or not self.stop_on_kill or (store.checkpoint and store.checkpoint.is_abandoned):
            return
        # First of all: the main thread goes on afterwards, and may be about to send a start.
        store.is_closed = True
        run_before_exit(self._stop_if_ended_by_person)

    def _arguments(self) -> Mapping[str, Any]:
        """Return the arguments of the start."""
        raise NotImplementedError

    def _ensure(self, store: CheckpointStore) -> Recording:
        from airflow_provider_realtimekit.start.ensure import ensure_started
        from airflow_provider_realtimekit.start.send import StartSpec

        spec = StartSpec(
            self._arguments(),
            is_tracks=self._tracks,
            if_active=self.if_active,
            replaces_earlier=self.stop_on_kill,
            marks=self._marks(store),
            is_marked=self.mark_name,
            clear_number=store.clear_number,
            save_checkpoint=store.save,
            log=self.log.info,
        )
        try:
            return self.hook.get_conn().run(ensure_started(self.hook.get_conn().api, spec, store.load()))
        except StartOutcomeUnknownError as error:
            if not store.is_persistent:
                # The next try would know nothing of this start, and could start a second recording.
                raise
            raise StartOutcomePendingError(f"{error}. The next try finds that out before it starts anything") from error

    def _marks(self, store: CheckpointStore) -> Marks:
        from airflow_provider_realtimekit.start.search import Marks

        ti = store.ti
        owner = (ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index))
        return Marks(owner, store.generation, int(ti.try_number))

    def _finder(self, store: CheckpointStore, api: RecordingsAPI, checkpoint: Checkpoint) -> Finder:
        """Return what finds the recording of a start whose id is not known."""
        from airflow_provider_realtimekit.start.search import Finder

        return Finder(
            api,
            checkpoint.meeting_id,
            self._marks(store),
            is_tracks=self._tracks,
            is_marked=checkpoint.is_marked,
            names_show_mark=checkpoint.names_show_mark,
            prefix=getattr(self, "file_name_prefix", None),
        )

    def _defer(self, wait: Wait) -> NoReturn:
        checkpoint = self._store.checkpoint if self._store else None
        defer(
            self,
            wait,
            self.poll_interval,
            stop_on_kill=checkpoint is not None and self._may_stop(checkpoint),
            # Airflow before 3.3 has no other place that survives the deferral.
            more={"checkpoint": checkpoint.to_json() if checkpoint else None},
        )

    def _may_stop(self, checkpoint: Checkpoint) -> bool:
        # Without an id, what is found by the checkpoint is this task's own.
        is_own = checkpoint.is_owned or checkpoint.recording_id is None
        return self.stop_on_kill and (is_own or self.stop_reused)

    @contextmanager
    def _stop_at_final_failure(self, store: CheckpointStore) -> Iterator[None]:
        """Stop the recording when the block fails and no later try will use it."""
        try:
            yield
        except RecordingFailedError:
            # It has ended already.
            raise
        except (AirflowTaskTimeout, RecordingStuckError) as error:
            self._abandon(store, str(error) or "execution_timeout has passed")
            raise
        except Exception as error:
            # No triggerer noticed the deadline. By its name: Airflow has moved this class from version to version.
            if type(error).__name__ == "TaskDeferralTimeout":
                self._abandon(store, str(error), checkpoint=store.current or self._marked_checkpoint(store))
            elif isinstance(error, AirflowFailException) or store.is_last_try or store.is_ended_by_person:
                self._abandon(store, str(error))
            raise

    def _marked_checkpoint(self, store: CheckpointStore) -> Checkpoint | None:
        """Return a checkpoint that names only the marks of this task, for Airflow before 3.3, which stores none."""
        if not self.mark_name:
            return None
        from airflow_provider_realtimekit.start.checkpoint import Checkpoint

        # So long ago that no time fits: only a mark shows that a recording is this task's.
        since = datetime.now(UTC) - timedelta(seconds=LONGEST_RECORDING_SECONDS)
        return Checkpoint(self.meeting_id, since.isoformat(), store.generation, is_marked=True, names_show_mark=True)

    def _abandon(self, store: CheckpointStore, reason: str, *, checkpoint: Checkpoint | None = None) -> None:
        """Stop the recording, and save that no later try may use it."""
        checkpoint = checkpoint or store.current
        if checkpoint is None or not self._may_stop(checkpoint):
            return
        is_own = checkpoint is store.checkpoint
        if is_own and checkpoint.is_abandoned and checkpoint.recording_id is not None:
            return
        # Of another try's start nothing more is known than what one search shows.
        seconds = store.seconds_in_doubt if is_own else 0.0
        # Saved first: if the process dies in between, the next try stops the recording.
        store.save(replace(checkpoint, is_abandoned=True))
        self._stop(store, checkpoint, self.hook, reason, search_seconds=seconds)

    def _stop_if_ended_by_person(self) -> None:
        """Stop the recording if a person ended the task; runs on a thread while the main thread stands still."""
        began = time.monotonic()
        from airflow_provider_realtimekit.hooks import RealtimeKitHook
        from airflow_provider_realtimekit.start.on_kill import KILL_POLICY, read_known_task_state

        store = self._store
        if store is None:
            return
        state = read_known_task_state(store.ti)
        if not state.is_ended_by_person:
            self.log.info("The process ends, but the state of the task is %s: its recording goes on", state.name)
            # As long as Airflow does not answer, a start could be one that nobody wants any more.
            store.is_closed = not state.is_known
            return
        # A start that is under way may take effect after this method: the main thread waits for its answer, and stops
        # the recording if it lives that long.
        store.is_ended_by_person = True
        checkpoint = store.current
        if checkpoint is None or not self._may_stop(checkpoint):
            return
        if checkpoint.recording_id is not None:
            store.save(checkpoint)
        # Not the task's own hook: the main thread was interrupted in the middle of using it.
        with RealtimeKitHook(self.realtimekit_conn_id, self.app_id, policy=KILL_POLICY) as hook:
            left = KILL_SECONDS - (time.monotonic() - began)
            reason = f"the state of the task is {state.name}"
            self._stop(store, checkpoint, hook, reason, search_seconds=left, stop_seconds=left)

    def _stop(
        self,
        store: CheckpointStore,
        checkpoint: Checkpoint,
        hook: RealtimeKitHook,
        reason: str,
        *,
        search_seconds: float = 0.0,
        stop_seconds: float | None = None,
    ) -> None:
        """Stop the recording of a checkpoint.

        :param search_seconds: how long to search it if its id is not known (default: once)
        :param stop_seconds: how long to try to stop it (default: as long as the service may take)
        """
        from airflow_provider_realtimekit.start.stop import stop_started

        try:
            client = hook.get_conn()
            finder = self._finder(store, client.api, checkpoint)
            recording = client.run(stop_started(finder, checkpoint, search_seconds, stop_seconds))
        except Exception:
            self.log.exception(
                "Recording %s of meeting %s could not be stopped and may still run: "
                "stop it with RealtimeKitStopRecordingOperator",
                checkpoint.recording_id or "(id not known)",
                checkpoint.meeting_id,
            )
            return
        if recording is not None:
            self.log.info("Recording %s was stopped and is %s: %s", recording.id, recording.status, reason)
