"""Recordings with a known pattern of tone, silence and colour, for the tests of the examples' reports."""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from matplotlib.image import imread

PATTERN = ((3, 0.5), (2, 0.0), (4, 0.25), (3, 0.0))  # seconds, amplitude
SILENT = [[3, 5], [9, 12]]  # the silent spans of the pattern, in seconds
SECONDS, FPS, WIDTH, HEIGHT = 12, 10, 320, 180


@dataclass(frozen=True)
class Recipe:
    name: str
    video: str | None = "libx264"
    audio: str | None = "aac"
    rate: int = 48_000
    layout: str = "stereo"
    flags: str = ""


MakeMedia = Callable[[Recipe], Path]

MP4 = Recipe("talk.mp4")
WEBM = Recipe("talk.webm", "libvpx", "vorbis")
MP3 = Recipe("talk.mp3", None, "libmp3lame", 44_100)
FAST_START = Recipe("fast.mp4", flags="faststart")
NO_SOUND = Recipe("mute.mp4", audio=None)
MONO = Recipe("mono.m4a", None, rate=16_000, layout="mono")


def make_media(folder: Path, recipe: Recipe, sound: np.ndarray | None = None) -> Path:
    path = folder / recipe.name
    options = {"movflags": recipe.flags} if recipe.flags else {}
    with av.open(str(path), "w", options=options) as container:
        video = _add_video(container, recipe.video) if recipe.video else None
        audio = _add_audio(container, recipe) if recipe.audio else None
        if video:
            _write_video(container, video)
        if audio:
            _write_audio(container, audio, make_tone(recipe.rate) if sound is None else sound, recipe)
    return path


def _add_video(container: Any, codec: str) -> Any:
    stream = container.add_stream(codec, rate=FPS)
    stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", 20
    return stream


def _add_audio(container: Any, recipe: Recipe) -> Any:
    stream = container.add_stream(recipe.audio, rate=recipe.rate, layout=recipe.layout)
    if recipe.audio == "vorbis":
        stream.codec_context.options = {"strict": "-2"}  # FFmpeg calls its own Vorbis encoder experimental
    return stream


def _write_video(container: Any, stream: Any) -> None:
    for number in range(SECONDS * FPS):
        image = np.full((HEIGHT, WIDTH, 3), grey(number / FPS), "uint8")
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _write_audio(container: Any, stream: Any, sound: np.ndarray, recipe: Recipe) -> None:
    resampler = av.AudioResampler(stream.format, stream.layout, recipe.rate, frame_size=stream.frame_size)
    frame = av.AudioFrame.from_ndarray(
        np.tile(sound, (stream.layout.nb_channels, 1)), format="fltp", layout=recipe.layout
    )
    frame.sample_rate, frame.pts, frame.time_base = recipe.rate, 0, Fraction(1, recipe.rate)
    for part in (*resampler.resample(frame), *resampler.resample(None), None):
        container.mux(stream.encode(part))


def grey(second: float) -> int:
    """Return the grey of the picture in one second; each second has its own."""
    return 20 + 18 * int(second)


def make_tone(rate: int, pattern: tuple[tuple[float, float], ...] = PATTERN) -> np.ndarray:
    loud = np.concatenate([np.full(int(seconds * rate), amplitude) for seconds, amplitude in pattern])
    return (loud * np.sin(2 * np.pi * 1000 * np.arange(loud.size) / rate)).astype("float32")


def write_pcm(path: Path, sound: np.ndarray, rate: int = 48_000) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setparams((2, 2, rate, 0, "NONE", ""))
        out.writeframes((np.repeat(sound, 2) * 32767).astype("<i2").tobytes())
    return path


def read_pcm(path: str | Path) -> tuple[wave._wave_params, np.ndarray]:
    with wave.open(str(path)) as sound:
        return sound.getparams(), np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32768


def read_pixels(png: Path) -> np.ndarray:
    return np.asarray(imread(png) * 255)


def cut_file(media: Path, path: Path, share: float) -> Path:
    path.write_bytes(media.read_bytes()[: int(media.stat().st_size * share)])
    return path


def are_close(spans: list[list[float]], expected: list[list[float]], within: float = 0.1) -> bool:
    return np.shape(spans) == np.shape(expected) and np.allclose(spans, expected, rtol=0, atol=within)
