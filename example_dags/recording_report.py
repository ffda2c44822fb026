"""What the example DAG makes of a downloaded recording: facts, pictures, sound for speech-to-text, one page.

Every function stands alone in a task: paths, numbers and dicts go in and come out. All of them read the
recording as a stream, so that 24 hours need no more memory than a minute. PyAV (18.1 or later, whose frames
have metadata), numpy and matplotlib are imported where they are used, because whatever lies in this folder is
imported whenever the folder is parsed.
"""

from __future__ import annotations

import argparse
import html
import json
import math
import os
import re
import sys
import wave
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.filter.context import FilterContext
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = "mp4,webm,mp3,aac,ogg,wav,flac,mpegts"  # the demuxers that a recording may need; no playlists, no images
SILENCE_DBFS, SILENCE_SECONDS = -50, 0.5
METER_RATE = 48_000  # BS.1770 gives its filters for this rate
SPEECH_RATE = 16_000
GAP_SECONDS = 0.1  # less is jitter of the timestamps
LONGEST_SECONDS = 24 * 3600  # no recording is longer, so a greater gap is a broken timestamp
CELL = (400, 500)  # the box, in pixels, that a frame of the contact sheet has to fit
NEAR_SECONDS = 10.0  # a usual distance of key frames: nearer than that, decoding on is cheaper than a seek
FRAMES_PER_CELL = 1800  # bounds the work where key frames are more than a minute apart
CURVE_POINTS = 2000
FLOOR_LUFS = -60.0  # of the drawn loudness
MOMENTARY_LAG = 0.15  # from the middle of the 400 ms measured to the middle of the 100 ms that carry the value
CONTACT_SHEET, WAVEFORM, SPEECH = "contact-sheet.png", "waveform.png", "speech.wav"
FACTS, PAGE = "facts.json", "report.html"


class MediaError(ValueError):
    """The file is no recording that can be read."""


# ---- reading -----------------------------------------------------------------------------------


@contextmanager
def _opened(media: str | Path) -> Iterator[InputContainer]:
    import av

    path = Path(media).resolve(strict=True)  # absolute: FFmpeg takes "name:rest" for a protocol
    try:
        container = av.open(str(path), options={"format_whitelist": FORMATS})
    except av.error.FFmpegError as error:
        raise MediaError(f"{path.name} is no recording that can be read: {error.strerror}") from error
    with container:
        if _picture(container) is None and _sound(container) is None:
            raise MediaError(f"{path.name} has neither picture nor sound")
        yield container


def _picture(container: InputContainer) -> VideoStream | None:
    from av.stream import Disposition

    moving = (s for s in container.streams.video if not s.disposition & Disposition.attached_pic)
    return next(moving, None)  # what is left out is the cover of an MP3


def _sound(container: InputContainer) -> AudioStream | None:
    return next(iter(container.streams.audio), None)


def _only(container: InputContainer, stream: Stream) -> None:
    from av.stream import Discard

    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all


@dataclass
class _Tally:
    """What the packets say; the header of a damaged file says what should have been."""

    start: float
    end: float = 0.0
    pictures: int = 0
    broken: int = 0
    cut: bool = False

    def count(self, packet: Packet[Any]) -> None:
        if packet.pts is not None:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base) - self.start
            self.end = max(self.end, end)
            self.pictures += packet.stream.type == "video"


def _start(container: InputContainer) -> float:
    return (container.start_time or 0) / 1_000_000


def _packets(container: InputContainer, tally: _Tally) -> Iterator[Packet[Any]]:
    import av

    try:
        for packet in container.demux():
            tally.count(packet)
            yield packet
    except av.error.FFmpegError:
        tally.cut = True


def _decoded(container: InputContainer, stream: Stream, tally: _Tally) -> Iterator[Any]:
    import av

    for packet in _packets(container, tally):
        if packet.stream.index == stream.index:
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                tally.broken += 1


def _resampled(frames: Iterable[AudioFrame], form: str, layout: str, rate: int) -> Iterator[AudioFrame]:
    import av

    for _, alike in groupby(frames, key=lambda frame: (frame.format.name, frame.layout.name, frame.rate)):
        resampler = av.AudioResampler(form, layout, rate)  # one serves frames of one kind only
        for frame in chain(alike, (None,)):
            yield from filter(None, resampler.resample(frame))


def _even(frames: Iterable[AudioFrame], start: float, rate: int) -> Iterator[np.ndarray]:
    """Put silence where sound is missing, so that sample n is heard n / rate after the start."""
    import numpy as np

    position = 0
    for frame in frames:
        samples = frame.to_ndarray()
        missing = 0 if frame.time is None else round((frame.time - start) * rate) - position
        if GAP_SECONDS * rate < missing < LONGEST_SECONDS * rate:
            position += missing
            for done in range(0, missing, rate):
                yield np.zeros((samples.shape[0], min(rate, missing - done)), samples.dtype)
        position += frame.samples
        yield samples


# ---- measuring ---------------------------------------------------------------------------------


def _pulled(sink: FilterContext) -> Iterator[AudioFrame]:
    with suppress(BlockingIOError, EOFError):  # not enough for a frame yet, and the end
        while True:
            yield cast("AudioFrame", sink.pull())


def _measured(container: InputContainer, tally: _Tally) -> Iterator[AudioFrame]:
    """Pass the sound by FFmpeg's meters: frames of 100 ms that carry loudness and silence as metadata."""
    import av

    stream = _sound(container)
    if stream is None:
        deque(_packets(container, tally), maxlen=0)  # there are still the pictures to count
        return
    layout = "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"
    graph, clock, position = av.filter.Graph(), Fraction(1, METER_RATE), 0
    source = graph.add_abuffer(sample_rate=METER_RATE, format="fltp", layout=layout, time_base=clock)
    loudness = graph.add("ebur128", "metadata=1")
    silence = graph.add("silencedetect", f"noise={SILENCE_DBFS}dB:duration={SILENCE_SECONDS}")
    sink = graph.add("abuffersink")
    graph.link_nodes(source, loudness, silence, sink).configure()
    frames = _resampled(_decoded(container, stream, tally), "fltp", layout, METER_RATE)
    for samples in _even(frames, tally.start, METER_RATE):
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = METER_RATE, clock, position
        position += frame.samples
        source.push(frame)
        yield from _pulled(sink)
    source.push(None)
    yield from _pulled(sink)


@dataclass
class _Meter:
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


def _loudness(meter: _Meter) -> dict[str, float | None]:
    gated = meter.integrated <= -70  # BS.1770 counts nothing below that, and the filter then answers -70
    return {
        "rms_dbfs": _dbfs(math.sqrt(meter.squares / meter.values)),
        "peak_dbfs": _dbfs(meter.peak),
        "integrated_lufs": None if gated else round(meter.integrated, 2),
    }


def _silence(meter: _Meter, duration: float) -> dict[str, Any]:
    total = sum(end - start for start, end in meter.silent)
    return {"spans": meter.silent, "total": round(total, 3), "share": round(min(1.0, total / duration), 4)}


def _video_facts(stream: VideoStream, tally: _Tally) -> dict[str, Any]:
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


def _warnings(promised: float, tally: _Tally) -> list[str]:
    warnings = []
    if promised - tally.end > max(1.0, promised / 100):
        ends = _clock(tally.end, 1)
        warnings.append(f"The file promises {_clock(promised, 1)}, but what can be read ends at {ends}.")
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
    path, meter = Path(media), _Meter()
    with _opened(media) as container:
        tally = _Tally(_start(container))
        for frame in _measured(container, tally):
            meter.take(frame)
        promised = (container.duration or 0) / 1_000_000
        ends = max(tally.end, meter.seconds)
        duration = promised if abs(promised - ends) < 0.5 else ends
        meter.hear(min(duration, meter.seconds))
        picture, sound = _picture(container), _sound(container)
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


# ---- sound for speech-to-text ------------------------------------------------------------------


def write_speech_wav(media: str | Path, wav: str | Path) -> str | None:
    """Write 16 kHz mono 16-bit PCM, silence where sound is missing; None if there is no sound."""
    with _opened(media) as container:
        stream = _sound(container)
        if stream is None:
            return None
        _only(container, stream)
        tally = _Tally(_start(container))
        frames = _resampled(_decoded(container, stream, tally), "s16", "mono", SPEECH_RATE)
        with wave.open(_prepared(wav), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(SPEECH_RATE)
            for samples in _even(frames, tally.start, SPEECH_RATE):
                out.writeframesraw(samples.tobytes())
    return str(wav)


# ---- drawing -----------------------------------------------------------------------------------


def _prepared(path: str | Path) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return str(path)


def _clock(seconds: float, digits: int = 0) -> str:
    """Write 65.24 s as 01:05, or with a digit as 01:05.2; past an hour as 1:00:00."""
    ticks = round(seconds * 10**digits)
    whole, part = divmod(ticks, 10**digits)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"
    return f"{text}.{part:0{digits}}" if digits else text


def _figure(width: float, height: float, dpi: int) -> Figure:
    """Make a figure of so many pixels at 100 dpi that belongs to no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 100, height / 100), dpi=dpi)
    FigureCanvasAgg(figure)
    return figure


def _reach(container: InputContainer, start: float) -> float:
    """Find the second at which the pictures really end: near the promised end, or by reading all."""
    import av

    for offset in (container.duration or 0, 0):
        tally = _Tally(start)
        with suppress(av.error.FFmpegError):
            container.seek(offset + round(start * 1_000_000))
        deque(_packets(container, tally), maxlen=0)
        if tally.end > 0:
            return tally.end
    return 0.0


def _view(frames: Iterator[VideoFrame], second: float) -> VideoFrame | None:
    """Decode up to that second of the stream, or as near to it as is cheap."""
    view = None
    for count, view in enumerate(frames, 1):
        if (view.time or 0) >= second or count >= FRAMES_PER_CELL:
            break
    return view


def _views(container: InputContainer, stream: VideoStream, seconds: Iterable[float]) -> Iterator[VideoFrame]:
    """Jump to the key frame before each second, or decode on to it where that is nearer."""
    import av

    frames, position = _decoded(container, stream, _Tally(0.0)), -math.inf
    for second in seconds:
        if second - position > NEAR_SECONDS:
            with suppress(av.error.FFmpegError):  # no index, no seek: what comes next is the best there is
                container.seek(int(second * 1_000_000))
            frames = _decoded(container, stream, _Tally(0.0))
        view = _view(frames, second)
        if view is not None:
            position = view.time or 0
            yield view


def _cell_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    width = frame.width * float(stream.sample_aspect_ratio or 1)
    scale = min(CELL[0] / width, CELL[1] / frame.height)
    return max(2, round(width * scale)), max(2, round(frame.height * scale))


def _shots(container: InputContainer, stream: VideoStream, count: int) -> list[tuple[float, np.ndarray]]:
    """Take small images at even distances, none twice, with the times at which they really are shown."""
    stream.thread_type = "AUTO"
    start = _start(container)
    reach, shots = _reach(container, start), {}
    for view in _views(container, stream, [start + reach * (n + 0.5) / count for n in range(count)]):
        width, height = _cell_size(view, stream)
        second = round((view.time or 0) - start, 3)
        shots[second] = view.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    return sorted(shots.items(), key=lambda shot: shot[0])


def draw_contact_sheet(media: str | Path, png: str | Path, columns: int = 4, rows: int = 3) -> str | None:
    """Draw frames at even distances, labelled with their times; None if there is no picture."""
    with _opened(media) as container:
        stream = _picture(container)
        if stream is None:
            return None
        _only(container, stream)
        shots = _shots(container, stream, columns * rows)
    if shots:
        _draw_cells(shots, columns).savefig(_prepared(png), transparent=True)
    return str(png) if shots else None


def _draw_cells(shots: Sequence[tuple[float, np.ndarray]], columns: int, gap: int = 8) -> Figure:
    height, width = shots[0][1].shape[:2]
    lines = math.ceil(len(shots) / columns)
    across, down = columns * (width + gap) - gap, lines * (height + gap) - gap
    figure = _figure(across, down, dpi=100)
    digits = 0 if shots[-1][0] >= 2 * len(shots) else 1
    for number, (second, image) in enumerate(shots):
        line, column = divmod(number, columns)
        left, bottom = column * (width + gap), down - line * (height + gap) - height
        figure.figimage(image[:height, :width], left, bottom, origin="upper")
        figure.text(
            (left + width - 12) / across,
            (bottom + 14) / down,
            _clock(second, digits),
            ha="right",
            color="white",
            fontsize=16,
            bbox={"facecolor": "#000000b0", "edgecolor": "none", "boxstyle": "round,pad=0.3"},
        )
    return figure


class _Curve:
    """Lowest and highest values of at most 2 * CURVE_POINTS steps, which grow with the recording."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.per, self.count = seconds, 1, 0
        self.low: list[float] = []
        self.high: list[float] = []

    def add(self, low: float, high: float) -> None:
        if self.count % self.per:
            self.low[-1], self.high[-1] = min(self.low[-1], low), max(self.high[-1], high)
        else:
            self.low.append(low)
            self.high.append(high)
        self.count += 1
        if self.count == 2 * CURVE_POINTS * self.per:
            self.low = list(map(min, self.low[::2], self.low[1::2]))
            self.high = list(map(max, self.high[::2], self.high[1::2]))
            self.per *= 2

    def times(self) -> list[float]:
        return [(number + 0.5) * self.per * self.seconds for number in range(len(self.low))]


@dataclass
class _Listening:
    """What the waveform is drawn from."""

    meter: _Meter = field(default_factory=_Meter)
    wave: _Curve = field(default_factory=lambda: _Curve(0.005))
    loudness: _Curve = field(default_factory=lambda: _Curve(0.1))

    def take(self, frame: AudioFrame) -> None:
        import numpy as np

        samples = self.meter.take(frame)
        steps = range(0, samples.size, METER_RATE // 200 * frame.layout.nb_channels)
        for low, high in zip(
            np.minimum.reduceat(samples, steps).tolist(),
            np.maximum.reduceat(samples, steps).tolist(),
            strict=True,
        ):
            self.wave.add(low, high)
        if "lavfi.r128.M" in frame.metadata:
            momentary = max(FLOOR_LUFS, float(frame.metadata["lavfi.r128.M"]))
            self.loudness.add(momentary, momentary)


def draw_waveform(media: str | Path, png: str | Path) -> str | None:
    """Draw the waveform, its loudness below, silence shaded; None if there is no sound."""
    heard = _Listening()
    with _opened(media) as container:
        for frame in _measured(container, _Tally(_start(container))):
            heard.take(frame)
    heard.meter.hear(heard.meter.seconds)
    if not heard.meter.values:
        return None
    _draw_listening(heard).savefig(_prepared(png))
    return str(png)


INK, LINE, BLUE, SHADE = "#39404c", "#e3e6ea", "#2a6bd4", "#dfe2e9"


def _draw_listening(heard: _Listening) -> Figure:
    figure = _figure(960, 440, dpi=200)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    figure.subplots_adjust(left=0.07, right=0.967, top=0.91, bottom=0.075, hspace=0.1)
    spans = [(start, end - start) for start, end in heard.meter.silent]
    for axes, label in ((upper, "silence" if spans else None), (lower, None)):
        _dress(axes)
        axes.broken_barh(spans, (0, 1), transform=axes.get_xaxis_transform(), color=SHADE, lw=0, label=label)
    _draw_wave(upper, heard)
    _draw_loudness(lower, heard)
    lower.set_xlim(0, heard.meter.seconds)
    _mark_time(lower, heard.meter.seconds)
    figure.legend(loc="upper left", bbox_to_anchor=(0.06, 1), ncols=3, frameon=False, labelcolor=INK, fontsize=9)
    return figure


def _dress(axes: Axes) -> None:
    axes.tick_params(colors=INK, labelsize=9, length=0, pad=6)
    axes.spines[:].set_visible(False)
    axes.grid(axis="y", color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)


def _draw_wave(axes: Axes, heard: _Listening) -> None:
    top = max(heard.meter.peak, 0.001)
    axes.fill_between(heard.wave.times(), heard.wave.low, heard.wave.high, color=BLUE, linewidth=0.3)
    axes.set_ylim(-1.1 * top, 1.1 * top)
    axes.set_ylabel("amplitude", color=INK, fontsize=9)


def _draw_loudness(axes: Axes, heard: _Listening) -> None:
    times = [time - MOMENTARY_LAG for time in heard.loudness.times()]
    values = [value if value > FLOOR_LUFS else math.nan for value in heard.loudness.high]
    axes.fill_between(times, FLOOR_LUFS, values, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(times, values, color=BLUE, linewidth=1.2, label="loudness (momentary)")
    if heard.meter.integrated > -70:
        whole = f"integrated: {_number(heard.meter.integrated)} LUFS"
        axes.axhline(heard.meter.integrated, color="#c2410c", linewidth=1, linestyle=(0, (4, 3)), label=whole)
    axes.set_ylim(FLOOR_LUFS, 0)
    axes.set_ylabel("LUFS", color=INK, fontsize=9)


def _mark_time(axes: Axes, seconds: float) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    nice = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600)
    step = next((step for step in nice if seconds / step <= 12), seconds / 12)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda second, _: _clock(second, int(step < 1))))


# ---- the page ----------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; --page: #f4f5f7; --card: #fff; --ink: #1b2028; --soft: #5b6472;
  --line: #e2e5ea; --link: #1f5fc4; --warn: #8a4b00; --warn-page: #fff4e0 }
@media (prefers-color-scheme: dark) { :root { --page: #101318; --card: #181c23; --ink: #e7eaf0;
  --soft: #9aa4b2; --line: #2a303a; --link: #7fb0ff; --warn: #ffcf8a; --warn-page: #33260f }
  .chart { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen } }
* { box-sizing: border-box; margin: 0 }
body { background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
  padding: 2.5rem 1.25rem }
main { max-width: 62rem; margin: auto; display: grid; gap: 1.25rem; grid-template-columns: minmax(0, 1fr) }
h1 { font-size: 1.75rem; line-height: 1.2; letter-spacing: -.01em; overflow-wrap: anywhere }
h2 { font-size: 1rem; margin-bottom: .75rem }
a { color: var(--link) }
.soft, dt, th { color: var(--soft) }
.soft { font-size: .875rem; margin-top: .35rem }
.warning { background: var(--warn-page); color: var(--warn); padding: .75rem 1rem; border-radius: .6rem }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem }
.tiles div, section { background: var(--card); border: 1px solid var(--line); border-radius: .75rem }
.tiles div { padding: .8rem 1rem }
dt { font-size: .8125rem }
dd { font-size: 1.3rem; font-weight: 600; font-variant-numeric: tabular-nums }
dd small { font-size: .8125rem; font-weight: 400; color: var(--soft); display: block }
section { padding: 1.1rem 1.25rem 1.25rem }
.wide { overflow-x: auto; background: var(--card) }
img { display: block; width: 100%; min-width: 36rem; height: auto }
.frames { border-radius: .35rem }
audio { width: 100%; display: block }
table { border-collapse: collapse; width: 100%; font-size: .9375rem }
th, td { text-align: left; vertical-align: top; padding: .45rem 0; border-top: 1px solid var(--line) }
tr:first-child > * { border-top: 0 }
th { font-weight: 400; width: 11rem; padding-right: 1rem }
td { overflow-wrap: anywhere; font-variant-numeric: tabular-nums }
@media (max-width: 34rem) { body { padding: 1.25rem .9rem } h1 { font-size: 1.4rem } th { width: 7.5rem }
  section { padding: .9rem 1rem 1rem } .tiles { grid-template-columns: 1fr 1fr } }
"""

BODY = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src file: 'self'; media-src file: 'self'">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<header><h1>$title</h1><p class="soft">$subtitle</p></header>
$parts
</main>
</body>
</html>
""")

NAMES = {"h264": "H.264", "aac": "AAC", "vp8": "VP8", "vp9": "VP9", "vorbis": "Vorbis", "opus": "Opus"}
NAMES |= {"mp3": "MP3", "mp4": "MP4", "webm": "WebM"}
SHOWN_SPANS = 60


def _number(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _text(value: object) -> str:
    """Escape a value for the page; of a URL keep no query, since that is where a signature is."""
    return html.escape(re.sub(r"(https?://[^\s?#]+)[?#]\S*", r"\1", str(value), flags=re.IGNORECASE))


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count} bytes"
        count /= 1000
    return f"{count:.2f} GB"


def _moment(value: object) -> str:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    return f"{moment.astimezone(UTC):%d %B %Y, %H:%M:%S} UTC" if moment.tzinfo else str(value)


def _level(value: float | None, unit: str) -> str:
    return "digital silence" if value is None else f"{_number(value)} {unit}"


def _tiles(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield "Duration", _clock(facts["duration"], 1), f"{_size(facts['size'])}, {_name(facts['container'])}"
    if video := facts["video"]:
        yield (
            "Picture",
            f"{video['width']} \N{MULTIPLICATION SIGN} {video['height']}",
            f"{video['fps']:g} frames/s",
        )
    if loudness := facts["loudness"]:
        level = loudness["integrated_lufs"]
        yield "Loudness", "none" if level is None else _number(level), "LUFS integrated"
        yield "Silence", f"{facts['silence']['share']:.0%}", f"{_clock(facts['silence']['total'], 1)} in all"


def _name(codec: str) -> str:
    return NAMES.get(codec, codec)


def _fact_rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Container", f"{_name(facts['container'])}, {facts['size']:,} bytes"
    if video := facts["video"]:
        size = f"{video['width']} \N{MULTIPLICATION SIGN} {video['height']}"
        yield (
            "Video",
            f"{_name(video['codec'])}, {size}, {video['frames']:,} frames at {video['fps']:g} a second",
        )
    if audio := facts["audio"]:
        channels = {1: "mono", 2: "stereo"}.get(audio["channels"], f"{audio['channels']} channels")
        yield "Audio", f"{_name(audio['codec'])}, {audio['sample_rate'] / 1000:g} kHz, {channels}"
    if levels := facts["loudness"]:
        yield "Loudness", f"{_level(levels['integrated_lufs'], 'LUFS')} integrated (ITU-R BS.1770)"
        yield "Level", f"RMS {_level(levels['rms_dbfs'], 'dBFS')}, peak {_level(levels['peak_dbfs'], 'dBFS')}"
    if silence := facts["silence"]:
        yield f"Silent spans ({len(silence['spans'])})", _spans(silence["spans"])


def _spans(spans: Sequence[Sequence[float]]) -> str:
    shown = [f"{_clock(start, 1)}\N{EN DASH}{_clock(end, 1)}" for start, end in spans[:SHOWN_SPANS]]
    more = [f"and {len(spans) - SHOWN_SPANS} more"] if len(spans) > SHOWN_SPANS else []
    return ", ".join(shown + more) or "none"


def _recording_rows(recording: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Pick what a reader wants to know: what is not named here, URLs and storage settings, never gets out."""
    meeting, stop = recording.get("meeting") or {}, recording.get("stop_reason") or {}
    named = {
        "Recording": recording.get("id"),
        "Meeting": meeting.get("id") or recording.get("meeting_id"),
        "Output file": recording.get("output_file_name"),
        "Status": recording.get("status"),
        "Started": _moment(recording.get("started_time") or ""),
        "Stopped": _moment(recording.get("stopped_time") or ""),
        "Stopped by": stop.get("reason"),
    }
    return ((name, str(value)) for name, value in named.items() if value)


def _table(heading: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = "\n".join(f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>' for name, value in rows)
    return f"<section><h2>{heading}</h2><table>\n{lines}\n</table></section>" if lines else ""


def _image(heading: str, name: str, kind: str, alt: str) -> str:
    image = f'<a href="{name}"><img class="{kind}" src="{name}" alt="{_text(alt)}"></a>'
    return f'<section><h2>{heading}</h2><div class="wide">{image}</div></section>'


def _pictures(folder: Path, facts: Mapping[str, Any]) -> Iterator[str]:
    """Show what was drawn; the facts decide, because a file may be left over from another recording."""
    if facts["video"] and (folder / CONTACT_SHEET).exists():
        alt = "Frames at even distances over the recording, each labelled with its time"
        yield _image("Frames", CONTACT_SHEET, "frames", alt)
    if facts["audio"] and (folder / WAVEFORM).exists():
        silent = len(facts["silence"]["spans"]) if facts["silence"] else 0
        alt = f"Waveform of the sound with its momentary loudness below; {silent} silent spans are shaded"
        yield _image("Sound", WAVEFORM, "chart", alt)
    if facts["audio"] and (folder / SPEECH).exists():
        yield (
            f'<section><h2>For speech-to-text</h2><audio controls preload="metadata" src="{SPEECH}"></audio>'
            f'<p class="soft"><a href="{SPEECH}">{SPEECH}</a>: 16 kHz, mono, 16-bit PCM</p></section>'
        )


def _link(media: str | Path, folder: Path) -> str:
    path = Path(os.path.relpath(media, folder))
    return f'<p class="soft">Recording: <a href="{quote(path.as_posix())}">{_text(path.name)}</a></p>'


def write_page(
    folder: str | Path,
    facts: Mapping[str, Any],
    recording: Mapping[str, Any] | None = None,
    media: str | Path | None = None,
) -> str:
    """Bind the facts and whatever of the other results lies in the folder into one page.

    `recording` is the recording as the API describes it, `media` the file to link to. Of the former only a
    few named fields are shown, so that no URL of it gets into the page.
    """
    folder, recording = Path(folder), recording or {}
    tiles = "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}<small>{_text(note)}</small></dd></div>"
        for name, value, note in _tiles(facts)
    )
    parts = [
        *(f'<p class="warning">{_text(warning)}</p>' for warning in facts["warnings"]),
        f'<dl class="tiles">{tiles}</dl>',
        *_pictures(folder, facts),
        _table("Facts", _fact_rows(facts)),
        _table("Recording", _recording_rows(recording)),
        _link(media, folder) if media else "",
    ]
    title = (recording.get("meeting") or {}).get("title") or facts["file"]
    when = recording.get("started_time") or recording.get("invoked_time")
    subtitle = f"Meeting recording, {_moment(when)}" if when else "Meeting recording"
    page = BODY.substitute(
        title=_text(title), style=STYLE, subtitle=_text(subtitle), parts="\n".join(filter(None, parts))
    )
    path = Path(_prepared(folder / PAGE))
    path.write_text(page, encoding="utf-8")
    return str(path)


def build_report(media: str | Path, folder: str | Path, recording: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Do all of the above; return the facts."""
    folder = Path(folder)
    facts = read_facts(media)
    Path(_prepared(folder / FACTS)).write_text(json.dumps(facts, indent=2), encoding="utf-8")
    draw_contact_sheet(media, folder / CONTACT_SHEET)
    draw_waveform(media, folder / WAVEFORM)
    write_speech_wav(media, folder / SPEECH)
    write_page(folder, facts, recording, media)
    return facts


def main(argv: Sequence[str] | None = None) -> int:
    """Build the report of a media file from the command line."""
    parser = argparse.ArgumentParser(description="Make a report of a recording.")
    parser.add_argument("media", type=Path, help="the recording: MP4, WebM, MP3 and the like")
    parser.add_argument("folder", type=Path, help="where the report goes")
    arguments = parser.parse_args(argv)
    try:
        build_report(arguments.media, arguments.folder)
    except (MediaError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(arguments.folder / PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
