"""The error answers of the API: RealtimeKit's own shape, and that of Cloudflare's gateway before it."""

from __future__ import annotations

from starlette.responses import JSONResponse


class KitError(Exception):
    """RealtimeKit refuses a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def kit_error(status: int, message: str) -> JSONResponse:
    """Return an error as RealtimeKit words it."""
    return JSONResponse({"success": False, "error": {"code": status, "message": message}}, status)


def gateway_error(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error as Cloudflare's gateway words it."""
    body = {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": None}
    return JSONResponse(body, status, headers)
