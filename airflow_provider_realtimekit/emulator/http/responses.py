"""The form of recordings in answers. Nullable fields without a value are null; optional ones are left out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse, Response

from airflow_provider_realtimekit.emulator.http.signed_links import SignedLinks
from airflow_provider_realtimekit.emulator.settings import Settings
from airflow_provider_realtimekit.emulator.world.models import Meeting, OutputFile, Recording, Status
from airflow_provider_realtimekit.emulator.world.output_files import output_file_name

Json = dict[str, Any]

_CREDENTIALS = ("access_key", "secret", "password", "private_key")
_TIMESTAMPS = ("invoked_time", "started_time", "stopped_time")


def success_response(data: Any, **more: Any) -> Response:
    """Return an answer in the shape of RealtimeKit."""
    return JSONResponse({"success": True, "data": data, **more})


@dataclass(frozen=True)
class RecordingResponses:
    """Writes recordings for one request.

    :param host: scheme, name and port by which the client called this server; links lead there
    :param now: the time of the request, in seconds since the epoch
    """

    settings: Settings
    links: SignedLinks
    host: str
    now: float

    def short(self, recording: Recording) -> Json:
        """Return a recording as in the answer to "active": without reasons and storage."""
        urls = self._create_urls(recording)
        body: Json = {
            "id": recording.id,
            "audio_download_url": next((url for output, url in urls if output.role == "audio"), None),
            "download_url": next((url for output, url in urls if output.role == "video"), None),
            "download_url_expiry": _iso(self.links.expires_at(recording) if urls else None),
            "file_size": None,
            "invoked_time": _iso(recording.invoked_at),
            "output_file_name": output_file_name(recording),
            "session_id": recording.session_id,
            "started_time": _iso(recording.started_at),
            "status": recording.status,
            "stopped_time": _iso(recording.stopped_at),
        }
        if recording.kind == "track":
            # The guides: a track recording has a list of layers here, with a link for each file.
            layers: dict[str, Json] = {}
            for output, url in urls:
                layers.setdefault(output.layer, {})[output.name] = {"download_url": url}
            listed = [{"layer_name": name, "download_urls": files} for name, files in layers.items()]
            body["download_url"] = listed or None
        if recording.state is Status.UPLOADED:
            # The file of `download_url`, or all files of a track recording, which has no such file.
            sizes = [file.size for file in recording.files]
            body["file_size"] = sum(sizes) if recording.kind == "track" else sizes[0]
        if recording.started_at is not None:
            body["recording_duration"] = round(recording.recorded_seconds_at(self.now, self.settings.speed))
        if self.settings.undocumented_fields:
            body |= {"meeting_id": recording.meeting.id, "type": recording.kind.upper()}
        return body

    def full(self, recording: Recording) -> Json:
        """Return a recording as in the answers to "get", "start" and the actions."""
        body = self.short(recording) | {"start_reason": recording.start_reason}
        if recording.stop_reason:
            body["stop_reason"] = recording.stop_reason
        if recording.err_message:
            body["err_message"] = recording.err_message
        return body | {"storage_config": self._storage_config(recording.config)}

    def listed(self, recording: Recording) -> Json:
        """Return a recording as in a list: with its storage and its meeting, without its reasons."""
        body = self.short(recording)
        body["storage_config"] = self._storage_config(recording.config)
        return body | {"meeting": self._meeting(recording.meeting)}

    def track_start(self, recording: Recording) -> Json:
        """Return the answer to the start of a track recording."""
        body = self.short(recording)
        if self.settings.sparse_track_answers:
            body = {key: value for key, value in body.items() if key not in _TIMESTAMPS}
        return {"recording": body}

    def _create_urls(self, recording: Recording) -> list[tuple[OutputFile, str]]:
        if recording.uploaded_at is None:
            return []
        outputs = [file.output for file in recording.files if file.output.in_bucket]
        return [(output, self.host + self.links.create(recording, output.name)) for output in outputs]

    def _storage_config(self, config: Json) -> Json | None:
        """Return the storage configuration of a recording or a meeting, as clients may see it."""
        storage_config: Json | None = config.get("storage_config")
        # The reference calls credentials not readable, but its own example shows them: a setting decides.
        if not storage_config or not self.settings.hide_secrets:
            return storage_config
        return {key: value for key, value in storage_config.items() if key not in _CREDENTIALS}

    def _meeting(self, meeting: Meeting) -> Json:
        body: Json = {
            "id": meeting.id,
            "title": meeting.title,
            "created_at": _iso(meeting.created_at),
            "updated_at": _iso(meeting.created_at),
            "live_stream_on_start": False,
            "persist_chat": False,
            "record_on_start": meeting.record_on_start,
            "session_keep_alive_time_in_secs": 60,
            "status": "ACTIVE",
            "summarize_on_end": False,
            "transcribe_on_end": False,
        }
        if meeting.recording_config is not None:
            config = meeting.recording_config
            body["recording_config"] = config | {"storage_config": self._storage_config(config)}
        return body


def _iso(moment: float | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
