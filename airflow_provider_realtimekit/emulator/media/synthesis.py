"""The pictures and the sound of the test media: frames and speech-like tones, computed with numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Three by five dots for each character of the clock, row by row.
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

# Who speaks when in one loop of sound, as (start, end, speaker), in seconds; the gaps are silent.
_SPEECH = ((0.3, 2.6, 0), (3.2, 5.6, 1), (6.4, 7.2, 0))
LOOP_SECONDS = 8.0


def draw_frame(width: int, height: int, at: float, progress: float) -> NDArray[np.uint8]:
    """Return one planar YUV 4:2:0 frame: a changing colour, a disc that crosses it, and a running clock.

    :param at: the time that the clock shows, in seconds
    :param progress: the share of the recording that has passed, from 0 to 1
    """
    planes = np.empty((height * 3 // 2, width), np.uint8)
    luma, chroma = planes[:height], planes[height:].reshape(2, -1)
    luma[:] = np.linspace(50, 130, height, dtype=np.uint8)[:, None]
    # Once around the colour wheel in eight steps, because an unchanged colour costs the encoder almost nothing.
    hue = 2 * np.pi * int(progress * 8) / 8
    chroma[0], chroma[1] = 128 + 50 * np.cos(hue), 128 + 50 * np.sin(hue)
    _draw_disc(luma, progress)
    _draw_clock(luma, at)
    return planes


def _draw_disc(luma: NDArray[np.uint8], progress: float) -> None:
    height, width = luma.shape
    radius = height // 8
    x, y = int(radius + progress * (width - 2 * radius)), height - 2 * radius
    # Only the square around the disc is computed: a mask of the complete frame would cost more than encoding it.
    top, left = max(0, y - radius), max(0, x - radius)
    box = luma[top : y + radius, left : x + radius]
    rows, columns = np.ogrid[top : top + box.shape[0], left : left + box.shape[1]]
    box[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = 220


def _draw_clock(luma: NDArray[np.uint8], at: float) -> None:
    height, width = luma.shape
    minutes, seconds = divmod(int(at), 60)
    text = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    glyphs = [np.array([dot == "1" for dot in _GLYPHS[character]]).reshape(5, 3) for character in text]
    dots = np.hstack([np.pad(glyph, ((0, 0), (0, 1))) for glyph in glyphs])
    scale = max(1, min(height // 20, (width - 2) // dots.shape[1]))
    mask = np.kron(dots, np.ones((scale, scale), bool))[: height // 2, :width]
    luma[height // 8 :, (width - mask.shape[1]) // 2 :][: mask.shape[0], : mask.shape[1]][mask] = 235


def draw_sound(samples: int, channels: int, voice: int = 0) -> NDArray[np.float32]:
    """Return one loop of speech and silence, shaped (channels, samples). Its ends are silent: no click at the joint.

    :param voice: 0 for all speakers in turn; another number for one speaker alone, with a pitch of its own
    """
    at = np.linspace(0, LOOP_SECONDS, samples, endpoint=False, dtype=np.float32)
    sound = np.zeros((channels, samples), np.float32)
    for turn, (start, end, speaker) in enumerate(_SPEECH, 1):
        if voice and turn != 1 + voice % len(_SPEECH):
            # A track holds one turn only, so that the people of a meeting rarely speak at the same time.
            continue
        talking = slice(*np.searchsorted(at, (start, end)))
        talk = _draw_speech(at[talking] - start, 110 + 25 * voice + 70 * speaker)
        # One speaker is louder on the left, the other on the right.
        sound[0, talking] += talk * (0.3 if speaker == 0 else 0.15)
        sound[-1, talking] += talk * (0.3 if speaker == 1 else 0.15)
    return sound


def _draw_speech(at: NDArray[np.float32], pitch: float) -> NDArray[np.float32]:
    """Return a tone with overtones whose loudness rises four times a second, like syllables."""
    hum = np.zeros_like(at)
    for harmonic in (1, 2, 3, 5):
        hum += np.sin(2 * np.pi * pitch * harmonic * at) / harmonic
    hum *= np.abs(np.sin(4 * np.pi * at))
    return hum
