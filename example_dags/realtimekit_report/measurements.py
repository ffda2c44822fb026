"""Measure a recording from its first to its last packet: duration, codecs, loudness and silence."""

from __future__ import annotations

import json
import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .formatting import format_clock
from .media import (
    PacketStats,
    decode_frames,
    fill_gaps,
    find_audio,
    find_video,
    make_parent,
    open_media,
    read_packets,
    resample_frames,
    start_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.filter.context import FilterContext
    from av.video.stream import VideoStream

SILENCE_DBFS, SILENCE_SECONDS = -50, 0.5  # softer than this for this long is silence
METER_RATE = 48_000  # ITU-R BS.1770 gives the coefficients of its filters for this rate
LOWEST_LUFS = -70  # ITU-R BS.1770 leaves out softer blocks, and FFmpeg reports -70 if it left out all of them


def write_measurements(media: str | Path, path: str | Path) -> dict[str, Any]:
    """Measure a recording, write the result as JSON, and return it."""
    measurements = measure_recording(media)
    Path(make_parent(path)).write_text(json.dumps(measurements, indent=2), encoding="utf-8")
    return measurements


def measure_recording(media: str | Path) -> dict[str, Any]:
    """Measure a recording.

    Returns plain JSON: `file`, `size` (bytes), `container`, `duration` (seconds), `video`, `audio`, `loudness`,
    `silence` and `warnings`. `video`, or `audio`, `loudness` and `silence`, are None where the recording has no
    picture or no sound. A level is None where there is nothing but digital silence.

    :raises MediaError: if the file is not a recording that can be read
    """
    path, meter = Path(media), AudioMeter()
    with open_media(media) as container:
        stats = PacketStats(start_seconds(container))
        for frame in meter_frames(container, stats):
            meter.add(frame)
        header_duration = (container.duration or 0) / 1_000_000
        end = max(stats.end, meter.seconds)
        # The header is more exact than the packets, unless the file was cut.
        duration = header_duration if abs(header_duration - end) < 0.5 else end
        meter.end_silence(min(duration, meter.seconds))
        video, audio = find_video(container), find_audio(container)
        return {
            "file": path.name,
            "size": path.stat().st_size,
            "container": _container_name(container, path),
            "duration": round(duration, 3),
            "video": _describe_video(video, stats) if video else None,
            "audio": _describe_audio(audio) if audio else None,
            "loudness": _loudness(meter) if meter.values else None,
            "silence": _silence(meter, duration) if meter.values else None,
            "warnings": _warnings(header_duration, stats),
        }


def meter_frames(container: InputContainer, stats: PacketStats) -> Iterator[AudioFrame]:
    """Send the sound through FFmpeg's meters: yields frames of 100 ms with loudness and silence as metadata."""
    import av

    stream = find_audio(container)
    if stream is None:
        deque(read_packets(container, stats), maxlen=0)  # the pictures are still to be counted
        return
    layout = "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"
    graph, time_base, position = av.filter.Graph(), Fraction(1, METER_RATE), 0
    source = graph.add_abuffer(sample_rate=METER_RATE, format="fltp", layout=layout, time_base=time_base)
    loudness = graph.add("ebur128", "metadata=1")
    silence = graph.add("silencedetect", f"noise={SILENCE_DBFS}dB:duration={SILENCE_SECONDS}")
    sink = graph.add("abuffersink")
    graph.link_nodes(source, loudness, silence, sink).configure()
    frames = resample_frames(decode_frames(container, stream, stats), "fltp", layout, METER_RATE)
    for samples in fill_gaps(frames, stats.start, METER_RATE):
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = METER_RATE, time_base, position
        position += frame.samples
        source.push(frame)
        yield from _pull_frames(sink)
    source.push(None)
    yield from _pull_frames(sink)


def _pull_frames(sink: FilterContext) -> Iterator[AudioFrame]:
    # BlockingIOError: not enough sound for a frame yet. EOFError: no more will come.
    with suppress(BlockingIOError, EOFError):
        while True:
            yield cast("AudioFrame", sink.pull())


@dataclass
class AudioMeter:
    """Adds up metered frames: length in seconds, number of values, energy, peak, LUFS, and silent spans in seconds."""

    seconds: float = 0.0
    values: int = 0
    squares: float = 0.0
    peak: float = 0.0
    integrated: float = -math.inf
    silent: list[list[float]] = field(default_factory=list)
    silent_since: float | None = None

    def add(self, frame: AudioFrame) -> np.ndarray:
        """Add a frame, and return its samples."""
        metadata = frame.metadata
        samples: np.ndarray = frame.to_ndarray()[0]
        self.seconds += frame.samples / METER_RATE
        self.values += samples.size
        self.squares += float(samples @ samples)
        self.peak = max(self.peak, float(abs(samples).max()))
        # Each frame carries the loudness of all sound up to it.
        self.integrated = float(metadata.get("lavfi.r128.I", self.integrated))
        if "lavfi.silence_start" in metadata:
            self.silent_since = max(0.0, float(metadata["lavfi.silence_start"]))
        if "lavfi.silence_end" in metadata:
            self.end_silence(float(metadata["lavfi.silence_end"]))
        return samples

    def end_silence(self, second: float) -> None:
        """End the silent span that has begun, if one has."""
        if self.silent_since is not None:
            self.silent.append([round(self.silent_since, 3), round(second, 3)])
            self.silent_since = None


def _loudness(meter: AudioMeter) -> dict[str, float | None]:
    is_measured = meter.integrated > LOWEST_LUFS
    return {
        "rms_dbfs": _dbfs(math.sqrt(meter.squares / meter.values)),
        "peak_dbfs": _dbfs(meter.peak),
        "integrated_lufs": round(meter.integrated, 2) if is_measured else None,
    }


def _dbfs(value: float) -> float | None:
    return round(20 * math.log10(value), 2) if value > 0 else None


def _silence(meter: AudioMeter, duration: float) -> dict[str, Any]:
    total = sum(end - start for start, end in meter.silent)
    return {"spans": meter.silent, "total": round(total, 3), "share": round(min(1.0, total / duration), 4)}


def _describe_video(stream: VideoStream, stats: PacketStats) -> dict[str, Any]:
    # A file need not state its rate.
    rate = stream.average_rate or (stats.pictures / stats.end if stats.end else 0)
    context = stream.codec_context
    return {
        "codec": context.codec.canonical_name,
        "width": context.width,
        "height": context.height,
        "fps": round(float(rate), 3),
        "frames": stats.pictures,
    }


def _describe_audio(stream: AudioStream) -> dict[str, Any]:
    context = stream.codec_context
    return {
        "codec": context.codec.canonical_name,
        "sample_rate": context.sample_rate,
        "channels": context.layout.nb_channels,
    }


def _warnings(header_duration: float, stats: PacketStats) -> list[str]:
    warnings = []
    if header_duration - stats.end > max(1.0, header_duration / 100):
        expected, readable = format_clock(header_duration, 1), format_clock(stats.end, 1)
        warnings.append(f"The file should last {expected}, but only the first {readable} can be read.")
    if stats.is_cut:
        warnings.append("The file is damaged: it could not be read to its end.")
    if stats.broken:
        warnings.append(f"{stats.broken} packets of sound are damaged and were left out.")
    return warnings


def _container_name(container: InputContainer, path: Path) -> str:
    # FFmpeg lists all formats that one reader serves, such as "mov,mp4,m4a,3gp".
    names = container.format.name.split(",")
    return suffix if (suffix := path.suffix.lower().lstrip(".")) in names else names[0]
