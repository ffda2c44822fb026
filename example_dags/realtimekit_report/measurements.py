"""Measure a recording: duration, codecs, loudness and silence, from its first to its last packet."""

from __future__ import annotations

import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .media import Tally, clock, decoded, even, opened, packets, picture_of, resampled, sound_of, start_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.filter.context import FilterContext
    from av.video.stream import VideoStream

SILENCE_DBFS, SILENCE_SECONDS = -50, 0.5
METER_RATE = 48_000  # BS.1770 gives its filters for this rate


def _pulled(sink: FilterContext) -> Iterator[AudioFrame]:
    with suppress(BlockingIOError, EOFError):  # not enough for a frame yet, and the end
        while True:
            yield cast("AudioFrame", sink.pull())


def measured(container: InputContainer, tally: Tally) -> Iterator[AudioFrame]:
    """Pass the sound by FFmpeg's meters: frames of 100 ms that carry loudness and silence as metadata."""
    import av

    stream = sound_of(container)
    if stream is None:
        deque(packets(container, tally), maxlen=0)  # there are still the pictures to count
        return
    layout = "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"
    graph, clock, position = av.filter.Graph(), Fraction(1, METER_RATE), 0
    source = graph.add_abuffer(sample_rate=METER_RATE, format="fltp", layout=layout, time_base=clock)
    loudness = graph.add("ebur128", "metadata=1")
    silence = graph.add("silencedetect", f"noise={SILENCE_DBFS}dB:duration={SILENCE_SECONDS}")
    sink = graph.add("abuffersink")
    graph.link_nodes(source, loudness, silence, sink).configure()
    frames = resampled(decoded(container, stream, tally), "fltp", layout, METER_RATE)
    for samples in even(frames, tally.start, METER_RATE):
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = METER_RATE, clock, position
        position += frame.samples
        source.push(frame)
        yield from _pulled(sink)
    source.push(None)
    yield from _pulled(sink)


@dataclass
class Meter:
    """Adds up what the measured frames tell."""

    seconds: float = 0.0
    values: int = 0
    squares: float = 0.0
    peak: float = 0.0
    integrated: float = -math.inf
    silent: list[list[float]] = field(default_factory=list)
    silent_since: float | None = None

    def take(self, frame: AudioFrame) -> np.ndarray:
        notes = frame.metadata
        samples: np.ndarray = frame.to_ndarray()[0]
        self.seconds += frame.samples / METER_RATE
        self.values += samples.size
        self.squares += float(samples @ samples)
        self.peak = max(self.peak, float(abs(samples).max()))
        self.integrated = float(notes.get("lavfi.r128.I", self.integrated))
        if "lavfi.silence_start" in notes:
            self.silent_since = max(0.0, float(notes["lavfi.silence_start"]))
        if "lavfi.silence_end" in notes:
            self.hear(float(notes["lavfi.silence_end"]))
        return samples

    def hear(self, second: float) -> None:
        if self.silent_since is not None:
            self.silent.append([round(self.silent_since, 3), round(second, 3)])
            self.silent_since = None


def _dbfs(value: float) -> float | None:
    return round(20 * math.log10(value), 2) if value > 0 else None


def _loudness(meter: Meter) -> dict[str, float | None]:
    gated = meter.integrated <= -70  # BS.1770 counts nothing below that, and the filter then answers -70
    return {
        "rms_dbfs": _dbfs(math.sqrt(meter.squares / meter.values)),
        "peak_dbfs": _dbfs(meter.peak),
        "integrated_lufs": None if gated else round(meter.integrated, 2),
    }


def _silence(meter: Meter, duration: float) -> dict[str, Any]:
    total = sum(end - start for start, end in meter.silent)
    return {"spans": meter.silent, "total": round(total, 3), "share": round(min(1.0, total / duration), 4)}


def _video_facts(stream: VideoStream, tally: Tally) -> dict[str, Any]:
    rate = stream.average_rate or (tally.pictures / tally.end if tally.end else 0)
    context = stream.codec_context
    return {
        "codec": context.codec.canonical_name,
        "width": context.width,
        "height": context.height,
        "fps": round(float(rate), 3),
        "frames": tally.pictures,
    }


def _audio_facts(stream: AudioStream) -> dict[str, Any]:
    context = stream.codec_context
    return {
        "codec": context.codec.canonical_name,
        "sample_rate": context.sample_rate,
        "channels": context.layout.nb_channels,
    }


def _warnings(promised: float, tally: Tally) -> list[str]:
    warnings = []
    if promised - tally.end > max(1.0, promised / 100):
        ends = clock(tally.end, 1)
        warnings.append(f"The file promises {clock(promised, 1)}, but what can be read ends at {ends}.")
    if tally.cut:
        warnings.append("The file is damaged: it could not be read to its end.")
    if tally.broken:
        warnings.append(f"{tally.broken} packets of sound are damaged and were left out.")
    return warnings


def _container_name(container: InputContainer, path: Path) -> str:
    names = container.format.name.split(",")
    return suffix if (suffix := path.suffix.lower().lstrip(".")) in names else names[0]


def read_facts(media: str | Path) -> dict[str, Any]:
    """Measure the recording from its first to its last packet.

    `video`, or `audio`, `loudness` and `silence`, are None where the recording has no picture or no sound; a
    level is None where there is nothing but digital silence.
    """
    path, meter = Path(media), Meter()
    with opened(media) as container:
        tally = Tally(start_of(container))
        for frame in measured(container, tally):
            meter.take(frame)
        promised = (container.duration or 0) / 1_000_000
        ends = max(tally.end, meter.seconds)
        duration = promised if abs(promised - ends) < 0.5 else ends
        meter.hear(min(duration, meter.seconds))
        picture, sound = picture_of(container), sound_of(container)
        return {
            "file": path.name,
            "size": path.stat().st_size,
            "container": _container_name(container, path),
            "duration": round(duration, 3),
            "video": _video_facts(picture, tally) if picture else None,
            "audio": _audio_facts(sound) if sound else None,
            "loudness": _loudness(meter) if meter.values else None,
            "silence": _silence(meter, duration) if meter.values else None,
            "warnings": _warnings(promised, tally),
        }
