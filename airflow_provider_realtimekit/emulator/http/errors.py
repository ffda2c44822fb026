"""The error answers of the API: RealtimeKit's own shape, and that of Cloudflare's gateway before it."""

from __future__ import annotations

from starlette.responses import JSONResponse

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
# What the API answers to a second start, and to an action out of place, is documented nowhere: a setting decides.
_CHOSEN_STATUSES = {"conflict": 409, "bad-request": 400}


class ApiError(Exception):
    """RealtimeKit refuses a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def status_of(error: WorldError, settings: Settings) -> int:
    """Return the HTTP status of an error of the world."""
    if isinstance(error, AlreadyRecordingError):
        return _CHOSEN_STATUSES.get(settings.second_start, 409)
    if isinstance(error, ActionNotAllowedError):
        return _CHOSEN_STATUSES.get(settings.idle_action, 409)
    return _STATUSES[type(error)]


def api_error_response(status: int, message: str) -> JSONResponse:
    """Return an error as RealtimeKit words it."""
    return JSONResponse({"success": False, "error": {"code": status, "message": message}}, status)


def gateway_error_response(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error as Cloudflare's gateway words it."""
    body = {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": None}
    return JSONResponse(body, status, headers)
