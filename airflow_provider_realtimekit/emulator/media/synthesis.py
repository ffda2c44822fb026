"""What a made-up meeting looks and sounds like: frames and speech-like tones, drawn with numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Three by five dots for each character of a clock, row by row.
_GLYPHS = {
    "0": "111101101101111",
    "1": "010110010010111",
    "2": "111001111100111",
    "3": "111001111001111",
    "4": "101101111001001",
    "5": "111100111001111",
    "6": "111100111101111",
    "7": "111001010010010",
    "8": "111101111101111",
    "9": "111101111001111",
    ":": "000010000010000",
}

# Who speaks when within one loop of sound, as (start, end, voice); the gaps are silent.
_SPEECH = ((0.3, 2.6, 0), (3.2, 5.6, 1), (6.4, 7.2, 0))
LOOP_SECONDS = 8.0


def draw_frame(width: int, height: int, at: float, progress: float) -> NDArray[np.uint8]:
    """Return one planar YUV 4:2:0 frame: a drifting colour, a disc that crosses it, and a running clock.

    `at` is the time to show, in seconds; `progress` runs from 0 to 1 over the whole recording.
    """
    planes = np.empty((height * 3 // 2, width), np.uint8)
    luma, chroma = planes[:height], planes[height:].reshape(2, -1)
    luma[:] = np.linspace(50, 130, height, dtype=np.uint8)[:, None]
    # Once around the colour wheel, in few steps: what stands still costs the encoder next to nothing.
    hue = 2 * np.pi * int(progress * 8) / 8
    chroma[0], chroma[1] = 128 + 50 * np.cos(hue), 128 + 50 * np.sin(hue)
    _draw_disc(luma, progress)
    _draw_clock(luma, at)
    return planes


def _draw_disc(luma: NDArray[np.uint8], progress: float) -> None:
    height, width = luma.shape
    radius = height // 8
    x, y = int(radius + progress * (width - 2 * radius)), height - 2 * radius
    # Only the square around the disc is touched: a mask over the whole frame would cost more than encoding it.
    top, left = max(0, y - radius), max(0, x - radius)
    box = luma[top : y + radius, left : x + radius]
    rows, columns = np.ogrid[top : top + box.shape[0], left : left + box.shape[1]]
    box[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = 220


def _draw_clock(luma: NDArray[np.uint8], at: float) -> None:
    height, width = luma.shape
    minutes, seconds = divmod(int(at), 60)
    text = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    glyphs = [np.pad(_glyph(character), ((0, 0), (0, 1))) for character in text]
    dots = np.hstack(glyphs)
    scale = max(1, min(height // 20, (width - 2) // dots.shape[1]))
    mask = np.kron(dots, np.ones((scale, scale), bool))[: height // 2, :width]
    luma[height // 8 :, (width - mask.shape[1]) // 2 :][: mask.shape[0], : mask.shape[1]][mask] = 235


def _glyph(character: str) -> NDArray[np.bool_]:
    return np.array([dot == "1" for dot in _GLYPHS[character]]).reshape(5, 3)


def draw_sound(samples: int, channels: int, voice: int = 0) -> NDArray[np.float32]:
    """Return one loop of talk and silence, shaped (channels, samples); silent ends join without a click."""
    at = np.linspace(0, LOOP_SECONDS, samples, endpoint=False, dtype=np.float32)
    sound = np.zeros((channels, samples), np.float32)
    for turn, (start, end, speaker) in enumerate(_SPEECH, 1):
        if voice and turn != 1 + voice % len(_SPEECH):
            continue  # whoever has a track of their own takes turns with the others
        talking = slice(*np.searchsorted(at, (start, end)))
        talk = _draw_speech(at[talking] - start, 110 + 25 * voice + 70 * speaker)
        # One sits to the left, the other to the right.
        sound[0, talking] += talk * (0.3 if speaker == 0 else 0.15)
        sound[-1, talking] += talk * (0.3 if speaker == 1 else 0.15)
    return sound


def _draw_speech(at: NDArray[np.float32], pitch: float) -> NDArray[np.float32]:
    """Return a hum with overtones, beaten into four syllables a second."""
    hum = np.zeros_like(at)
    for order in (1, 2, 3, 5):
        hum += np.sin(2 * np.pi * pitch * order * at) / order
    hum *= np.abs(np.sin(4 * np.pi * at))
    return hum
