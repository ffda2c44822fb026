"""What the example of track recordings makes of its files: who spoke when, and one page with all voices.

A voice is what is known of one track, as plain JSON: ``speaker``, ``began`` (ISO 8601, or None), ``wav`` (the name
of its file), ``seconds``, ``shape`` (how loud it is, from 0 to 1, at even distances) and ``turns`` (from when to when
somebody speaks).
"""

from __future__ import annotations

import wave
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .media import clock, prepared
from .report_page import BODY, STYLE, as_moment, as_table, as_text, recording_rows

if TYPE_CHECKING:
    import numpy as np

TRACK_PAGE = "speakers.html"
STEP_SECONDS = 0.05  # what is measured as one
BLOCK_STEPS = 1200  # read at once: a minute
SHAPE_POINTS = 1000
TALK_DBFS = -45
PAUSE_SECONDS, TURN_SECONDS = 0.6, 0.15  # a shorter pause ends no turn, a shorter sound is none
WIDTH, HEIGHT = 1000, 100  # of a drawing, which is stretched to the page
TICKS = 6
COLOURS = 6

Voice = dict[str, Any]
Turns = list[list[float]]


# ---- listening ---------------------------------------------------------------------------------


def measure_voice(wav: str | Path) -> Voice:
    """Measure a voice: 16-bit mono PCM, read as a stream."""
    import numpy as np

    with wave.open(str(wav)) as sound:
        step = round(sound.getframerate() * STEP_SECONDS)
        blocks = [_measure_block(block) for block in _blocks(sound, step)]
        seconds = sound.getnframes() / sound.getframerate()
    peaks, powers = np.concatenate(blocks, axis=1) if blocks else np.zeros((2, 0))
    return {"seconds": round(seconds, 3), "shape": _shape(peaks), "turns": _turns(powers, seconds)}


def _blocks(sound: wave.Wave_read, step: int) -> Iterator[np.ndarray]:
    """Yield steps of samples, the last one filled up with silence."""
    import numpy as np

    while data := sound.readframes(step * BLOCK_STEPS):
        samples = np.frombuffer(data, "<i2").astype(np.float32) / 32768
        yield np.pad(samples, (0, -samples.size % step)).reshape(-1, step)


def _measure_block(steps: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.stack([abs(steps).max(axis=1), (steps**2).mean(axis=1)])


def _shape(peaks: np.ndarray) -> list[float]:
    import numpy as np

    edges = np.unique(np.linspace(0, len(peaks), SHAPE_POINTS, endpoint=False).astype(int))
    return [round(float(peak), 3) for peak in np.maximum.reduceat(peaks, edges)] if len(peaks) else []


def _turns(powers: np.ndarray, seconds: float) -> Turns:
    import numpy as np

    loud = np.flatnonzero(np.asarray(powers) > 10 ** (TALK_DBFS / 10))
    turns: Turns = []
    for start in (loud * STEP_SECONDS).tolist():
        if turns and start - turns[-1][1] <= PAUSE_SECONDS:
            turns[-1][1] = start + STEP_SECONDS
        else:
            turns.append([start, start + STEP_SECONDS])
    ends = [[round(start, 3), round(min(end, seconds), 3)] for start, end in turns]
    return [turn for turn in ends if turn[1] - turn[0] >= TURN_SECONDS]


# ---- who spoke when ----------------------------------------------------------------------------


def aligned(voices: Iterable[Voice]) -> list[Voice]:
    """Give the voices in the order of their names, each with the ``offset`` at which it begins, in seconds."""
    ordered = sorted(voices, key=lambda voice: (voice["speaker"].casefold(), voice["began"] or ""))
    begins = [datetime.fromisoformat(voice["began"]) for voice in ordered if voice["began"]]
    if len(begins) < len(ordered):
        return [voice | {"offset": 0.0} for voice in ordered]
    return [
        voice | {"offset": (begin - min(begins)).total_seconds()} for voice, begin in zip(ordered, begins, strict=True)
    ]


def share_time(voices: Sequence[Voice]) -> tuple[float, float]:
    """Add up for how many seconds somebody speaks, and for how many several do at once."""
    moments = sorted(
        (voice["offset"] + second, change)
        for voice in voices
        for turn in voice["turns"]
        for second, change in zip(turn, (1, -1), strict=True)
    )
    spoken = together = speaking = last = 0.0
    for second, change in moments:
        spoken += (second - last) * (speaking > 0)
        together += (second - last) * (speaking > 1)
        speaking, last = speaking + change, second
    return spoken, together


def talked(voice: Voice) -> float:
    """Add up for how many seconds one speaks."""
    return float(sum(end - start for start, end in voice["turns"]))


# ---- the page ----------------------------------------------------------------------------------

TRACK_STYLE = (
    STYLE
    + """
:root { --v0: #2a6bd4; --v1: #c2410c; --v2: #15803d; --v3: #9333ea; --v4: #0e7490; --v5: #a16207 }
@media (prefers-color-scheme: dark) { :root { --v0: #7fb0ff; --v1: #ff9d6b; --v2: #6ee7a0; --v3: #d3a4ff;
  --v4: #67d9ee; --v5: #f2cd5c } }
.v0 { color: var(--v0) } .v1 { color: var(--v1) } .v2 { color: var(--v2) } .v3 { color: var(--v3) }
.v4 { color: var(--v4) } .v5 { color: var(--v5) }
.voice, .axis { display: grid; grid-template-columns: 9rem minmax(0, 1fr); gap: 0 1rem }
.voice { border-top: 1px solid var(--line) }
.voice p { overflow-wrap: anywhere; line-height: 1.3; align-self: center; padding: .4rem 0 }
.voice small { display: block; color: var(--soft); font-variant-numeric: tabular-nums }
svg { display: block; width: 100%; height: 4.75rem; align-self: center }
.turn { fill: currentColor; opacity: .13 }
.wave { fill: currentColor }
.tick { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke }
.axis { border-top: 1px solid var(--line) }
.axis div { grid-column: 2; position: relative; height: 1.5rem; font-size: .75rem; color: var(--soft);
  font-variant-numeric: tabular-nums }
.axis span { position: absolute; padding-top: .25rem; transform: translateX(-50%) }
.axis span:first-child { transform: none }
.axis span.last { transform: translateX(-100%) }
.listen { display: grid; grid-template-columns: 9rem minmax(0, 1fr); gap: .75rem 1rem; align-items: center }
.listen p { overflow-wrap: anywhere; line-height: 1.3 }
@media (max-width: 34rem) { .voice, .axis, .listen { grid-template-columns: minmax(0, 1fr) }
  .voice p { padding: .5rem 0 0 } .axis div { grid-column: 1 } .listen { gap: .25rem }
  .listen audio { margin-bottom: .75rem } svg { height: 4rem } }
"""
)


def _turn_count(voices: Iterable[Voice]) -> str:
    count = sum(len(voice["turns"]) for voice in voices)
    return f"{count} turn{'' if count == 1 else 's'}"


def _tick_seconds(seconds: float) -> list[float]:
    nice = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600)
    step = next((step for step in nice if seconds / step <= TICKS), seconds / TICKS)
    return [number * step for number in range(int(seconds / step + 1e-6) + 1)]


def _wave_path(voice: Voice, seconds: float, top: float) -> str:
    """Draw how loud a voice is as one outline, the same above and below the middle."""
    points, middle = voice["shape"], HEIGHT / 2
    begin, length = voice["offset"] / seconds * WIDTH, voice["seconds"] / seconds * WIDTH
    places = [begin + (number + 0.5) / len(points) * length for number in range(len(points))]
    heights = [max(0.6, point / top * (middle - 4)) for point in points]  # silence is a thin line
    upper = [f"{x:.1f} {middle - height:.1f}" for x, height in zip(places, heights, strict=True)]
    lower = [f"{x:.1f} {middle + height:.1f}" for x, height in zip(places, heights, strict=True)]
    return "M" + "L".join([*upper, *reversed(lower)]) + "Z" if points else ""


def _drawing(voice: Voice, seconds: float, top: float) -> str:
    turns = "".join(
        f'<rect class="turn" x="{(voice["offset"] + start) / seconds * WIDTH:.1f}" y="0" '
        f'width="{(end - start) / seconds * WIDTH:.1f}" height="{HEIGHT}"/>'
        for start, end in voice["turns"]
    )
    ticks = "".join(
        f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT}"/>'
        for x in (tick / seconds * WIDTH for tick in _tick_seconds(seconds)[1:])
    )
    told = f"{voice['speaker']} speaks {clock(talked(voice))} of {clock(seconds)}, {_turn_count([voice])}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{as_text(told)}">'
        f'{ticks}{turns}<path class="wave" d="{_wave_path(voice, seconds, top)}"/></svg>'
    )


def _row(number: int, voice: Voice, seconds: float, top: float) -> str:
    talk = talked(voice)
    return (
        f'<div class="voice v{number % COLOURS}"><p><b>{as_text(voice["speaker"])}</b>'
        f"<small>{clock(talk)}, {talk / seconds:.0%}</small></p>{_drawing(voice, seconds, top)}</div>"
    )


def _axis(seconds: float) -> str:
    ticks = _tick_seconds(seconds)
    digits = int(len(ticks) > 1 and ticks[1] < 1)
    labels = "".join(
        f'<span{" class=last" if tick > 0.95 * seconds else ""} style="left:{tick / seconds:.2%}">'
        f"{clock(tick, digits)}</span>"
        for tick in ticks
    )
    return f'<div class="axis" aria-hidden="true"><div>{labels}</div></div>'


def _listening(voices: Sequence[Voice]) -> str:
    rows = "".join(
        f'<p><b class="v{number % COLOURS}">{as_text(voice["speaker"])}</b><br>'
        f'<small><a href="{as_text(voice["wav"])}">WAV</a></small></p>'
        f'<audio controls preload="metadata" src="{as_text(voice["wav"])}"></audio>'
        for number, voice in enumerate(voices)
    )
    note = '<p class="soft">16 kHz, mono, 16-bit PCM, as speech-to-text wants it: one file for each speaker.</p>'
    return f'<section><h2>Each voice by itself</h2><div class="listen">{rows}</div>{note}</section>'


def _tiles(voices: Sequence[Voice], seconds: float) -> str:
    spoken, together = share_time(voices)
    speakers = len({voice["speaker"] for voice in voices})
    tiles = [
        ("Speakers", str(speakers), _turn_count(voices)),
        ("Duration", clock(seconds, 1), "from the first track to the last"),
        ("Talk", f"{spoken / seconds:.0%}", f"{clock(spoken, 1)} in all"),
        ("At the same time", f"{together / seconds:.0%}", f"{clock(together, 1)} in all"),
    ]
    text = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for name, value, note in tiles)
    return f'<dl class="tiles">{text}</dl>'


def write_track_page(folder: str | Path, voices: Iterable[Voice], recording: Mapping[str, Any] | None = None) -> str:
    """Put the waveforms of all speakers one above the other, on one clock, with their sound below.

    `recording` is the recording as the API describes it; a few named fields of it are shown, and no URL.
    """
    ordered, recording = aligned(voices), recording or {}
    seconds = max((voice["offset"] + voice["seconds"] for voice in ordered), default=0.0) or 1.0
    top = max((point for voice in ordered for point in voice["shape"]), default=0.0) or 1.0
    rows = "\n".join(_row(number, voice, seconds, top) for number, voice in enumerate(ordered))
    parts = [
        _tiles(ordered, seconds),
        f"<section><h2>Who speaks when</h2>{rows}{_axis(seconds)}</section>" if ordered else "",
        _listening(ordered) if ordered else '<p class="warning">The recording holds no tracks.</p>',
        as_table("Recording", recording_rows(recording)),
    ]
    title = (recording.get("meeting") or {}).get("title") or "Speakers"
    when = recording.get("started_time") or recording.get("invoked_time")
    page = BODY.substitute(
        title=as_text(title),
        style=TRACK_STYLE,
        subtitle=as_text(f"Track recording, {as_moment(when)}" if when else "Track recording"),
        parts="\n".join(filter(None, parts)),
    )
    path = Path(prepared(Path(folder) / TRACK_PAGE))
    path.write_text(page, encoding="utf-8")
    return str(path)
