"""What happens to a recording that a task started: across retries, at a failure, and when a person ends the task.

The table at :class:`OwningOperator` says when the recording is stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout

from airflow_provider_realtimekit.exceptions import (
    RecordingFailedError,
    RecordingStuckError,
    StartOutcomePendingError,
    StartOutcomeUnknownError,
)
from airflow_provider_realtimekit.operators.base import WaitingOperator, defer, run_before_exit

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_realtimekit.hooks import RealtimeKitHook
    from airflow_provider_realtimekit.models import Recording
    from airflow_provider_realtimekit.start.checkpoint import Checkpoint, CheckpointStore
    from airflow_provider_realtimekit.waiting.outcome import Wait

# The arguments by which the recording of a start is found whose answer never came. A stop needs no others: the
# connection of a storage, for instance, may be gone by then.
_LOOKUP_ARGUMENTS = ("meeting_id", "file_name_prefix", "allow_multiple_recordings")


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
    ==================================================  ==========================================================

    *Clearing*: the new try may run before or after the triggerer notices the clear. Both stop the old recording, by
    its id; neither stops "the active one". The new try knows the old recording by the generation in its checkpoint, and
    starts another only when the old one has stopped. So in either sequence the old recording is stopped, and the one
    that is active belongs to the new try.

    :param if_active: what to do when somebody else records the meeting already (templated): ``reuse`` (default) uses
        that recording, ``fail`` raises a :class:`~.exceptions.RecordingActiveError`
    :param stop_on_kill: whether the recording is stopped as the table says (default: with ``wait_for_completion``)
    :param stop_reused: whether a recording that somebody else started is stopped, too (default: no)
    """

    _tracks: ClassVar[bool] = False
    template_fields: Sequence[str] = (*WaitingOperator.template_fields, "if_active")

    def __init__(
        self,
        *,
        if_active: str = "reuse",
        stop_on_kill: bool | None = None,
        stop_reused: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.if_active = if_active
        self.stop_on_kill = self.wait_for_completion if stop_on_kill is None else stop_on_kill
        self.stop_reused = stop_reused
        self._store: CheckpointStore | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Start the recording, or use the one of an earlier try; then wait for its end if that is asked for."""
        from airflow_provider_realtimekit.start.checkpoint import CheckpointStore

        planned = self._plan_wait() if self.wait_for_completion else None
        store = self._store = CheckpointStore(context, self.log)
        with self._stop_at_final_failure(store):
            recording = self._ensure(store)
            if store.is_ended_by_person and store.checkpoint and self._may_stop(store.checkpoint):
                self._stop(store.checkpoint, self.hook, "a person ended the task while it was being started")
            self.log.info("Recording %s is %s", recording.id, recording.status)
            return self._finish(recording, planned)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the wait in the triggerer."""
        from airflow_provider_realtimekit.start.checkpoint import Checkpoint, CheckpointStore

        store = self._store = CheckpointStore(context, self.log)
        store.checkpoint = Checkpoint.from_json((next_kwargs or {}).get("checkpoint")) or store.load()
        with self._stop_at_final_failure(store):
            return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Stop the recording if a person ended the task. Airflow calls this also when only the process ends."""
        store = self._store
        if store is not None and self.stop_on_kill and not (store.checkpoint and store.checkpoint.is_abandoned):
            run_before_exit(self._stop_if_ended_by_person)

    def _arguments(self) -> Mapping[str, Any]:
        """Return the arguments of the start."""
        raise NotImplementedError

    def _ensure(self, store: CheckpointStore) -> Recording:
        from airflow_provider_realtimekit.start.ensure import StartSpec, ensure_started

        spec = StartSpec(
            self._arguments(),
            is_tracks=self._tracks,
            if_active=self.if_active,
            replaces_earlier=self.stop_on_kill,
            generation=store.generation,
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
            if isinstance(error, AirflowFailException) or store.is_last_try:
                self._abandon(store, str(error))
            raise

    def _abandon(self, store: CheckpointStore, reason: str) -> None:
        """Stop the recording, and save that no later try may use it."""
        checkpoint = store.checkpoint
        if checkpoint is None or checkpoint.is_abandoned or not self._may_stop(checkpoint):
            return
        # Saved first: if the process dies in between, the next try stops the recording.
        store.save(replace(checkpoint, is_abandoned=True))
        self._stop(checkpoint, self.hook, reason)

    def _stop_if_ended_by_person(self) -> None:
        """Stop the recording if a person ended the task; runs on a thread while the main thread stands still."""
        from airflow_provider_realtimekit.hooks import RealtimeKitHook
        from airflow_provider_realtimekit.start.on_kill import read_task_state

        store = self._store
        if store is None:
            return
        state = read_task_state(store.ti)
        if not state.is_ended_by_person:
            self.log.info("The process ends, but the state of the task is %s: its recording goes on", state.name)
            return
        # From here on the store refuses a start. A start that is under way is stopped by the main thread: it waits for
        # the answer, and goes on when this method returns.
        store.is_ended_by_person = True
        checkpoint = store.checkpoint
        if checkpoint is not None and checkpoint.recording_id is not None and self._may_stop(checkpoint):
            store.save(checkpoint)
            # Not the task's own hook: the main thread was interrupted in the middle of using it.
            with RealtimeKitHook(self.realtimekit_conn_id, self.app_id) as hook:
                self._stop(checkpoint, hook, f"the state of the task is {state.name}")

    def _stop(self, checkpoint: Checkpoint, hook: RealtimeKitHook, reason: str) -> None:
        from airflow_provider_realtimekit.start.ensure import StartSpec, stop_started

        arguments = {name: value for name in _LOOKUP_ARGUMENTS if (value := getattr(self, name, None)) is not None}
        try:
            spec = StartSpec(arguments, is_tracks=self._tracks)
            recording = hook.get_conn().run(stop_started(hook.get_conn().api, spec, checkpoint))
        except Exception:
            self.log.exception(
                "Recording %s of meeting %s could not be stopped and may still run: stop it by hand",
                checkpoint.recording_id or "(id not known)",
                checkpoint.meeting_id,
            )
            return
        if recording is not None:
            self.log.info("Recording %s was stopped and is %s: %s", recording.id, recording.status, reason)
