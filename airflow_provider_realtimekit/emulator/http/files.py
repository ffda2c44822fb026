"""The host of the files: no API, but an object store that gives a file to whoever holds a signed link."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from airflow_provider_realtimekit.emulator.http.signed_links import FILES
from airflow_provider_realtimekit.emulator.media.specs import CONTENT_TYPES
from airflow_provider_realtimekit.emulator.world.errors import NotFoundError

router = APIRouter(prefix=FILES)


@router.api_route("/{recording_id}/{name:path}", methods=["GET", "HEAD"], name="download", include_in_schema=False)
async def download(request: Request, recording_id: str, name: str) -> Response:
    """Return a file, or the range of it that is asked for."""
    emulator = request.app.state.emulator
    verdict = emulator.links.check(recording_id, name, request.query_params)
    if verdict == "forged":
        return _error(403, "SignatureDoesNotMatch", "The signature does not match the request.")
    try:
        recording = emulator.world.get(recording_id)
    except NotFoundError:
        return _error(404, "NoSuchKey", "The specified key does not exist.")
    if verdict == "expired" or emulator.links.is_file_deleted(recording):
        return _error(403, "AccessDenied", "Request has expired")
    file = next(file for file in recording.files if file.output.name == name)
    return FileResponse(file.future_path.result(), media_type=CONTENT_TYPES[file.output.spec.suffix])


def _error(status: int, code: str, message: str) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(body, status, media_type="application/xml")
