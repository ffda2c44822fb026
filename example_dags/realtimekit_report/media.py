"""Read recordings as streams, so that 24 hours need no more memory than a minute; write sound for speech-to-text.

PyAV (18.1 or later, whose frames have metadata) and numpy are imported where they are used, because whatever lies
in this folder is imported whenever the folder is parsed.
"""

from __future__ import annotations

import wave
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

FORMATS = "mp4,webm,mp3,aac,ogg,wav,flac,mpegts"  # the demuxers that a recording may need; no playlists, no images
SPEECH_RATE = 16_000
GAP_SECONDS = 0.1  # less is jitter of the timestamps
LONGEST_SECONDS = 24 * 3600  # no recording is longer, so a greater gap is a broken timestamp


class MediaError(ValueError):
    """The file is no recording that can be read."""


@contextmanager
def opened(media: str | Path) -> Iterator[InputContainer]:
    import av

    path = Path(media).resolve(strict=True)  # absolute: FFmpeg takes "name:rest" for a protocol
    try:
        container = av.open(str(path), options={"format_whitelist": FORMATS})
    except av.error.FFmpegError as error:
        raise MediaError(f"{path.name} is no recording that can be read: {error.strerror}") from error
    with container:
        if picture_of(container) is None and sound_of(container) is None:
            raise MediaError(f"{path.name} has neither picture nor sound")
        yield container


def picture_of(container: InputContainer) -> VideoStream | None:
    from av.stream import Disposition

    moving = (s for s in container.streams.video if not s.disposition & Disposition.attached_pic)
    return next(moving, None)  # what is left out is the cover of an MP3


def sound_of(container: InputContainer) -> AudioStream | None:
    return next(iter(container.streams.audio), None)


def only(container: InputContainer, stream: Stream) -> None:
    from av.stream import Discard

    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all


@dataclass
class Tally:
    """What the packets say; the header of a damaged file says what should have been."""

    start: float
    end: float = 0.0
    pictures: int = 0
    broken: int = 0
    cut: bool = False

    def count(self, packet: Packet[Any]) -> None:
        if packet.pts is not None:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base) - self.start
            self.end = max(self.end, end)
            self.pictures += packet.stream.type == "video"


def start_of(container: InputContainer) -> float:
    return (container.start_time or 0) / 1_000_000


def packets(container: InputContainer, tally: Tally) -> Iterator[Packet[Any]]:
    import av

    try:
        for packet in container.demux():
            tally.count(packet)
            yield packet
    except av.error.FFmpegError:
        tally.cut = True


def decoded(container: InputContainer, stream: Stream, tally: Tally) -> Iterator[Any]:
    import av

    for packet in packets(container, tally):
        if packet.stream.index == stream.index:
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                tally.broken += 1


def resampled(frames: Iterable[AudioFrame], form: str, layout: str, rate: int) -> Iterator[AudioFrame]:
    import av

    for _, alike in groupby(frames, key=lambda frame: (frame.format.name, frame.layout.name, frame.rate)):
        resampler = av.AudioResampler(form, layout, rate)  # one serves frames of one kind only
        for frame in chain(alike, (None,)):
            yield from filter(None, resampler.resample(frame))


def even(frames: Iterable[AudioFrame], start: float, rate: int) -> Iterator[np.ndarray]:
    """Put silence where sound is missing, so that sample n is heard n / rate after the start."""
    import numpy as np

    position = 0
    for frame in frames:
        samples = frame.to_ndarray()
        missing = 0 if frame.time is None else round((frame.time - start) * rate) - position
        if GAP_SECONDS * rate < missing < LONGEST_SECONDS * rate:
            position += missing
            for done in range(0, missing, rate):
                yield np.zeros((samples.shape[0], min(rate, missing - done)), samples.dtype)
        position += frame.samples
        yield samples


def write_speech_wav(media: str | Path, wav: str | Path) -> str | None:
    """Write 16 kHz mono 16-bit PCM, silence where sound is missing; None if there is no sound."""
    with opened(media) as container:
        stream = sound_of(container)
        if stream is None:
            return None
        only(container, stream)
        tally = Tally(start_of(container))
        frames = resampled(decoded(container, stream, tally), "s16", "mono", SPEECH_RATE)
        with wave.open(prepared(wav), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(SPEECH_RATE)
            for samples in even(frames, tally.start, SPEECH_RATE):
                out.writeframesraw(samples.tobytes())
    return str(wav)


def prepared(path: str | Path) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return str(path)


def clock(seconds: float, digits: int = 0) -> str:
    """Write 65.24 s as 01:05, or with a digit as 01:05.2; past an hour as 1:00:00."""
    ticks = round(seconds * 10**digits)
    whole, part = divmod(ticks, 10**digits)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"
    return f"{text}.{part:0{digits}}" if digits else text


def as_number(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")
