"""Write what is known of a recording as a page of HTML, for desks, phones and dark rooms, that runs nothing."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from .media import as_number, clock, prepared

CONTACT_SHEET, WAVEFORM, SPEECH = "contact-sheet.png", "waveform.png", "speech.wav"
FACTS, PAGE = "facts.json", "report.html"

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


def as_text(value: object) -> str:
    """Escape a value for the page; of a URL keep no query, since that is where a signature is."""
    return html.escape(re.sub(r"(https?://[^\s?#]+)[?#]\S*", r"\1", str(value), flags=re.IGNORECASE))


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count} bytes"
        count /= 1000
    return f"{count:.2f} GB"


def as_moment(value: object) -> str:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    return f"{moment.astimezone(UTC):%d %B %Y, %H:%M:%S} UTC" if moment.tzinfo else str(value)


def _level(value: float | None, unit: str) -> str:
    return "digital silence" if value is None else f"{as_number(value)} {unit}"


def _tiles(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield "Duration", clock(facts["duration"], 1), f"{_size(facts['size'])}, {name_of(facts['container'])}"
    if video := facts["video"]:
        yield (
            "Picture",
            f"{video['width']} \N{MULTIPLICATION SIGN} {video['height']}",
            f"{video['fps']:g} frames/s",
        )
    if loudness := facts["loudness"]:
        level = loudness["integrated_lufs"]
        yield "Loudness", "none" if level is None else as_number(level), "LUFS integrated"
        yield "Silence", f"{facts['silence']['share']:.0%}", f"{clock(facts['silence']['total'], 1)} in all"


def name_of(codec: str) -> str:
    return NAMES.get(codec, codec)


def _fact_rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Container", f"{name_of(facts['container'])}, {facts['size']:,} bytes"
    if video := facts["video"]:
        size = f"{video['width']} \N{MULTIPLICATION SIGN} {video['height']}"
        yield (
            "Video",
            f"{name_of(video['codec'])}, {size}, {video['frames']:,} frames at {video['fps']:g} a second",
        )
    if audio := facts["audio"]:
        channels = {1: "mono", 2: "stereo"}.get(audio["channels"], f"{audio['channels']} channels")
        yield "Audio", f"{name_of(audio['codec'])}, {audio['sample_rate'] / 1000:g} kHz, {channels}"
    if levels := facts["loudness"]:
        yield "Loudness", f"{_level(levels['integrated_lufs'], 'LUFS')} integrated (ITU-R BS.1770)"
        yield "Level", f"RMS {_level(levels['rms_dbfs'], 'dBFS')}, peak {_level(levels['peak_dbfs'], 'dBFS')}"
    if silence := facts["silence"]:
        yield f"Silent spans ({len(silence['spans'])})", _spans(silence["spans"])


def _spans(spans: Sequence[Sequence[float]]) -> str:
    shown = [f"{clock(start, 1)}\N{EN DASH}{clock(end, 1)}" for start, end in spans[:SHOWN_SPANS]]
    more = [f"and {len(spans) - SHOWN_SPANS} more"] if len(spans) > SHOWN_SPANS else []
    return ", ".join(shown + more) or "none"


def recording_rows(recording: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Pick what a reader wants to know: what is not named here, URLs and storage settings, never gets out."""
    meeting, stop = recording.get("meeting") or {}, recording.get("stop_reason") or {}
    named = {
        "Recording": recording.get("id"),
        "Meeting": meeting.get("id") or recording.get("meeting_id"),
        "Output file": recording.get("output_file_name"),
        "Status": recording.get("status"),
        "Started": as_moment(recording.get("started_time") or ""),
        "Stopped": as_moment(recording.get("stopped_time") or ""),
        "Stopped by": stop.get("reason"),
    }
    return ((name, str(value)) for name, value in named.items() if value)


def as_table(heading: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = "\n".join(f'<tr><th scope="row">{as_text(name)}</th><td>{as_text(value)}</td></tr>' for name, value in rows)
    return f"<section><h2>{heading}</h2><table>\n{lines}\n</table></section>" if lines else ""


def _image(heading: str, name: str, kind: str, alt: str) -> str:
    image = f'<a href="{name}"><img class="{kind}" src="{name}" alt="{as_text(alt)}"></a>'
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
    return f'<p class="soft">Recording: <a href="{quote(path.as_posix())}">{as_text(path.name)}</a></p>'


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
        f"<div><dt>{as_text(name)}</dt><dd>{as_text(value)}<small>{as_text(note)}</small></dd></div>"
        for name, value, note in _tiles(facts)
    )
    parts = [
        *(f'<p class="warning">{as_text(warning)}</p>' for warning in facts["warnings"]),
        f'<dl class="tiles">{tiles}</dl>',
        *_pictures(folder, facts),
        as_table("Facts", _fact_rows(facts)),
        as_table("Recording", recording_rows(recording)),
        _link(media, folder) if media else "",
    ]
    title = (recording.get("meeting") or {}).get("title") or facts["file"]
    when = recording.get("started_time") or recording.get("invoked_time")
    subtitle = f"Meeting recording, {as_moment(when)}" if when else "Meeting recording"
    page = BODY.substitute(
        title=as_text(title), style=STYLE, subtitle=as_text(subtitle), parts="\n".join(filter(None, parts))
    )
    path = Path(prepared(folder / PAGE))
    path.write_text(page, encoding="utf-8")
    return str(path)
