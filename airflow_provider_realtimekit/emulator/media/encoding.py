"""How test media are made: encoded with PyAV by one thread in the background, equal files only once.

Few frames a second, and sound that repeats, make files of any length quickly.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from functools import lru_cache
from heapq import merge
from itertools import cycle
from pathlib import Path
from threading import Event, Lock
from typing import Any, NamedTuple

from airflow_provider_realtimekit.emulator.media.specs import AudioSpec, MediaSpec, VideoSpec

try:
    import av

    from airflow_provider_realtimekit.emulator.media import synthesis
except ImportError as error:
    raise ImportError(
        "The emulator needs PyAV and numpy to make media: pip install 'airflow-provider-realtimekit[emulator]'"
    ) from error

_MILLISECOND = Fraction(1, 1000)
_MAX_FRAMES_PER_SECOND = 10
# One core encodes 240 frames of 1280x720 in one to two seconds, for a file of any length.
_MAX_FRAMES = 240
# From half an hour on, the sound has the quality of a telephone, so that the files stay small.
_LONG_SECONDS = 1800.0
_BITS_PER_SECOND = 32_000


class _Codec(NamedTuple):
    encoder: str
    options: dict[str, str]
    packet_samples: int = 0  # only for an encoder that does not say how many samples it packs


# A key frame every 24 frames, so that players can seek.
_KEY_FRAMES = {"g": "24"}
_FAST_VPX = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "b": "300k", **_KEY_FRAMES}
_CODECS = {
    "H264": _Codec("libx264", {"preset": "ultrafast", "tune": "zerolatency", "crf": "30", **_KEY_FRAMES}),
    "VP8": _Codec("libvpx", _FAST_VPX),
    "VP9": _Codec("libvpx-vp9", _FAST_VPX),
    "AAC": _Codec("aac", {}),
    # Without the bit reservoir no packet depends on another, so that packets can be repeated.
    "MP3": _Codec("libmp3lame", {"reservoir": "0"}),
    # PyAV's wheels hold only FFmpeg's own Vorbis encoder, which FFmpeg calls experimental.
    "VORBIS": _Codec("vorbis", {"strict": "experimental"}, 1024),
    "OPUS": _Codec("libopus", {"frame_duration": "60"}),
}
# FFmpeg's name of a container, where it is not the extension.
_FORMATS = {"m4a": "mp4"}


class BackgroundEncoder:
    """Makes files with one worker thread, in a temporary folder that `close` removes."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="realtimekit-media")
        self._files: dict[MediaSpec, Future[Path]] = {}
        self._lock = Lock()
        self._closing = Event()

    def encode(self, spec: MediaSpec) -> Future[Path]:
        """Return the path of the file that `spec` describes; the future ends when the file is made."""
        with self._lock:
            if spec not in self._files:
                self._folder = self._folder or tempfile.TemporaryDirectory(prefix="realtimekit-emulator-")
                path = Path(self._folder.name, f"{len(self._files)}.{spec.suffix}")
                self._files[spec] = self._worker.submit(_write_file, spec, path, self._closing)
            return self._files[spec]

    def close(self) -> None:
        """Stop the work and remove all files."""
        self._closing.set()
        self._worker.shutdown(cancel_futures=True)
        if self._folder:
            self._folder.cleanup()


def _write_file(spec: MediaSpec, path: Path, closing: Event) -> Path:
    if not spec.timed_metadata:
        _write_media(spec, path, closing)
        return path
    media = path.with_suffix(f".{spec.container}")
    _write_media(spec, media, closing)
    tag = _create_id3_tag("metadata", json.dumps({"duration": spec.seconds}))
    with tarfile.open(path, "w") as tar:
        tar.add(media, f"recording{media.suffix}")
        member = tarfile.TarInfo("recording.id3")
        member.size = len(tag)
        tar.addfile(member, io.BytesIO(tag))
    media.unlink()
    return path


def _create_id3_tag(description: str, text: str) -> bytes:
    """Return an ID3v2.4 tag with one user-defined text frame (TXXX, UTF-8)."""
    payload = b"\x03" + description.encode() + b"\x00" + text.encode()
    frame = b"TXXX" + _synchsafe(len(payload)) + b"\x00\x00" + payload
    return b"ID3\x04\x00\x00" + _synchsafe(len(frame)) + frame


def _synchsafe(number: int) -> bytes:
    # ID3v2.4, section 6.2: sizes have seven bits to the byte.
    return bytes((number >> shift) & 0x7F for shift in (21, 14, 7, 0))


def _write_media(spec: MediaSpec, path: Path, closing: Event) -> None:
    """Write the media that `spec` describes, or stop early when the encoder closes."""
    with av.open(str(path), "w", format=_FORMATS.get(spec.container, spec.container)) as container:
        streams = []
        if spec.video:
            streams.append(_encode_pictures(container, spec.video, spec.seconds))
        if spec.audio:
            streams.append(_encode_sound(container, spec.audio, spec.seconds))
        container.start_encoding()
        for packet in merge(*streams, key=lambda packet: packet.pts * packet.time_base):
            if closing.is_set():
                return
            container.mux(packet)


def _encode_pictures(container: Any, spec: VideoSpec, seconds: float) -> Iterator[Any]:
    codec = _CODECS[spec.codec]
    count = max(1, min(round(seconds * _MAX_FRAMES_PER_SECOND), _MAX_FRAMES))
    rate = Fraction(count / seconds).limit_denominator(1000)
    stream = container.add_stream(codec.encoder, rate=max(rate, _MILLISECOND), options=dict(codec.options))
    stream.width, stream.height, stream.pix_fmt = spec.width, spec.height, "yuv420p"
    stream.codec_context.time_base = _MILLISECOND
    # One core is enough for so few frames, and leaves the others to the tests.
    stream.thread_count = 1

    def encode_frames() -> Iterator[Any]:
        for index in range(count):
            at = seconds * index / count
            planes = synthesis.draw_frame(spec.width, spec.height, at, index / count)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = round(at / _MILLISECOND), _MILLISECOND
            yield from stream.encode(frame)
        yield from stream.encode(None)

    # Only the inner function is a generator: every stream must be added before the container starts to encode.
    return encode_frames()


def _encode_sound(container: Any, spec: AudioSpec, seconds: float) -> Iterator[Any]:
    codec = _CODECS[spec.codec]
    rate = 48_000 if seconds < _LONG_SECONDS else 16_000
    stream = container.add_stream(codec.encoder, rate=rate, layout=spec.layout, options=dict(codec.options))
    stream.bit_rate = _BITS_PER_SECOND
    loop, packet_samples = _encode_sound_loop(spec, rate)
    count = max(1, round(seconds * rate / packet_samples))

    def repeat_packets() -> Iterator[Any]:
        packets = [av.Packet(data) for data in loop]
        for index, packet in zip(range(count), cycle(packets), strict=False):
            packet.stream = stream
            packet.time_base = Fraction(1, rate)
            packet.pts = packet.dts = index * packet_samples
            packet.duration = packet_samples
            yield packet

    return repeat_packets()


@lru_cache(maxsize=32)
def _encode_sound_loop(spec: AudioSpec, rate: int) -> tuple[tuple[bytes, ...], int]:
    """Return the packets of a few seconds of sound, which can be repeated, and the samples in each."""
    codec = _CODECS[spec.codec]
    encoder: Any = av.CodecContext.create(codec.encoder, "w")
    encoder.sample_rate, encoder.layout, encoder.bit_rate = rate, spec.layout, _BITS_PER_SECOND
    encoder.format = encoder.codec.audio_formats[0]
    encoder.options = dict(codec.options)
    encoder.open()
    packet_samples = codec.packet_samples or encoder.frame_size
    count = round(synthesis.LOOP_SECONDS * rate / packet_samples)
    sound = synthesis.draw_sound(count * packet_samples, spec.channels, spec.voice)
    frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout=spec.layout)
    frame.sample_rate = rate
    packets = [bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None))]
    # An encoder may add packets at the end to flush its delay; they would be heard as a gap at each joint.
    return tuple(packets[:count]), packet_samples
