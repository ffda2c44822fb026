"""SignedLinks and downloads."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.emulator.world.errors import ImpossibleChangeError


def recording(api: httpx.Client, recording_id: str) -> Any:
    return api.get(f"/recordings/{recording_id}").json()["data"]


@pytest.fixture
def uploaded(emulator: EmulatorServer) -> str:
    return emulator.world.seed(1)[0]


def error_code(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/xml"
    return response.status_code, response.text.split("<Code>")[1].split("</Code>")[0]


def test_a_download_is_as_large_as_announced(api: httpx.Client, http: httpx.Client, uploaded: str) -> None:
    known = recording(api, uploaded)
    response = http.get(known["download_url"])
    assert len(response.content) == known["file_size"] == int(response.headers["content-length"])
    assert response.headers["content-type"] == "video/mp4"
    assert response.content[4:8] == b"ftyp"
    head = http.head(known["download_url"])
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == response.headers["content-length"]


def test_ranges(api: httpx.Client, http: httpx.Client, uploaded: str) -> None:
    url = recording(api, uploaded)["download_url"]
    whole = http.get(url)
    size, content, etag = len(whole.content), whole.content, whole.headers["etag"]
    assert whole.headers["accept-ranges"] == "bytes"
    for asked, start, end in (("bytes=0-99", 0, 100), ("bytes=100-", 100, size), ("bytes=-50", size - 50, size)):
        part = http.get(url, headers={"Range": asked, "If-Range": etag})
        assert (part.status_code, part.content) == (206, content[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    beyond = http.get(url, headers={"Range": f"bytes={size}-"})
    assert beyond.status_code == 416
    assert beyond.headers["content-range"].endswith(f"*/{size}")
    changed = http.get(url, headers={"Range": "bytes=0-99", "If-Range": '"another"'})
    assert (changed.status_code, len(changed.content)) == (200, size)


@pytest.mark.parametrize("part", ["path", "Expires", "Signature"])
def test_a_link_that_was_tampered_with_is_refused(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer, uploaded: str, part: str
) -> None:
    url = recording(api, uploaded)["download_url"]
    if part == "path":
        (other,) = emulator.world.seed(1)
        url = url.replace(uploaded, other)
    else:
        url = url.replace(f"{part}=", f"{part}=1")
    assert error_code(http.get(url)) == (403, "SignatureDoesNotMatch")
    assert error_code(http.get(urlsplit(url).path)) == (403, "SignatureDoesNotMatch")


def test_links_are_signed_anew_at_each_look_or_once(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer, uploaded: str
) -> None:
    first, second = (recording(api, uploaded)["download_url"] for _ in range(2))
    assert first != second
    assert {http.get(url).status_code for url in (first, second)} == {200}
    emulator.settings.keep_links = True
    assert len({recording(api, uploaded)["download_url"] for _ in range(2)}) == 1


def test_links_expire_and_a_new_look_gives_a_good_one(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer, uploaded: str
) -> None:
    emulator.settings.link_seconds = 0.2
    url = recording(api, uploaded)["download_url"]
    while (response := http.get(url)).status_code == 200:
        time.sleep(0.02)
    assert error_code(response) == (403, "AccessDenied")
    emulator.settings.link_seconds = 60
    assert http.get(recording(api, uploaded)["download_url"]).status_code == 200


def test_a_file_can_be_replaced(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer, uploaded: str, tmp_path: Path
) -> None:
    before = http.get(recording(api, uploaded)["download_url"])
    other = tmp_path / "other.mp4"
    other.write_bytes(b"another file")
    emulator.world.replace_file(uploaded, other)
    known = recording(api, uploaded)
    after = http.get(known["download_url"], headers={"Range": "bytes=0-3", "If-Range": before.headers["etag"]})
    assert (after.status_code, after.content, known["file_size"]) == (200, b"another file", 12)
    (recorded,) = emulator.world.seed(1, "RECORDING")
    with pytest.raises(ImpossibleChangeError, match="has no file to replace"):
        emulator.world.replace_file(recorded, other)


def test_links_never_outlive_the_file(api: httpx.Client, http: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.configure(file_seconds=1000, link_seconds=10_000)
    (uploaded,) = emulator.world.seed(1)
    known = recording(api, uploaded)
    expiry = emulator.world.get(uploaded).uploaded_at + 1000
    assert known["download_url_expiry"][:19] == time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(expiry))
    emulator.world.expire(uploaded)
    assert error_code(http.get(known["download_url"])) == (403, "AccessDenied")
    assert error_code(http.get(recording(api, uploaded)["download_url"])) == (403, "AccessDenied")


def test_a_file_of_a_forgotten_recording_is_not_there(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer, uploaded: str
) -> None:
    url = recording(api, uploaded)["download_url"]
    emulator.reset()
    assert error_code(http.get(url)) == (404, "NoSuchKey")


def test_names_may_hold_anything(api: httpx.Client, http: httpx.Client, emulator: EmulatorServer) -> None:
    body = {"meeting_id": "m/1", "file_name_prefix": "weekly/ü & 50%?#", "audio_config": {}}
    recording_id = api.post("/recordings", json=body).json()["data"]["id"]
    emulator.world.jump(recording_id, "UPLOADED")
    known = recording(api, recording_id)
    assert known["output_file_name"].startswith("weekly/ü & 50%?#_m/1_")
    assert http.get(known["download_url"]).status_code == 200
    assert http.get(known["audio_download_url"]).headers["content-type"] == "audio/mp4"


def test_without_the_bucket_there_are_no_links(api: httpx.Client, emulator: EmulatorServer) -> None:
    storage = {"type": "azure", "access_key": "AK", "bucket": "b"}
    for meeting_id, config in (("kept", {"storage_config": storage}), ("lost", {})):
        body = {"meeting_id": meeting_id, "realtimekit_bucket_config": {"enabled": False}, "audio_config": {}, **config}
        recording_id = api.post("/recordings", json=body).json()["data"]["id"]
        known = recording(api, emulator.world.jump(recording_id, "UPLOADED").id)
        assert known["status"] == "UPLOADED"
        assert (known["download_url"], known["audio_download_url"], known["download_url_expiry"]) == (None, None, None)


def test_links_lead_to_the_host_that_the_client_named(api: httpx.Client, http: httpx.Client, uploaded: str) -> None:
    port = api.base_url.port
    known = api.get(f"/recordings/{uploaded}", headers={"Host": f"localhost:{port}"}).json()["data"]
    assert known["download_url"].startswith(f"http://localhost:{port}/files/")
    assert http.get(known["download_url"]).status_code == 200
