"""Make the complete report of a file from the command line: `python -m realtimekit_report talk.mp4 folder`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .drawing import draw_contact_sheet, draw_waveform
from .measurements import write_measurements
from .media import MediaError
from .report_page import CONTACT_SHEET, MEASUREMENTS, PAGE, SPEECH, WAVEFORM, write_report_page
from .speech import write_speech_wav

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def build_report(media: str | Path, folder: str | Path, recording: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write the report into a local folder, and return the measurements.

    :param recording: the recording as the API describes it
    :raises MediaError: if the file is not a recording that can be read
    """
    folder = Path(folder)
    measurements = write_measurements(media, folder / MEASUREMENTS)
    draw_contact_sheet(media, folder / CONTACT_SHEET)
    draw_waveform(media, folder / WAVEFORM)
    write_speech_wav(media, folder / SPEECH)
    write_report_page(folder, measurements, recording, media)
    return measurements


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m realtimekit_report", description="Make a report of a recording.")
    parser.add_argument("media", type=Path, help="the recording: MP4, WebM, MP3 and the like")
    parser.add_argument("folder", type=Path, help="the folder to write the report into")
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
