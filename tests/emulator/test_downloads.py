"""Signed links and downloads over HTTP."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.emulator.world.errors import ImpossibleChangeError
from tests.support.emulator import STORAGES, cases, file_error, get, start


@pytest.fixture
def uploaded(emulator: EmulatorServer) -> str:
    return emulator.world.seed(1)[0]


def test_a_download_is_as_large_as_announced(api: httpx.Client, http: httpx.Client, uploaded: str) -> None:
    known = get(api, uploaded)
    response = http.get(known["download_url"])
    assert len(response.content) == known["file_size"] == int(response.headers["content-length"])
    assert response.headers["content-type"] == "video/mp4"
    assert response.content[4:8] == b"ftyp"
    head = http.head(known["download_url"])
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == response.headers["content-length"]


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    cases(
        {
            "the first 100 bytes": ("bytes=0-99", 0, 100),
            "from byte 100 on": ("bytes=100-", 100, None),
            "the last 50 bytes": ("bytes=-50", -50, None),
        }
    ),
)
def test_a_range_is_answered_with_its_bytes(
    api: httpx.Client, http: httpx.Client, uploaded: str, asked: str, begin: int, end: int | None
) -> None:
    url = get(api, uploaded)["download_url"]
    full = http.get(url)
    assert full.headers["accept-ranges"] == "bytes"
    size = len(full.content)
    first, last = range(size)[begin], range(size)[begin:end][-1]
    part = http.get(url, headers={"Range": asked, "If-Range": full.headers["etag"]})
    assert (part.status_code, part.content) == (206, full.content[begin:end])
    assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"


def test_a_range_beyond_the_end_is_refused(api: httpx.Client, http: httpx.Client, uploaded: str) -> None:
    url = get(api, uploaded)["download_url"]
    size = len(http.get(url).content)
    response = http.get(url, headers={"Range": f"bytes={size}-"})
    assert response.status_code == 416
    assert response.headers["content-range"].endswith(f"*/{size}")


def test_a_range_of_a_changed_file_is_answered_with_the_full_file(
    api: httpx.Client, http: httpx.Client, uploaded: str
) -> None:
    url = get(api, uploaded)["download_url"]
    response = http.get(url, headers={"Range": "bytes=0-99", "If-Range": '"another"'})
    assert (response.status_code, len(response.content)) == (200, len(http.get(url).content))


@pytest.mark.parametrize("part", ["path", "Expires", "Signature"])
def test_a_changed_link_is_refused(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer, uploaded: str, part: str
) -> None:
    url = get(api, uploaded)["download_url"]
    if part == "path":
        (other,) = emulator.world.seed(1)
        url = url.replace(uploaded, other)
    else:
        url = url.replace(f"{part}=", f"{part}=1")
    assert file_error(http.get(url)) == (403, "SignatureDoesNotMatch")
    assert file_error(http.get(urlsplit(url).path)) == (403, "SignatureDoesNotMatch")


def test_links_are_signed_at_each_request_or_once(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer, uploaded: str
) -> None:
    first, second = (get(api, uploaded)["download_url"] for _ in range(2))
    assert first != second
    assert {http.get(url).status_code for url in (first, second)} == {200}
    emulator.settings.keep_links = True
    assert len({get(api, uploaded)["download_url"] for _ in range(2)}) == 1


def test_links_expire_and_the_next_answer_has_a_valid_one(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer, uploaded: str
) -> None:
    emulator.settings.link_seconds = 0.2
    url = get(api, uploaded)["download_url"]
    while (response := http.get(url)).status_code == 200:
        time.sleep(0.02)
    assert file_error(response) == (403, "AccessDenied")
    emulator.settings.link_seconds = 60
    assert http.get(get(api, uploaded)["download_url"]).status_code == 200


def test_a_file_can_be_replaced(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer, uploaded: str, tmp_path: Path
) -> None:
    before = http.get(get(api, uploaded)["download_url"])
    other = tmp_path / "other.mp4"
    other.write_bytes(b"another file")
    emulator.world.replace_file(uploaded, other)
    known = get(api, uploaded)
    after = http.get(known["download_url"], headers={"Range": "bytes=0-3", "If-Range": before.headers["etag"]})
    assert (after.status_code, after.content, known["file_size"]) == (200, b"another file", 12)


def test_a_file_that_does_not_exist_yet_cannot_be_replaced(emulator: EmulatorServer, tmp_path: Path) -> None:
    (recording_id,) = emulator.world.seed(1, "RECORDING")
    with pytest.raises(ImpossibleChangeError, match=f"{recording_id} is RECORDING and has no file to replace"):
        emulator.world.replace_file(recording_id, tmp_path / "other.mp4")


def test_links_expire_with_the_file(api: httpx.Client, http: httpx.Client, emulator: EmulatorServer) -> None:
    emulator.configure(file_seconds=1000, link_seconds=10_000)
    (uploaded,) = emulator.world.seed(1)
    known = get(api, uploaded)
    expiry = emulator.world.get(uploaded).uploaded_at + 1000
    assert known["download_url_expiry"][:19] == time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(expiry))
    emulator.world.expire(uploaded)
    assert file_error(http.get(known["download_url"])) == (403, "AccessDenied")
    assert file_error(http.get(get(api, uploaded)["download_url"])) == (403, "AccessDenied")


def test_after_a_reset_a_file_does_not_exist(
    api: httpx.Client, http: httpx.Client, emulator: EmulatorServer, uploaded: str
) -> None:
    url = get(api, uploaded)["download_url"]
    emulator.reset()
    assert file_error(http.get(url)) == (404, "NoSuchKey")


def test_file_names_can_hold_any_character(api: httpx.Client, http: httpx.Client, emulator: EmulatorServer) -> None:
    recording_id = start(api, "m/1", file_name_prefix="weekly/ü & 50%?#", audio_config={})["id"]
    emulator.world.jump(recording_id, "UPLOADED")
    known = get(api, recording_id)
    assert known["output_file_name"].startswith("weekly/ü & 50%?#_m/1_")
    assert http.get(known["download_url"]).status_code == 200
    assert http.get(known["audio_download_url"]).headers["content-type"] == "audio/mp4"


@pytest.mark.parametrize("config", [{"storage_config": STORAGES["azure"]}, {}], ids=["copied to a storage", "lost"])
def test_without_the_bucket_there_are_no_links(
    api: httpx.Client, emulator: EmulatorServer, config: dict[str, Any]
) -> None:
    recording_id = start(api, realtimekit_bucket_config={"enabled": False}, audio_config={}, **config)["id"]
    known = get(api, emulator.world.jump(recording_id, "UPLOADED").id)
    assert known["status"] == "UPLOADED"
    assert (known["download_url"], known["audio_download_url"], known["download_url_expiry"]) == (None, None, None)


def test_links_have_the_host_of_the_request(api: httpx.Client, http: httpx.Client, uploaded: str) -> None:
    port = api.base_url.port
    known = api.get(f"/recordings/{uploaded}", headers={"Host": f"localhost:{port}"}).json()["data"]
    assert known["download_url"].startswith(f"http://localhost:{port}/files/")
    assert http.get(known["download_url"]).status_code == 200
