"""Which files a recording produces, with their names and contents, decided by the body of its start."""

from __future__ import annotations

import zlib
from typing import Any

from airflow_provider_realtimekit.emulator.media.specs import AudioSpec, MediaSpec, VideoSpec
from airflow_provider_realtimekit.emulator.world.models import OutputFile, Recording

# An encoder needs at least one frame.
_MIN_SECONDS = 0.1
# Encoders refuse pictures that are smaller, and odd numbers of pixels.
_MIN_PIXELS = 16


def list_output_files(recording: Recording) -> list[OutputFile]:
    """Return the files of a recording that has ended."""
    return _list_track_files(recording) if recording.kind == "track" else _list_composite_files(recording)


def output_file_name(recording: Recording) -> str:
    """Return the API's `output_file_name`, which is known from the start."""
    return f"{_stem(recording)}.webm" if recording.kind == "track" else _list_composite_files(recording)[0].name


def _list_composite_files(recording: Recording) -> list[OutputFile]:
    config, stem, seconds = recording.config, _stem(recording), _seconds(recording)
    video_config, audio_config = config.get("video_config") or {}, config.get("audio_config")
    video = VideoSpec(
        video_config.get("codec", "H264"),
        _encodable(video_config.get("width", VideoSpec.width)),
        _encodable(video_config.get("height", VideoSpec.height)),
    )
    if video.codec == "H264":
        options = audio_config or {}
        audio = AudioSpec(options.get("codec", "AAC"), 1 if options.get("channel") == "mono" else 2)
    else:
        # The reference: with VP8 or VP9 the audio codec is always Vorbis.
        audio = AudioSpec("VORBIS")
    in_bucket = (config.get("realtimekit_bucket_config") or {}).get("enabled", True)
    files = []
    if video_config.get("export_file", True):
        container = "mp4" if video.codec == "H264" else "webm"
        spec = MediaSpec(container, seconds, video, audio, timed_metadata="interactive_config" in config)
        files.append(OutputFile(f"{stem}.{spec.suffix}", spec, "video", in_bucket))
    # The reference: "If the audio_config is passed, the URL for downloading the audio recording is returned."
    if not files or (audio_config is not None and audio_config.get("export_file", True)):
        container = {"AAC": "m4a", "MP3": "mp3", "VORBIS": "ogg"}[audio.codec]
        files.append(OutputFile(f"{stem}.{container}", MediaSpec(container, seconds, None, audio), "audio", in_bucket))
    return files


def _list_track_files(recording: Recording) -> list[OutputFile]:
    """Return one file for each layer and participant."""
    wanted = recording.config.get("user_ids") or recording.participants
    layers: dict[str, dict[str, Any]] = recording.config.get("layers") or {"default": {}}
    files = []
    for layer, options in layers.items():
        prefix = options.get("file_name_prefix") or layer
        targets = options.get("outputs") or [{"type": "REALTIMEKIT_BUCKET"}]
        in_bucket = any(target.get("type") == "REALTIMEKIT_BUCKET" for target in targets)
        for participant in recording.participants:
            if participant in wanted:
                # Four voices are enough to distinguish files, and few enough to share them.
                audio = AudioSpec("OPUS", channels=1, voice=1 + zlib.crc32(participant.encode()) % 4)
                name = f"{prefix}_{participant}_{_milliseconds(recording)}.webm"
                spec = MediaSpec("webm", _seconds(recording), None, audio)
                files.append(OutputFile(name, spec, "layer", in_bucket, layer))
    return files


def _encodable(pixels: float) -> int:
    return max(_MIN_PIXELS, int(pixels) + int(pixels) % 2)


def _stem(recording: Recording) -> str:
    prefix = recording.config.get("file_name_prefix")
    return "_".join(filter(None, (prefix, recording.meeting.id, str(_milliseconds(recording)))))


def _milliseconds(recording: Recording) -> int:
    return int(recording.invoked_at * 1000)


def _seconds(recording: Recording) -> float:
    # Tenths of a second, so that recordings of about the same length share one file.
    return max(_MIN_SECONDS, round(recording.recorded_seconds, 1))
