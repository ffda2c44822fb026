"""The page that shows who speaks when, for voices with known turns."""

from __future__ import annotations

import re
from typing import Any

import pytest

from example_dags.realtimekit_report import speakers_page
from example_dags.realtimekit_report.speech import Voice
from tests.support.examples import HOSTILE, Page, make_voice


def render(*voices: Voice, recording: dict[str, Any] | None = None) -> Page:
    return Page(speakers_page.render_speakers_page(voices, recording))


def test_each_speaker_has_a_row_with_waveform_and_turns() -> None:
    ben = make_voice("ben", (0, 30), started=30, seconds=30)
    page = render(ben, make_voice("ann", (0, 15), (30, 45), started=0))
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
        assert text in " ".join(page.words), text


def test_hostile_names_are_shown_as_text() -> None:
    recording = {"id": HOSTILE, "meeting": {"title": HOSTILE}, "download_url": "https://x.example/?Signature=5ec7e7"}
    page = render(make_voice(HOSTILE, (0, 1)), recording=recording)
    assert not page.all("script")
    assert not page.all("img")
    assert page.words.count(HOSTILE) >= 3
    assert "5ec7e7" not in "".join(page.words)


def test_the_page_of_a_recording_without_tracks_says_so() -> None:
    page = render()
    assert "The recording holds no tracks." in page.words
    assert not page.all("svg")


@pytest.mark.parametrize(("seconds", "count", "last"), [(0.3, 4, 0.3), (60, 7, 60), (61, 5, 60), (86_400, 5, 86_400)])
def test_the_axis_has_few_round_marks(seconds: float, count: int, last: float) -> None:
    marks = speakers_page._axis_marks(seconds)
    assert (len(marks), marks[-1]) == (count, pytest.approx(last))
