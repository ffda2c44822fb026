"""The parts that both pages share: style, frame, tiles, and the table that describes a recording.

A page runs no script and loads nothing from elsewhere. Values are escaped, and only named fields of a recording are
shown, so that no signed URL and no storage setting gets into a page.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from string import Template
from typing import Any

from .formatting import format_moment

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

# The policy allows the pictures and the sound beside the page, also if it is opened from a disk, and nothing else.
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


def render_page(
    recording: Mapping[str, Any], kind: str, title: str, parts: Iterable[str | None], style: str = ""
) -> str:
    """Return a page of HTML.

    :param recording: the recording as the API describes it; gives the title and the time, where it has them
    :param kind: what the page is about, for the line below the title
    :param title: the title of a recording whose meeting has none
    :param parts: the sections; empty ones are left out
    :param style: more CSS
    """
    title = (recording.get("meeting") or {}).get("title") or title
    when = recording.get("started_time") or recording.get("invoked_time")
    return BODY.substitute(
        title=escape(title),
        style=STYLE + style,
        subtitle=escape(f"{kind}, {format_moment(when)}" if when else kind),
        parts="\n".join(filter(None, parts)),
    )


def escape(value: object) -> str:
    """Escape a value for the page, without the query of a URL, which may hold a signature."""
    return html.escape(re.sub(r"(https?://[^\s?#]+)[?#]\S*", r"\1", str(value), flags=re.IGNORECASE))


def render_tiles(tiles: Iterable[tuple[str, str, str]]) -> str:
    """Return tiles with a name, a value and a note each."""
    text = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in tiles
    )
    return f'<dl class="tiles">{text}</dl>'


def render_table(heading: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a section with a table of names and values; nothing if there are no rows."""
    lines = "\n".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f"<section><h2>{heading}</h2><table>\n{lines}\n</table></section>" if lines else ""


def recording_rows(recording: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names and values of the fields that a reader wants; no other field gets into a page."""
    meeting, stop = recording.get("meeting") or {}, recording.get("stop_reason") or {}
    shown = {
        "Recording": recording.get("id"),
        "Meeting": meeting.get("id") or recording.get("meeting_id"),
        "Output file": recording.get("output_file_name"),
        "Status": recording.get("status"),
        "Started": format_moment(recording.get("started_time") or ""),
        "Stopped": format_moment(recording.get("stopped_time") or ""),
        "Stopped by": stop.get("reason"),
    }
    return ((name, str(value)) for name, value in shown.items() if value)
