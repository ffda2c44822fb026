"""Any life that a recording can lead, generated: what must hold whatever happens to it."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from airflow_provider_realtimekit.emulator.world.errors import ActionNotAllowedError
from airflow_provider_realtimekit.emulator.world.lifecycle import ACTION_TARGETS
from airflow_provider_realtimekit.emulator.world.models import Recording, Status
from tests.support.emulator import OWNER, Stage

#: What may follow what, when any number of steps may lie between two looks.
AFTER = {
    "INVOKED": set(Status),
    "RECORDING": set(Status) - {"INVOKED"},
    "PAUSED": set(Status) - {"INVOKED"},
    "UPLOADING": {"UPLOADING", "UPLOADED", "ERRORED"},
    "UPLOADED": {"UPLOADED"},
    "ERRORED": {"ERRORED"},
}


class Life(RuleBasedStateMachine):
    """One recording in one meeting, and everything that can be done to the two."""

    @initialize(
        speed=st.sampled_from([1, 8, 60]),
        max_seconds=st.integers(60, 86_400),
        errored_below=st.sampled_from([0, 5]),
        hangs=st.booleans(),
    )
    def start(self, speed: float, max_seconds: int, errored_below: float, hangs: bool) -> None:
        self.stage = Stage(speed=speed, errored_below_seconds=errored_below, hang_invoked=hangs)
        self.max_seconds, self.speed = max_seconds, speed
        self.recording_id = self.stage.start(max_seconds=max_seconds)
        self.last = self.look()

    def look(self) -> Recording:
        return self.stage.world.get(self.recording_id)

    @rule(seconds=st.floats(0, 200_000) | st.floats(0, 5))
    def wait(self, seconds: float) -> None:
        self.stage.clock.pass_by(seconds)

    @rule(action=st.sampled_from(["stop", "pause", "resume"]))
    def act(self, action: str) -> None:
        before = self.look().state
        try:
            after = self.stage.world.act(OWNER, self.recording_id, action).state
        except ActionNotAllowedError:
            assert (action, before) not in ACTION_TARGETS
        else:
            assert after in {ACTION_TARGETS[action, before], Status.ERRORED}

    @rule(name=st.sampled_from(["participant", "ann"]))
    def join(self, name: str) -> None:
        self.stage.world.join("standup", name)

    @rule(name=st.sampled_from(["participant", "ann", None]))
    def leave(self, name: str | None) -> None:
        self.stage.world.leave("standup", name)

    @invariant()
    def it_moves_only_forward(self) -> None:
        now = self.look()
        assert now.status in AFTER[self.last.status]
        assert now.recorded_seconds >= self.last.recorded_seconds
        self.last = now

    @invariant()
    def it_never_records_more_than_it_may_or_than_there_was_time_for(self) -> None:
        now = self.look()
        seconds = now.recorded_seconds_at(self.stage.clock.now, self.speed)
        assert 0 <= seconds <= self.max_seconds + 1e-3
        lifetime = (now.stopped_at or self.stage.clock.now) - (now.started_at or now.invoked_at)
        assert seconds <= lifetime * self.speed + 1e-3

    @invariant()
    def its_timestamps_are_in_order_and_match_its_status(self) -> None:
        now = self.look()
        times = [now.invoked_at, now.started_at, now.stopped_at, now.uploaded_at, self.stage.clock.now]
        known = [time for time in times if time is not None]
        assert known == sorted(known)
        assert (now.stopped_at is not None) == (now.status in {"UPLOADING", "UPLOADED", "ERRORED"})
        assert (now.uploaded_at is not None) == (now.status == "UPLOADED")
        assert bool(now.files) == (now.status in {"UPLOADING", "UPLOADED"})

    @invariant()
    def looking_twice_sees_the_same(self) -> None:
        assert vars(self.look()) == vars(self.look())


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
