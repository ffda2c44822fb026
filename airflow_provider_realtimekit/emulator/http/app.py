"""The six operations, and the token check, as routes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from airflow_provider_realtimekit.emulator.http import control_routes as control
from airflow_provider_realtimekit.emulator.http import files
from airflow_provider_realtimekit.emulator.http import request_bodies as schema
from airflow_provider_realtimekit.emulator.http.emulator import Emulator
from airflow_provider_realtimekit.emulator.http.errors import (
    ApiError,
    api_error_response,
    gateway_error_response,
    status_of,
)
from airflow_provider_realtimekit.emulator.http.gateway import API, Gateway
from airflow_provider_realtimekit.emulator.http.listing import list_page
from airflow_provider_realtimekit.emulator.http.responses import RecordingResponses
from airflow_provider_realtimekit.emulator.world.errors import WorldError
from airflow_provider_realtimekit.emulator.world.models import Owner

router = APIRouter(prefix=API)
_RECORDINGS = "/accounts/{account_id}/realtime/kit/{app_id}/recordings"


@dataclass(frozen=True)
class _Call:
    """What every operation needs."""

    emulator: Emulator
    owner: Owner
    responses: RecordingResponses


async def _call(request: Request, account_id: str, app_id: str) -> _Call:
    emulator: Emulator = request.app.state.emulator
    if emulator.settings.app not in (None, app_id):
        raise ApiError(404, "App not found")
    host = str(request.base_url).rstrip("/")
    responses = RecordingResponses(emulator.settings, emulator.links, host, emulator.clock())
    return _Call(emulator, Owner(account_id, app_id), responses)


Call = Annotated[_Call, Depends(_call)]
ListQuery = Annotated[schema.ListQuery, Query()]
StartBody = Annotated[schema.StartBody, Body()]
TrackStartBody = Annotated[schema.TrackStartBody, Body()]
ActionBody = Annotated[schema.ActionBody, Body()]


@router.get(_RECORDINGS, name="list")
async def list_recordings(call: Call, query: ListQuery) -> Response:
    """Return one page of an app's recordings."""
    page = list_page(call.emulator, call.owner, query)
    return _success([call.responses.listed(recording) for recording in page.recordings], paging=page.paging())


@router.post(_RECORDINGS, name="start")
async def start(call: Call, body: StartBody) -> Response:
    """Start a recording of a meeting."""
    return _success(call.responses.full(call.emulator.world.start(call.owner, body.config())))


@router.post(f"{_RECORDINGS}/track", name="start_track")
async def start_track(call: Call, body: TrackStartBody) -> Response:
    """Start a recording of each participant's sound."""
    return _success(call.responses.track_start(call.emulator.world.start_tracks(call.owner, body.config())))


@router.get(f"{_RECORDINGS}/active-recording/{{meeting_id}}", name="active")
async def active(call: Call, meeting_id: str) -> Response:
    """Return the recording that is under way in a meeting."""
    return _success(call.responses.short(call.emulator.world.active(call.owner, meeting_id)))


@router.get(f"{_RECORDINGS}/{{recording_id}}", name="get")
async def get(call: Call, recording_id: str) -> Response:
    """Return a recording."""
    return _success(call.responses.full(call.emulator.world.get(recording_id, call.owner)))


@router.put(f"{_RECORDINGS}/{{recording_id}}", name="action")
async def act(call: Call, recording_id: str, body: ActionBody) -> Response:
    """Stop, pause or resume a recording."""
    return _success(call.responses.full(call.emulator.world.act(call.owner, recording_id, body.action)))


@router.get("/user/tokens/verify", name="verify")
async def verify(request: Request) -> Response:
    """Tell the caller that its token is good; the gateway has turned others away."""
    token_id = hashlib.sha256(request.headers["authorization"].encode()).hexdigest()[:32]
    message = {"code": 10000, "message": "This API Token is valid and active"}
    result = {"id": token_id, "status": "active"}
    return JSONResponse({"success": True, "errors": [], "messages": [message], "result": result})


def create_app(emulator: Emulator) -> ASGIApp:
    """Return the emulator as an ASGI application."""
    app = FastAPI(title="RealtimeKit emulator", redirect_slashes=False, docs_url=None, redoc_url=None)
    app.state.emulator = emulator
    for part in (router, files.router, control.router):
        app.include_router(part)
    app.exception_handler(ApiError)(_refused)
    app.exception_handler(WorldError)(_refused_by_the_world)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_unrouted)
    routes = (route for route in (*router.routes, *files.router.routes) if isinstance(route, Route))
    return Gateway(app, emulator, routes)


def _success(data: Any, **more: Any) -> Response:
    return JSONResponse({"success": True, "data": data, **more})


async def _refused(_: Request, error: ApiError) -> Response:
    return api_error_response(error.status, error.message)


async def _refused_by_the_world(request: Request, error: WorldError) -> Response:
    return api_error_response(status_of(error, request.app.state.emulator.settings), str(error))


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    """Answer 400 with the first thing that is wrong, and without what the client sent: it may be a secret."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    return api_error_response(400, f"{place}: {first['msg']}" if place else first["msg"])


async def _unrouted(request: Request, error: HTTPException) -> Response:
    if not request.url.path.startswith(API):
        return PlainTextResponse(error.detail, error.status_code)
    if error.status_code == 405:
        return gateway_error_response(405, 7001, f"Method {request.method} not available for that URI.")
    return gateway_error_response(error.status_code, 7000, "No route for that URI")
