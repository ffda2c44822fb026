"""The control routes: what EmulatorServer's methods do, for tests in other processes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from tests.support.emulator import bearer, get, start


@pytest.fixture
def control(http: httpx.Client) -> Any:
    def call(method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        response = http.request(method, f"/_emulator{path}", json=body)
        assert response.status_code == status, response.text
        return response.json()

    return call


def test_settings_can_be_read_and_changed(control: Any, emulator: EmulatorServer) -> None:
    assert control("GET", "/settings")["second_start"] == "conflict"
    assert control("PATCH", "/settings", {"second_start": "accept", "speed": 60})["speed"] == 60
    assert (emulator.settings.second_start, emulator.settings.speed) == ("accept", 60)


@pytest.mark.parametrize(
    "changes", [{"speed": 0}, {"sped": 1}, {"second_start": "perhaps"}], ids=["too small", "misspelt", "no choice"]
)
def test_invalid_settings_change_nothing(control: Any, emulator: EmulatorServer, changes: dict[str, Any]) -> None:
    before = emulator.settings.model_copy()
    control("PATCH", "/settings", {"quota": 5} | changes, status=400)
    assert emulator.settings == before


def test_people_join_and_leave_a_meeting(control: Any, api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.configure(empty_seconds=0, strict_meetings=True)
    control("PUT", "/meetings/m", {"title": "Standup", "participants": ["ann"]})
    control("POST", "/meetings/m/join", {"participant": "bob"})
    recording_id = start(api, "m")["id"]
    assert emulator.world.get(recording_id).participants == ("ann", "bob")
    control("POST", "/meetings/m/leave", {"participant": "ann"})
    assert emulator.world.get(recording_id).status == "RECORDING"
    control("POST", "/meetings/m/leave", {})
    assert get(api, recording_id)["stop_reason"] == {"reason": "ALL_PEERS_LEFT"}
    control("POST", "/meetings/unheard-of/join", {}, status=404)


def test_a_meeting_without_an_owner_is_in_every_app(control: Any, http: httpx.Client) -> None:
    control("PUT", "/meetings/m", {"participants": ["ann"], "record_on_start": True})
    owned = {"participants": ["ann"], "record_on_start": True, "account_id": "a", "app_id": "b"}
    control("PUT", "/meetings/n", owned)
    for app_id, count in (("b", 2), ("c", 1)):
        path = f"/client/v4/accounts/a/realtime/kit/{app_id}/recordings"
        assert http.get(path, headers=bearer("token")).json()["paging"]["total_count"] == count, app_id


def test_recordings_are_created_pushed_and_expired(control: Any, emulator: EmulatorServer) -> None:
    emulator.settings.hang_invoked = True
    ids = control("POST", "/recordings", {"count": 3, "status": "INVOKED", "meeting_id": "m"})["ids"]
    first, second, third = ids
    emulator.settings.hang_invoked = False
    assert control("POST", f"/recordings/{first}/status", {"status": "UPLOADED"})["status"] == "UPLOADED"
    assert control("POST", f"/recordings/{second}/status", {"status": "ODD"}) == {"id": second, "status": "ODD"}
    control("POST", f"/recordings/{third}/status", {"status": "ERRORED", "err_message": "crashed"})
    assert emulator.world.get(third).err_message == "crashed"
    control("POST", f"/recordings/{first}/status", {"status": "INVOKED"}, status=409)
    control("POST", f"/recordings/{first}/hang", status=409)
    control("POST", f"/recordings/{first}/expire")
    assert emulator.links.is_file_deleted(emulator.world.get(first))
    control("POST", "/recordings/unheard-of/expire", status=404)


def test_a_recording_can_be_made_to_hang(control: Any, emulator: EmulatorServer) -> None:
    emulator.settings.invoked_seconds = 3600
    (recording_id,) = emulator.world.seed(1, "INVOKED")
    control("POST", f"/recordings/{recording_id}/hang")
    emulator.settings.invoked_seconds = 0
    assert emulator.world.get(recording_id).status == "INVOKED"


def test_uploads_are_finished(control: Any, emulator: EmulatorServer) -> None:
    emulator.settings.uploading_seconds = 3600
    ids = emulator.world.seed(2, "UPLOADING")
    assert control("POST", "/uploads/finish")["ids"] == ids
    assert {recording.status for recording in emulator.world.recordings()} == {"UPLOADED"}


def test_faults_are_added_and_removed(control: Any, api: httpx.Client) -> None:
    control("POST", "/faults", {"operation": "list", "status": 503, "count": None})
    assert api.get("/recordings").status_code == 503
    (fault,) = control("GET", "/faults")
    assert (fault["operation"], fault["status"], fault["count"]) == ("list", 503, None)
    control("DELETE", "/faults")
    assert api.get("/recordings").status_code == 200


def test_tokens_are_set(control: Any, api: httpx.Client) -> None:
    control("PUT", "/tokens", {"token": "token", "state": "refused"})
    assert api.get("/recordings").status_code == 401
    control("PUT", "/tokens", {"token": "token", "state": "strange"}, status=400)


def test_control_routes_are_not_counted_or_limited_and_have_no_faults(control: Any, emulator: EmulatorServer) -> None:
    emulator.configure(quota=1, token="secret")
    emulator.faults.add(count=None, reset=True)
    for _ in range(3):
        assert control("GET", "/ledger")["requests"] == []


def test_a_reset_returns_to_the_start(control: Any, api: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.world.seed(2)
    emulator.configure(quota=1, denied_token=["other"])
    emulator.faults.add(count=None, operation="get", status=500)
    emulator.tokens.set_state("token", "active")
    api.get("/recordings")
    assert api.get("/recordings").status_code == 429
    control("POST", "/reset")
    ledger = control("GET", "/ledger")
    assert (ledger["counts"], ledger["started"], ledger["requests"]) == ({}, [], [])
    assert control("GET", "/faults") == []
    assert (emulator.settings.quota, emulator.settings.denied_token) == (None, [])
    assert api.get("/recordings").json()["paging"]["total_count"] == 0


def test_the_openapi_document_has_the_routes(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    assert "/_emulator/faults" in paths
    assert "/client/v4/accounts/{account_id}/realtime/kit/{app_id}/recordings/track" in paths
