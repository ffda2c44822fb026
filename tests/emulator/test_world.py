"""The world: how recordings change their status, what people in meetings do, and what tests can force."""

from __future__ import annotations

import pytest

from airflow_provider_realtimekit.emulator.world.errors import (
    ActionNotAllowedError,
    AlreadyRecordingError,
    ImpossibleChangeError,
    NoLiveSessionError,
    NotFoundError,
)
from airflow_provider_realtimekit.emulator.world.models import Owner
from tests.support.emulator import OWNER, EmulatedWorld


@pytest.fixture
def emulated() -> EmulatedWorld:
    return EmulatedWorld()


def test_a_recording_goes_from_invoked_to_uploaded(emulated: EmulatedWorld) -> None:
    recording_id = emulated.start()
    assert emulated.world.get(recording_id).status == "INVOKED"
    assert emulated.status_after(1.75, recording_id) == "INVOKED"
    assert emulated.status_after(0.25, recording_id) == "RECORDING"
    emulated.clock.advance(98)
    stopped = emulated.world.act(OWNER, recording_id, "stop")
    assert stopped.status == "UPLOADING"
    assert emulated.status_after(2.75, recording_id) == "UPLOADING"
    assert emulated.status_after(0.25, recording_id) == "UPLOADED"
    uploaded = emulated.world.get(recording_id)
    assert uploaded.started_at == uploaded.invoked_at + 2
    assert uploaded.stopped_at == uploaded.invoked_at + 100
    assert uploaded.uploaded_at == uploaded.invoked_at + 103
    assert uploaded.recorded_seconds == 98


def test_late_changes_have_the_time_at_which_they_were_due(emulated: EmulatedWorld) -> None:
    recording_id = emulated.start(max_seconds=60)
    assert emulated.status_after(1_000_000, recording_id) == "UPLOADED"
    recording = emulated.world.get(recording_id)
    assert recording.stopped_at == recording.invoked_at + 2 + 60
    assert recording.uploaded_at == recording.invoked_at + 2 + 60 + 3
    assert recording.stop_reason is None


def test_a_pause_does_not_count_as_duration_or_towards_max_seconds(emulated: EmulatedWorld) -> None:
    recording_id = emulated.start(max_seconds=60)
    emulated.clock.advance(2 + 50)
    assert emulated.world.act(OWNER, recording_id, "pause").status == "PAUSED"
    assert emulated.status_after(10_000, recording_id) == "PAUSED"
    assert emulated.world.act(OWNER, recording_id, "resume").status == "RECORDING"
    assert emulated.status_after(9.9, recording_id) == "RECORDING"
    assert emulated.status_after(0.2, recording_id) == "UPLOADING"
    recording = emulated.world.get(recording_id)
    assert recording.recorded_seconds == pytest.approx(60)
    assert recording.started_at == recording.invoked_at + 2


#: The status that each action leads to; None where it is refused.
ACTIONS: dict[tuple[str, str], str | None] = {
    ("INVOKED", "stop"): "UPLOADING",
    ("INVOKED", "pause"): None,
    ("INVOKED", "resume"): None,
    ("RECORDING", "stop"): "UPLOADING",
    ("RECORDING", "pause"): "PAUSED",
    ("RECORDING", "resume"): None,
    ("PAUSED", "stop"): "UPLOADING",
    ("PAUSED", "pause"): None,
    ("PAUSED", "resume"): "RECORDING",
    ("UPLOADING", "stop"): None,
    ("UPLOADING", "pause"): None,
    ("UPLOADING", "resume"): None,
    ("UPLOADED", "stop"): None,
    ("UPLOADED", "pause"): None,
    ("UPLOADED", "resume"): None,
    ("ERRORED", "stop"): None,
    ("ERRORED", "pause"): None,
    ("ERRORED", "resume"): None,
}


@pytest.mark.parametrize(("status", "action"), ACTIONS)
def test_a_status_allows_some_actions_and_refuses_the_others(emulated: EmulatedWorld, status: str, action: str) -> None:
    recording_id = emulated.start()
    emulated.world.jump(recording_id, status)
    if target := ACTIONS[status, action]:
        assert emulated.world.act(OWNER, recording_id, action).status == target
    else:
        with pytest.raises(ActionNotAllowedError, match=f"Cannot {action} a recording that is {status}"):
            emulated.world.act(OWNER, recording_id, action)
        assert emulated.world.get(recording_id).status == status


@pytest.mark.parametrize("setting", ["conflict", "bad-request"])
def test_an_action_that_the_status_does_not_allow_is_refused(setting: str) -> None:
    emulated = EmulatedWorld(idle_action=setting)
    recording_id = emulated.start()
    with pytest.raises(ActionNotAllowedError, match="Cannot resume a recording that is INVOKED"):
        emulated.world.act(OWNER, recording_id, "resume")


def test_an_action_without_effect_can_be_accepted() -> None:
    emulated = EmulatedWorld(idle_action="accept")
    recording_id = emulated.start()
    assert emulated.world.act(OWNER, recording_id, "resume").status == "INVOKED"


def test_a_meeting_that_stays_empty_for_a_minute_ends_its_recording(emulated: EmulatedWorld) -> None:
    emulated.world.open_meeting("standup", participants=["ann", "bob"])
    recording_id = emulated.start()
    emulated.clock.advance(30)
    emulated.world.leave("standup", "ann")
    assert emulated.status_after(120, recording_id) == "RECORDING"
    emulated.world.leave("standup", "bob")
    assert emulated.status_after(59.9, recording_id) == "RECORDING"
    assert emulated.status_after(0.2, recording_id) == "UPLOADING"
    recording = emulated.world.get(recording_id)
    assert recording.stop_reason == {"reason": "ALL_PEERS_LEFT"}
    assert recording.recorded_seconds == pytest.approx(28 + 120 + 60)


def test_a_recording_continues_if_somebody_returns_within_the_minute(emulated: EmulatedWorld) -> None:
    emulated.world.open_meeting("standup", participants=["ann"])
    recording_id = emulated.start()
    emulated.clock.advance(10)
    emulated.world.leave("standup")
    emulated.clock.advance(59)
    emulated.world.join("standup", "ann")
    assert emulated.status_after(3_600, recording_id) == "RECORDING"


def test_an_empty_meeting_ends_a_paused_recording_too(emulated: EmulatedWorld) -> None:
    recording_id = emulated.start()
    emulated.clock.advance(10)
    emulated.world.act(OWNER, recording_id, "pause")
    emulated.world.leave("standup")
    assert emulated.status_after(61, recording_id) == "UPLOADING"


def test_for_a_meeting_that_was_always_empty_the_minute_begins_with_the_recording(emulated: EmulatedWorld) -> None:
    emulated.world.open_meeting("standup")
    emulated.clock.advance(600)
    recording_id = emulated.start()
    assert emulated.status_after(2 + 59, recording_id) == "RECORDING"
    assert emulated.status_after(2, recording_id) == "UPLOADING"


def test_record_on_start_records_from_the_first_to_join_and_only_once(emulated: EmulatedWorld) -> None:
    emulated.world.open_meeting("standup", record_on_start=True)
    assert emulated.world.recordings() == []
    emulated.world.join("standup", "ann")
    emulated.world.join("standup", "bob")
    (recording,) = emulated.world.recordings()
    assert recording.start_reason == {"reason": "RECORD_ON_START"}
    assert recording.participants == ("ann", "bob")
    emulated.world.jump(recording.id, "UPLOADED")
    emulated.world.join("standup", "cid")
    assert len(emulated.world.recordings()) == 1


def test_a_new_session_of_a_record_on_start_meeting_is_another_recording(emulated: EmulatedWorld) -> None:
    emulated.world.open_meeting("standup", record_on_start=True, participants=["ann"])
    emulated.clock.advance(10)
    emulated.world.leave("standup")
    emulated.clock.advance(70)
    emulated.world.join("standup", "ann")
    first, second = emulated.world.recordings()
    assert (first.status, second.status) == ("UPLOADED", "INVOKED")
    assert first.session_id != second.session_id


def test_a_second_start_is_refused_unless_it_allows_multiple_recordings(emulated: EmulatedWorld) -> None:
    first = emulated.start()
    with pytest.raises(AlreadyRecordingError, match="being recorded already"):
        emulated.start()
    second = emulated.start(allow_multiple_recordings=True)
    assert emulated.world.active(OWNER, "standup").id == second
    emulated.world.jump(second, "UPLOADED")
    assert emulated.world.active(OWNER, "standup").id == first


def test_a_second_start_can_return_the_first_recording() -> None:
    emulated = EmulatedWorld(second_start="accept")
    assert emulated.start() == emulated.start()


def test_a_meeting_can_be_recorded_again_once_its_recording_is_over(emulated: EmulatedWorld) -> None:
    emulated.world.act(OWNER, emulated.start(), "stop")
    emulated.start()
    assert [recording.status for recording in emulated.world.recordings()] == ["UPLOADING", "INVOKED"]


@pytest.mark.parametrize("meeting_id", ["standup", "unheard-of"])
def test_nothing_is_active_in_a_meeting_that_is_not_recorded(emulated: EmulatedWorld, meeting_id: str) -> None:
    emulated.world.open_meeting("standup", participants=["ann"])
    with pytest.raises(NotFoundError, match="No active recording"):
        emulated.world.active(OWNER, meeting_id)


def test_track_and_composite_recordings_do_not_exclude_each_other(emulated: EmulatedWorld) -> None:
    emulated.start()
    emulated.world.start_tracks(OWNER, {"meeting_id": "standup"})
    with pytest.raises(AlreadyRecordingError, match="tracks are being recorded already"):
        emulated.world.start_tracks(OWNER, {"meeting_id": "standup"})


def test_a_track_recording_needs_somebody_in_the_meeting(emulated: EmulatedWorld) -> None:
    emulated.world.open_meeting("standup")
    with pytest.raises(NoLiveSessionError, match="no live session"):
        emulated.world.start_tracks(OWNER, {"meeting_id": "standup"})


def test_unknown_meetings_can_be_refused() -> None:
    emulated = EmulatedWorld(strict_meetings=True)
    with pytest.raises(NotFoundError, match="Meeting not found"):
        emulated.start("unheard-of")


def test_another_app_cannot_see_a_recording(emulated: EmulatedWorld) -> None:
    recording_id = emulated.start()
    stranger = Owner("account", "other-app")
    with pytest.raises(NotFoundError, match="Recording not found"):
        emulated.world.get(recording_id, stranger)
    with pytest.raises(NotFoundError, match="No active recording"):
        emulated.world.active(stranger, "standup")
    assert emulated.world.page(stranger, lambda _: True, slice(9), newest_first=True) == ([], 0)


def test_short_recordings_end_as_errored_with_their_setting() -> None:
    emulated = EmulatedWorld(errored_below_seconds=5)
    short, long = emulated.start("one"), emulated.start("two")
    emulated.clock.advance(2 + 4.75)
    assert emulated.world.act(OWNER, short, "stop").status == "ERRORED"
    emulated.clock.advance(0.25)
    assert emulated.world.act(OWNER, long, "stop").status == "UPLOADING"
    recording = emulated.world.get(short)
    assert recording.err_message == "The recording is too short"
    assert recording.stopped_at == recording.started_at + 4.75
    assert recording.files == ()


def test_a_recording_that_hangs_stays_invoked_until_it_is_pushed(emulated: EmulatedWorld) -> None:
    recording_id = emulated.start()
    emulated.world.hang(recording_id)
    assert emulated.status_after(15.5 * 3600, recording_id) == "INVOKED"
    emulated.world.jump(recording_id, "RECORDING")
    assert emulated.world.get(recording_id).started_at == emulated.clock.now


def test_all_new_recordings_can_hang() -> None:
    emulated = EmulatedWorld(hang_invoked=True)
    recording_id = emulated.start()
    assert emulated.status_after(86_400, recording_id) == "INVOKED"
    assert emulated.world.act(OWNER, recording_id, "stop").status == "UPLOADING"


def test_only_an_invoked_recording_can_hang(emulated: EmulatedWorld) -> None:
    recording_id = emulated.start()
    emulated.clock.advance(5)
    with pytest.raises(ImpossibleChangeError, match="only an INVOKED one can hang"):
        emulated.world.hang(recording_id)


#: The position of each status in a recording's life.
PROGRESS = {"INVOKED": 0, "RECORDING": 1, "PAUSED": 1, "UPLOADING": 2, "UPLOADED": 3, "ERRORED": 4}


@pytest.mark.parametrize("source", ["INVOKED", "RECORDING", "PAUSED", "UPLOADING"])
@pytest.mark.parametrize("target", PROGRESS)
def test_a_recording_jumps_forward_only(emulated: EmulatedWorld, source: str, target: str) -> None:
    recording_id = emulated.start()
    emulated.world.jump(recording_id, source)
    if PROGRESS[target] >= PROGRESS[source]:
        assert emulated.world.jump(recording_id, target).status == target
    else:
        with pytest.raises(ImpossibleChangeError, match=f"{recording_id} is {source} and cannot go back to {target}"):
            emulated.world.jump(recording_id, target)


@pytest.mark.parametrize(("end", "other"), [("UPLOADED", "ERRORED"), ("ERRORED", "UPLOADED")])
def test_terminal_states_are_final(emulated: EmulatedWorld, end: str, other: str) -> None:
    recording_id = emulated.start()
    emulated.world.jump(recording_id, end)
    with pytest.raises(ImpossibleChangeError, match=f"{recording_id} is {end}, which is final"):
        emulated.world.jump(recording_id, other)


def test_a_failed_recording_has_message_and_reason(emulated: EmulatedWorld) -> None:
    recording_id = emulated.start()
    failed = emulated.world.jump(recording_id, "ERRORED", "the recorder crashed")
    assert (failed.err_message, failed.stop_reason) == ("the recorder crashed", {"reason": "INTERNAL_ERROR"})


def test_an_unknown_status_hides_the_true_one_until_the_next_jump(emulated: EmulatedWorld) -> None:
    recording_id = emulated.start()
    assert emulated.world.jump(recording_id, "TRANSCODING").status == "TRANSCODING"
    assert emulated.status_after(100, recording_id) == "TRANSCODING"
    assert emulated.world.jump(recording_id, "UPLOADED").status == "UPLOADED"


def test_uploading_lasts_until_the_file_is_made(emulated: EmulatedWorld) -> None:
    emulated.encoder.is_instant = False
    recording_id = emulated.start()
    emulated.world.act(OWNER, recording_id, "stop")
    assert emulated.status_after(100, recording_id) == "UPLOADING"
    ((_, future),) = emulated.encoder.requests
    future.set_result(None)
    assert emulated.world.get(recording_id).status == "UPLOADED"


def test_a_file_that_cannot_be_made_fails_the_recording(emulated: EmulatedWorld) -> None:
    emulated.encoder.is_instant = False
    recording_id = emulated.start()
    emulated.world.act(OWNER, recording_id, "stop")
    emulated.encoder.requests[0][1].set_exception(OSError("disk full"))
    assert emulated.status_after(3, recording_id) == "ERRORED"
    assert emulated.world.get(recording_id).err_message == "A file could not be made"


def test_speed_shortens_the_phases_and_lengthens_the_media() -> None:
    emulated = EmulatedWorld(speed=60)
    recording_id = emulated.start(max_seconds=3600)
    assert emulated.status_after(2 / 60 + 0.01, recording_id) == "RECORDING"
    assert emulated.status_after(59, recording_id) == "RECORDING"
    assert emulated.status_after(1.01, recording_id) == "UPLOADING"
    recording = emulated.world.get(recording_id)
    assert recording.recorded_seconds == pytest.approx(3600, abs=0.01)
    assert recording.stopped_at - recording.started_at == pytest.approx(60)
    assert emulated.encoder.requests[0][0].seconds == 3600.0


def test_a_changed_setting_does_not_change_the_past(emulated: EmulatedWorld) -> None:
    emulated.settings.empty_seconds = 10_000
    recording_id = emulated.start()
    emulated.clock.advance(10)
    emulated.world.leave("standup")
    emulated.clock.advance(10)
    emulated.world.act(OWNER, recording_id, "pause")
    emulated.settings.empty_seconds = 1
    recording = emulated.world.get(recording_id)
    assert (recording.status, recording.recorded_seconds) == ("UPLOADING", 18)
    assert recording.stopped_at == emulated.clock.now


def test_five_thousand_recordings_can_be_listed(emulated: EmulatedWorld) -> None:
    ids = emulated.world.seed(5_000, "RECORDING")
    page, total = emulated.world.page(Owner("a", "b"), lambda _: True, slice(0, 100), newest_first=True)
    assert total == len(set(ids)) == 5_000
    assert [recording.id for recording in page] == ids[:-101:-1]
    assert len({recording.meeting.id for recording in page}) == 100


@pytest.mark.parametrize("status", [*PROGRESS, "TRANSCODING"])
def test_seeded_recordings_have_their_status(emulated: EmulatedWorld, status: str) -> None:
    (recording_id,) = emulated.world.seed(1, status, seconds=90)
    assert emulated.world.get(recording_id).status == status


def test_seeded_recordings_have_their_length(emulated: EmulatedWorld) -> None:
    emulated.world.seed(1, seconds=90)
    assert emulated.encoder.requests[-1][0].seconds == 90


def test_seeded_recordings_have_their_owner(emulated: EmulatedWorld) -> None:
    (recording_id,) = emulated.world.seed(1, owner=("account", "app"))
    assert emulated.world.get(recording_id, OWNER).start_reason["caller"]["name"] == "app"


def test_all_uploads_can_be_finished_at_once(emulated: EmulatedWorld) -> None:
    ids = emulated.world.seed(3, "UPLOADING")
    emulated.world.seed(1, "RECORDING")
    assert emulated.world.finish_uploads() == ids
    assert [recording.status for recording in emulated.world.recordings()] == [*["UPLOADED"] * 3, "RECORDING"]


def test_a_returned_recording_does_not_change_afterwards(emulated: EmulatedWorld) -> None:
    before = emulated.world.get(emulated.start())
    emulated.world.jump(before.id, "UPLOADED")
    assert (before.status, before.files) == ("INVOKED", ())


def test_opening_a_known_meeting_changes_it(emulated: EmulatedWorld) -> None:
    emulated.world.open_meeting("standup", title="Standup", participants=["ann"])
    recording_id = emulated.start()
    meeting = emulated.world.open_meeting("standup", participants=["bob"])
    assert (meeting.title, list(meeting.participants)) == ("Standup", ["ann", "bob"])
    assert emulated.world.active(OWNER, "standup").id == recording_id


@pytest.mark.parametrize(("action", "names"), [("join", ("ann",)), ("leave", ())])
def test_nobody_joins_or_leaves_an_unknown_meeting(
    emulated: EmulatedWorld, action: str, names: tuple[str, ...]
) -> None:
    with pytest.raises(NotFoundError, match="Meeting not found"):
        getattr(emulated.world, action)("unheard-of", *names)


def test_a_reset_removes_everything(emulated: EmulatedWorld) -> None:
    emulated.start()
    emulated.world.reset()
    assert emulated.world.recordings() == []
    with pytest.raises(NotFoundError, match="Meeting not found"):
        emulated.world.leave("standup")
