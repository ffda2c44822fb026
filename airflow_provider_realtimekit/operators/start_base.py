"""What an operator does that starts a recording: remember it across tries, and stop it when the task is ended.

Who stops what, and when, is written down at :class:`OwningOperator`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout

from airflow_provider_realtimekit.exceptions import (
    RealtimeKitError,
    RecordingFailedError,
    RecordingStuckError,
    StartOutcomePendingError,
    StartOutcomeUnknownError,
)
from airflow_provider_realtimekit.operators.base import WaitingOperator
from airflow_provider_realtimekit.operators.deferral import defer

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_realtimekit.hooks import RealtimeKitHook
    from airflow_provider_realtimekit.models import Recording
    from airflow_provider_realtimekit.start.checkpoint import Checkpoint
    from airflow_provider_realtimekit.waiting.outcome import Wait

STATE_KEY = "realtimekit_recording"
# What tells the recording of a start whose answer never came.
_SEARCHED = ("meeting_id", "file_name_prefix", "allow_multiple_recordings")


class CheckpointStore:
    """What a task knows of its recording: across its tries where Airflow keeps it (3.3), else in this one.

    :param context: the task's context
    :param log: the task's log
    """

    def __init__(self, context: Context, log: Any) -> None:
        self._store: Any = context.get("task_state_store")
        self._log = log
        self.ti: Any = context["ti"]
        # Airflow counts on from the tries made so far when a task is cleared, and leaves this alone when it is tried
        # again, also when a deploy has changed the task's retries.
        self.generation = int(self.ti.max_tries)
        self.claim: Checkpoint | None = None
        #: Whether a person has ended the task while its process goes on for some seconds.
        self.is_ended = False

    @property
    def lasts(self) -> bool:
        """Whether the next try will know what is kept now."""
        return self._store is not None

    @property
    def is_last_try(self) -> bool:
        """Whether Airflow will not try the task again."""
        return int(self.ti.try_number) > int(self.ti.max_tries)

    def load(self) -> Checkpoint | None:
        """Return what an earlier try kept."""
        from airflow_provider_realtimekit.start.checkpoint import Checkpoint

        self.claim = Checkpoint.read(self._store.get(STATE_KEY)) if self.lasts else None
        return self.claim

    def keep(self, claim: Checkpoint | None) -> None:
        """Keep a claim for the next try; ``None`` forgets.

        :raises RealtimeKitError: when something is about to be started for a task that a person has ended
        """
        if self.is_ended and claim is not None:
            if claim.recording_id is None and not claim.abandoned:
                raise RealtimeKitError("a person has ended the task: nothing is started")
            claim = replace(claim, abandoned=True)
        self.claim = claim
        if not self.lasts:
            return
        try:
            self._store.set(STATE_KEY, claim.to_json() if claim else {})
        except Exception as error:
            # Before the start that is an error: nothing has happened yet. After it, what was kept before leads the
            # next try to the recording, too, and the recording must not be lost over a note. A process whose task
            # has been cleared cannot store anything any more.
            if claim is not None and claim.recording_id is None and not claim.abandoned:
                raise
            self._log.warning("Airflow did not store what the next try should know of the recording: %s", error)


class OwningOperator(WaitingOperator):
    """Starts a recording once, and answers for it until it has finished.

    ==================================================  ==========================================================
    event                                               what becomes of a recording that this task started
    ==================================================  ==========================================================
    worker or triggerer dies, restarts or is deployed   goes on; the next try, or the triggerer, takes it up again
    the task fails and is tried again                   goes on; the next try takes it up, unless it is ERRORED
    the task fails for good, or runs out of time        stopped
    a person marks it as failed or successful           stopped, by the worker or, while deferred, by the triggerer
    a person clears it                                  stopped; the new try starts another
    ==================================================  ==========================================================

    *Clearing*: the new try may run before or after the triggerer has noticed. Each of the two stops the old
    recording, and by its id; neither ever stops "the active one". The new try tells the old recording from its own
    by the generation that is kept with its id, sees it stopped, and only then starts. So whichever comes first, the
    old one is stopped and one recording is active that belongs to the new try.

    :param if_active: what to do when the meeting is being recorded already, by somebody else (templated): ``reuse``
        takes that recording for the one asked for (default), ``fail`` raises a
        :class:`~.exceptions.RecordingActiveError`
    :param stop_on_kill: whether the recording is stopped as the table says (default: with ``wait_for_completion``)
    :param stop_reused: whether that goes for a recording, too, that somebody else started (default: no)
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
        self._memory: CheckpointStore | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Start, and finish as told."""
        planned = self._plan()
        memory = self._memory = CheckpointStore(context, self.log)
        with self._answering(memory):
            recording = self._ensure(memory)
            if memory.is_ended and memory.claim and self._stops(memory.claim):
                self._stop(memory.claim, self.hook, "a person ended the task while it was being started")
            self.log.info("Recording %s is %s", recording.id, recording.status)
            return self._finish(recording, planned)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the triggerer."""
        from airflow_provider_realtimekit.start.checkpoint import Checkpoint

        memory = self._memory = CheckpointStore(context, self.log)
        memory.claim = Checkpoint.read((next_kwargs or {}).get("claim")) or memory.load()
        with self._answering(memory):
            return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Stop the recording if a person ended the task; Airflow calls this at other ends, too."""
        from airflow_provider_realtimekit.start.on_kill import on_worker

        on_worker(self._stop_if_killed)

    def _arguments(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def _ensure(self, memory: CheckpointStore) -> Recording:
        from airflow_provider_realtimekit.start.checkpoint import StartSpec
        from airflow_provider_realtimekit.start.ensure import ensure

        order = StartSpec(
            self._arguments(),
            tracks=self._tracks,
            if_active=self.if_active,
            replaces=self.stop_on_kill,
            generation=memory.generation,
            keep=memory.keep,
            tell=self.log.info,
        )
        try:
            client = self.hook.get_conn()
            recording, _ = client.run(ensure(client.api, order, memory.load()))
        except StartOutcomeUnknownError as doubt:
            if memory.lasts:
                raise StartOutcomePendingError(f"{doubt} (the next try of the task begins with that)") from doubt
            raise
        return recording

    def _defer(self, wait: Wait) -> dict[str, Any]:
        claim = self._memory.claim if self._memory else None
        return defer(
            self,
            wait,
            self.poll_interval,
            stop_on_kill=self._stops(claim),
            more={"claim": claim.to_json() if claim else None},
        )

    def _stops(self, claim: Checkpoint | None) -> bool:
        return (
            self.stop_on_kill and claim is not None and (claim.owned or claim.recording_id is None or self.stop_reused)
        )

    @contextmanager
    def _answering(self, memory: CheckpointStore) -> Iterator[None]:
        """Stop the recording where the task ends for good before it has finished."""
        try:
            yield
        except RecordingFailedError:
            raise
        except (AirflowTaskTimeout, RecordingStuckError) as error:
            self._give_up(memory, str(error) or "execution_timeout has passed")
            raise
        except Exception as error:
            if isinstance(error, AirflowFailException) or memory.is_last_try:
                self._give_up(memory, str(error))
            raise

    def _stop_if_killed(self) -> None:
        from airflow_provider_realtimekit.hooks import RealtimeKitHook
        from airflow_provider_realtimekit.start.on_kill import is_kill, task_state

        memory = self._memory
        if memory is None or not self.stop_on_kill or (memory.claim and memory.claim.abandoned):
            return
        state = task_state(memory.ti)
        if not is_kill(state):
            self.log.info("This process ends, but the task is %s: its recording goes on", state)
            return
        # From here on nothing is started. What is being started now is stopped by the main thread, which has to wait
        # for its answer and stands still until this method returns.
        memory.is_ended = True
        claim = memory.claim
        if claim is not None and claim.recording_id is not None and self._stops(claim):
            memory.keep(claim)
            with RealtimeKitHook(self.realtimekit_conn_id, self.app_id) as hook:
                self._stop(claim, hook, f"the task is {state}")

    def _give_up(self, memory: CheckpointStore, why: str) -> None:
        """Stop the recording, after a note for the next try that it is not to be taken up again."""
        claim = memory.claim
        if claim is None or claim.abandoned or not self._stops(claim):
            return
        memory.keep(replace(claim, abandoned=True))
        self._stop(claim, self.hook, why)

    def _stop(self, claim: Checkpoint, hook: RealtimeKitHook, why: str) -> None:
        from airflow_provider_realtimekit.start.checkpoint import StartSpec
        from airflow_provider_realtimekit.start.ensure import give_up

        # No more than a search needs: a storage's connection, say, may be gone by now.
        arguments = {name: value for name in _SEARCHED if (value := getattr(self, name, None)) is not None}
        order = StartSpec(arguments, tracks=self._tracks)
        try:
            api = hook.get_conn().api
            recording = hook.get_conn().run(give_up(api, order, claim, seconds=2 * api.timeout))
        except Exception:
            self.log.exception("Recording %s may go on: it could not be stopped", claim.recording_id or "")
            return
        if recording is not None:
            self.log.info("Recording %s was stopped and is %s: %s", recording.id, recording.status, why)
