"""Measurements of recordings: codecs, duration, loudness, silence, and the handling of damaged files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from example_dags.realtimekit_report.__main__ import build_report
from example_dags.realtimekit_report.drawing import draw_waveform
from example_dags.realtimekit_report.measurements import measure_recording
from example_dags.realtimekit_report.media import MediaError
from tests.support.example_media import (
    FAST_START,
    FPS,
    HEIGHT,
    MONO,
    MP3,
    MP4,
    NO_SOUND,
    SECONDS,
    SILENT,
    WEBM,
    WIDTH,
    MakeMedia,
    Recipe,
    are_close,
    cut_file,
    make_tone,
    read_pcm,
    write_pcm,
)


@pytest.mark.parametrize(
    ("recipe", "container", "video", "audio"),
    [
        (MP4, "mp4", "h264", ("aac", 48_000, 2)),
        (WEBM, "webm", "vp8", ("vorbis", 48_000, 2)),
        (MP3, "mp3", None, ("mp3", 44_100, 2)),
        (MONO, "m4a", None, ("aac", 16_000, 1)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_each_kind_of_recording_is_measured(
    made: MakeMedia, recipe: Recipe, container: str, video: str | None, audio: tuple[Any, ...]
) -> None:
    media = made(recipe)
    measured = measure_recording(str(media))
    assert (measured["file"], measured["container"], measured["size"]) == (
        recipe.name,
        container,
        media.stat().st_size,
    )
    assert measured["duration"] == pytest.approx(SECONDS, abs=0.1)
    assert measured["audio"] == dict(zip(("codec", "sample_rate", "channels"), audio, strict=True))
    assert (measured["video"] or {}).get("codec") == video
    assert are_close(measured["silence"]["spans"], SILENT)
    assert measured["silence"]["total"] == pytest.approx(5, abs=0.15)
    assert measured["silence"]["share"] == pytest.approx(5 / 12, abs=0.01)
    assert measured["loudness"]["rms_dbfs"] == pytest.approx(-13.8, abs=0.7)
    assert measured["loudness"]["peak_dbfs"] == pytest.approx(-6.0, abs=0.7)
    assert measured["warnings"] == []
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured


@pytest.mark.parametrize("recipe", [MP4, WEBM, NO_SOUND], ids=lambda recipe: recipe.name)
def test_the_picture_is_measured(made: MakeMedia, recipe: Recipe) -> None:
    video = measure_recording(made(recipe))["video"]
    del video["codec"]
    assert video == {"width": WIDTH, "height": HEIGHT, "fps": FPS, "frames": SECONDS * FPS}


def test_loudness_is_calibrated(tmp_path: Path) -> None:
    # By definition, a stereo tone of 1 kHz at -23 dBFS has -23 LUFS.
    tone = make_tone(48_000, ((5, 10 ** (-23 / 20)),))
    loudness = measure_recording(write_pcm(tmp_path / "tone.wav", tone))["loudness"]
    assert loudness["integrated_lufs"] == pytest.approx(-23, abs=0.1)
    assert loudness["peak_dbfs"] == pytest.approx(-23, abs=0.05)
    assert loudness["rms_dbfs"] == pytest.approx(-23 - 3.01, abs=0.05)


def test_silence_lowers_the_level_but_not_the_loudness(tmp_path: Path) -> None:
    tone = make_tone(48_000, ((3, 0.0), (6, 10 ** (-23 / 20)), (3, 0.0)))
    loudness = measure_recording(write_pcm(tmp_path / "tone.wav", tone))["loudness"]
    assert loudness["integrated_lufs"] == pytest.approx(-23, abs=0.3)
    assert loudness["rms_dbfs"] == pytest.approx(-23 - 3.01 - 3.01, abs=0.05)


def test_a_short_or_faint_sound_does_not_end_silence(tmp_path: Path) -> None:
    below, above = 10 ** (-54 / 20), 10 ** (-46 / 20)
    pattern = ((1, 0.1), (0.4, 0.0), (1, 0.1), (1, below), (1, above), (0.6, 0.0), (1, 0.1))
    measured = measure_recording(write_pcm(tmp_path / "faint.wav", make_tone(48_000, pattern)))
    assert are_close(measured["silence"]["spans"], [[2.4, 3.4], [4.4, 5.0]], within=0.02)


def test_digital_silence_has_no_level(tmp_path: Path) -> None:
    media = write_pcm(tmp_path / "none.wav", np.zeros(48_000, "float32"))
    measured = build_report(media, tmp_path)
    assert measured["loudness"] == {"rms_dbfs": None, "peak_dbfs": None, "integrated_lufs": None}
    assert measured["silence"] == {"spans": [[0.0, 1.0]], "total": 1.0, "share": 1.0}
    assert "digital silence" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("recipe", [FAST_START, WEBM, MP3], ids=lambda recipe: recipe.name)
def test_a_cut_file_is_measured_up_to_the_cut(made: MakeMedia, tmp_path: Path, recipe: Recipe) -> None:
    media = cut_file(made(recipe), tmp_path / f"cut-{recipe.name}", 0.6)
    measured = build_report(media, tmp_path)
    assert 2 < measured["duration"] < 11
    assert "12.0" in "\n".join(measured["warnings"])
    assert measured["silence"]["spans"][-1][1] <= measured["duration"]
    params, _ = read_pcm(tmp_path / "speech.wav")
    assert params.nframes / 16_000 == pytest.approx(measured["duration"], abs=0.7), "less than a cluster"
    assert (tmp_path / "contact-sheet.png").exists() == (recipe.video is not None)
    assert measured["warnings"][0] in (tmp_path / "report.html").read_text()


def test_damaged_packets_are_counted_and_left_out(made: MakeMedia, tmp_path: Path) -> None:
    data, media = bytearray(made(MP4).read_bytes()), tmp_path / "noise.mp4"
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(range(256)) * 11 + bytes(184)
    media.write_bytes(data)
    measured = measure_recording(media)
    assert measured["duration"] == pytest.approx(SECONDS, abs=0.1)
    assert "packets of sound are damaged" in "\n".join(measured["warnings"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("error.mp4", b"<!doctype html><title>403 Forbidden</title>"),
        ("empty.webm", b""),
        ("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.mp4\n#EXT-X-ENDLIST\n"),
        ("concat.mp4", b"ffconcat version 1.0\nfile other.mp4\n"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    media = tmp_path / name
    media.write_bytes(content)
    for use in (measure_recording, lambda path: draw_waveform(path, tmp_path / "wave.png")):
        with pytest.raises(MediaError, match=rf"^{name} is not a recording that can be read: \w+"):
            use(media)


def test_a_cut_mp4_without_its_index_is_refused(made: MakeMedia, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"^cut\.mp4 is not a recording"):
        measure_recording(cut_file(made(MP4), tmp_path / "cut.mp4", 0.5))


def test_a_still_picture_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "still.png"), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb24"
        container.mux(stream.encode(av.VideoFrame(16, 16, "rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError):
        measure_recording(tmp_path / "still.png")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4"):
        measure_recording(tmp_path / "gone.mp4")
