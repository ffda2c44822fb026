"""The routes by which tests in other processes drive the emulator. They need no token, and are not counted or limited.

    GET, PATCH         /_emulator/settings                  read or change settings
    PUT                /_emulator/meetings/{id}             open a meeting, with people in it
    POST               /_emulator/meetings/{id}/join        add somebody
    POST               /_emulator/meetings/{id}/leave       remove somebody, or everybody
    POST               /_emulator/recordings                create many recordings at once
    POST               /_emulator/recordings/{id}/status    push a recording forward, or show an unknown status
    POST               /_emulator/recordings/{id}/hang      leave a recording in INVOKED
    POST               /_emulator/recordings/{id}/expire    delete the files of a recording
    POST               /_emulator/uploads/finish            end all uploads now
    GET, POST, DELETE  /_emulator/faults                    read, add or remove faults
    PUT                /_emulator/faults/random             inject faults at random
    PUT                /_emulator/tokens                    make a token active, denied or refused
    GET                /_emulator/ledger                    read the requests so far, and the state of all recordings
    POST               /_emulator/reset                     return to the state and settings of the start

`/openapi.json` describes the bodies.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_realtimekit.emulator.http import CONTROL_PATH
from airflow_provider_realtimekit.emulator.http.authentication import TokenState
from airflow_provider_realtimekit.emulator.http.emulator import Emulator
from airflow_provider_realtimekit.emulator.http.errors import ApiError
from airflow_provider_realtimekit.emulator.http.faults import Fault, RandomFaults
from airflow_provider_realtimekit.emulator.world.models import Owner

router = APIRouter(prefix=CONTROL_PATH, tags=["control"])


def _find_emulator(request: Request) -> Emulator:
    emulator: Emulator = request.app.state.emulator
    return emulator


CurrentEmulator = Annotated[Emulator, Depends(_find_emulator)]


class _Body(BaseModel):
    # Unlike the API, the control routes refuse unknown fields, so that a test's misspelt field is an error.
    model_config = ConfigDict(extra="forbid")


class _OwnedBody(_Body):
    """The owner of a meeting or recording: the account and app of the body, else of the settings, else all."""

    account_id: str | None = None
    app_id: str | None = None

    def owner(self, emulator: Emulator) -> Owner | None:
        account_id = self.account_id or emulator.settings.account
        app_id = self.app_id or emulator.settings.app
        return Owner(account_id, app_id) if account_id and app_id else None


class MeetingBody(_OwnedBody):
    """A meeting to open."""

    title: str | None = None
    participants: list[str] = []
    record_on_start: bool = False
    recording_config: dict[str, Any] | None = None


class PersonBody(_Body):
    """Who joins or leaves."""

    participant: str | None = None


class SeedBody(_OwnedBody):
    """Recordings to create, each in a meeting of its own unless one is named."""

    count: Annotated[int, Field(ge=1)] = 1
    status: str = "UPLOADED"
    meeting_id: str | None = None
    seconds: float = 60


class StatusBody(_Body):
    """The status to push a recording to."""

    status: str
    err_message: str | None = None


class TokenBody(_Body):
    """The state to give a token."""

    token: str
    state: TokenState


@router.get("/settings")
def read_settings(emulator: CurrentEmulator) -> dict[str, Any]:
    """Return all settings."""
    return emulator.settings.model_dump()


@router.patch("/settings")
def change_settings(emulator: CurrentEmulator, changes: dict[str, Any]) -> dict[str, Any]:
    """Change some settings."""
    try:
        emulator.configure(**changes)
    except ValidationError as error:
        raise ApiError(400, str(error)) from error
    return emulator.settings.model_dump()


@router.put("/meetings/{meeting_id}")
def open_meeting(emulator: CurrentEmulator, meeting_id: str, body: MeetingBody) -> dict[str, Any]:
    """Open a meeting, or change a known one."""
    emulator.world.open_meeting(
        meeting_id,
        title=body.title,
        participants=body.participants,
        record_on_start=body.record_on_start,
        recording_config=body.recording_config,
        owner=body.owner(emulator),
    )
    return {"id": meeting_id}


@router.post("/meetings/{meeting_id}/join")
def join(emulator: CurrentEmulator, meeting_id: str, body: PersonBody) -> dict[str, Any]:
    """Add somebody to a meeting; without a name, somebody new."""
    emulator.world.join(meeting_id, body.participant or str(uuid.uuid4()))
    return {"id": meeting_id}


@router.post("/meetings/{meeting_id}/leave")
def leave(emulator: CurrentEmulator, meeting_id: str, body: PersonBody) -> dict[str, Any]:
    """Remove somebody from a meeting; without a name, everybody."""
    emulator.world.leave(meeting_id, body.participant)
    return {"id": meeting_id}


@router.post("/recordings")
def seed(emulator: CurrentEmulator, body: SeedBody) -> dict[str, Any]:
    """Create recordings, and return their ids."""
    ids = emulator.world.seed(
        body.count,
        body.status,
        meeting_id=body.meeting_id,
        seconds=body.seconds,
        owner=body.owner(emulator),
    )
    return {"ids": ids}


@router.post("/recordings/{recording_id}/status")
def jump(emulator: CurrentEmulator, recording_id: str, body: StatusBody) -> dict[str, Any]:
    """Push a recording to a status."""
    recording = emulator.world.jump(recording_id, body.status, body.err_message)
    return {"id": recording.id, "status": recording.status}


@router.post("/recordings/{recording_id}/hang")
def hang(emulator: CurrentEmulator, recording_id: str) -> dict[str, Any]:
    """Leave a recording in INVOKED."""
    emulator.world.hang(recording_id)
    return {"id": recording_id}


@router.post("/recordings/{recording_id}/expire")
def expire(emulator: CurrentEmulator, recording_id: str) -> dict[str, Any]:
    """Delete the files of a recording from the bucket."""
    emulator.world.expire(recording_id)
    return {"id": recording_id}


@router.post("/uploads/finish")
def finish_uploads(emulator: CurrentEmulator) -> dict[str, Any]:
    """End all uploads now, and return the ids of their recordings."""
    return {"ids": emulator.world.finish_uploads()}


@router.get("/faults")
def read_faults(emulator: CurrentEmulator) -> list[Fault]:
    """Return the faults that can still hit."""
    return emulator.faults.pending()


@router.post("/faults")
def add_fault(emulator: CurrentEmulator, fault: Annotated[Fault, Body()]) -> Fault:
    """Add a fault."""
    return emulator.faults.add(fault)


@router.put("/faults/random")
def set_random_faults(emulator: CurrentEmulator, faults: Annotated[RandomFaults, Body()]) -> RandomFaults:
    """Inject faults at random from now on, instead of the random faults before."""
    return emulator.faults.randomly(faults)


@router.delete("/faults")
def clear_faults(emulator: CurrentEmulator) -> dict[str, Any]:
    """Remove all faults, random ones included."""
    emulator.faults.clear()
    return {}


@router.put("/tokens")
def set_token(emulator: CurrentEmulator, body: TokenBody) -> dict[str, Any]:
    """Set the state of a token."""
    emulator.tokens.set_state(body.token, body.state)
    return {"state": body.state}


@router.get("/ledger")
def read_ledger(emulator: CurrentEmulator) -> dict[str, Any]:
    """Return the requests so far, and the state of all recordings."""
    return emulator.ledger.summary(emulator.world)


@router.post("/reset")
def reset(emulator: CurrentEmulator) -> dict[str, Any]:
    """Return to the state and settings of the start."""
    emulator.reset()
    return {}
