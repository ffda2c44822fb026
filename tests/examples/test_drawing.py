"""The contact sheet and the waveform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from example_dags.realtimekit_report import drawing
from example_dags.realtimekit_report.drawing import draw_contact_sheet, draw_waveform
from example_dags.realtimekit_report.measurements import measure_recording
from tests.support.example_media import FPS, MONO, MP3, MP4, SECONDS, WEBM, MakeMedia, Recipe, grey, read_pixels

# ---- the contact sheet -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sheet(made: MakeMedia, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    png = tmp_path_factory.mktemp("sheet") / "new" / "sheet.png"
    assert draw_contact_sheet(made(MP4), png) == str(png)
    return read_pixels(png)


def read_cells(pixels: np.ndarray, columns: int, rows: int) -> list[float]:
    """Return the grey of each cell, read from the upper half, which has no label."""
    height, width = pixels.shape[0] / rows, pixels.shape[1] / columns
    return [
        float(pixels[int((r + 0.1) * height) : int((r + 0.5) * height), int((c + 0.5) * width), :3].mean())
        for r in range(rows)
        for c in range(columns)
    ]


def test_the_contact_sheet_shows_twelve_moments_in_order(sheet: np.ndarray) -> None:
    assert sheet.shape[:2] == (3 * 225 + 2 * 8, 4 * 400 + 3 * 8)
    assert read_cells(sheet, 4, 3) == pytest.approx([grey(second) for second in range(12)], abs=5)


def test_the_cells_of_the_contact_sheet_are_labelled(sheet: np.ndarray) -> None:
    height, width = 225 + 8, 400 + 8
    for row in range(3):
        for column in range(4):
            right = column * width + 400
            corner = sheet[row * height + 180 : row * height + 225, right - 110 : right, :3]
            assert corner.max() > 245, f"no white digits in row {row}, column {column}"
            assert corner.std() > 20, f"no dark ground in row {row}, column {column}"


def test_a_contact_sheet_with_other_columns_and_rows(made: MakeMedia, tmp_path: Path) -> None:
    draw_contact_sheet(made(WEBM), tmp_path / "sheet.png", columns=2, rows=1)
    cells = read_cells(read_pixels(tmp_path / "sheet.png"), 2, 1)
    assert cells == pytest.approx([grey(3), grey(9)], abs=6)


def test_a_long_recording_is_not_decoded_completely(
    made: MakeMedia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, decode = [], drawing.decode_frames

    def counting(*args: Any) -> Any:
        for frame in decode(*args):
            decoded.append(frame.time)
            yield frame

    monkeypatch.setattr(drawing, "decode_frames", counting)
    monkeypatch.setattr(drawing, "SEEK_SECONDS", 1.0)
    draw_contact_sheet(made(MP4), tmp_path / "sheet.png", columns=3, rows=1)
    assert read_cells(read_pixels(tmp_path / "sheet.png"), 3, 1) == pytest.approx([grey(2), grey(6), grey(10)], abs=5)
    assert len(decoded) < SECONDS * FPS / 3


@pytest.mark.parametrize("recipe", [MP3, MONO], ids=lambda recipe: recipe.name)
def test_sound_alone_has_no_contact_sheet(made: MakeMedia, tmp_path: Path, recipe: Recipe) -> None:
    assert draw_contact_sheet(made(recipe), tmp_path / "sheet.png") is None
    assert list(tmp_path.iterdir()) == []


def test_the_cover_of_an_mp3_is_not_a_video(made: MakeMedia, tmp_path: Path) -> None:
    media = tmp_path / "cover.mp3"
    with av.open(str(made(MP3))) as source, av.open(str(media), "w") as target:
        sound = target.add_stream_from_template(source.streams.audio[0])
        cover = target.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        target.mux([*cover.encode(av.VideoFrame(32, 32, "yuvj420p")), *cover.encode(None)])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                target.mux(packet)
    with av.open(str(media)) as container:
        assert len(container.streams.video) == 1
    assert measure_recording(media)["video"] is None
    assert draw_contact_sheet(media, tmp_path / "sheet.png") is None


# ---- the waveform ------------------------------------------------------------------------------------


def test_the_waveform_shows_tone_and_shades_silence(made: MakeMedia, tmp_path: Path) -> None:
    assert draw_waveform(made(MP4), tmp_path / "wave.png") == str(tmp_path / "wave.png")
    pixels = read_pixels(tmp_path / "wave.png")
    height, width = pixels.shape[:2]
    assert (width, height) == (1920, 880)

    def share(second: float, colour: str) -> float:
        column = pixels[:, int((0.07 + 0.897 * second / SECONDS) * width), :3]
        rgb = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        return float((abs(column - rgb).max(axis=1) < 3).mean())

    assert share(1.5, drawing.BLUE) > 0.35
    assert 0.15 < share(7.5, drawing.BLUE) < 0.3, "half as loud"
    assert share(1.5, drawing.SHADE) == 0
    assert share(4.2, drawing.SHADE) > 0.6
    assert share(4.2, drawing.BLUE) < 0.02
    assert share(11, drawing.SHADE) > 0.6


def test_an_envelope_stays_small_and_contains_the_extremes() -> None:
    envelope = drawing._Envelope(0.5)
    for number in range(100_000):
        envelope.add(-number, number)
    assert len(envelope.low) <= 2 * drawing.CURVE_POINTS
    assert (min(envelope.low), max(envelope.high), envelope.high[0]) == (-99_999, 99_999, envelope.per_step - 1)
    assert envelope.times()[-1] == pytest.approx(50_000, abs=envelope.per_step * 0.5)
