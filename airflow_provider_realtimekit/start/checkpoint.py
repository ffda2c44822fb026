"""What a task stores about its recording, so that its next try finds it.

:class:`Checkpoint` is the stored value. :class:`CheckpointStore` reads and writes it in Airflow's task state store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_realtimekit.exceptions import RealtimeKitError
from airflow_provider_realtimekit.models.base import parse_timestamp

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

STATE_KEY = "realtimekit_recording"


@dataclass(frozen=True)
class Checkpoint:
    """The recording that a task starts, as plain JSON.

    :param meeting_id: the meeting
    :param since: time just before the start was sent, by the server's clock (ISO 8601)
    :param generation: number that changes when the task is cleared, and stays when the task is tried again
    :param recording_id: the recording; ``None`` until its id is known
    :param is_owned: whether this task started the recording; otherwise somebody else did
    :param is_abandoned: whether the task ended for good, so that its recording was stopped, or is about to be
    """

    meeting_id: str
    since: str
    generation: int = 0
    recording_id: str | None = None
    is_owned: bool = False
    is_abandoned: bool = False

    @classmethod
    def from_json(cls, value: Any) -> Checkpoint | None:
        """Read a stored checkpoint; return ``None`` if there is none, or if it cannot be read."""
        if not isinstance(value, Mapping):
            return None
        # Another version of this package may have stored more fields, or other ones.
        known = {name: item for name, item in value.items() if name in cls.__dataclass_fields__}
        try:
            checkpoint = cls(**known)
            parse_timestamp(checkpoint.since)
        except (TypeError, ValueError):
            return None
        return checkpoint

    def to_json(self) -> dict[str, Any]:
        """Return the checkpoint as plain JSON."""
        return asdict(self)


class CheckpointStore:
    """Reads and writes a task's checkpoint.

    With Airflow 3.3 and later the checkpoint survives retries and clears of the task. With older versions it is
    known to the current try only.

    :param context: the task's context
    :param log: the task's log
    """

    def __init__(self, context: Context, log: Any) -> None:
        self._state_store: Any = context.get("task_state_store")
        self._log = log
        self.ti: Any = context["ti"]
        #: Whether the next try can read what is saved now.
        self.is_persistent = self._state_store is not None
        # Airflow raises max_tries when a task is cleared. A retry does not change it, and neither does a deploy that
        # changes the task's `retries`.
        self.generation = int(self.ti.max_tries)
        self.is_last_try = int(self.ti.try_number) > self.generation
        self.checkpoint: Checkpoint | None = None
        #: Set when a person has ended the task while its process still runs for some seconds.
        self.is_ended_by_person = False

    def load(self) -> Checkpoint | None:
        """Return the checkpoint of an earlier try, if there is one."""
        self.checkpoint = Checkpoint.from_json(self._state_store.get(STATE_KEY)) if self.is_persistent else None
        return self.checkpoint

    def save(self, checkpoint: Checkpoint | None) -> None:
        """Store a checkpoint for the next try; ``None`` deletes it.

        :raises RealtimeKitError: when a start is about to be sent for a task that a person has ended
        """
        is_before_start = checkpoint is not None and checkpoint.recording_id is None and not checkpoint.is_abandoned
        if self.is_ended_by_person and checkpoint is not None:
            if is_before_start:
                raise RealtimeKitError(f"a person has ended task {self.ti.task_id}: nothing is started")
            checkpoint = replace(checkpoint, is_abandoned=True)
        self.checkpoint = checkpoint
        if not self.is_persistent:
            return
        try:
            self._state_store.set(STATE_KEY, checkpoint.to_json() if checkpoint else {})
        except Exception as error:
            # Nothing was started yet: fail, since the next try could not find what this one is about to start.
            if is_before_start:
                raise
            # The recording runs already and must not be lost because of this. The checkpoint from before the start
            # leads the next try to it, too. One known cause: the process of a cleared task cannot store anything.
            self._log.warning("The checkpoint of %s could not be stored for the next try: %s", self.ti.task_id, error)
