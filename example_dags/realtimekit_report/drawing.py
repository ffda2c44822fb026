"""Draw a recording: frames of its whole length on one sheet, and its sound with its loudness."""

from __future__ import annotations

import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .measurements import METER_RATE, Meter, measured
from .media import Tally, as_number, clock, decoded, only, opened, packets, picture_of, prepared, start_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL = (400, 500)  # the box, in pixels, that a frame of the contact sheet has to fit
NEAR_SECONDS = 10.0  # a usual distance of key frames: nearer than that, decoding on is cheaper than a seek
FRAMES_PER_CELL = 1800  # bounds the work where key frames are more than a minute apart
CURVE_POINTS = 2000
FLOOR_LUFS = -60.0  # of the drawn loudness
MOMENTARY_LAG = 0.15  # from the middle of the 400 ms measured to the middle of the 100 ms that carry the value
INK, LINE, BLUE, SHADE = "#39404c", "#e3e6ea", "#2a6bd4", "#dfe2e9"


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
        tally = Tally(start)
        with suppress(av.error.FFmpegError):
            container.seek(offset + round(start * 1_000_000))
        deque(packets(container, tally), maxlen=0)
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

    frames, position = decoded(container, stream, Tally(0.0)), -math.inf
    for second in seconds:
        if second - position > NEAR_SECONDS:
            with suppress(av.error.FFmpegError):  # no index, no seek: what comes next is the best there is
                container.seek(int(second * 1_000_000))
            frames = decoded(container, stream, Tally(0.0))
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
    start = start_of(container)
    reach, shots = _reach(container, start), {}
    for view in _views(container, stream, [start + reach * (n + 0.5) / count for n in range(count)]):
        width, height = _cell_size(view, stream)
        second = round((view.time or 0) - start, 3)
        shots[second] = view.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    return sorted(shots.items(), key=lambda shot: shot[0])


def draw_contact_sheet(media: str | Path, png: str | Path, columns: int = 4, rows: int = 3) -> str | None:
    """Draw frames at even distances, labelled with their times; None if there is no picture."""
    with opened(media) as container:
        stream = picture_of(container)
        if stream is None:
            return None
        only(container, stream)
        shots = _shots(container, stream, columns * rows)
    if shots:
        _draw_cells(shots, columns).savefig(prepared(png), transparent=True)
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
            clock(second, digits),
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

    meter: Meter = field(default_factory=Meter)
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
    with opened(media) as container:
        for frame in measured(container, Tally(start_of(container))):
            heard.take(frame)
    heard.meter.hear(heard.meter.seconds)
    if not heard.meter.values:
        return None
    _draw_listening(heard).savefig(prepared(png))
    return str(png)


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
        whole = f"integrated: {as_number(heard.meter.integrated)} LUFS"
        axes.axhline(heard.meter.integrated, color="#c2410c", linewidth=1, linestyle=(0, (4, 3)), label=whole)
    axes.set_ylim(FLOOR_LUFS, 0)
    axes.set_ylabel("LUFS", color=INK, fontsize=9)


def _mark_time(axes: Axes, seconds: float) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    nice = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600)
    step = next((step for step in nice if seconds / step <= 12), seconds / 12)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda second, _: clock(second, int(step < 1))))
