"""The page of one recording, and the folder with its report."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import pytest

from example_dags.realtimekit_report.__main__ import build_report, main
from example_dags.realtimekit_report.measurements import measure_recording
from example_dags.realtimekit_report.report_page import write_report_page
from tests.support.example_media import MONO, MP3, MP4, NO_SOUND, MakeMedia
from tests.support.examples import HOSTILE, Page

SIGNATURE = "X-Amz-Signature=5ec7e7"
RECORDING = {
    "id": f"rec-1{HOSTILE}",
    "status": "UPLOADED",
    "started_time": "2026-11-20T14:03:11+01:00",
    "stopped_time": None,
    "stop_reason": {"reason": "API_CALL"},
    "output_file_name": f"see https://bucket.example/talk.mp4?{SIGNATURE}&X=1",
    "download_url": f"https://bucket.example/talk.mp4?{SIGNATURE}",
    "storage_config": {"secret": "5ec7e7-key"},
    "meeting": {"id": "m-1", "title": HOSTILE, "recording_config": {"secret": "5ec7e7-key"}},
}


@pytest.fixture(scope="module")
def built(made: MakeMedia, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the complete report of a recording whose name needs escaping."""
    base = tmp_path_factory.mktemp("built")
    media = base / 'javascript:a "b"<i>?#%.mp4'
    media.write_bytes(made(MP4).read_bytes())
    build_report(media, base / "report", RECORDING)
    return base / "report"


def test_the_folder_holds_all_results(built: Path) -> None:
    names = {path.name for path in built.iterdir()}
    assert names == {"contact-sheet.png", "measurements.json", "report.html", "speech.wav", "waveform.png"}
    assert json.loads((built / "measurements.json").read_text())["video"]["codec"] == "h264"


def test_the_page_shows_and_links_everything(built: Path) -> None:
    page = Page((built / "report.html").read_text())
    assert [image["src"] for image in page.all("img")] == ["contact-sheet.png", "waveform.png"]
    for image in page.all("img"):
        assert len(image["alt"] or "") > 20, image
    assert page.all("audio") == [{"controls": None, "preload": "metadata", "src": "speech.wav"}]
    for link in page.links():
        assert (built / unquote(link)).exists(), link
    text = " ".join(page.words)
    for part in ("H.264", "AAC, 48 kHz, stereo", "00:12.0", "42%", "20 November 2026, 13:03:11 UTC", "API_CALL"):
        assert part in text, part


def test_hostile_values_are_shown_as_text(built: Path) -> None:
    page = Page((built / "report.html").read_text())
    assert not page.all("script")
    assert not page.all("i")
    event_handlers = [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert event_handlers == []
    assert HOSTILE in page.words, "the heading must show the title as text"


def test_the_report_holds_no_signed_url_and_no_secret(built: Path) -> None:
    everything = (built / "report.html").read_text() + (built / "measurements.json").read_text()
    assert "5ec7e7" not in everything
    assert "see https://bucket.example/talk.mp4" in everything


def test_the_page_has_styles_for_phones_and_dark_mode(built: Path) -> None:
    text = (built / "report.html").read_text()
    assert 'name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_leaves_out_files_of_another_recording(made: MakeMedia, tmp_path: Path) -> None:
    for name in ("contact-sheet.png", "waveform.png", "speech.wav"):
        (tmp_path / name).write_bytes(b"old")
    write_report_page(tmp_path, measure_recording(made(NO_SOUND)) | {"video": None})
    assert Page((tmp_path / "report.html").read_text()).links() == []


def test_the_page_needs_only_the_measurements(made: MakeMedia, tmp_path: Path) -> None:
    path = write_report_page(tmp_path / "new", measure_recording(made(MP3)), {"id": "r", "meeting": None})
    page = Page(Path(path).read_text())
    assert page.links() == []
    assert "talk.mp3" in page.words


def test_a_long_list_of_silent_spans_is_cut(made: MakeMedia, tmp_path: Path) -> None:
    measured = measure_recording(made(MP3))
    measured["silence"]["spans"] = [[n, n + 0.5] for n in range(1000)]
    text = Path(write_report_page(tmp_path, measured)).read_text()
    assert "Silent spans (1000)" in text
    assert "and 940 more" in text


def test_the_command_writes_the_report(made: MakeMedia, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(made(MONO)), str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "report.html")
    assert (tmp_path / "out" / "report.html").exists()


def test_the_command_prints_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.mp4").write_text("no media")
    assert main([str(tmp_path / "bad.mp4"), str(tmp_path)]) == 1
    assert "bad.mp4 is not a recording" in capsys.readouterr().err
