"""The state machine, under a clock that is turned by hand."""

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
from tests.support.emulator import OWNER, Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_recording_lives_from_invoked_to_uploaded(stage: Stage) -> None:
    recording_id = stage.start()
    assert stage.world.get(recording_id).status == "INVOKED"
    assert stage.status_after(1.75, recording_id) == "INVOKED"
    assert stage.status_after(0.25, recording_id) == "RECORDING"
    stage.clock.pass_by(98)
    stopped = stage.world.act(OWNER, recording_id, "stop")
    assert stopped.status == "UPLOADING"
    assert stage.status_after(2.75, recording_id) == "UPLOADING"
    assert stage.status_after(0.25, recording_id) == "UPLOADED"
    uploaded = stage.world.get(recording_id)
    assert uploaded.started_at == uploaded.invoked_at + 2
    assert uploaded.stopped_at == uploaded.invoked_at + 100
    assert uploaded.uploaded_at == uploaded.invoked_at + 103
    assert uploaded.recorded_seconds == 98


def test_steps_that_nobody_saw_are_made_up_for_at_their_own_times(stage: Stage) -> None:
    recording_id = stage.start(max_seconds=60)
    assert stage.status_after(1_000_000, recording_id) == "UPLOADED"
    recording = stage.world.get(recording_id)
    assert recording.stopped_at == recording.invoked_at + 2 + 60
    assert recording.uploaded_at == recording.invoked_at + 2 + 60 + 3
    assert recording.stop_reason is None


def test_a_pause_counts_neither_as_duration_nor_towards_max_seconds(stage: Stage) -> None:
    recording_id = stage.start(max_seconds=60)
    stage.clock.pass_by(2 + 50)
    assert stage.world.act(OWNER, recording_id, "pause").status == "PAUSED"
    assert stage.status_after(10_000, recording_id) == "PAUSED"
    assert stage.world.act(OWNER, recording_id, "resume").status == "RECORDING"
    assert stage.status_after(9.9, recording_id) == "RECORDING"
    assert stage.status_after(0.2, recording_id) == "UPLOADING"
    recording = stage.world.get(recording_id)
    assert recording.recorded_seconds == pytest.approx(60)
    assert recording.started_at == recording.invoked_at + 2


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        ("INVOKED", {"stop"}),
        ("RECORDING", {"stop", "pause"}),
        ("PAUSED", {"stop", "resume"}),
        ("UPLOADING", set()),
        ("UPLOADED", set()),
        ("ERRORED", set()),
    ],
)
@pytest.mark.parametrize("action", ["stop", "pause", "resume"])
def test_actions_are_allowed_as_the_table_says(stage: Stage, status: str, allowed: set[str], action: str) -> None:
    recording_id = stage.start()
    stage.world.jump(recording_id, status)
    if action in allowed:
        expected = {"stop": "UPLOADING", "pause": "PAUSED", "resume": "RECORDING"}[action]
        assert stage.world.act(OWNER, recording_id, action).status == expected
    else:
        with pytest.raises(ActionNotAllowedError):
            stage.world.act(OWNER, recording_id, action)
        assert stage.world.get(recording_id).status == status


@pytest.mark.parametrize("setting", ["conflict", "bad-request"])
def test_an_action_out_of_place_is_refused(setting: str) -> None:
    stage = Stage(idle_action=setting)
    recording_id = stage.start()
    with pytest.raises(ActionNotAllowedError, match="Cannot resume a recording that is INVOKED"):
        stage.world.act(OWNER, recording_id, "resume")


def test_an_idle_action_can_be_accepted() -> None:
    stage = Stage(idle_action="accept")
    recording_id = stage.start()
    assert stage.world.act(OWNER, recording_id, "resume").status == "INVOKED"


def test_a_meeting_that_stays_empty_for_a_minute_ends_its_recording(stage: Stage) -> None:
    stage.world.open_meeting("standup", participants=["ann", "bob"])
    recording_id = stage.start()
    stage.clock.pass_by(30)
    stage.world.leave("standup", "ann")
    assert stage.status_after(120, recording_id) == "RECORDING"
    stage.world.leave("standup", "bob")
    assert stage.status_after(59.9, recording_id) == "RECORDING"
    assert stage.status_after(0.2, recording_id) == "UPLOADING"
    recording = stage.world.get(recording_id)
    assert recording.stop_reason == {"reason": "ALL_PEERS_LEFT"}
    assert recording.recorded_seconds == pytest.approx(28 + 120 + 60)


def test_who_comes_back_within_the_minute_keeps_the_recording_alive(stage: Stage) -> None:
    stage.world.open_meeting("standup", participants=["ann"])
    recording_id = stage.start()
    stage.clock.pass_by(10)
    stage.world.leave("standup")
    stage.clock.pass_by(59)
    stage.world.join("standup", "ann")
    assert stage.status_after(3_600, recording_id) == "RECORDING"


def test_an_empty_meeting_ends_a_paused_recording_too(stage: Stage) -> None:
    recording_id = stage.start()
    stage.clock.pass_by(10)
    stage.world.act(OWNER, recording_id, "pause")
    stage.world.leave("standup")
    assert stage.status_after(61, recording_id) == "UPLOADING"


def test_the_minute_of_a_meeting_nobody_came_to_begins_with_the_recording(stage: Stage) -> None:
    stage.world.open_meeting("standup")
    stage.clock.pass_by(600)
    recording_id = stage.start()
    assert stage.status_after(2 + 59, recording_id) == "RECORDING"
    assert stage.status_after(2, recording_id) == "UPLOADING"


def test_record_on_start_records_from_the_first_to_join_and_only_once(stage: Stage) -> None:
    stage.world.open_meeting("standup", record_on_start=True)
    assert stage.world.recordings() == []
    stage.world.join("standup", "ann")
    stage.world.join("standup", "bob")
    (recording,) = stage.world.recordings()
    assert recording.start_reason == {"reason": "RECORD_ON_START"}
    assert recording.participants == ("ann", "bob")
    stage.world.jump(recording.id, "UPLOADED")
    stage.world.join("standup", "cid")
    assert len(stage.world.recordings()) == 1


def test_a_new_session_of_a_record_on_start_meeting_is_another_recording(stage: Stage) -> None:
    stage.world.open_meeting("standup", record_on_start=True, participants=["ann"])
    stage.clock.pass_by(10)
    stage.world.leave("standup")
    stage.clock.pass_by(70)
    stage.world.join("standup", "ann")
    first, second = stage.world.recordings()
    assert (first.status, second.status) == ("UPLOADED", "INVOKED")
    assert first.session_id != second.session_id


def test_a_second_start_is_refused_unless_it_asks_for_more(stage: Stage) -> None:
    first = stage.start()
    with pytest.raises(AlreadyRecordingError, match="being recorded already"):
        stage.start()
    second = stage.start(allow_multiple_recordings=True)
    assert stage.world.active(OWNER, "standup").id == second
    stage.world.jump(second, "UPLOADED")
    assert stage.world.active(OWNER, "standup").id == first


def test_a_second_start_can_return_the_first_recording() -> None:
    stage = Stage(second_start="accept")
    assert stage.start() == stage.start()


def test_a_meeting_can_be_recorded_again_once_its_recording_is_over(stage: Stage) -> None:
    stage.world.act(OWNER, stage.start(), "stop")
    stage.start()
    assert [recording.status for recording in stage.world.recordings()] == ["UPLOADING", "INVOKED"]


def test_nothing_is_active_in_a_meeting_that_is_not_recorded(stage: Stage) -> None:
    stage.world.open_meeting("standup", participants=["ann"])
    for meeting_id in ("standup", "unheard-of"):
        with pytest.raises(NotFoundError, match="No active recording"):
            stage.world.active(OWNER, meeting_id)


def test_track_and_composite_recordings_do_not_exclude_each_other(stage: Stage) -> None:
    stage.start()
    stage.world.start_tracks(OWNER, {"meeting_id": "standup"})
    with pytest.raises(AlreadyRecordingError, match="tracks are being recorded already"):
        stage.world.start_tracks(OWNER, {"meeting_id": "standup"})


def test_tracks_need_somebody_in_the_meeting(stage: Stage) -> None:
    stage.world.open_meeting("standup")
    with pytest.raises(NoLiveSessionError, match="no live session"):
        stage.world.start_tracks(OWNER, {"meeting_id": "standup"})


def test_unknown_meetings_can_be_refused() -> None:
    stage = Stage(strict_meetings=True)
    with pytest.raises(NotFoundError, match="Meeting not found"):
        stage.start("unheard-of")


def test_recordings_are_seen_by_their_own_app_alone(stage: Stage) -> None:
    recording_id = stage.start()
    stranger = Owner("account", "other-app")
    with pytest.raises(NotFoundError, match="Recording not found"):
        stage.world.get(recording_id, stranger)
    with pytest.raises(NotFoundError, match="No active recording"):
        stage.world.active(stranger, "standup")
    assert stage.world.page(stranger, lambda _: True, slice(9), newest_first=True) == ([], 0)


def test_short_recordings_end_errored_if_so_set() -> None:
    stage = Stage(errored_below_seconds=5)
    short, long = stage.start("one"), stage.start("two")
    stage.clock.pass_by(2 + 4.75)
    assert stage.world.act(OWNER, short, "stop").status == "ERRORED"
    stage.clock.pass_by(0.25)
    assert stage.world.act(OWNER, long, "stop").status == "UPLOADING"
    recording = stage.world.get(short)
    assert recording.err_message == "The recording is too short"
    assert recording.stopped_at == recording.started_at + 4.75
    assert recording.files == ()


def test_a_recording_that_hangs_stays_invoked_until_it_is_pushed(stage: Stage) -> None:
    recording_id = stage.start()
    stage.world.hang(recording_id)
    assert stage.status_after(15.5 * 3600, recording_id) == "INVOKED"
    stage.world.jump(recording_id, "RECORDING")
    assert stage.world.get(recording_id).started_at == stage.clock.now


def test_all_new_recordings_can_hang() -> None:
    stage = Stage(hang_invoked=True)
    recording_id = stage.start()
    assert stage.status_after(86_400, recording_id) == "INVOKED"
    assert stage.world.act(OWNER, recording_id, "stop").status == "UPLOADING"


def test_only_an_invoked_recording_can_hang(stage: Stage) -> None:
    recording_id = stage.start()
    stage.clock.pass_by(5)
    with pytest.raises(ImpossibleChangeError, match="only an INVOKED one can hang"):
        stage.world.hang(recording_id)


@pytest.mark.parametrize("source", ["INVOKED", "RECORDING", "PAUSED", "UPLOADING"])
@pytest.mark.parametrize("target", ["INVOKED", "RECORDING", "PAUSED", "UPLOADING", "UPLOADED", "ERRORED"])
def test_a_recording_jumps_forward_only(stage: Stage, source: str, target: str) -> None:
    order = {"INVOKED": 0, "RECORDING": 1, "PAUSED": 1, "UPLOADING": 2, "UPLOADED": 3, "ERRORED": 4}
    recording_id = stage.start()
    stage.world.jump(recording_id, source)
    if order[target] >= order[source]:
        assert stage.world.jump(recording_id, target).status == target
    else:
        with pytest.raises(ImpossibleChangeError, match=f"{recording_id} is {source} and cannot go back to {target}"):
            stage.world.jump(recording_id, target)


@pytest.mark.parametrize(("end", "other"), [("UPLOADED", "ERRORED"), ("ERRORED", "UPLOADED")])
def test_the_ends_are_final(stage: Stage, end: str, other: str) -> None:
    recording_id = stage.start()
    stage.world.jump(recording_id, end)
    with pytest.raises(ImpossibleChangeError, match=f"{recording_id} is {end}, which is final"):
        stage.world.jump(recording_id, other)


def test_a_failed_recording_says_why(stage: Stage) -> None:
    recording_id = stage.start()
    failed = stage.world.jump(recording_id, "ERRORED", "the recorder crashed")
    assert (failed.err_message, failed.stop_reason) == ("the recorder crashed", {"reason": "INTERNAL_ERROR"})


def test_an_unknown_status_hides_the_true_one_until_the_next_jump(stage: Stage) -> None:
    recording_id = stage.start()
    assert stage.world.jump(recording_id, "TRANSCODING").status == "TRANSCODING"
    assert stage.status_after(100, recording_id) == "TRANSCODING"
    assert stage.world.jump(recording_id, "UPLOADED").status == "UPLOADED"


def test_uploading_lasts_until_the_file_is_made(stage: Stage) -> None:
    stage.encoder.at_once = False
    recording_id = stage.start()
    stage.world.act(OWNER, recording_id, "stop")
    assert stage.status_after(100, recording_id) == "UPLOADING"
    ((_, future),) = stage.encoder.made
    future.set_result(None)
    assert stage.world.get(recording_id).status == "UPLOADED"


def test_a_file_that_cannot_be_made_fails_the_recording(stage: Stage) -> None:
    stage.encoder.at_once = False
    recording_id = stage.start()
    stage.world.act(OWNER, recording_id, "stop")
    stage.encoder.made[0][1].set_exception(OSError("disk full"))
    assert stage.status_after(3, recording_id) == "ERRORED"
    assert stage.world.get(recording_id).err_message == "A file could not be made"


def test_speed_shortens_the_phases_and_lengthens_the_media() -> None:
    stage = Stage(speed=60)
    recording_id = stage.start(max_seconds=3600)
    assert stage.status_after(2 / 60 + 0.01, recording_id) == "RECORDING"
    assert stage.status_after(59, recording_id) == "RECORDING"
    assert stage.status_after(1.01, recording_id) == "UPLOADING"
    recording = stage.world.get(recording_id)
    assert recording.recorded_seconds == pytest.approx(3600, abs=0.01)
    assert recording.stopped_at - recording.started_at == pytest.approx(60)
    assert stage.encoder.made[0][0].seconds == 3600.0


def test_a_setting_that_changes_does_not_rewrite_the_past(stage: Stage) -> None:
    stage.settings.empty_seconds = 10_000
    recording_id = stage.start()
    stage.clock.pass_by(10)
    stage.world.leave("standup")
    stage.clock.pass_by(10)
    stage.world.act(OWNER, recording_id, "pause")
    stage.settings.empty_seconds = 1
    recording = stage.world.get(recording_id)
    assert (recording.status, recording.recorded_seconds) == ("UPLOADING", 18)
    assert recording.stopped_at == stage.clock.now


def test_five_thousand_recordings_are_cheap_to_look_at(stage: Stage) -> None:
    ids = stage.world.seed(5_000, "RECORDING")
    kept, total = stage.world.page(Owner("a", "b"), lambda _: True, slice(0, 100), newest_first=True)
    assert total == len(set(ids)) == 5_000
    assert [recording.id for recording in kept] == ids[:-101:-1]
    assert len({recording.meeting.id for recording in kept}) == 100


def test_seeded_recordings_are_in_the_status_asked_for(stage: Stage) -> None:
    for status in ("INVOKED", "RECORDING", "PAUSED", "UPLOADING", "UPLOADED", "ERRORED", "TRANSCODING"):
        (recording_id,) = stage.world.seed(1, status, seconds=90)
        assert stage.world.get(recording_id).status == status
    assert stage.encoder.made[-1][0].seconds == 90
    (recording_id,) = stage.world.seed(1, owner=("account", "app"))
    assert stage.world.get(recording_id, OWNER).start_reason["caller"]["name"] == "app"


def test_all_uploads_can_be_ended_at_once(stage: Stage) -> None:
    ids = stage.world.seed(3, "UPLOADING")
    stage.world.seed(1, "RECORDING")
    assert stage.world.finish_uploads() == ids
    assert [recording.status for recording in stage.world.recordings()] == [*["UPLOADED"] * 3, "RECORDING"]


def test_what_the_world_returns_does_not_change_afterwards(stage: Stage) -> None:
    before = stage.world.get(stage.start())
    stage.world.jump(before.id, "UPLOADED")
    assert (before.status, before.files) == ("INVOKED", ())


def test_opening_a_known_meeting_changes_it(stage: Stage) -> None:
    stage.world.open_meeting("standup", title="Standup", participants=["ann"])
    recording_id = stage.start()
    meeting = stage.world.open_meeting("standup", participants=["bob"])
    assert (meeting.title, list(meeting.participants)) == ("Standup", ["ann", "bob"])
    assert stage.world.active(OWNER, "standup").id == recording_id


def test_meetings_that_nobody_opened_have_no_doors(stage: Stage) -> None:
    for way in (lambda: stage.world.join("unheard-of", "ann"), lambda: stage.world.leave("unheard-of")):
        with pytest.raises(NotFoundError, match="Meeting not found"):
            way()


def test_a_reset_forgets_everything(stage: Stage) -> None:
    stage.start()
    stage.world.reset()
    assert stage.world.recordings() == []
    with pytest.raises(NotFoundError, match="Meeting not found"):
        stage.world.leave("standup")
