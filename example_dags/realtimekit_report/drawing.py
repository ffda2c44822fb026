"""Draw a recording: the contact sheet (frames of its full length), and the waveform with its loudness."""

from __future__ import annotations

import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .formatting import axis_step, format_clock, format_number
from .measurements import LOWEST_LUFS, METER_RATE, AudioMeter, meter_frames
from .media import (
    PacketStats,
    decode_frames,
    discard_others,
    find_video,
    make_parent,
    open_media,
    read_packets,
    start_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL = (400, 500)  # a frame of the contact sheet fits into this box: width and height in pixels
SEEK_SECONDS = 10.0  # a usual distance of key frames: to a nearer moment, decoding on is cheaper than a seek
FRAMES_PER_CELL = 1800  # bounds the work where key frames are more than a minute apart
CURVE_POINTS = 2000  # more than the drawing has pixels; a curve has between one and two times as many steps
FLOOR_LUFS = -60.0  # the lower edge of the drawn loudness
# FFmpeg measures 400 ms and writes the value on the last 100 ms of them; their middles are this far apart.
MOMENTARY_LAG = 0.15
INK, LINE, BLUE, SHADE, RED = "#39404c", "#e3e6ea", "#2a6bd4", "#dfe2e9", "#c2410c"


def _new_figure(width: float, height: float, dpi: int) -> Figure:
    """Make a figure of this size in pixels, at 100 dpi."""
    # Not by matplotlib's global interface, which would hold on to every figure in a worker that lives long.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 100, height / 100), dpi=dpi)
    FigureCanvasAgg(figure)
    return figure


# ---- the contact sheet ---------------------------------------------------------------------------


def draw_contact_sheet(media: str | Path, png: str | Path, columns: int = 4, rows: int = 3) -> str | None:
    """Draw frames at even distances, labelled with their times; returns None if there is no picture."""
    with open_media(media) as container:
        stream = find_video(container)
        if stream is None:
            return None
        discard_others(container, stream)
        cells = _read_cells(container, stream, columns * rows)
    if cells:
        _draw_cells(cells, columns).savefig(make_parent(png), transparent=True)
    return str(png) if cells else None


def _read_cells(container: InputContainer, stream: VideoStream, count: int) -> list[tuple[float, np.ndarray]]:
    """Read small images at even distances, none twice, with the seconds at which they are really shown."""
    stream.thread_type = "AUTO"
    start = start_seconds(container)
    end, cells = _find_end(container, start), {}
    for frame in _frames_at(container, stream, [start + end * (number + 0.5) / count for number in range(count)]):
        # Pixels need not be square.
        shown_width = frame.width * float(stream.sample_aspect_ratio or 1)
        scale = min(CELL[0] / shown_width, CELL[1] / frame.height)
        width, height = max(2, round(shown_width * scale)), max(2, round(frame.height * scale))
        second = round((frame.time or 0) - start, 3)
        cells[second] = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    return sorted(cells.items(), key=lambda cell: cell[0])


def _find_end(container: InputContainer, start: float) -> float:
    """Find the second at which the pictures end: near the end that the header states, or by reading all of the file."""
    import av

    for offset in (container.duration or 0, 0):
        stats = PacketStats(start)
        with suppress(av.error.FFmpegError):
            container.seek(offset + round(start * 1_000_000))
        deque(read_packets(container, stats), maxlen=0)
        if stats.end > 0:
            return stats.end
    return 0.0


def _frames_at(container: InputContainer, stream: VideoStream, seconds: Iterable[float]) -> Iterator[VideoFrame]:
    """Yield the frame of each second: seek the key frame before it, or decode on to it where that is nearer."""
    import av

    frames, position = decode_frames(container, stream, PacketStats(0.0)), -math.inf
    for second in seconds:
        if second - position > SEEK_SECONDS:
            # A file without an index cannot seek; then the next frame is the best there is.
            with suppress(av.error.FFmpegError):
                container.seek(int(second * 1_000_000))
            frames = decode_frames(container, stream, PacketStats(0.0))
        frame = None
        for count, frame in enumerate(frames, 1):
            if (frame.time or 0) >= second or count >= FRAMES_PER_CELL:
                break
        if frame is not None:
            position = frame.time or 0
            yield frame


def _draw_cells(cells: Sequence[tuple[float, np.ndarray]], columns: int, gap: int = 8) -> Figure:
    height, width = cells[0][1].shape[:2]
    lines = math.ceil(len(cells) / columns)
    across, down = columns * (width + gap) - gap, lines * (height + gap) - gap
    figure = _new_figure(across, down, dpi=100)
    # Tenths of seconds where the cells are less than about two seconds apart.
    digits = 0 if cells[-1][0] >= 2 * len(cells) else 1
    for number, (second, image) in enumerate(cells):
        line, column = divmod(number, columns)
        left, bottom = column * (width + gap), down - line * (height + gap) - height
        figure.figimage(image[:height, :width], left, bottom, origin="upper")
        figure.text(
            (left + width - 12) / across,
            (bottom + 14) / down,
            format_clock(second, digits),
            ha="right",
            color="white",
            fontsize=16,
            bbox={"facecolor": "#000000b0", "edgecolor": "none", "boxstyle": "round,pad=0.3"},
        )
    return figure


# ---- the waveform --------------------------------------------------------------------------------


def draw_waveform(media: str | Path, png: str | Path) -> str | None:
    """Draw the waveform with silence shaded, and the loudness below; returns None if there is no sound."""
    waveform = _Waveform()
    with open_media(media) as container:
        for frame in meter_frames(container, PacketStats(start_seconds(container))):
            waveform.add(frame)
    waveform.meter.end_silence(waveform.meter.seconds)
    if not waveform.meter.values:
        return None
    _draw_axes(waveform).savefig(make_parent(png))
    return str(png)


class _Envelope:
    """Lowest and highest values of at most 2 * CURVE_POINTS steps.

    :param seconds: the length of one value; a step is one value long at first, and doubles as the recording grows
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.per_step, self.count = seconds, 1, 0
        self.low: list[float] = []
        self.high: list[float] = []

    def add(self, low: float, high: float) -> None:
        if self.count % self.per_step:
            self.low[-1], self.high[-1] = min(self.low[-1], low), max(self.high[-1], high)
        else:
            self.low.append(low)
            self.high.append(high)
        self.count += 1
        if self.count == 2 * CURVE_POINTS * self.per_step:
            self.low = list(map(min, self.low[::2], self.low[1::2]))
            self.high = list(map(max, self.high[::2], self.high[1::2]))
            self.per_step *= 2

    def times(self) -> list[float]:
        """Return the middles of the steps, in seconds."""
        return [(number + 0.5) * self.per_step * self.seconds for number in range(len(self.low))]


@dataclass
class _Waveform:
    """What the waveform is drawn from, collected frame by frame."""

    meter: AudioMeter = field(default_factory=AudioMeter)
    amplitude: _Envelope = field(default_factory=lambda: _Envelope(0.005))
    loudness: _Envelope = field(default_factory=lambda: _Envelope(0.1))

    def add(self, frame: AudioFrame) -> None:
        import numpy as np

        samples = self.meter.add(frame)
        # 5 ms of all channels at once: their samples alternate.
        steps = range(0, samples.size, METER_RATE // 200 * frame.layout.nb_channels)
        lows, highs = np.minimum.reduceat(samples, steps).tolist(), np.maximum.reduceat(samples, steps).tolist()
        for low, high in zip(lows, highs, strict=True):
            self.amplitude.add(low, high)
        if "lavfi.r128.M" in frame.metadata:
            momentary = max(FLOOR_LUFS, float(frame.metadata["lavfi.r128.M"]))
            self.loudness.add(momentary, momentary)


def _draw_axes(waveform: _Waveform) -> Figure:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    figure, meter = _new_figure(960, 440, dpi=200), waveform.meter
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    figure.subplots_adjust(left=0.07, right=0.967, top=0.91, bottom=0.075, hspace=0.1)
    spans = [(start, end - start) for start, end in meter.silent]
    for axes, label in ((upper, "silence" if spans else None), (lower, None)):
        axes.tick_params(colors=INK, labelsize=9, length=0, pad=6)
        axes.spines[:].set_visible(False)
        axes.grid(axis="y", color=LINE, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.broken_barh(spans, (0, 1), transform=axes.get_xaxis_transform(), color=SHADE, lw=0, label=label)
    _draw_amplitude(upper, waveform)
    _draw_loudness(lower, waveform)
    step = axis_step(meter.seconds, 12)
    lower.set_xlim(0, meter.seconds)
    lower.xaxis.set_major_locator(MultipleLocator(step))
    lower.xaxis.set_major_formatter(FuncFormatter(lambda second, _: format_clock(second, int(step < 1))))
    figure.legend(loc="upper left", bbox_to_anchor=(0.06, 1), ncols=3, frameon=False, labelcolor=INK, fontsize=9)
    return figure


def _draw_amplitude(axes: Axes, waveform: _Waveform) -> None:
    top = max(waveform.meter.peak, 0.001)
    amplitude = waveform.amplitude
    axes.fill_between(amplitude.times(), amplitude.low, amplitude.high, color=BLUE, linewidth=0.3)
    axes.set_ylim(-1.1 * top, 1.1 * top)
    axes.set_ylabel("amplitude", color=INK, fontsize=9)


def _draw_loudness(axes: Axes, waveform: _Waveform) -> None:
    times = [time - MOMENTARY_LAG for time in waveform.loudness.times()]
    # A gap in the curve, instead of a line along the lower edge.
    values = [value if value > FLOOR_LUFS else math.nan for value in waveform.loudness.high]
    axes.fill_between(times, FLOOR_LUFS, values, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(times, values, color=BLUE, linewidth=1.2, label="loudness (momentary)")
    integrated = waveform.meter.integrated
    if integrated > LOWEST_LUFS:
        label = f"integrated: {format_number(integrated)} LUFS"
        axes.axhline(integrated, color=RED, linewidth=1, linestyle=(0, (4, 3)), label=label)
    axes.set_ylim(FLOOR_LUFS, 0)
    axes.set_ylabel("LUFS", color=INK, fontsize=9)
