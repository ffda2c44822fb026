"""Sound for speech-to-text, and who speaks when, from files with a known pattern."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from example_dags.realtimekit_report import speech
from example_dags.realtimekit_report.drawing import draw_waveform
from example_dags.realtimekit_report.measurements import measure_recording
from example_dags.realtimekit_report.speech import align_voices, measure_voice, share_time, write_speech_wav
from tests.support.example_media import MONO, MP3, MP4, NO_SOUND, SECONDS, WEBM, MakeMedia, Recipe, are_close, read_pcm
from tests.support.examples import make_voice

RATE = 16_000

# ---- the WAV for speech-to-text ----------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [MP4, WEBM, MP3, MONO], ids=lambda recipe: recipe.name)
def test_the_wav_is_16_khz_mono_of_the_same_sound(made: MakeMedia, tmp_path: Path, recipe: Recipe) -> None:
    wav = write_speech_wav(made(recipe), tmp_path / "speech.wav")
    params, sound = read_pcm(wav)
    assert (params.nchannels, params.sampwidth, params.framerate) == (1, 2, 16_000)
    assert params.nframes == pytest.approx(SECONDS * 16_000, abs=1600)
    assert abs(sound).max() == pytest.approx(0.5, abs=0.05)
    assert abs(sound[int(5.5 * 16_000) : int(8.5 * 16_000)]).max() == pytest.approx(0.25, abs=0.05)
    assert abs(sound[int(3.2 * 16_000) : int(4.8 * 16_000)]).max() < 0.003
    crossings = np.count_nonzero(np.diff(np.signbit(sound[16_000:32_000])))
    assert crossings == pytest.approx(2000, abs=4), "1 kHz stays 1 kHz"


def test_missing_sound_becomes_silence_and_later_sound_stays_in_place(made: MakeMedia, tmp_path: Path) -> None:
    media = tmp_path / "gap.webm"
    with av.open(str(made(WEBM))) as source, av.open(str(media), "w") as target:
        streams = [target.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            audio = packet.stream.type == "audio"
            if packet.dts is not None and not (
                audio and (packet.pts * packet.time_base < 1 or 6 <= packet.pts * packet.time_base < 8)
            ):
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    _, sound = read_pcm(write_speech_wav(media, tmp_path / "speech.wav"))
    assert sound.size == pytest.approx(SECONDS * 16_000, abs=1600)
    assert abs(sound[: int(0.9 * 16_000)]).max() == 0
    assert abs(sound[int(6.1 * 16_000) : int(7.9 * 16_000)]).max() == 0
    assert abs(sound[int(8.2 * 16_000) : int(8.8 * 16_000)]).max() == pytest.approx(0.25, abs=0.05)
    spans = measure_recording(media)["silence"]["spans"]
    assert are_close(spans, [[0, 1], [3, 5], [6, 8], [9, 12]])


def test_a_recording_without_sound_has_no_waveform_and_no_wav(made: MakeMedia, tmp_path: Path) -> None:
    media = made(NO_SOUND)
    measured = measure_recording(media)
    assert (measured["audio"], measured["loudness"], measured["silence"]) == (None, None, None)
    assert draw_waveform(media, tmp_path / "wave.png") is None
    assert write_speech_wav(media, tmp_path / "speech.wav") is None
    assert list(tmp_path.iterdir()) == []


# ---- turns ---------------------------------------------------------------------------------------------


def write_wav(path: Path, *pattern: tuple[float, float]) -> Path:
    """Write tone and silence, as (seconds, amplitude)."""
    loud = np.concatenate([np.full(int(seconds * RATE), amplitude) for seconds, amplitude in pattern] or [[]])
    samples = loud * np.sin(2 * np.pi * 300 * np.arange(loud.size) / RATE)
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def test_turns_bridge_short_pauses_and_leave_out_clicks(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "a.wav", (1, 0), (2, 0.5), (0.4, 0), (1, 0.2), (2, 0.001), (0.05, 0.5), (3.55, 0))
    measured = measure_voice(wav)
    assert measured["seconds"] == 10
    assert measured["turns"] == [[1.0, pytest.approx(4.4, abs=0.05)]]
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured


def test_the_number_of_peaks_is_bounded_and_the_loudest_stays(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "long.wav", (100, 0.1), (0.1, 0.8), (99.9, 0.1))
    peaks = measure_voice(wav)["peaks"]
    assert len(peaks) == speech.PEAK_COUNT
    assert max(peaks) == pytest.approx(0.8, abs=0.01)
    assert peaks.index(max(peaks)) == speech.PEAK_COUNT // 2
    assert min(peaks) == pytest.approx(0.1, abs=0.01)


def test_measuring_in_several_blocks_gives_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wav = write_wav(tmp_path / "a.wav", (0.5, 0), (1.51, 0.5), (0.5, 0))
    in_one_block = measure_voice(wav)
    monkeypatch.setattr(speech, "BLOCK_STEPS", 3)
    assert measure_voice(wav) == in_one_block


@pytest.mark.parametrize(
    ("pattern", "points"), [([], 0), ([(0.01, 0.0)], 1), ([(5, 0.0)], 100)], ids=["empty", "short", "long"]
)
def test_silence_has_no_turns(tmp_path: Path, pattern: list[tuple[float, float]], points: int) -> None:
    measured = measure_voice(write_wav(tmp_path / "a.wav", *pattern))
    assert (measured["turns"], measured["peaks"]) == ([], [0.0] * points)


# ---- several voices -----------------------------------------------------------------------------------


def test_voices_are_aligned_by_their_starts() -> None:
    later, first = make_voice("ben", started=3), make_voice("Cleo", started=1)
    assert [(one["speaker"], one["offset"]) for one in align_voices([first, later])] == [("ben", 2), ("Cleo", 0)]
    unknown = make_voice("ann")
    assert {one["offset"] for one in align_voices([first, later, unknown])} == {0.0}


def test_talking_time_and_overlap_are_summed() -> None:
    ann, ben = make_voice("ann", (0, 10), (20, 30), started=0), make_voice("ben", (5, 15), (20, 21), started=2)
    assert share_time(align_voices([ann, ben])) == (27.0, 4.0)
    assert share_time([]) == (0.0, 0.0)
