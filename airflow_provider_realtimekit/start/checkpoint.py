"""What a task stores about its recording, so that its next try finds it.

:class:`Checkpoint` is the stored value. :class:`CheckpointStore` reads and writes it in Airflow's task state store, and
refuses a start once the task is being ended.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_realtimekit.exceptions import RealtimeKitError
from airflow_provider_realtimekit.models.base import parse_timestamp
from airflow_provider_realtimekit.start import bounds

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
    :param serial: the serial of the start that was sent last; see :class:`~.search.Marks`
    :param is_marked: whether the start carried a mark
    :param names_show_mark: whether the server's names show the prefix of a start; ``None``: not known yet
    :param clear_number: how often the DAG run was cleared; ``None`` where Airflow does not count that
    """

    meeting_id: str
    since: str
    generation: int = 0
    recording_id: str | None = None
    is_owned: bool = False
    is_abandoned: bool = False
    serial: int = 0
    is_marked: bool = False
    names_show_mark: bool | None = None
    clear_number: int | None = None

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

    @property
    def is_start_pending(self) -> bool:
        """Whether a start was sent, or is about to be, whose recording is not known."""
        return self.recording_id is None


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
        # A clear after a deploy with fewer retries, or of a task that then loses its heartbeat, leaves max_tries as it
        # was. This number grows with it, but also when another task of the run is cleared. Later Airflows have it.
        self.clear_number: int | None = getattr(context.get("dag_run"), "clear_number", None)
        self.is_last_try = int(self.ti.try_number) > self.generation
        #: What an earlier try stored, until this one saves something: by then it has dealt with it.
        self.earlier: Checkpoint | None = None
        #: What this process has saved.
        self.checkpoint: Checkpoint | None = None
        #: Whether no start may be sent any more, since the process is being ended.
        self.is_closed = False
        #: Set when a person has ended the task while its process still runs for some seconds.
        self.is_ended_by_person = False
        self._saved_at = time.monotonic()

    @property
    def current(self) -> Checkpoint | None:
        """What is known of the task's recording."""
        return self.checkpoint or self.earlier

    @property
    def seconds_in_doubt(self) -> float:
        """For how many seconds the start that was sent last may still take effect."""
        return max(0.0, bounds.BOUNDS.doubt - (time.monotonic() - self._saved_at))

    def load(self) -> Checkpoint | None:
        """Return the checkpoint of an earlier try, if there is one."""
        self.earlier = Checkpoint.from_json(self._state_store.get(STATE_KEY)) if self.is_persistent else None
        return self.earlier

    def save(self, checkpoint: Checkpoint | None) -> None:
        """Store a checkpoint for the next try; ``None`` deletes it.

        :raises RealtimeKitError: when a start is about to be sent for a task that is being ended
        """
        is_before_start = checkpoint is not None and checkpoint.is_start_pending and not checkpoint.is_abandoned
        if not is_before_start:
            if self.is_ended_by_person and checkpoint is not None:
                checkpoint = replace(checkpoint, is_abandoned=True)
            self.checkpoint, self.earlier = checkpoint, None
            self._store(checkpoint)
            return
        self._refuse_start()
        self._store(checkpoint, is_before_start=True)
        # Once more: the process may have been asked to end while the checkpoint was stored.
        self._refuse_start()
        self.checkpoint, self.earlier, self._saved_at = checkpoint, None, time.monotonic()

    def _refuse_start(self) -> None:
        if self.is_closed:
            raise RealtimeKitError(
                f"task {self.ti.task_id} was ended by a person, or is being ended: nothing is started"
            )

    def _store(self, checkpoint: Checkpoint | None, *, is_before_start: bool = False) -> None:
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
