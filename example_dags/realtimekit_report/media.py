"""Read a recording as a stream, so that 24 hours of it need no more memory than a minute.

A damaged file is read as far as possible, and `PacketStats` says what was lost. PyAV (18.1 or later, whose frames
have metadata) and numpy are imported in the functions that use them, because DAG files import this package.
"""

from __future__ import annotations

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

# The formats of recordings. Playlists and images are left out: FFmpeg would open the other files that they name.
FORMATS = "mp4,webm,mp3,aac,ogg,wav,flac,mpegts"
GAP_SECONDS = 0.1  # a shorter gap is jitter of the timestamps
LONGEST_SECONDS = 24 * 3600  # no recording lasts longer, so a longer gap is a broken timestamp


class MediaError(ValueError):
    """The file is not a recording that can be read."""


@contextmanager
def open_media(media: str | Path) -> Iterator[InputContainer]:
    """Open a recording.

    :raises MediaError: for a file without sound and picture, or in another format
    :raises FileNotFoundError: if there is no such file
    """
    import av

    path = Path(media).resolve(strict=True)  # absolute, because FFmpeg reads "name:rest" as protocol and address
    try:
        container = av.open(str(path), options={"format_whitelist": FORMATS})
    except av.error.FFmpegError as error:
        raise MediaError(f"{path.name} is not a recording that can be read: {error.strerror}") from error
    with container:
        if find_video(container) is None and find_audio(container) is None:
            raise MediaError(f"{path.name} is not a recording: it has neither picture nor sound")
        yield container


def find_video(container: InputContainer) -> VideoStream | None:
    """Return the first stream of moving pictures."""
    from av.stream import Disposition

    # An MP3's cover is a video stream, too.
    moving = (stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic)
    return next(moving, None)


def find_audio(container: InputContainer) -> AudioStream | None:
    """Return the first stream of sound."""
    return next(iter(container.streams.audio), None)


def discard_others(container: InputContainer, stream: Stream) -> None:
    """Have FFmpeg pass over the packets of all other streams."""
    from av.stream import Discard

    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all


def start_seconds(container: InputContainer) -> float:
    """Return the timestamp at which the recording starts, in seconds."""
    return (container.start_time or 0) / 1_000_000


@dataclass
class PacketStats:
    """What the packets of a file show; the header of a damaged file shows only what should be there.

    `start` is the timestamp of the recording's start, and `end` its length so far, both in seconds. `pictures` and
    `broken` count packets. `is_cut` says that reading ended with an error.
    """

    start: float
    end: float = 0.0
    pictures: int = 0
    broken: int = 0
    is_cut: bool = False

    def count(self, packet: Packet[Any]) -> None:
        """Count a packet."""
        # PyAV ends each stream with an empty packet, which has no time.
        if packet.pts is not None:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base) - self.start
            self.end = max(self.end, end)
            self.pictures += packet.stream.type == "video"


def read_packets(container: InputContainer, stats: PacketStats) -> Iterator[Packet[Any]]:
    """Yield the packets of all streams, up to the end or the first error."""
    import av

    try:
        for packet in container.demux():
            stats.count(packet)
            yield packet
    except av.error.FFmpegError:
        stats.is_cut = True


def decode_frames(container: InputContainer, stream: Stream, stats: PacketStats) -> Iterator[Any]:
    """Yield the frames of one stream, without those of damaged packets."""
    import av

    for packet in read_packets(container, stats):
        if packet.stream.index == stream.index:
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                stats.broken += 1


def resample_frames(frames: Iterable[AudioFrame], sample_format: str, layout: str, rate: int) -> Iterator[AudioFrame]:
    """Convert sound to one sample format, channel layout and rate (Hz)."""
    import av

    # A resampler serves frames of one kind only, and a recording's kind may change on the way.
    for _, alike in groupby(frames, key=lambda frame: (frame.format.name, frame.layout.name, frame.rate)):
        resampler = av.AudioResampler(sample_format, layout, rate)
        for frame in chain(alike, (None,)):
            yield from filter(None, resampler.resample(frame))


def fill_gaps(frames: Iterable[AudioFrame], start: float, rate: int) -> Iterator[np.ndarray]:
    """Yield samples with silence where sound is missing, so that sample n is heard n / rate seconds after the start."""
    import numpy as np

    position = 0
    for frame in frames:
        samples = frame.to_ndarray()
        missing = 0 if frame.time is None else round((frame.time - start) * rate) - position
        if GAP_SECONDS * rate < missing < LONGEST_SECONDS * rate:
            position += missing
            # A second at once, because a gap may last for hours.
            for done in range(0, missing, rate):
                yield np.zeros((samples.shape[0], min(rate, missing - done)), samples.dtype)
        position += frame.samples
        yield samples


def make_parent(path: str | Path) -> str:
    """Make the folder of a path, and return the path as text."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return str(path)
