"""The report on a recording, made from media with a known pattern of tone, silence and colour."""

from __future__ import annotations

import json
import wave
from dataclasses import dataclass
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import av
import numpy as np
import pytest
from matplotlib.image import imread

from example_dags.realtimekit_report import __main__ as report
from example_dags.realtimekit_report import drawing
from example_dags.realtimekit_report import media as media_reading

if TYPE_CHECKING:
    from collections.abc import Callable

PATTERN = ((3, 0.5), (2, 0.0), (4, 0.25), (3, 0.0))  # seconds, amplitude
SILENT = [[3, 5], [9, 12]]
SECONDS, FPS, WIDTH, HEIGHT = 12, 10, 320, 180
SIGNATURE = "X-Amz-Signature=5ec7e7"


# ---- media ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    name: str
    video: str | None = "libx264"
    audio: str | None = "aac"
    rate: int = 48_000
    layout: str = "stereo"
    flags: str = ""


def _grey(second: float) -> int:
    """Every second of the picture has its own grey."""
    return 20 + 18 * int(second)


def _tone(rate: int, pattern: tuple[tuple[float, float], ...] = PATTERN) -> np.ndarray:
    loud = np.concatenate([np.full(int(seconds * rate), amplitude) for seconds, amplitude in pattern])
    return (loud * np.sin(2 * np.pi * 1000 * np.arange(loud.size) / rate)).astype("float32")


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
        image = np.full((HEIGHT, WIDTH, 3), _grey(number / FPS), "uint8")
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


def _make(folder: Path, recipe: Recipe, sound: np.ndarray | None = None) -> Path:
    path = folder / recipe.name
    options = {"movflags": recipe.flags} if recipe.flags else {}
    with av.open(str(path), "w", options=options) as container:
        video = _add_video(container, recipe.video) if recipe.video else None
        audio = _add_audio(container, recipe) if recipe.audio else None
        if video:
            _write_video(container, video)
        if audio:
            _write_audio(container, audio, _tone(recipe.rate) if sound is None else sound, recipe)
    return path


MP4 = Recipe("talk.mp4")
WEBM = Recipe("talk.webm", "libvpx", "vorbis")
MP3 = Recipe("talk.mp3", None, "libmp3lame", 44_100)
FAST_START = Recipe("fast.mp4", flags="faststart")
NO_SOUND = Recipe("mute.mp4", audio=None)
MONO = Recipe("mono.m4a", None, rate=16_000, layout="mono")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], Path]:
    folder = tmp_path_factory.mktemp("media")

    def make(recipe: Recipe) -> Path:
        path = folder / recipe.name
        return path if path.exists() else _make(folder, recipe)

    return make


@pytest.fixture(scope="module")
def sheet(made: Callable[[Recipe], Path], tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    png = tmp_path_factory.mktemp("sheet") / "new" / "sheet.png"
    assert report.draw_contact_sheet(made(MP4), png) == str(png)
    return _pixels(png)


def _pixels(png: Path) -> np.ndarray:
    return np.asarray(imread(png) * 255)


def _pcm(path: str | Path) -> tuple[wave._wave_params, np.ndarray]:
    with wave.open(str(path)) as sound:
        return sound.getparams(), np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32768


def _write_pcm(path: Path, sound: np.ndarray, rate: int = 48_000) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setparams((2, 2, rate, 0, "NONE", ""))
        out.writeframes((np.repeat(sound, 2) * 32767).astype("<i2").tobytes())
    return path


def _cut(media: Path, path: Path, share: float) -> Path:
    path.write_bytes(media.read_bytes()[: int(media.stat().st_size * share)])
    return path


def _close(spans: list[list[float]], expected: list[list[float]], within: float = 0.1) -> bool:
    return np.shape(spans) == np.shape(expected) and np.allclose(spans, expected, rtol=0, atol=within)


# ---- facts ----------------------------------------------------------------------------------------


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
def test_facts_of_each_kind_of_recording(
    made: Callable[[Recipe], Path], recipe: Recipe, container: str, video: str | None, audio: tuple[Any, ...]
) -> None:
    media = made(recipe)
    facts = report.read_facts(str(media))
    assert (facts["file"], facts["container"], facts["size"]) == (
        recipe.name,
        container,
        media.stat().st_size,
    )
    assert facts["duration"] == pytest.approx(SECONDS, abs=0.1)
    assert facts["audio"] == dict(zip(("codec", "sample_rate", "channels"), audio, strict=True))
    assert (facts["video"] or {}).get("codec") == video
    assert _close(facts["silence"]["spans"], SILENT)
    assert facts["silence"]["total"] == pytest.approx(5, abs=0.15)
    assert facts["silence"]["share"] == pytest.approx(5 / 12, abs=0.01)
    assert facts["loudness"]["rms_dbfs"] == pytest.approx(-13.8, abs=0.7)
    assert facts["loudness"]["peak_dbfs"] == pytest.approx(-6.0, abs=0.7)
    assert facts["warnings"] == []
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


@pytest.mark.parametrize("recipe", [MP4, WEBM, NO_SOUND], ids=lambda recipe: recipe.name)
def test_facts_of_the_picture(made: Callable[[Recipe], Path], recipe: Recipe) -> None:
    video = report.read_facts(made(recipe))["video"]
    del video["codec"]
    assert video == {"width": WIDTH, "height": HEIGHT, "fps": FPS, "frames": SECONDS * FPS}


def test_loudness_is_calibrated(tmp_path: Path) -> None:
    """A stereo tone of 1 kHz at -23 dBFS is -23 LUFS by definition."""
    tone = _tone(48_000, ((5, 10 ** (-23 / 20)),))
    loudness = report.read_facts(_write_pcm(tmp_path / "tone.wav", tone))["loudness"]
    assert loudness["integrated_lufs"] == pytest.approx(-23, abs=0.1)
    assert loudness["peak_dbfs"] == pytest.approx(-23, abs=0.05)
    assert loudness["rms_dbfs"] == pytest.approx(-23 - 3.01, abs=0.05)


def test_silence_lowers_the_level_but_not_the_loudness(tmp_path: Path) -> None:
    tone = _tone(48_000, ((3, 0.0), (6, 10 ** (-23 / 20)), (3, 0.0)))
    loudness = report.read_facts(_write_pcm(tmp_path / "tone.wav", tone))["loudness"]
    assert loudness["integrated_lufs"] == pytest.approx(-23, abs=0.3)
    assert loudness["rms_dbfs"] == pytest.approx(-23 - 3.01 - 3.01, abs=0.05)


def test_short_and_faint_sounds_end_silence_or_not(tmp_path: Path) -> None:
    below, above = 10 ** (-54 / 20), 10 ** (-46 / 20)
    pattern = ((1, 0.1), (0.4, 0.0), (1, 0.1), (1, below), (1, above), (0.6, 0.0), (1, 0.1))
    facts = report.read_facts(_write_pcm(tmp_path / "faint.wav", _tone(48_000, pattern)))
    assert _close(facts["silence"]["spans"], [[2.4, 3.4], [4.4, 5.0]], within=0.02)


def test_digital_silence_has_no_level(tmp_path: Path) -> None:
    media = _write_pcm(tmp_path / "none.wav", np.zeros(48_000, "float32"))
    facts = report.build_report(media, tmp_path)
    assert facts["loudness"] == {"rms_dbfs": None, "peak_dbfs": None, "integrated_lufs": None}
    assert facts["silence"] == {"spans": [[0.0, 1.0]], "total": 1.0, "share": 1.0}
    assert "digital silence" in (tmp_path / "report.html").read_text()


def test_without_sound_there_is_nothing_to_hear(made: Callable[[Recipe], Path], tmp_path: Path) -> None:
    media = made(NO_SOUND)
    facts = report.read_facts(media)
    assert (facts["audio"], facts["loudness"], facts["silence"]) == (None, None, None)
    assert report.draw_waveform(media, tmp_path / "wave.png") is None
    assert report.write_speech_wav(media, tmp_path / "speech.wav") is None
    assert list(tmp_path.iterdir()) == []


# ---- damaged files, and what is no recording --------------------------------------------------------


@pytest.mark.parametrize("recipe", [FAST_START, WEBM, MP3], ids=lambda recipe: recipe.name)
def test_a_cut_file_yields_what_is_there(made: Callable[[Recipe], Path], tmp_path: Path, recipe: Recipe) -> None:
    media = _cut(made(recipe), tmp_path / f"cut-{recipe.name}", 0.6)
    facts = report.build_report(media, tmp_path)
    assert 2 < facts["duration"] < 11
    assert any("12.0" in warning for warning in facts["warnings"])
    assert facts["silence"]["spans"][-1][1] <= facts["duration"]
    params, _ = _pcm(tmp_path / "speech.wav")
    assert params.nframes / 16_000 == pytest.approx(facts["duration"], abs=0.7), "less than a cluster"
    assert (tmp_path / "contact-sheet.png").exists() == (recipe.video is not None)
    assert facts["warnings"][0] in (tmp_path / "report.html").read_text()


def test_damaged_packets_are_counted_and_left_out(made: Callable[[Recipe], Path], tmp_path: Path) -> None:
    data, media = bytearray(made(MP4).read_bytes()), tmp_path / "noise.mp4"
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(range(256)) * 11 + bytes(184)
    media.write_bytes(data)
    facts = report.read_facts(media)
    assert facts["duration"] == pytest.approx(SECONDS, abs=0.1)
    assert any("packets of sound are damaged" in warning for warning in facts["warnings"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("error.mp4", b"<!doctype html><title>403 Forbidden</title>"),
        ("empty.webm", b""),
        ("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.mp4\n#EXT-X-ENDLIST\n"),
        ("concat.mp4", b"ffconcat version 1.0\nfile other.mp4\n"),
    ],
)
def test_what_is_no_recording_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    media = tmp_path / name
    media.write_bytes(content)
    for use in (report.read_facts, lambda path: report.draw_waveform(path, tmp_path / "wave.png")):
        with pytest.raises(report.MediaError, match=rf"^{name} is no recording that can be read: \w+"):
            use(media)


def test_a_cut_mp4_without_its_index_is_refused(made: Callable[[Recipe], Path], tmp_path: Path) -> None:
    with pytest.raises(report.MediaError, match=r"^cut\.mp4 is no recording"):
        report.read_facts(_cut(made(MP4), tmp_path / "cut.mp4", 0.5))


def test_a_picture_is_no_recording(sheet: np.ndarray, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "still.png"), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb24"
        container.mux(stream.encode(av.VideoFrame(16, 16, "rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(report.MediaError):
        report.read_facts(tmp_path / "still.png")


def test_a_missing_file_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4"):
        report.read_facts(tmp_path / "gone.mp4")


# ---- contact sheet ----------------------------------------------------------------------------------


def _cells(pixels: np.ndarray, columns: int, rows: int) -> list[float]:
    """Read the grey of the upper half of every cell, where no label is."""
    height, width = pixels.shape[0] / rows, pixels.shape[1] / columns
    return [
        float(pixels[int((r + 0.1) * height) : int((r + 0.5) * height), int((c + 0.5) * width), :3].mean())
        for r in range(rows)
        for c in range(columns)
    ]


def test_contact_sheet_shows_twelve_moments_in_order(sheet: np.ndarray) -> None:
    assert sheet.shape[:2] == (3 * 225 + 2 * 8, 4 * 400 + 3 * 8)
    assert _cells(sheet, 4, 3) == pytest.approx([_grey(second) for second in range(12)], abs=5)


def test_contact_sheet_cells_are_labelled(sheet: np.ndarray) -> None:
    height, width = 225 + 8, 400 + 8
    for row in range(3):
        for column in range(4):
            right = column * width + 400
            corner = sheet[row * height + 180 : row * height + 225, right - 110 : right, :3]
            assert corner.max() > 245, "white digits"
            assert corner.std() > 20, "on a dark ground"


def test_contact_sheet_of_another_shape(made: Callable[[Recipe], Path], tmp_path: Path) -> None:
    report.draw_contact_sheet(made(WEBM), tmp_path / "sheet.png", columns=2, rows=1)
    cells = _cells(_pixels(tmp_path / "sheet.png"), 2, 1)
    assert cells == pytest.approx([_grey(3), _grey(9)], abs=6)


def test_a_long_recording_is_not_decoded_as_a_whole(
    made: Callable[[Recipe], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, decode = [], drawing.decoded

    def counting(*args: Any) -> Any:
        for frame in decode(*args):
            decoded.append(frame.time)
            yield frame

    monkeypatch.setattr(drawing, "decoded", counting)
    monkeypatch.setattr(drawing, "NEAR_SECONDS", 1.0)
    report.draw_contact_sheet(made(MP4), tmp_path / "sheet.png", columns=3, rows=1)
    assert _cells(_pixels(tmp_path / "sheet.png"), 3, 1) == pytest.approx([_grey(2), _grey(6), _grey(10)], abs=5)
    assert len(decoded) < SECONDS * FPS / 3


@pytest.mark.parametrize("recipe", [MP3, MONO], ids=lambda recipe: recipe.name)
def test_no_contact_sheet_of_sound_alone(made: Callable[[Recipe], Path], tmp_path: Path, recipe: Recipe) -> None:
    assert report.draw_contact_sheet(made(recipe), tmp_path / "sheet.png") is None
    assert list(tmp_path.iterdir()) == []


def test_the_cover_of_an_mp3_is_no_video(made: Callable[[Recipe], Path], tmp_path: Path) -> None:
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
    assert report.read_facts(media)["video"] is None
    assert report.draw_contact_sheet(media, tmp_path / "sheet.png") is None


# ---- sound ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [MP4, WEBM, MP3, MONO], ids=lambda recipe: recipe.name)
def test_speech_wav_is_what_recognisers_want(made: Callable[[Recipe], Path], tmp_path: Path, recipe: Recipe) -> None:
    wav = report.write_speech_wav(made(recipe), tmp_path / "speech.wav")
    params, sound = _pcm(wav)
    assert (params.nchannels, params.sampwidth, params.framerate) == (1, 2, 16_000)
    assert params.nframes == pytest.approx(SECONDS * 16_000, abs=1600)
    assert abs(sound).max() == pytest.approx(0.5, abs=0.05)
    assert abs(sound[int(5.5 * 16_000) : int(8.5 * 16_000)]).max() == pytest.approx(0.25, abs=0.05)
    assert abs(sound[int(3.2 * 16_000) : int(4.8 * 16_000)]).max() < 0.003
    crossings = np.count_nonzero(np.diff(np.signbit(sound[16_000:32_000])))
    assert crossings == pytest.approx(2000, abs=4), "1 kHz stays 1 kHz"


def test_missing_sound_becomes_silence_so_that_the_clock_holds(made: Callable[[Recipe], Path], tmp_path: Path) -> None:
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
    _, sound = _pcm(report.write_speech_wav(media, tmp_path / "speech.wav"))
    assert sound.size == pytest.approx(SECONDS * 16_000, abs=1600)
    assert abs(sound[: int(0.9 * 16_000)]).max() == 0
    assert abs(sound[int(6.1 * 16_000) : int(7.9 * 16_000)]).max() == 0
    assert abs(sound[int(8.2 * 16_000) : int(8.8 * 16_000)]).max() == pytest.approx(0.25, abs=0.05)
    spans = report.read_facts(media)["silence"]["spans"]
    assert _close(spans, [[0, 1], [3, 5], [6, 8], [9, 12]])


def test_waveform_shows_tone_and_shades_silence(made: Callable[[Recipe], Path], tmp_path: Path) -> None:
    assert report.draw_waveform(made(MP4), tmp_path / "wave.png") == str(tmp_path / "wave.png")
    pixels = _pixels(tmp_path / "wave.png")
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


def test_curves_stay_small_and_keep_the_extremes() -> None:
    curve = drawing._Curve(0.5)
    for number in range(100_000):
        curve.add(-number, number)
    assert len(curve.low) <= 2 * drawing.CURVE_POINTS
    assert (min(curve.low), max(curve.high), curve.high[0]) == (-99_999, 99_999, curve.per - 1)
    assert curve.times()[-1] == pytest.approx(50_000, abs=curve.per * 0.5)


@pytest.mark.parametrize(
    ("seconds", "digits", "text"),
    [(0, 0, "00:00"), (59.96, 1, "01:00.0"), (65.24, 1, "01:05.2"), (3599.6, 0, "1:00:00"), (86400, 0, "24:00:00")],
)
def test_clock(seconds: float, digits: int, text: str) -> None:
    assert media_reading.clock(seconds, digits) == text


# ---- the page ---------------------------------------------------------------------------------------


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]

    def links(self) -> list[str]:
        return [link for _, attrs in self.tags for key in ("href", "src") if (link := attrs.get(key))]


HOSTILE = """</title><script>alert("1")</script><img src=x onerror='alert(2)'> &amp;"""
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
def built(made: Callable[[Recipe], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole report of a recording with an awkward name, in a folder of its own."""
    base = tmp_path_factory.mktemp("built")
    media = base / 'javascript:a "b"<i>?#%.mp4'
    media.write_bytes(made(MP4).read_bytes())
    report.build_report(media, base / "report", RECORDING)
    return base / "report"


def test_the_folder_holds_all_results(built: Path) -> None:
    names = {path.name for path in built.iterdir()}
    assert names == {"contact-sheet.png", "facts.json", "report.html", "speech.wav", "waveform.png"}
    assert json.loads((built / "facts.json").read_text())["video"]["codec"] == "h264"


def test_the_page_shows_and_links_everything(built: Path) -> None:
    page = Page(built / "report.html")
    assert [image["src"] for image in page.all("img")] == ["contact-sheet.png", "waveform.png"]
    assert all(len(image["alt"] or "") > 20 for image in page.all("img"))
    assert page.all("audio") == [{"controls": None, "preload": "metadata", "src": "speech.wav"}]
    for link in page.links():
        assert (built / unquote(link)).exists(), link
    text = " ".join(page.words)
    for part in ("H.264", "AAC, 48 kHz, stereo", "00:12.0", "42%", "20 November 2026, 13:03:11 UTC", "API_CALL"):
        assert part in text


def test_hostile_values_are_text(built: Path) -> None:
    page = Page(built / "report.html")
    assert not page.all("script")
    assert not page.all("i")
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert HOSTILE in page.words, "the heading says what the title says"


def test_no_signed_url_and_no_secret_gets_out(built: Path) -> None:
    everything = (built / "report.html").read_text() + (built / "facts.json").read_text()
    assert "5ec7e7" not in everything
    assert "see https://bucket.example/talk.mp4" in everything


def test_the_page_fits_phones_and_dark_rooms(built: Path) -> None:
    text = (built / "report.html").read_text()
    assert 'name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_shows_no_leftovers_of_another_recording(made: Callable[[Recipe], Path], tmp_path: Path) -> None:
    for name in ("contact-sheet.png", "waveform.png", "speech.wav"):
        (tmp_path / name).write_bytes(b"old")
    report.write_page(tmp_path, report.read_facts(made(NO_SOUND)) | {"video": None})
    assert Page(tmp_path / "report.html").links() == []


def test_the_page_needs_no_more_than_facts(made: Callable[[Recipe], Path], tmp_path: Path) -> None:
    path = report.write_page(tmp_path / "new", report.read_facts(made(MP3)), {"id": "r", "meeting": None})
    page = Page(Path(path))
    assert page.links() == []
    assert "talk.mp3" in page.words


def test_only_the_first_of_very_many_silent_spans_are_listed(made: Callable[[Recipe], Path], tmp_path: Path) -> None:
    facts = report.read_facts(made(MP3))
    facts["silence"]["spans"] = [[n, n + 0.5] for n in range(1000)]
    text = Path(report.write_page(tmp_path, facts)).read_text()
    assert "Silent spans (1000)" in text
    assert "and 940 more" in text


# ---- as a program -----------------------------------------------------------------------------------


def test_main_builds_the_report(
    made: Callable[[Recipe], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main([str(made(MONO)), str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "report.html")
    assert (tmp_path / "out" / "report.html").exists()


def test_main_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.mp4").write_text("no media")
    assert report.main([str(tmp_path / "bad.mp4"), str(tmp_path)]) == 1
    assert "bad.mp4 is no recording" in capsys.readouterr().err
