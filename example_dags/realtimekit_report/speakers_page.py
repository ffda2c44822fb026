"""Write the page of a track recording: who speaks when, and the sound of each voice.

A voice is what `speech` describes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .formatting import axis_step, format_clock
from .page_parts import escape, recording_rows, render_page, render_table, render_tiles
from .speech import Voice, align_voices, share_time, talk_seconds

SPEAKERS_PAGE = "speakers.html"
WIDTH, HEIGHT = 1000, 100  # of a drawing in its own units; the page stretches it
MOST_MARKS = 6  # on the time axis
COLOURS = 6  # further speakers have the first ones' colours again

STYLE = """
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


def render_speakers_page(voices: Iterable[Voice], recording: Mapping[str, Any] | None = None) -> str:
    """Return a page with the waveforms of all speakers one above the other, on one time axis, and their sound below.

    :param voices: the voices, in any order
    :param recording: the recording as the API describes it
    """
    aligned, recording = align_voices(voices), recording or {}
    # Never 0: both are divisors.
    seconds = max((voice["offset"] + voice["seconds"] for voice in aligned), default=0.0) or 1.0
    top = max((peak for voice in aligned for peak in voice["peaks"]), default=0.0) or 1.0
    rows = "\n".join(_voice_row(number, voice, seconds, top) for number, voice in enumerate(aligned))
    parts = [
        _tiles(aligned, seconds),
        f"<section><h2>Who speaks when</h2>{rows}{_axis(seconds)}</section>" if aligned else "",
        _players(aligned) if aligned else '<p class="warning">The recording holds no tracks.</p>',
        render_table("Recording", recording_rows(recording)),
    ]
    return render_page(recording, "Track recording", "Speakers", parts, STYLE)


def _tiles(voices: Sequence[Voice], seconds: float) -> str:
    spoken, together = share_time(voices)
    speakers = len({voice["speaker"] for voice in voices})
    return render_tiles(
        [
            ("Speakers", str(speakers), _turn_count(voices)),
            ("Duration", format_clock(seconds, 1), "from the first track to the last"),
            ("Talk", f"{spoken / seconds:.0%}", f"{format_clock(spoken, 1)} in all"),
            ("At the same time", f"{together / seconds:.0%}", f"{format_clock(together, 1)} in all"),
        ]
    )


def _turn_count(voices: Iterable[Voice]) -> str:
    count = sum(len(voice["turns"]) for voice in voices)
    return f"{count} turn{'' if count == 1 else 's'}"


def _voice_row(number: int, voice: Voice, seconds: float, top: float) -> str:
    talk = talk_seconds(voice)
    return (
        f'<div class="voice v{number % COLOURS}"><p><b>{escape(voice["speaker"])}</b>'
        f"<small>{format_clock(talk)}, {talk / seconds:.0%}</small></p>{_drawing(voice, seconds, top)}</div>"
    )


def _drawing(voice: Voice, seconds: float, top: float) -> str:
    turns = "".join(
        f'<rect class="turn" x="{(voice["offset"] + start) / seconds * WIDTH:.1f}" y="0" '
        f'width="{(end - start) / seconds * WIDTH:.1f}" height="{HEIGHT}"/>'
        for start, end in voice["turns"]
    )
    marks = "".join(
        f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT}"/>'
        for x in (mark / seconds * WIDTH for mark in _axis_marks(seconds)[1:])
    )
    talk = f"{format_clock(talk_seconds(voice))} of {format_clock(seconds)}"
    label = escape(f"{voice['speaker']} speaks {talk}, {_turn_count([voice])}")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'{marks}{turns}<path class="wave" d="{_wave_path(voice, seconds, top)}"/></svg>'
    )


def _wave_path(voice: Voice, seconds: float, top: float) -> str:
    """Return the loudness of a voice as one outline, the same above and below the middle."""
    peaks, middle = voice["peaks"], HEIGHT / 2
    start, length = voice["offset"] / seconds * WIDTH, voice["seconds"] / seconds * WIDTH
    places = [start + (number + 0.5) / len(peaks) * length for number in range(len(peaks))]
    heights = [max(0.6, peak / top * (middle - 4)) for peak in peaks]  # silence is a thin line
    upper = [f"{x:.1f} {middle - height:.1f}" for x, height in zip(places, heights, strict=True)]
    lower = [f"{x:.1f} {middle + height:.1f}" for x, height in zip(places, heights, strict=True)]
    return "M" + "L".join([*upper, *reversed(lower)]) + "Z" if peaks else ""


def _axis(seconds: float) -> str:
    marks = _axis_marks(seconds)
    digits = int(len(marks) > 1 and marks[1] < 1)
    labels = "".join(
        f'<span{" class=last" if mark > 0.95 * seconds else ""} style="left:{mark / seconds:.2%}">'
        f"{format_clock(mark, digits)}</span>"
        for mark in marks
    )
    return f'<div class="axis" aria-hidden="true"><div>{labels}</div></div>'


def _axis_marks(seconds: float) -> list[float]:
    step = axis_step(seconds, MOST_MARKS)
    # A little more than the quotient, because 0.3 / 0.1 is a little less than 3.
    return [number * step for number in range(int(seconds / step + 1e-6) + 1)]


def _players(voices: Sequence[Voice]) -> str:
    rows = "".join(
        f'<p><b class="v{number % COLOURS}">{escape(voice["speaker"])}</b><br>'
        f'<small><a href="{escape(voice["wav"])}">WAV</a></small></p>'
        f'<audio controls preload="metadata" src="{escape(voice["wav"])}"></audio>'
        for number, voice in enumerate(voices)
    )
    note = '<p class="soft">16 kHz, mono, 16-bit PCM, as speech-to-text needs it: one file for each speaker.</p>'
    return f'<section><h2>Each voice by itself</h2><div class="listen">{rows}</div>{note}</section>'
