"""A world that tests pull by strings: recordings that jump, hang and expire when they are told to."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

from airflow_provider_realtimekit.emulator.world.errors import ImpossibleChangeError
from airflow_provider_realtimekit.emulator.world.models import TERMINAL, Owner, RecordedFile, Recording, Status
from airflow_provider_realtimekit.emulator.world.world import World

_KNOWN = {status.value: status for status in Status}
#: How far along each state is: a test may push a recording forward only.
_RANK = {Status.INVOKED: 0, Status.RECORDING: 1, Status.PAUSED: 1, Status.UPLOADING: 2, Status.UPLOADED: 3}
#: Which states a push to a status passes through.
_WAY = {
    Status.INVOKED: (),
    Status.RECORDING: (Status.RECORDING,),
    Status.PAUSED: (Status.RECORDING, Status.PAUSED),
    Status.UPLOADING: (Status.RECORDING, Status.UPLOADING),
    Status.UPLOADED: (Status.RECORDING, Status.UPLOADING),
}


class PuppetWorld(World):
    """Meetings and recordings that do as they are told."""

    def jump(self, recording_id: str, status: str, err_message: str | None = None) -> Recording:
        """Push a recording forward to a status; UPLOADED waits until its files are made.

        A word that is no known status is shown in place of the true one, until the next jump.
        """
        with self._lock:
            recording = self._find_recording(recording_id)
            self._show_or_push(recording, status, err_message)
        return self._uploaded(recording) if status == Status.UPLOADED else self.get(recording_id)

    def hang(self, recording_id: str) -> None:
        """Leave a recording in INVOKED for ever."""
        with self._lock:
            recording = self._find_recording(recording_id)
            if recording.state is not Status.INVOKED:
                raise ImpossibleChangeError(f"A recording that is {recording.state} cannot hang")
            recording.is_hanging = True

    def expire(self, recording_id: str) -> None:
        """Let the bucket delete the files of a recording, and their links die."""
        with self._lock:
            self._find_recording(recording_id).expires_at = self._clock()

    def replace_file(self, recording_id: str, path: Path) -> None:
        """Put another file in the place of a recording's first: of any size, or changed since it was handed out."""
        made: Future[Path] = Future()
        made.set_result(path)
        with self._lock:
            recording = self._find_recording(recording_id)
            if not recording.files:
                raise ImpossibleChangeError(f"A recording that is {recording.state} has no file")
            first, *others = recording.files
            recording.files = (RecordedFile(first.output, made), *others)

    def finish_uploads(self) -> list[str]:
        """End all uploads now, waiting for their files, and return the ids."""
        uploading = [recording.id for recording in self.recordings() if recording.state is Status.UPLOADING]
        for recording_id in uploading:
            self.jump(recording_id, Status.UPLOADED)
        return uploading

    def seed(
        self,
        count: int,
        status: str = Status.UPLOADED,
        *,
        meeting_id: str | None = None,
        seconds: float = 60,
        owner: Owner | None = None,
    ) -> list[str]:
        """Make many recordings at once, each of `seconds`, in one meeting or each in its own; return their ids."""
        with self._lock:
            made = [self._seeded(status, meeting_id, seconds, owner) for _ in range(count)]
        if status == Status.UPLOADED:
            for recording in made:
                self._uploaded(recording)
        return [recording.id for recording in made]

    def _seeded(self, status: str, meeting_id: str | None, seconds: float, owner: Owner | None) -> Recording:
        meeting = self._meetings.get(meeting_id or "") or self.open_meeting(
            meeting_id, participants=["participant"], owner=owner
        )
        recording = self._recordings[self._create_recording(meeting, {}, owner).id]
        if status != Status.INVOKED:
            self._lifecycle.enter_state(recording, Status.RECORDING, self._clock())
            recording.recorded_seconds = seconds
        self._show_or_push(recording, status)
        return recording

    def _show_or_push(self, recording: Recording, status: str, err_message: str | None = None) -> None:
        target = _KNOWN.get(status)
        recording.shown_status = None if target else status
        if target:
            self._push(recording, target, err_message)

    def _push(self, recording: Recording, target: Status, err_message: str | None) -> None:
        now, state = self._clock(), recording.state
        if state in TERMINAL - {target}:
            raise ImpossibleChangeError(f"A recording that is {state} stays so")
        if target is Status.ERRORED:
            self._lifecycle.fail(recording, now, err_message or "The recording failed")
            return
        if _RANK[target] < _RANK[state]:
            raise ImpossibleChangeError(f"A recording that is {state} cannot become {target}")
        for step in _WAY[target]:
            if step is not recording.state and _RANK[step] >= _RANK[recording.state]:
                self._lifecycle.enter_state(recording, step, now)
        recording.is_upload_immediate = target is Status.UPLOADED

    def _uploaded(self, recording: Recording) -> Recording:
        # Not under the lock: the files may take seconds, and the world goes on meanwhile.
        for file in recording.files:
            file.future_path.exception()
        return self.get(recording.id)
