"""Write numbers, times, sizes and codecs as a person reads them, the same in pictures, pages and warnings."""

from __future__ import annotations

from datetime import UTC, datetime

# FFmpeg's names of codecs and containers, and the usual ones.
NAMES = {"h264": "H.264", "aac": "AAC", "vp8": "VP8", "vp9": "VP9", "vorbis": "Vorbis", "opus": "Opus"}
NAMES |= {"mp3": "MP3", "mp4": "MP4", "webm": "WebM"}
# Distances of the marks on a time axis, in seconds, from a tenth of a second to six hours.
AXIS_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600)


def format_clock(seconds: float, digits: int = 0) -> str:
    """Write 65.24 s as 01:05, or with one digit as 01:05.2; past an hour as 1:00:00."""
    # Rounded before it is divided, so that 59.96 s becomes 01:00.0 and not 00:60.0.
    ticks = round(seconds * 10**digits)
    total, fraction = divmod(ticks, 10**digits)
    minutes, second = divmod(total, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"
    return f"{text}.{fraction:0{digits}}" if digits else text


def format_number(value: float, digits: int = 1) -> str:
    """Write a number with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def format_size(count: float) -> str:
    """Write a number of bytes with three significant digits and its unit."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count} bytes"
        count /= 1000
    return f"{count:.2f} GB"


def format_moment(value: object) -> str:
    """Write an ISO 8601 time in UTC; anything else stays as it is."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    return f"{moment.astimezone(UTC):%d %B %Y, %H:%M:%S} UTC" if moment.tzinfo else str(value)


def format_codec(name: str) -> str:
    """Write the name that FFmpeg has for a codec or container as it is usually written."""
    return NAMES.get(name, name)


def axis_step(seconds: float, most: int) -> float:
    """Choose the distance of the marks on a time axis, so that it has at most `most` of them."""
    return next((step for step in AXIS_STEPS if seconds / step <= most), seconds / most)
