"""Destinations: the allowed placeholders, and the paths of the files and the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_realtimekit.downloads.destination import Destination, asset_uri, manifest_path
from airflow_provider_realtimekit.downloads.recording import parse_track_name
from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.models import Recording

RECORDING = Recording.model_validate(
    {
        "id": "r-1",
        "status": "UPLOADED",
        "output_file_name": "weekly/standup_1763683200000.mp4",
        "session_id": "s-1",
        "invoked_time": "2026-11-20T23:59:59.5Z",
        "download_url": "https://files.example/a.mp4?sig=x",
        "audio_download_url": "https://files.example/a%20b.m4a?sig=x",
    }
)
TRACKS = Recording.model_validate(
    {
        "id": "r-2",
        "status": "UPLOADED",
        "output_file_name": "m.webm",
        "download_url": [
            {"layer_name": "default", "download_urls": {"default_ann_1.webm": {"download_url": "https://f.example/1"}}},
            {"layer_name": "low", "download_urls": {"../bob.webm": {"download_url": "https://f.example/2"}}},
        ],
    }
)


def paths(destination: str, recording: Recording = RECORDING, **options: Any) -> list[str]:
    target = Destination(destination, **options).target
    return [str(target(recording, file, "m/1").path) for file in recording.files]


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("/data", "/data/standup_1763683200000.mp4"),
        ("/data/", "/data/standup_1763683200000.mp4"),
        ("file:///data", "file:///data/standup_1763683200000.mp4"),
        ("/data/{recording_id}", "/data/r-1/standup_1763683200000.mp4"),
        ("/data/{meeting_id}/{file_name}", "/data/m_1/standup_1763683200000.mp4"),
        ("/data/{output_file_name}", "/data/standup_1763683200000.mp4"),
        ("/data/{invoked_time:%Y/%m/%d}", "/data/2026/11/20/standup_1763683200000.mp4"),
        ("/data/{invoked_time}", "/data/2026-11-20T23-59-59Z/standup_1763683200000.mp4"),
        ("/data/{recording_id}{suffix}", "/data/r-1.mp4"),
        ("/data/{kind}-{session_id}-{file_stem}.bin", "/data/video-s-1-standup_1763683200000.bin"),
        ("/data/{layer}/{file_name}", "/data/standup_1763683200000.mp4"),
        ("/data/{file_name}/{recording_id}", "/data/standup_1763683200000.mp4/r-1/standup_1763683200000.mp4"),
        ("{recording_id}", f"{Path.cwd()}/r-1/standup_1763683200000.mp4"),
        ("data", f"{Path.cwd()}/data/standup_1763683200000.mp4"),
    ],
)
def test_path_of_a_file(destination: str, expected: str) -> None:
    assert paths(destination)[0] == expected


def test_each_layer_of_tracks_has_a_folder() -> None:
    assert paths("/data", TRACKS) == ["/data/default/default_ann_1.webm", "/data/low/bob.webm"]
    assert paths("/data/{layer}-{recording_id}", TRACKS) == [
        "/data/default-r-2/default_ann_1.webm",
        "/data/low-r-2/bob.webm",
    ]


@pytest.mark.parametrize("name", ["..", ".", "a/../../b", "a\\b", "\x00"])
def test_no_file_name_leaves_its_folder(name: str) -> None:
    recording = RECORDING.model_copy(update={"id": name})
    for path in (*paths("/data/{recording_id}", recording), *paths("/data/x-{recording_id}/{suffix}", recording)):
        assert path.startswith("/data/")
        assert ".." not in path.split("/")
        assert "\x00" not in path


@pytest.mark.parametrize(
    ("destination", "why"),
    [
        ("", "must be a folder's path"),
        ("/data/{meeting}", "{meeting} is not a placeholder; use one of file_name, "),
        ("/data/{}", "{} is not a placeholder"),
        ("/data/{recording_id.__class__}", "is not a placeholder"),
        ("/data/{recording_id[0]}", "is not a placeholder"),
        ("/data/{recording_id!r}", "must have no conversion"),
        ("/data/{recording_id:>10}", "must have no format"),
        ("/data/{recording_id", "is not allowed"),
        ("/data/recording_id}", "is not allowed"),
        ("s3://{recording_id}/data", "cannot name the bucket"),
        ("s3://bucket-{recording_id}/data", "cannot name the bucket"),
    ],
)
def test_a_wrong_destination_is_named(destination: str, why: str) -> None:
    with pytest.raises(RealtimeKitInputError) as raised:
        Destination(destination)
    assert why in str(raised.value)


def test_a_placeholder_without_a_value_is_named() -> None:
    with pytest.raises(
        RealtimeKitInputError, match=r"has the placeholder \{started_time\}, but the API gives no .* r-1"
    ):
        paths("/data/{started_time:%Y}")


def test_two_files_cannot_have_one_path() -> None:
    with pytest.raises(RealtimeKitInputError, match=r"several files .* put \{file_name\}"):
        Destination("/data/{output_file_name}").targets(RECORDING, RECORDING.files, None)
    Destination("/data/{file_name}").targets(RECORDING, RECORDING.files, None)


@pytest.mark.parametrize(
    ("destination", "folder"),
    [
        ("/data", "/data"),
        ("/data/{layer}/{file_name}", "/data"),
        ("/data/{recording_id}/{layer}/x/{file_name}", "/data/r-2"),
        ("/data/{file_name}", "/data"),
    ],
)
def test_the_manifest_is_in_the_folder_that_has_all_files_below_it(destination: str, folder: str) -> None:
    targets = Destination(destination).targets(TRACKS, TRACKS.files, None)
    assert str(manifest_path("r/2", targets)) == f"{folder}/r_2.manifest.json"


@pytest.mark.parametrize(
    ("name", "layer", "participant", "started_at"),
    [
        ("default_ann_1763683200123.webm", "default", "ann", "2025-11-21T00:00:00.123Z"),
        ("default_a_b-c_1763683200000.webm", "default", "a_b-c", "2025-11-21T00:00:00.000Z"),
        ("2f8a_1763683200000.webm", None, "2f8a", "2025-11-21T00:00:00.000Z"),
        ("something.webm", "default", None, None),
    ],
)
def test_participant_and_start_are_read_from_a_tracks_name(
    name: str, layer: str | None, participant: str | None, started_at: str | None
) -> None:
    assert parse_track_name(name, layer) == {"participant": participant, "started_at": started_at}


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("s3://my_aws@bucket/a/b@c.mp4", "s3://bucket/a/b@c.mp4"),
        ("s3://bucket/a", "s3://bucket/a"),
        ("sftp://my_sftp@/a/b", "sftp:///a/b"),
        ("/data/a.mp4", "file:///data/a.mp4"),
        ("file:///data/a.mp4", "file:///data/a.mp4"),
    ],
)
def test_assets_name_no_connection(path: str, uri: str) -> None:
    assert asset_uri(path) == uri
