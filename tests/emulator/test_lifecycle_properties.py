"""Rules that every recording follows, checked with random sequences of actions, people and time."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from airflow_provider_realtimekit.emulator.world.errors import ActionNotAllowedError
from airflow_provider_realtimekit.emulator.world.lifecycle import ACTION_TARGETS
from airflow_provider_realtimekit.emulator.world.models import Recording, Status
from tests.support.emulator import OWNER, EmulatedWorld

#: The statuses that a later read can return after each status, with any number of changes between.
LATER_STATUSES = {
    "INVOKED": set(Status),
    "RECORDING": set(Status) - {"INVOKED"},
    "PAUSED": set(Status) - {"INVOKED"},
    "UPLOADING": {"UPLOADING", "UPLOADED", "ERRORED"},
    "UPLOADED": {"UPLOADED"},
    "ERRORED": {"ERRORED"},
}


class RecordingMachine(RuleBasedStateMachine):
    """One recording in one meeting, and all events of both."""

    @initialize(
        speed=st.sampled_from([1, 8, 60]),
        max_seconds=st.integers(60, 86_400),
        errored_below=st.sampled_from([0, 5]),
        is_hanging=st.booleans(),
    )
    def start(self, speed: float, max_seconds: int, errored_below: float, is_hanging: bool) -> None:
        self.emulated = EmulatedWorld(speed=speed, errored_below_seconds=errored_below, hang_invoked=is_hanging)
        self.max_seconds, self.speed = max_seconds, speed
        self.recording_id = self.emulated.start(max_seconds=max_seconds)
        self.last = self.read()

    def read(self) -> Recording:
        return self.emulated.world.get(self.recording_id)

    @rule(seconds=st.floats(0, 200_000) | st.floats(0, 5))
    def wait(self, seconds: float) -> None:
        self.emulated.clock.advance(seconds)

    @rule(action=st.sampled_from(["stop", "pause", "resume"]))
    def act(self, action: str) -> None:
        before = self.read().state
        try:
            after = self.emulated.world.act(OWNER, self.recording_id, action).state
        except ActionNotAllowedError:
            assert (action, before) not in ACTION_TARGETS
        else:
            assert after in {ACTION_TARGETS[action, before], Status.ERRORED}

    @rule(name=st.sampled_from(["participant", "ann"]))
    def join(self, name: str) -> None:
        self.emulated.world.join("standup", name)

    @rule(name=st.sampled_from(["participant", "ann", None]))
    def leave(self, name: str | None) -> None:
        self.emulated.world.leave("standup", name)

    @invariant()
    def it_moves_only_forward(self) -> None:
        now = self.read()
        assert now.status in LATER_STATUSES[self.last.status]
        assert now.recorded_seconds >= self.last.recorded_seconds
        self.last = now

    @invariant()
    def it_is_not_longer_than_max_seconds_or_than_its_lifetime(self) -> None:
        now = self.read()
        seconds = now.recorded_seconds_at(self.emulated.clock.now, self.speed)
        assert 0 <= seconds <= self.max_seconds + 1e-3
        lifetime = (now.stopped_at or self.emulated.clock.now) - (now.started_at or now.invoked_at)
        assert seconds <= lifetime * self.speed + 1e-3

    @invariant()
    def its_timestamps_are_in_order_and_match_its_status(self) -> None:
        now = self.read()
        times = [now.invoked_at, now.started_at, now.stopped_at, now.uploaded_at, self.emulated.clock.now]
        known = [time for time in times if time is not None]
        assert known == sorted(known)
        assert (now.stopped_at is not None) == (now.status in {"UPLOADING", "UPLOADED", "ERRORED"})
        assert (now.uploaded_at is not None) == (now.status == "UPLOADED")
        assert bool(now.files) == (now.status in {"UPLOADING", "UPLOADED"})

    @invariant()
    def reading_twice_returns_the_same(self) -> None:
        assert vars(self.read()) == vars(self.read())


TestRecording = RecordingMachine.TestCase
TestRecording.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
