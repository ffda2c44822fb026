"""How errors are answered: the status of each error of the world, and the forms of error bodies."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from airflow_provider_realtimekit.emulator.http import API_PATH
from airflow_provider_realtimekit.emulator.settings import Settings
from airflow_provider_realtimekit.emulator.world.errors import (
    ActionNotAllowedError,
    AlreadyRecordingError,
    ImpossibleChangeError,
    NoLiveSessionError,
    NotFoundError,
    WorldError,
)

_STATUSES: dict[type[WorldError], int] = {NotFoundError: 404, NoLiveSessionError: 400, ImpossibleChangeError: 409}
# The answers to a second start, and to an action that the status does not allow, are not documented: settings decide.
_CHOSEN_STATUSES = {"conflict": 409, "bad-request": 400}


class ApiError(Exception):
    """A request that RealtimeKit refuses for a reason outside the world, with the HTTP status of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def status_of(error: WorldError, settings: Settings) -> int:
    """Return the HTTP status of the answer to an error of the world."""
    if isinstance(error, AlreadyRecordingError):
        return _CHOSEN_STATUSES.get(settings.second_start, 409)
    if isinstance(error, ActionNotAllowedError):
        return _CHOSEN_STATUSES.get(settings.idle_action, 409)
    return _STATUSES[type(error)]


def api_error_response(status: int, message: str) -> Response:
    """Return an error in the form of RealtimeKit."""
    return JSONResponse({"success": False, "error": {"code": status, "message": message}}, status)


def gateway_error_response(status: int, code: int, message: str) -> Response:
    """Return an error in the form of Cloudflare's gateway, which every request to RealtimeKit passes."""
    body = {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": None}
    return JSONResponse(body, status)


def file_error_response(status: int, code: str, message: str) -> Response:
    """Return an error in the form of an object store."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(body, status, media_type="application/xml")


def add_error_handlers(app: FastAPI, settings: Settings) -> None:
    """Make an application answer every error in the right form."""

    @app.exception_handler(ApiError)
    async def handle_api_error(_: Request, error: ApiError) -> Response:
        return api_error_response(error.status, str(error))

    @app.exception_handler(WorldError)
    async def handle_world_error(_: Request, error: WorldError) -> Response:
        return api_error_response(status_of(error, settings), str(error))

    @app.exception_handler(RequestValidationError)
    async def handle_invalid_request(_: Request, error: RequestValidationError) -> Response:
        # The first error only, and without the value that the client sent: it may be a secret.
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return api_error_response(400, f"{place}: {first['msg']}" if place else first["msg"])

    @app.exception_handler(HTTPException)
    async def handle_missing_route(request: Request, error: HTTPException) -> Response:
        if not request.url.path.startswith(API_PATH):
            return PlainTextResponse(error.detail, error.status_code)
        if error.status_code == 405:
            return gateway_error_response(405, 7001, f"Method {request.method} not available for that URI.")
        return gateway_error_response(error.status_code, 7000, "No route for that URI")
