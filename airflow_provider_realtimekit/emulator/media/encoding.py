"""Media files made with PyAV: few frames a second and sound that loops, so that any length costs little."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from heapq import merge
from itertools import cycle
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

try:
    import av

    from airflow_provider_realtimekit.emulator.media import synthesis
except ImportError as error:
    raise ImportError(
        "The emulator needs PyAV and numpy to make media: pip install 'airflow-provider-realtimekit[emulator]'"
    ) from error

from airflow_provider_realtimekit.emulator.media.specs import AudioSpec, MediaSpec, VideoSpec

_MILLISECOND = Fraction(1, 1000)
_MOST_FRAMES_A_SECOND = 10
_MOST_FRAMES = 240  # of 1280x720 take one to two seconds of one core, for a minute as for a day
_LONG = 1800.0  # seconds; from here on the sound is that of a telephone, to keep the files small
_BITS_A_SECOND = 32_000


class _Codec(NamedTuple):
    encoder: str
    options: dict[str, str]
    packet_samples: int = 0  # where the encoder does not tell


_SEEKABLE = {"g": "24"}  # a key frame every 24
_FAST_VPX = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "b": "300k", **_SEEKABLE}
_CODECS = {
    "H264": _Codec("libx264", {"preset": "ultrafast", "tune": "zerolatency", "crf": "30", **_SEEKABLE}),
    "VP8": _Codec("libvpx", _FAST_VPX),
    "VP9": _Codec("libvpx-vp9", _FAST_VPX),
    "AAC": _Codec("aac", {}),
    # Without the bit reservoir every packet stands alone and can be repeated.
    "MP3": _Codec("libmp3lame", {"reservoir": "0"}),
    "VORBIS": _Codec("vorbis", {"strict": "experimental"}, 1024),
    "OPUS": _Codec("libopus", {"frame_duration": "60"}),
}
_FORMATS = {"m4a": "mp4"}  # FFmpeg's name, where it is not the file's ending


class _Loop(NamedTuple):
    """Encoded sound that may be repeated for ever."""

    packets: tuple[bytes, ...]
    packet_samples: int


def write_media(spec: MediaSpec, path: Path, closing: Event) -> None:
    """Write the file that `spec` describes, or give up when nobody waits for it any more."""
    with av.open(str(path), "w", format=_FORMATS.get(spec.container, spec.container)) as container:
        tracks = []
        if spec.video:
            tracks.append(_pictures(container, spec.video, spec.seconds))
        if spec.audio:
            tracks.append(_sound(container, spec.audio, spec.seconds))
        container.start_encoding()
        for packet in merge(*tracks, key=lambda packet: packet.pts * packet.time_base):
            if closing.is_set():
                return
            container.mux(packet)


def _pictures(container: Any, spec: VideoSpec, seconds: float) -> Iterator[Any]:
    codec = _CODECS[spec.codec]
    count = max(1, min(round(seconds * _MOST_FRAMES_A_SECOND), _MOST_FRAMES))
    rate = Fraction(count / seconds).limit_denominator(1000)
    stream = container.add_stream(codec.encoder, rate=max(rate, _MILLISECOND), options=dict(codec.options))
    stream.width, stream.height, stream.pix_fmt = spec.width, spec.height, "yuv420p"
    stream.codec_context.time_base = _MILLISECOND
    stream.thread_count = 1
    return _encoded_frames(stream, spec, seconds, count)


def _encoded_frames(stream: Any, spec: VideoSpec, seconds: float, count: int) -> Iterator[Any]:
    for index in range(count):
        at = seconds * index / count
        planes = synthesis.draw_frame(spec.width, spec.height, at, index / count)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = round(at / _MILLISECOND), _MILLISECOND
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _sound(container: Any, spec: AudioSpec, seconds: float) -> Iterator[Any]:
    codec = _CODECS[spec.codec]
    rate = 48_000 if seconds < _LONG else 16_000
    stream = container.add_stream(codec.encoder, rate=rate, layout=spec.layout, options=dict(codec.options))
    stream.bit_rate = _BITS_A_SECOND
    return _repeated(stream, _sound_loop(spec, rate), rate, seconds)


def _repeated(stream: Any, loop: _Loop, rate: int, seconds: float) -> Iterator[Any]:
    packets = [av.Packet(data) for data in loop.packets]
    count = max(1, round(seconds * rate / loop.packet_samples))
    for index, packet in zip(range(count), cycle(packets), strict=False):
        packet.stream = stream
        packet.time_base = Fraction(1, rate)
        packet.pts = packet.dts = index * loop.packet_samples
        packet.duration = loop.packet_samples
        yield packet


@lru_cache(maxsize=32)
def _sound_loop(spec: AudioSpec, rate: int) -> _Loop:
    codec = _CODECS[spec.codec]
    encoder: Any = av.CodecContext.create(codec.encoder, "w")
    encoder.sample_rate, encoder.layout, encoder.bit_rate = rate, spec.layout, _BITS_A_SECOND
    encoder.format = encoder.codec.audio_formats[0]
    encoder.options = dict(codec.options)
    encoder.open()
    size = codec.packet_samples or encoder.frame_size
    count = round(synthesis.LOOP_SECONDS * rate / size)
    sound = synthesis.draw_sound(count * size, spec.channels, spec.voice)
    frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout=spec.layout)
    frame.sample_rate = rate
    packets = [bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None))]
    return _Loop(tuple(packets[:count]), size)
