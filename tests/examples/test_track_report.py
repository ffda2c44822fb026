"""Who speaks when, and the page that shows it, made from voices with a known pattern."""

from __future__ import annotations

import json
import re
import wave
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from example_dags.realtimekit_report import speakers_page as report

RATE = 16_000


def write_wav(path: Path, *pattern: tuple[float, float]) -> Path:
    """Write tone and silence, as (seconds, amplitude)."""
    loud = np.concatenate([np.full(int(seconds * RATE), amplitude) for seconds, amplitude in pattern] or [[]])
    samples = loud * np.sin(2 * np.pi * 300 * np.arange(loud.size) / RATE)
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def voice(speaker: str, *turns: tuple[float, float], began: int | None = None, seconds: float = 60.0) -> dict[str, Any]:
    return {
        "speaker": speaker,
        "began": None if began is None else f"2026-11-20T14:00:{began:02}.000Z",
        "wav": f"speaker_{speaker}.wav",
        "seconds": seconds,
        "shape": [0.1, 0.5, 0.0, 0.25],
        "turns": [list(turn) for turn in turns],
    }


# ---- listening --------------------------------------------------------------------------------------


def test_turns_are_found_pauses_bridged_and_clicks_left_out(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "a.wav", (1, 0), (2, 0.5), (0.4, 0), (1, 0.2), (2, 0.001), (0.05, 0.5), (3.55, 0))
    measured = report.measure_voice(wav)
    assert measured["seconds"] == 10
    assert measured["turns"] == [[1.0, pytest.approx(4.4, abs=0.05)]]
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured


def test_the_shape_is_bounded_and_keeps_peaks(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "long.wav", (100, 0.1), (0.1, 0.8), (99.9, 0.1))
    shape = report.measure_voice(wav)["shape"]
    assert len(shape) == report.SHAPE_POINTS
    assert max(shape) == pytest.approx(0.8, abs=0.01)
    assert shape.index(max(shape)) == report.SHAPE_POINTS // 2
    assert min(shape) == pytest.approx(0.1, abs=0.01)


def test_more_than_a_block_reads_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wav = write_wav(tmp_path / "a.wav", (0.5, 0), (1.51, 0.5), (0.5, 0))
    whole = report.measure_voice(wav)
    monkeypatch.setattr(report, "BLOCK_STEPS", 3)
    assert report.measure_voice(wav) == whole


@pytest.mark.parametrize(("pattern", "points"), [([], 0), ([(0.01, 0.0)], 1), ([(5, 0.0)], 100)])
def test_silence_has_no_turns(tmp_path: Path, pattern: list[tuple[float, float]], points: int) -> None:
    measured = report.measure_voice(write_wav(tmp_path / "a.wav", *pattern))
    assert (measured["turns"], measured["shape"]) == ([], [0.0] * points)


# ---- who spoke when ---------------------------------------------------------------------------------


def test_voices_share_one_clock() -> None:
    later, first = voice("ben", began=3), voice("Cleo", began=1)
    assert [(one["speaker"], one["offset"]) for one in report.aligned([first, later])] == [("ben", 2), ("Cleo", 0)]
    unknown = voice("ann")
    assert {one["offset"] for one in report.aligned([first, later, unknown])} == {0.0}


def test_talk_and_overlap_are_added_up() -> None:
    ann, ben = voice("ann", (0, 10), (20, 30), began=0), voice("ben", (5, 15), (20, 21), began=2)
    assert report.share_time(report.aligned([ann, ben])) == (27.0, 4.0)
    assert report.share_time([]) == (0.0, 0.0)


# ---- the page ---------------------------------------------------------------------------------------


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]


def made(folder: Path, *voices: dict[str, Any], recording: dict[str, Any] | None = None) -> Page:
    path = Path(report.write_track_page(folder / "new", voices, recording))
    assert path.name == report.TRACK_PAGE
    return Page(path.read_text(encoding="utf-8"))


def test_waveforms_stand_one_above_the_other_with_their_turns(tmp_path: Path) -> None:
    ben = voice("ben", (0, 30), began=30, seconds=30)
    page = made(tmp_path, ben, voice("ann", (0, 15), (30, 45), began=0))
    assert [svg["aria-label"] for svg in page.all("svg")] == [
        "ann speaks 00:30 of 01:00, 2 turns",
        "ben speaks 00:30 of 01:00, 1 turn",
    ]
    turns = [(float(rect["x"] or 0), float(rect["width"] or 0)) for rect in page.all("rect")]
    assert turns == [(0, 250), (500, 250), (500, 500)]
    (ann_path, ben_path) = [re.findall(r"[ML]([\d.]+) ([\d.]+)", path["d"] or "") for path in page.all("path")]
    assert [float(x) for x, _ in ann_path[:4]] == [125, 375, 625, 875]
    assert [float(x) for x, _ in ben_path[:4]] == [562.5, 687.5, 812.5, 937.5]
    assert [float(y) for _, y in ann_path[:4]] == [40.8, 4, 49.4, 27], "the loudest reaches the edge"
    assert [audio["src"] for audio in page.all("audio")] == ["speaker_ann.wav", "speaker_ben.wav"]
    for text in ("100%", "75%", "25%"):
        assert text in " ".join(page.words)


def test_hostile_names_are_text(tmp_path: Path) -> None:
    hostile = """</title><script>alert("1")</script><img src=x onerror='alert(2)'> &amp;"""
    recording = {"id": hostile, "meeting": {"title": hostile}, "download_url": "https://x.example/?Signature=5ec7e7"}
    page = made(tmp_path, voice(hostile, (0, 1)), recording=recording)
    assert not page.all("script")
    assert not page.all("img")
    assert page.words.count(hostile) >= 3
    assert "5ec7e7" not in "".join(page.words)


def test_no_tracks_are_told(tmp_path: Path) -> None:
    page = made(tmp_path)
    assert "The recording holds no tracks." in page.words
    assert not page.all("svg")


@pytest.mark.parametrize(("seconds", "count", "last"), [(0.3, 4, 0.3), (60, 7, 60), (61, 5, 60), (86_400, 5, 86_400)])
def test_the_axis_has_few_round_marks(seconds: float, count: int, last: float) -> None:
    ticks = report._tick_seconds(seconds)
    assert (len(ticks), ticks[-1]) == (count, pytest.approx(last))
