"""Which files a recording leaves behind, read off the body that started it."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

from airflow_provider_realtimekit.emulator.media.specs import AudioSpec, MediaSpec, VideoSpec
from airflow_provider_realtimekit.emulator.world.models import OutputFile, Recording

_SHORTEST = 0.1  # seconds: a single frame
_SMALLEST = 16  # pixels; encoders refuse less, and odd numbers


def list_output_files(recording: Recording) -> list[OutputFile]:
    """Return the files of a recording that has ended."""
    if recording.kind == "track":
        return _track_files(recording)
    return _composite_files(recording)


def output_file_name(recording: Recording) -> str:
    """Return what the API calls `output_file_name`, which is known from the first moment."""
    if recording.kind == "track":
        return f"{_stem(recording)}.webm"
    return _composite_files(recording)[0].name


def _composite_files(recording: Recording) -> list[OutputFile]:
    config, stem, length = recording.config, _stem(recording), _length(recording)
    video_config, audio_config = config.get("video_config") or {}, config.get("audio_config")
    video, audio = _video(video_config), _audio(video_config, audio_config or {})
    in_bucket = (config.get("realtimekit_bucket_config") or {}).get("enabled", True)
    files = []
    if video_config.get("export_file", True):
        container = "mp4" if video.codec == "H264" else "webm"
        spec = MediaSpec(container, length, video, audio, timed_metadata="interactive_config" in config)
        files.append(OutputFile(f"{stem}.{spec.suffix}", spec, "video", in_bucket))
    # "If the audio_config is passed, the URL for downloading the audio recording is returned."
    if not files or (audio_config is not None and audio_config.get("export_file", True)):
        container = {"AAC": "m4a", "MP3": "mp3", "VORBIS": "ogg"}[audio.codec]
        spec = MediaSpec(container, length, None, audio)
        files.append(OutputFile(f"{stem}.{container}", spec, "audio", in_bucket))
    return files


def _track_files(recording: Recording) -> list[OutputFile]:
    layers = recording.config.get("layers") or {"default": {}}
    wanted = recording.config.get("user_ids") or recording.participants
    peers = [peer for peer in recording.participants if peer in wanted]
    return [_track_file(recording, peer, *layer) for layer in layers.items() for peer in peers]


def _track_file(recording: Recording, peer: str, layer: str, options: dict[str, Any]) -> OutputFile:
    prefix = options.get("file_name_prefix") or layer
    audio = AudioSpec("OPUS", channels=1, voice=1 + zlib.crc32(peer.encode()) % 4)
    spec = MediaSpec("webm", _length(recording), None, audio)
    targets = options.get("outputs") or [{"type": "REALTIMEKIT_BUCKET"}]
    in_bucket = any(target.get("type") == "REALTIMEKIT_BUCKET" for target in targets)
    return OutputFile(f"{prefix}_{peer}_{_milliseconds(recording)}.webm", spec, "layer", in_bucket, layer)


def _video(config: dict[str, Any]) -> VideoSpec:
    video = VideoSpec(config.get("codec", "H264"))
    width, height = config.get("width", video.width), config.get("height", video.height)
    return replace(video, width=_encodable(width), height=_encodable(height))


def _audio(video_config: dict[str, Any], config: dict[str, Any]) -> AudioSpec:
    if video_config.get("codec", "H264") != "H264":
        return AudioSpec("VORBIS")
    return AudioSpec(config.get("codec", "AAC"), 1 if config.get("channel") == "mono" else 2)


def _encodable(pixels: float) -> int:
    return max(_SMALLEST, int(pixels) + int(pixels) % 2)


def _stem(recording: Recording) -> str:
    prefix = recording.config.get("file_name_prefix")
    return "_".join(filter(None, (prefix, recording.meeting.id, str(_milliseconds(recording)))))


def _milliseconds(recording: Recording) -> int:
    return int(recording.invoked_at * 1000)


def _length(recording: Recording) -> float:
    # Tenths of a second, so that recordings of about one length share one file.
    return max(_SHORTEST, round(recording.recorded_seconds, 1))
