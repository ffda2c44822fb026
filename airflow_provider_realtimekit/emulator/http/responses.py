"""How recordings look in answers: nullable fields are there as null, optional ones only when they have a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_realtimekit.emulator.http.signed_links import SignedLinks
from airflow_provider_realtimekit.emulator.settings import Settings
from airflow_provider_realtimekit.emulator.world.models import Meeting, OutputFile, Recording, Status
from airflow_provider_realtimekit.emulator.world.output_files import output_file_name

Json = dict[str, Any]

_CREDENTIALS = ("access_key", "secret", "password", "private_key")
_TIMESTAMPS = ("invoked_time", "started_time", "stopped_time")


@dataclass(frozen=True)
class RecordingResponses:
    """Writes recordings for one request; `host` is what the client calls this server."""

    settings: Settings
    links: SignedLinks
    host: str
    now: float

    def short(self, recording: Recording) -> Json:
        """Return a recording as the answers to "active" and to a track start have it."""
        in_bucket = any(file.output.in_bucket for file in recording.files)
        body: Json = {
            "id": recording.id,
            "audio_download_url": self._url(recording, "audio"),
            "download_url": self._layers(recording) if recording.kind == "track" else self._url(recording, "video"),
            "download_url_expiry": _iso(self.links.expiry(recording) if in_bucket else None),
            "file_size": _size(recording) if recording.state is Status.UPLOADED else None,
            "invoked_time": _iso(recording.invoked_at),
            "output_file_name": output_file_name(recording),
            "session_id": recording.session_id,
            "started_time": _iso(recording.started_at),
            "status": recording.status,
            "stopped_time": _iso(recording.stopped_at),
        }
        if recording.started_at is not None:
            body["recording_duration"] = round(recording.recorded_seconds_at(self.now, self.settings.speed))
        if self.settings.undocumented_fields:
            body |= {"meeting_id": recording.meeting.id, "type": recording.kind.upper()}
        return body

    def full(self, recording: Recording) -> Json:
        """Return a recording as "get", "start" and the actions answer it."""
        body = self.short(recording) | {"start_reason": recording.start_reason}
        if recording.stop_reason:
            body["stop_reason"] = recording.stop_reason
        if recording.err_message:
            body["err_message"] = recording.err_message
        return body | {"storage_config": self._readable(recording.config.get("storage_config"))}

    def listed(self, recording: Recording) -> Json:
        """Return a recording as a list has it: with its meeting, without its reasons."""
        body = self.short(recording)
        body["storage_config"] = self._readable(recording.config.get("storage_config"))
        return body | {"meeting": self._meeting(recording.meeting)}

    def track_start(self, recording: Recording) -> Json:
        """Return the answer to a track start; some lack the timestamps."""
        body = self.short(recording)
        if self.settings.sparse_track_answers:
            body = {key: value for key, value in body.items() if key not in _TIMESTAMPS}
        return {"recording": body}

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
            config = dict(meeting.recording_config)
            config["storage_config"] = self._readable(config.get("storage_config"))
            body["recording_config"] = config
        return body

    def _url(self, recording: Recording, role: str) -> str | None:
        return next((self._sign(recording, o) for o in _downloadable(recording) if o.role == role), None)

    def _layers(self, recording: Recording) -> list[Json] | None:
        layers: dict[str, Json] = {}
        for output in _downloadable(recording):
            layers.setdefault(output.layer, {})[output.name] = {"download_url": self._sign(recording, output)}
        return [{"layer_name": name, "download_urls": urls} for name, urls in layers.items()] or None

    def _sign(self, recording: Recording, output: OutputFile) -> str:
        return self.host + self.links.sign(recording, output.name)

    def _readable(self, storage_config: Json | None) -> Json | None:
        if not storage_config or not self.settings.hide_secrets:
            return storage_config
        return {key: value for key, value in storage_config.items() if key not in _CREDENTIALS}


def _downloadable(recording: Recording) -> list[OutputFile]:
    if recording.uploaded_at is None:
        return []
    return [file.output for file in recording.files if file.output.in_bucket]


def _size(recording: Recording) -> int:
    """Return the size of the file behind `download_url`; of tracks, which have none in common, the sum."""
    sizes = [file.size for file in recording.files]
    return sum(sizes) if recording.kind == "track" else sizes[0]


def _iso(moment: float | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
