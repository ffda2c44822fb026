"""Write the page of one recording: its measurements, with the pictures and the sound that lie beside it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .formatting import format_clock, format_codec, format_number, format_size
from .media import make_parent
from .page_parts import escape, recording_rows, render_page, render_table, render_tiles

CONTACT_SHEET, WAVEFORM, SPEECH = "contact-sheet.png", "waveform.png", "speech.wav"
MEASUREMENTS, PAGE = "measurements.json", "report.html"
SHOWN_SPANS = 60  # a longer list of silent spans is cut


def write_report_page(
    folder: str | Path,
    measurements: Mapping[str, Any],
    recording: Mapping[str, Any] | None = None,
    media: str | Path | None = None,
) -> str:
    """Write the page into a local folder, with the results that are already there, and return its path.

    :param measurements: what `measure_recording` returns
    :param recording: the recording as the API describes it
    :param media: the recording's file, for a link to it
    """
    folder = Path(folder)
    names = os.listdir(folder) if folder.exists() else []
    link = Path(os.path.relpath(media, folder)).as_posix() if media else None
    path = Path(make_parent(folder / PAGE))
    path.write_text(render_report_page(measurements, recording, names, link), encoding="utf-8")
    return str(path)


def render_report_page(
    measurements: Mapping[str, Any], recording: Mapping[str, Any] | None, names: Collection[str], link: str | None
) -> str:
    """Return the page as HTML.

    :param measurements: what `measure_recording` returns
    :param recording: the recording as the API describes it
    :param names: the files beside the page; it shows those that it knows
    :param link: the path from the page to the recording's file
    """
    parts = [
        *(f'<p class="warning">{escape(warning)}</p>' for warning in measurements["warnings"]),
        render_tiles(_tiles(measurements)),
        *_sections(measurements, names),
        render_table("Measurements", _measurement_rows(measurements)),
        render_table("Recording", recording_rows(recording or {})),
    ]
    if link:
        parts.append(f'<p class="soft">Recording: <a href="{quote(link)}">{escape(Path(link).name)}</a></p>')
    return render_page(recording or {}, "Meeting recording", measurements["file"], parts)


def _tiles(measurements: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    size, container = format_size(measurements["size"]), format_codec(measurements["container"])
    yield "Duration", format_clock(measurements["duration"], 1), f"{size}, {container}"
    if video := measurements["video"]:
        yield "Picture", _dimensions(video), f"{video['fps']:g} frames/s"
    if loudness := measurements["loudness"]:
        level, silence = loudness["integrated_lufs"], measurements["silence"]
        yield "Loudness", "none" if level is None else format_number(level), "LUFS integrated"
        yield "Silence", f"{silence['share']:.0%}", f"{format_clock(silence['total'], 1)} in all"


def _dimensions(video: Mapping[str, Any]) -> str:
    return f"{video['width']} \N{MULTIPLICATION SIGN} {video['height']}"


def _sections(measurements: Mapping[str, Any], names: Collection[str]) -> Iterator[str]:
    # The measurements decide, too: a file may be left over from another recording.
    if measurements["video"] and CONTACT_SHEET in names:
        alt = "Frames at even distances over the recording, each labelled with its time"
        yield _image("Frames", CONTACT_SHEET, "frames", alt)
    if measurements["audio"] and WAVEFORM in names:
        silent = len(measurements["silence"]["spans"]) if measurements["silence"] else 0
        alt = f"Waveform of the sound with its momentary loudness below; {silent} silent spans are shaded"
        yield _image("Sound", WAVEFORM, "chart", alt)
    if measurements["audio"] and SPEECH in names:
        yield (
            f'<section><h2>For speech-to-text</h2><audio controls preload="metadata" src="{SPEECH}"></audio>'
            f'<p class="soft"><a href="{SPEECH}">{SPEECH}</a>: 16 kHz, mono, 16-bit PCM</p></section>'
        )


def _image(heading: str, name: str, kind: str, alt: str) -> str:
    image = f'<a href="{name}"><img class="{kind}" src="{name}" alt="{escape(alt)}"></a>'
    return f'<section><h2>{heading}</h2><div class="wide">{image}</div></section>'


def _measurement_rows(measurements: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Container", f"{format_codec(measurements['container'])}, {measurements['size']:,} bytes"
    if video := measurements["video"]:
        rate = f"{video['frames']:,} frames at {video['fps']:g} a second"
        yield "Video", f"{format_codec(video['codec'])}, {_dimensions(video)}, {rate}"
    if audio := measurements["audio"]:
        channels = {1: "mono", 2: "stereo"}.get(audio["channels"], f"{audio['channels']} channels")
        yield "Audio", f"{format_codec(audio['codec'])}, {audio['sample_rate'] / 1000:g} kHz, {channels}"
    if levels := measurements["loudness"]:
        yield "Loudness", f"{_level(levels['integrated_lufs'], 'LUFS')} integrated (ITU-R BS.1770)"
        yield "Level", f"RMS {_level(levels['rms_dbfs'], 'dBFS')}, peak {_level(levels['peak_dbfs'], 'dBFS')}"
    if silence := measurements["silence"]:
        yield f"Silent spans ({len(silence['spans'])})", _spans(silence["spans"])


def _level(value: float | None, unit: str) -> str:
    return "digital silence" if value is None else f"{format_number(value)} {unit}"


def _spans(spans: Sequence[Sequence[float]]) -> str:
    shown = [f"{format_clock(start, 1)}\N{EN DASH}{format_clock(end, 1)}" for start, end in spans[:SHOWN_SPANS]]
    more = [f"and {len(spans) - SHOWN_SPANS} more"] if len(spans) > SHOWN_SPANS else []
    return ", ".join(shown + more) or "none"
