"""The routes that clients use: the six operations, the token check and the downloads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, Request
from starlette.responses import FileResponse, JSONResponse, Response

from airflow_provider_realtimekit.emulator.http import API_PATH, FILES_PATH, request_bodies
from airflow_provider_realtimekit.emulator.http.emulator import Emulator
from airflow_provider_realtimekit.emulator.http.errors import ApiError, file_error_response
from airflow_provider_realtimekit.emulator.http.listing import ListQuery, list_page
from airflow_provider_realtimekit.emulator.http.responses import RecordingResponses, success_response
from airflow_provider_realtimekit.emulator.media.specs import CONTENT_TYPES
from airflow_provider_realtimekit.emulator.world.errors import NotFoundError
from airflow_provider_realtimekit.emulator.world.models import Owner

router = APIRouter()
_RECORDINGS = f"{API_PATH}/accounts/{{account_id}}/realtime/kit/{{app_id}}/recordings"


@dataclass(frozen=True)
class _Call:
    """The data of one call: the emulator, the owner of the recordings, and how to write them."""

    emulator: Emulator
    owner: Owner
    responses: RecordingResponses


async def _create_call(request: Request, account_id: str, app_id: str) -> _Call:
    emulator: Emulator = request.app.state.emulator
    # The gateway knows accounts, but not apps, so this error has RealtimeKit's form.
    if emulator.settings.app not in (None, app_id):
        raise ApiError(404, "App not found")
    host = str(request.base_url).rstrip("/")
    responses = RecordingResponses(emulator.settings, emulator.links, host, emulator.clock())
    return _Call(emulator, Owner(account_id, app_id), responses)


Call = Annotated[_Call, Depends(_create_call)]


# The names of the routes are the names of the operations in faults and in the ledger.


@router.get(_RECORDINGS, name="list")
async def list_recordings(call: Call, query: Annotated[ListQuery, Query()]) -> Response:
    """Return one page of an app's recordings."""
    page = list_page(call.emulator, call.owner, query)
    return success_response([call.responses.listed(recording) for recording in page.recordings], paging=page.paging())


@router.post(_RECORDINGS, name="start")
async def start(call: Call, body: Annotated[request_bodies.StartBody, Body()]) -> Response:
    """Start a recording of a meeting."""
    return success_response(call.responses.full(call.emulator.world.start(call.owner, body.config())))


@router.post(f"{_RECORDINGS}/track", name="start_track")
async def start_track(call: Call, body: Annotated[request_bodies.TrackStartBody, Body()]) -> Response:
    """Start a recording of each participant's sound."""
    return success_response(call.responses.track_start(call.emulator.world.start_tracks(call.owner, body.config())))


@router.get(f"{_RECORDINGS}/active-recording/{{meeting_id}}", name="active")
async def active(call: Call, meeting_id: str) -> Response:
    """Return the active recording of a meeting."""
    return success_response(call.responses.short(call.emulator.world.active(call.owner, meeting_id)))


@router.get(f"{_RECORDINGS}/{{recording_id}}", name="get")
async def get(call: Call, recording_id: str) -> Response:
    """Return a recording."""
    return success_response(call.responses.full(call.emulator.world.get(recording_id, call.owner)))


@router.put(f"{_RECORDINGS}/{{recording_id}}", name="action")
async def act(call: Call, recording_id: str, body: Annotated[request_bodies.ActionBody, Body()]) -> Response:
    """Stop, pause or resume a recording."""
    return success_response(call.responses.full(call.emulator.world.act(call.owner, recording_id, body.action)))


@router.get(f"{API_PATH}/user/tokens/verify", name="verify")
async def verify(request: Request) -> Response:
    """Return that the token is valid; the gateway has refused all others."""
    token_id = hashlib.sha256(request.headers["authorization"].encode()).hexdigest()[:32]
    message = {"code": 10000, "message": "This API Token is valid and active"}
    result = {"id": token_id, "status": "active"}
    return JSONResponse({"success": True, "errors": [], "messages": [message], "result": result})


@router.api_route(
    f"{FILES_PATH}/{{recording_id}}/{{name:path}}", methods=["GET", "HEAD"], name="download", include_in_schema=False
)
async def download(request: Request, recording_id: str, name: str) -> Response:
    """Return a file or a range of it. The link must be signed and not expired."""
    emulator: Emulator = request.app.state.emulator
    link = emulator.links.check(recording_id, name, request.query_params)
    if link == "forged":
        return file_error_response(403, "SignatureDoesNotMatch", "The signature does not match the request.")
    try:
        recording = emulator.world.get(recording_id)
    except NotFoundError:
        return file_error_response(404, "NoSuchKey", "The specified key does not exist.")
    if link == "expired" or emulator.links.is_file_deleted(recording):
        return file_error_response(403, "AccessDenied", "Request has expired")
    file = next(file for file in recording.files if file.output.name == name)
    return FileResponse(file.future_path.result(), media_type=CONTENT_TYPES[file.output.spec.suffix])
