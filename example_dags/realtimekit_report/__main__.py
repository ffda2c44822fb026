"""What the example DAG makes of a downloaded recording: facts, pictures, sound for speech-to-text, one page.

Every function stands alone in a task: paths, numbers and dicts go in and come out. How it is done stands in the
modules beside this one; their libraries are imported where they are used, because whatever lies in this folder is
imported whenever the folder is parsed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .drawing import draw_contact_sheet, draw_waveform
from .measurements import read_facts
from .media import MediaError, prepared, write_speech_wav
from .report_page import CONTACT_SHEET, FACTS, PAGE, SPEECH, WAVEFORM, write_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "CONTACT_SHEET",
    "FACTS",
    "PAGE",
    "SPEECH",
    "WAVEFORM",
    "MediaError",
    "build_report",
    "draw_contact_sheet",
    "draw_waveform",
    "read_facts",
    "write_page",
    "write_speech_wav",
]


def build_report(media: str | Path, folder: str | Path, recording: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Do all of the above; return the facts."""
    folder = Path(folder)
    facts = read_facts(media)
    Path(prepared(folder / FACTS)).write_text(json.dumps(facts, indent=2), encoding="utf-8")
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
