"""The test media: they can be decoded, and have the length and content of the recording."""

from __future__ import annotations

import io
import sys
import tarfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from airflow_provider_realtimekit.emulator.media.encoding import BackgroundEncoder
from airflow_provider_realtimekit.emulator.media.specs import AudioSpec, MediaSpec, VideoSpec, shrink
from tests.support.emulator import OWNER, EmulatedWorld, cases

ENCODING = "airflow_provider_realtimekit.emulator.media.encoding"
SMALL = {"width": 320, "height": 180}
#: The codecs of decoders that have another name.
CODECS_OF_DECODERS = {"libvpx-vp9": "vp9", "libopus": "opus", "mp3float": "mp3", "libdav1d": "av1"}


@pytest.fixture(scope="module")
def encoder() -> Iterator[BackgroundEncoder]:
    encoder = BackgroundEncoder()
    yield encoder
    encoder.close()


def list_specs(seconds: float, **config: Any) -> dict[str, MediaSpec]:
    """Return the specifications of a recording's files, by their roles."""
    emulated = EmulatedWorld()
    recording_id = emulated.start(**config)
    emulated.clock.advance(2 + seconds)
    recording = emulated.world.act(OWNER, recording_id, "stop")
    return {file.output.role: file.output.spec for file in recording.files}


def decode(path: Path) -> tuple[dict[str, Any], list[Any], Any]:
    """Decode a complete file, and return its codecs, lengths, frames and sound."""
    info: dict[str, Any] = {}
    frames, sound, rate = [], [np.zeros(0)], 1
    with av.open(str(path)) as container:
        info["seconds"] = container.duration / av.time_base if container.duration else None
        for stream in container.streams:
            info[stream.type] = CODECS_OF_DECODERS.get(stream.codec_context.name, stream.codec_context.name)
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                frames.append(frame)
            else:
                sound.append(frame.to_ndarray().mean(axis=0))
                rate = frame.sample_rate
    info["sound_seconds"] = sum(map(len, sound)) / rate
    return info, frames, np.concatenate(sound)


def make(encoder: BackgroundEncoder, spec: MediaSpec) -> Path:
    return encoder.encode(spec).result(timeout=60)


@pytest.mark.parametrize(
    ("config", "suffix", "codecs"),
    [
        ({}, "mp4", ("h264", "aac")),
        ({"audio_config": {"codec": "MP3"}}, "mp4", ("h264", "mp3")),
        ({"video_config": {"codec": "VP8"}}, "webm", ("vp8", "vorbis")),
        ({"video_config": {"codec": "VP9"}}, "webm", ("vp9", "vorbis")),
    ],
    ids=["default", "mp3", "vp8", "vp9"],
)
@pytest.mark.parametrize("seconds", [0.3, 7.4])
def test_a_composite_file_has_the_length_of_the_recording(
    encoder: BackgroundEncoder, config: dict[str, Any], suffix: str, codecs: tuple[str, str], seconds: float
) -> None:
    config = config | {"video_config": config.get("video_config", {}) | SMALL}
    spec = list_specs(seconds, **config)["video"]
    path = make(encoder, spec)
    info, frames, _ = decode(path)
    assert path.suffix == f".{suffix}"
    assert (info["video"], info["audio"]) == codecs
    assert info["seconds"] == pytest.approx(seconds, abs=0.1)
    assert info["sound_seconds"] == pytest.approx(seconds, abs=0.1)
    assert frames[-1].time == pytest.approx(seconds, abs=0.11)
    assert (frames[0].width, frames[0].height) == (320, 180)


def test_the_disc_and_the_clock_of_the_pictures_move(encoder: BackgroundEncoder) -> None:
    _, frames, _ = decode(make(encoder, list_specs(7.4, video_config=SMALL)["video"]))
    assert len(frames) == 74
    second, third = frames[10].to_ndarray()[:180], frames[20].to_ndarray()[:180]
    clock, disc = np.s_[20:60], np.s_[110:170]
    for name, region in (("clock", clock), ("disc", disc)):
        assert np.abs(second[region].astype(int) - third[region]).max() > 60, name
    assert len({frame.to_ndarray().tobytes() for frame in frames}) == 74


@pytest.mark.parametrize("codec", ["AAC", "MP3"])
@pytest.mark.parametrize("channel", ["mono", "stereo"])
def test_the_sound_can_be_exported_as_a_file(encoder: BackgroundEncoder, codec: str, channel: str) -> None:
    files = list_specs(20, audio_config={"codec": codec, "channel": channel, "export_file": True}, video_config=SMALL)
    path = make(encoder, files["audio"])
    info, frames, sound = decode(path)
    assert path.suffix == {"AAC": ".m4a", "MP3": ".mp3"}[codec]
    assert (info["audio"], frames) == ({"AAC": "aac", "MP3": "mp3"}[codec], [])
    assert info["sound_seconds"] == pytest.approx(20, abs=0.1)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].channels == {"mono": 1, "stereo": 2}[channel]
    rate = len(sound) / info["sound_seconds"]
    # The loudness of each tenth of a second: speech, and silence between.
    levels = [np.sqrt((piece**2).mean()) for piece in np.array_split(sound, round(len(sound) / rate * 10))]
    assert max(levels) > 0.1
    assert 0.1 < sum(level < 0.005 for level in levels) / len(levels) < 0.6


@pytest.mark.parametrize(
    ("container", "codec", "packet"), [("m4a", "AAC", 1024), ("mp3", "MP3", 1152), ("ogg", "VORBIS", 1024)]
)
def test_sound_repeats_without_a_click(encoder: BackgroundEncoder, container: str, codec: str, packet: int) -> None:
    _, _, sound = decode(make(encoder, MediaSpec(container, 25.0, None, AudioSpec(codec))))
    loop = round(8 * 48_000 / packet) * packet
    first, second = sound[2 * packet : loop], sound[loop + 2 * packet : 2 * loop]
    assert np.abs(first - second).max() < 0.01
    joint = sound[loop - packet : loop + packet]
    assert np.abs(joint).max() < 0.01


#: The configuration of a recording, and its files: role and extension.
FILES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "default": ({}, {"video": "mp4"}),
    "audio": ({"audio_config": {}}, {"video": "mp4", "audio": "m4a"}),
    "audio not exported": ({"audio_config": {"export_file": False}}, {"video": "mp4"}),
    "video not exported": ({"video_config": {"export_file": False}}, {"audio": "m4a"}),
    "MP3 only": ({"video_config": {"export_file": False}, "audio_config": {"codec": "MP3"}}, {"audio": "mp3"}),
    "VP8 and audio": (
        {"video_config": {"codec": "VP8"}, "audio_config": {"export_file": True}},
        {"video": "webm", "audio": "ogg"},
    ),
    "interactive": ({"interactive_config": {"type": "ID3"}}, {"video": "tar"}),
}


@pytest.mark.parametrize(("config", "roles"), cases(FILES))
def test_the_configuration_decides_which_files_exist(config: dict[str, Any], roles: dict[str, str]) -> None:
    assert {role: spec.suffix for role, spec in list_specs(10, **config).items()} == roles


def test_an_interactive_recording_is_a_tar_with_its_media_and_an_id3_tag(encoder: BackgroundEncoder) -> None:
    path = make(encoder, list_specs(1, interactive_config={"type": "ID3"}, video_config=SMALL)["video"])
    with tarfile.open(path) as tar:
        assert tar.getnames() == ["recording.mp4", "recording.id3"]
        tag = tar.extractfile("recording.id3").read()
        media_file = io.BytesIO(tar.extractfile("recording.mp4").read())
    assert tag[:5] == b"ID3\x04\x00"
    assert int.from_bytes(tag[6:10], "big") == len(tag) - 10
    assert b'{"duration": 1.0}' in tag
    with av.open(media_file) as container:
        assert container.duration / av.time_base == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("size", "made"),
    cases(
        {
            "default": ({}, (1280, 720)),
            "odd and tiny": ({"width": 641, "height": 1}, (642, 16)),
            "width only": ({"width": 1920}, (1920, 720)),
        }
    ),
)
def test_the_size_of_the_picture_is_the_configured_or_the_next_possible(
    encoder: BackgroundEncoder, size: dict[str, int], made: tuple[int, int]
) -> None:
    _, frames, _ = decode(make(encoder, list_specs(0.2, video_config=size)["video"]))
    assert (frames[0].width, frames[0].height) == made


def test_hours_need_no_more_frames_than_a_minute(encoder: BackgroundEncoder) -> None:
    path = make(encoder, MediaSpec("mp4", 3600.0, VideoSpec(width=64, height=36), AudioSpec()))
    with av.open(str(path)) as container:
        assert container.duration / av.time_base == pytest.approx(3600, abs=0.1)
        video = container.streams.video[0]
        assert video.frames == 240
        assert float(video.duration * video.time_base) == pytest.approx(3600, abs=0.1)
        container.seek(1800 * av.time_base)
        assert 1200 < next(container.decode(video=0)).time <= 1800
    assert path.stat().st_size < 300e6


def test_a_track_is_opus_in_webm_with_a_voice_of_its_own(encoder: BackgroundEncoder) -> None:
    emulated = EmulatedWorld()
    emulated.world.open_meeting("standup", participants=["ann", "bob"])
    recording_id = emulated.world.start_tracks(OWNER, {"meeting_id": "standup"}).id
    emulated.clock.advance(2 + 6.5)
    files = emulated.world.act(OWNER, recording_id, "stop").files
    paths = [make(encoder, file.output.spec) for file in files]
    info, frames, _ = decode(paths[0])
    assert (info["audio"], frames, paths[0].suffix) == ("opus", [], ".webm")
    assert info["sound_seconds"] == pytest.approx(6.5, abs=0.1)
    assert paths[0].read_bytes() != paths[1].read_bytes()


def test_equal_specs_share_a_file_and_two_encoders_make_the_same_bytes(encoder: BackgroundEncoder) -> None:
    spec = MediaSpec("mp4", 1.0, VideoSpec(width=64, height=36), AudioSpec())
    path = make(encoder, spec)
    assert make(encoder, MediaSpec("mp4", 1.0, VideoSpec(width=64, height=36), AudioSpec())) == path
    another = BackgroundEncoder()
    assert make(another, spec).read_bytes() == path.read_bytes()
    another.close()


def test_an_encoder_that_closes_stops_its_work() -> None:
    encoder = BackgroundEncoder()
    files = [encoder.encode(MediaSpec("mp4", 80_000.0 + number, None, AudioSpec())) for number in range(2)]
    while not files[0].running():
        time.sleep(0.001)
    began = time.monotonic()
    encoder.close()
    assert time.monotonic() - began < 2
    assert files[1].cancelled()


def test_an_encoder_that_closes_removes_its_folder() -> None:
    encoder = BackgroundEncoder()
    path = make(encoder, MediaSpec("mp3", 0.1, None, AudioSpec("MP3")))
    assert path.parent.is_dir()
    encoder.close()
    assert not path.parent.exists()


def test_a_tiny_file_is_a_second_of_the_same_kind() -> None:
    spec = list_specs(3600, video_config={"codec": "VP8"})["video"]
    assert shrink(spec) == MediaSpec("webm", 1.0, VideoSpec("VP8", 64, 36), AudioSpec("VORBIS"))


def test_the_error_for_missing_packages_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, ENCODING)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"airflow-provider-realtimekit\[emulator\]"):
        import_module(ENCODING)
