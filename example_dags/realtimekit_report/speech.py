"""Prepare sound for speech-to-text, and find out who speaks when.

A voice is what is known of one speaker's track, as plain JSON: `speaker`, `started_at` (ISO 8601, or None), `wav`
(the name of its file), `seconds`, `peaks` (the loudness at even distances, from 0 to 1) and `turns` (pairs of seconds
between which the speaker talks). `align_voices` adds `offset`: the second at which the track starts.
"""

from __future__ import annotations

import wave
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .media import (
    PacketStats,
    decode_frames,
    discard_others,
    fill_gaps,
    find_audio,
    make_parent,
    open_media,
    resample_frames,
    start_seconds,
)

if TYPE_CHECKING:
    import numpy as np

SPEECH_RATE = 16_000  # Hz; what speech-to-text models are trained on
STEP_SECONDS = 0.05  # the sound is measured in steps of this length
BLOCK_STEPS = 1200  # steps that are read at once: a minute
PEAK_COUNT = 1000  # one for each unit of the drawing's width
TALK_DBFS = -45  # a louder step is talk
PAUSE_SECONDS, TURN_SECONDS = 0.6, 0.15  # a shorter pause does not end a turn, and a shorter sound is not a turn

Voice = dict[str, Any]
Turns = list[list[float]]


def write_speech_wav(media: str | Path, wav: str | Path) -> str | None:
    """Write the sound as 16 kHz mono 16-bit PCM; returns None if there is no sound.

    Missing sound becomes silence, so that the times in a transcript are those of the recording.
    """
    with open_media(media) as container:
        stream = find_audio(container)
        if stream is None:
            return None
        discard_others(container, stream)
        stats = PacketStats(start_seconds(container))
        frames = resample_frames(decode_frames(container, stream, stats), "s16", "mono", SPEECH_RATE)
        with wave.open(make_parent(wav), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(SPEECH_RATE)
            for samples in fill_gaps(frames, stats.start, SPEECH_RATE):
                out.writeframesraw(samples.tobytes())
    return str(wav)


def write_voice(media: str | Path, wav: str | Path) -> Voice:
    """Write the sound of one speaker's track for speech-to-text, and measure it."""
    write_speech_wav(media, wav)
    return measure_voice(wav)


def measure_voice(wav: str | Path) -> Voice:
    """Return `seconds`, `peaks` and `turns` of a file of 16-bit mono PCM, which is read as a stream."""
    import numpy as np

    with wave.open(str(wav)) as sound:
        steps = round(sound.getframerate() * STEP_SECONDS)
        blocks = [np.stack([abs(block).max(axis=1), (block**2).mean(axis=1)]) for block in _read_blocks(sound, steps)]
        seconds = sound.getnframes() / sound.getframerate()
    peaks, powers = np.concatenate(blocks, axis=1) if blocks else np.zeros((2, 0))
    return {"seconds": round(seconds, 3), "peaks": _reduce_peaks(peaks), "turns": _find_turns(powers, seconds)}


def _read_blocks(sound: wave.Wave_read, step: int) -> Iterator[np.ndarray]:
    """Yield blocks of up to BLOCK_STEPS rows, each `step` samples long; silence fills up the last row."""
    import numpy as np

    while data := sound.readframes(step * BLOCK_STEPS):
        samples = np.frombuffer(data, "<i2").astype(np.float32) / 32768
        yield np.pad(samples, (0, -samples.size % step)).reshape(-1, step)


def _reduce_peaks(peaks: np.ndarray) -> list[float]:
    import numpy as np

    edges = np.unique(np.linspace(0, len(peaks), PEAK_COUNT, endpoint=False).astype(int))
    return [round(float(peak), 3) for peak in np.maximum.reduceat(peaks, edges)] if len(peaks) else []


def _find_turns(powers: np.ndarray, seconds: float) -> Turns:
    import numpy as np

    loud = np.flatnonzero(np.asarray(powers) > 10 ** (TALK_DBFS / 10))
    turns: Turns = []
    for start in (loud * STEP_SECONDS).tolist():
        if turns and start - turns[-1][1] <= PAUSE_SECONDS:
            turns[-1][1] = start + STEP_SECONDS
        else:
            turns.append([start, start + STEP_SECONDS])
    # The last step may be longer than the sound.
    ends = [[round(start, 3), round(min(end, seconds), 3)] for start, end in turns]
    return [turn for turn in ends if turn[1] - turn[0] >= TURN_SECONDS]


def align_voices(voices: Iterable[Voice]) -> list[Voice]:
    """Sort voices by name, and add the `offset` of each: the seconds from the start of the first track to its own."""
    ordered = sorted(voices, key=lambda voice: (voice["speaker"].casefold(), voice["started_at"] or ""))
    starts = [datetime.fromisoformat(voice["started_at"]) for voice in ordered if voice["started_at"]]
    # If one start is unknown, no two tracks can be compared, and all are drawn from the same moment.
    if len(starts) < len(ordered):
        return [voice | {"offset": 0.0} for voice in ordered]
    return [
        voice | {"offset": (start - min(starts)).total_seconds()} for voice, start in zip(ordered, starts, strict=True)
    ]


def share_time(voices: Sequence[Voice]) -> tuple[float, float]:
    """Return for how many seconds somebody speaks, and for how many of them several speak at once."""
    changes = sorted(
        (voice["offset"] + second, change)
        for voice in voices
        for turn in voice["turns"]
        for second, change in zip(turn, (1, -1), strict=True)
    )
    spoken = together = speaking = last = 0.0
    for second, change in changes:
        spoken += (second - last) * (speaking > 0)
        together += (second - last) * (speaking > 1)
        speaking, last = speaking + change, second
    return spoken, together


def talk_seconds(voice: Voice) -> float:
    """Return for how many seconds one speaker talks."""
    return float(sum(end - start for start, end in voice["turns"]))
