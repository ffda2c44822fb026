"""The hook: its methods in both forms, their signatures, and the connection test."""

from __future__ import annotations

import asyncio
import inspect
import json
import pydoc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, get_type_hints

import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.exceptions import RealtimeKitInputError, RealtimeKitNotFoundError
from airflow_provider_realtimekit.hooks import RealtimeKitHook
from airflow_provider_realtimekit.models import Recording
from tests.conftest import APP, TOKEN, connect

Call = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, emulator: EmulatorServer) -> Iterator[Call]:
    """Call a method of the hook by name, on the thread or on a loop."""
    if request.param == "sync":
        with RealtimeKitHook() as hook:
            yield lambda name, *args, **kwargs: _listed(getattr(hook, name)(*args, **kwargs))
        return
    with asyncio.Runner() as runner:
        hook = RealtimeKitHook()
        yield lambda name, *args, **kwargs: runner.run(_awaited(getattr(hook, f"a{name}")(*args, **kwargs)))
        runner.run(hook.aclose())


def _listed(result: Any) -> Any:
    return list(result) if isinstance(result, Iterator) else result


async def _awaited(result: Any) -> Any:
    return [item async for item in result] if isinstance(result, AsyncIterator) else await result


def test_the_six_operations(call: Call) -> None:
    assert call("get_active_recording", "m") is None
    recording = call("start_recording", meeting_id="m", max_seconds=60, audio_config={"codec": "AAC"})
    assert recording.is_active
    assert call("get_active_recording", "m").id == recording.id
    assert call("stop_recording", recording.id).id == recording.id
    tracks = call("start_track_recording", meeting_id="m", user_ids=["ann"], max_seconds=60)
    assert call("get_recording", tracks.id).id == tracks.id
    assert {found.id for found in call("list_recordings", meeting_id="m")} == {recording.id, tracks.id}


def test_pause_and_resume(call: Call, emulator: EmulatorServer) -> None:
    (recording_id,) = emulator.world.seed(1, status="RECORDING")
    assert call("pause_recording", recording_id).status == "PAUSED"
    assert call("resume_recording", recording_id).status == "RECORDING"


def test_list_walks_all_pages_with_filters(call: Call, emulator: EmulatorServer) -> None:
    emulator.configure(max_per_page=10)
    ids = emulator.world.seed(35, status="UPLOADED", meeting_id="standup")
    emulator.world.seed(5, status="ERRORED", meeting_id="standup")
    emulator.world.seed(5, status="UPLOADED", meeting_id="other")
    found = call("list_recordings", meeting_id="standup", status="UPLOADED")
    assert sorted(recording.id for recording in found) == sorted(ids)
    assert emulator.ledger.count("list") == 4
    assert len(call("list_recordings", status=["ERRORED", "UPLOADED"], limit=7)) == 7


def test_list_is_lazy(emulator: EmulatorServer) -> None:
    emulator.configure(max_per_page=10)
    emulator.world.seed(100, status="UPLOADED")
    with RealtimeKitHook() as hook:
        walk = hook.list_recordings()
        assert emulator.ledger.count("list") == 0
        next(walk)
        assert emulator.ledger.count("list") == 1


def test_another_app(call: Call, emulator: EmulatorServer) -> None:
    with RealtimeKitHook(app_id="app-7") as hook, pytest.raises(RealtimeKitNotFoundError):
        hook.get_recording("unknown")
    assert "/kit/app-7/" in emulator.ledger.requests[-1].path


RETURNS: dict[str, Any] = {
    "get_recording": Recording,
    "get_active_recording": Recording | None,
    "get_newest_recording": Recording | None,
    "start_recording": Recording,
    "start_track_recording": Recording,
    "ensure_recording": Recording,
    "pause_recording": Recording,
    "resume_recording": Recording,
    "stop_recording": Recording,
    "apply_action": Recording,
}


@pytest.mark.parametrize("name", [*RETURNS, "list_recordings"])
def test_a_method_has_the_same_arguments_and_docstring_in_both_forms(name: str) -> None:
    sync, asynchronous = getattr(RealtimeKitHook, name), getattr(RealtimeKitHook, f"a{name}")
    assert inspect.signature(sync).parameters == inspect.signature(asynchronous).parameters
    assert next(iter(inspect.signature(sync).parameters)) == "self"
    assert sync.__doc__ == asynchronous.__doc__
    assert sync.__doc__


@pytest.mark.parametrize(("name", "returned"), RETURNS.items())
def test_the_signature_of_a_method_has_what_it_returns(name: str, returned: Any) -> None:
    sync, asynchronous = getattr(RealtimeKitHook, name), getattr(RealtimeKitHook, f"a{name}")
    assert inspect.signature(sync).return_annotation == returned
    assert inspect.signature(asynchronous).return_annotation == returned
    assert get_type_hints(sync)["return"] == get_type_hints(asynchronous)["return"] == returned
    assert inspect.iscoroutinefunction(asynchronous)
    assert not inspect.iscoroutinefunction(sync)


def test_the_signature_of_a_list_has_the_iterator_that_it_returns() -> None:
    assert inspect.signature(RealtimeKitHook.list_recordings).return_annotation == Iterator[Recording]
    assert inspect.signature(RealtimeKitHook.alist_recordings).return_annotation == AsyncIterator[Recording]


@pytest.mark.parametrize("name", [*RETURNS, "list_recordings"])
def test_help_shows_a_method_under_its_own_name(name: str) -> None:
    for own_name in (name, f"a{name}"):
        method = getattr(RealtimeKitHook, own_name)
        assert (method.__module__, method.__qualname__) == (RealtimeKitHook.__module__, f"RealtimeKitHook.{own_name}")
        shown = pydoc.plain(pydoc.render_doc(method))
        assert f"{own_name}(self" in shown
        assert "Flow" not in shown
        assert "Generator" not in shown


def test_a_hook_that_was_not_closed_closes_its_connections(emulator: EmulatorServer) -> None:
    hook = RealtimeKitHook()
    hook.get_active_recording("m")
    client = hook.get_conn()
    del hook
    assert client._http.is_closed


def test_connection_works(emulator: EmulatorServer) -> None:
    assert RealtimeKitHook().test_connection() == (True, f"the recordings of app {APP!r} can be read")


def test_connection_with_a_refused_token(emulator: EmulatorServer) -> None:
    emulator.tokens.set_state(TOKEN, "refused")
    works, message = RealtimeKitHook().test_connection()
    assert not works
    assert message == "the token was refused: it is wrong, expired or revoked"


def test_connection_without_the_permission(emulator: EmulatorServer) -> None:
    emulator.tokens.set_state(TOKEN, "denied")
    works, message = RealtimeKitHook().test_connection()
    assert not works
    assert message.startswith("the token is valid but lacks the permission: it needs Realtime or Realtime Admin")


def test_connection_to_an_unknown_app(emulator: EmulatorServer) -> None:
    emulator.configure(app="another")
    works, message = RealtimeKitHook().test_connection()
    assert not works
    assert "account 'account-1' or app 'app-1' is not known at http://127.0.0.1" in message


def test_connection_to_a_closed_port(emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "realtimekit", "host": "http://127.0.0.1:1", "login": "a", "password": TOKEN}
    monkeypatch.setenv("AIRFLOW_CONN_REALTIMEKIT_DEFAULT", json.dumps(connection | {"extra": {"app_id": "b"}}))
    monkeypatch.setattr(RealtimeKitHook, "connection_test_timeout", 0.0)
    works, message = RealtimeKitHook().test_connection()
    assert not works
    assert message.startswith("http://127.0.0.1:1/client/v4 cannot be reached: no answer from 127.0.0.1")


def test_connection_to_something_else(emulator: EmulatorServer) -> None:
    emulator.faults.add(operation="list", count=None, status=200, body="<html>hello</html>")
    works, message = RealtimeKitHook().test_connection()
    assert not works
    assert "answers, but not as the recordings API does" in message


def test_connection_with_a_malformed_field(emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(emulator, monkeypatch, timeout="soon")
    works, message = RealtimeKitHook().test_connection()
    assert not works
    assert "extra field timeout of connection 'realtimekit_default' is 'soon'" in message


def test_no_answer_of_the_connection_test_names_the_token(emulator: EmulatorServer) -> None:
    for state in ("active", "denied", "refused"):
        emulator.tokens.set_state(TOKEN, state)
        assert TOKEN not in RealtimeKitHook().test_connection()[1]


def test_a_missing_field_is_named_before_any_call(emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REALTIMEKIT_DEFAULT", json.dumps({"conn_type": "realtimekit", "login": "a"}))
    with pytest.raises(RealtimeKitInputError, match=r"password \(the API token\) of connection .* is empty"):
        RealtimeKitHook().get_recording("r")
