"""Downloads from hosts that fail, change files or redirect; and which data no host and no error may get."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from threading import Event

import pytest
from airflow.sdk import ObjectStoragePath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from airflow_provider_realtimekit.downloads import stream, transfer
from airflow_provider_realtimekit.downloads.http import RenewableUrl, SignedUrl
from airflow_provider_realtimekit.downloads.stream import DownloadContext
from airflow_provider_realtimekit.downloads.transfer import Progress, StoredFile, download_file
from airflow_provider_realtimekit.exceptions import DownloadError
from tests.support.file_host import Answer, ScriptedHost, scripted_host

KIB = 1 << 10


class Silent:
    def info(self, message: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def host() -> Iterator[ScriptedHost]:
    with scripted_host() as host:
        yield host


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_MIN_DELAY", 0.01)


def download(
    host: ScriptedHost, folder: Path, url: str | None = None, retry_timeout: float = 20, stop: Event | None = None
) -> StoredFile:
    signed = SignedUrl(SecretStr(url or host.url), None, None)
    context = DownloadContext(RenewableUrl(lambda: signed, signed), 10, retry_timeout, stop or Event())
    return download_file(context, ObjectStoragePath(str(folder / "file")), Progress(Silent(), "file"))


def test_a_file_without_a_length_is_stored(host: ScriptedHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(3 << 20)
    host.answers = iter([Answer(length=False)])
    assert download(host, tmp_path).size == len(host.content)
    assert (tmp_path / "file").read_bytes() == host.content


def test_a_file_without_a_length_that_breaks_off_is_downloaded_again(host: ScriptedHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(3 << 20)
    host.answers = iter([Answer(length=False, cut=1 << 20)])
    download(host, tmp_path)
    assert (tmp_path / "file").read_bytes() == host.content


def test_an_empty_file_is_stored(host: ScriptedHost, tmp_path: Path) -> None:
    assert download(host, tmp_path).size == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_without_validators_a_download_begins_again(host: ScriptedHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(1 << 20)
    host.answers = iter([Answer(validators=False, cut=KIB), *[Answer(validators=False)] * 5])
    download(host, tmp_path)
    assert (tmp_path / "file").read_bytes() == host.content
    assert "Range" not in host.requests[-1]["headers"]


def test_a_file_that_changes_three_times_is_an_error(host: ScriptedHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(1 << 20)
    host.answers = itertools.repeat(Answer(cut=300 * KIB))

    def change(number: int) -> None:
        host.version += 1

    host.on_request = change
    with pytest.raises(DownloadError, match="changed while it was read, 3 times"):
        download(host, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [400, 405, 451])
def test_a_status_that_no_retry_can_change_fails_at_once(host: ScriptedHost, tmp_path: Path, status: int) -> None:
    host.answers = itertools.repeat(Answer(status=status))
    with pytest.raises(DownloadError, match=f"127.0.0.1 answers HTTP {status}$"):
        download(host, tmp_path)
    assert len(host.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_url_that_is_rejected_after_its_renewal_is_an_error(host: ScriptedHost, tmp_path: Path, status: int) -> None:
    host.answers = itertools.repeat(Answer(status=status))
    with pytest.raises(DownloadError, match=f"HTTP {status} to a renewed URL, too|HTTP {status}, .* in a row"):
        download(host, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_busy_host_is_asked_again(host: ScriptedHost, tmp_path: Path) -> None:
    host.content = b"content"
    host.answers = iter([Answer(status=503), Answer(status=429, headers={"Retry-After": "0"}), Answer(status=500)])
    assert download(host, tmp_path).size == 7


def test_a_retry_after_date_beyond_retry_timeout_ends_the_download(host: ScriptedHost, tmp_path: Path) -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    host.answers = iter([Answer(status=503, headers={"Retry-After": in_an_hour})])
    with pytest.raises(DownloadError, match=r"did not arrive: 127.0.0.1 answers HTTP 503, 1 times"):
        download(host, tmp_path)
    assert len(host.requests) == 1


def redirect(to: str, status: int = 302) -> Answer:
    return Answer(status=status, headers={"Location": to})


def test_three_redirects_are_followed(host: ScriptedHost, tmp_path: Path) -> None:
    host.content = b"content"
    host.answers = iter([redirect("/a?x=1"), redirect("b"), redirect(host.url.replace("127.0.0.1", "localhost"))])
    assert download(host, tmp_path).size == 7
    assert [request["path"] for request in host.requests[1:3]] == ["/a?x=1", "/b"]


def test_a_fourth_redirect_is_not(host: ScriptedHost, tmp_path: Path) -> None:
    host.answers = itertools.repeat(redirect("/again"))
    with pytest.raises(DownloadError, match="redirects more than 3 times"):
        download(host, tmp_path)
    assert len(host.requests) == 4


@pytest.mark.parametrize("to", ["http://example.org/x?s=S3CRET", "ftp://127.0.0.1/x", "file:///etc/passwd", "//[x"])
def test_a_redirect_must_lead_to_https(host: ScriptedHost, tmp_path: Path, to: str) -> None:
    host.answers = iter([redirect(to)])
    with pytest.raises(DownloadError, match=r"not https|is not a URL") as raised:
        download(host, tmp_path)
    assert "S3CRET" not in str(raised.value)


def test_plain_http_is_allowed_on_the_whole_loopback_range(tmp_path: Path) -> None:
    """As for the host of a connection, which may be 127.0.0.2, too."""
    with scripted_host("127.0.0.2") as host:
        host.content = b"content"
        assert download(host, tmp_path).size == 7


@pytest.mark.parametrize("url", ["http://example.org/file?sig=S3CRET", "ftp://127.0.0.2/file?sig=S3CRET", "S3CRET"])
def test_links_must_be_https(host: ScriptedHost, tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="which is not https") as raised:
        download(host, tmp_path, url)
    assert "S3CRET" not in str(raised.value)


@pytest.mark.parametrize("answer", [Answer(status=418), Answer(cut=0), Answer(cut=3, reset=True)], ids=str)
def test_no_error_holds_the_url(host: ScriptedHost, tmp_path: Path, answer: Answer) -> None:
    host.content = b"content"
    host.answers = itertools.repeat(answer)
    with pytest.raises(DownloadError) as raised:
        download(host, tmp_path, retry_timeout=1)
    link = raised.value
    while link is not None:
        assert "S3CRET" not in f"{link!r} {link}"
        link = link.__cause__ or link.__context__


def test_the_host_gets_no_header_of_the_api(host: ScriptedHost, tmp_path: Path) -> None:
    host.content = b"content"
    download(host, tmp_path)
    (request,) = host.requests
    assert set(request["headers"]) == {"Host", "Accept-Encoding"}
    assert request["headers"]["Accept-Encoding"] == "identity"


def test_a_closed_port_is_an_error(tmp_path: Path) -> None:
    with scripted_host() as host:
        url = host.url
    with pytest.raises(DownloadError, match=r"did not arrive: ConnectionRefusedError, \d times in a row"):
        download(host, tmp_path, url, retry_timeout=1)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide all sizes by 1024, so that a small file has many parts."""
    for name in ("_BLOCK_BYTES", "_PART_BYTES", "_PROBE_BYTES"):
        monkeypatch.setattr(transfer, name, getattr(transfer, name) >> 10)


@pytest.fixture
def always_parallel(small_parts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_FAST_BYTES_PER_SECOND", float("inf"))
    monkeypatch.setattr(transfer, "_MIN_SPEEDUP", 0)


@pytest.mark.usefixtures("always_parallel")
def test_several_connections_download_each_part_once(host: ScriptedHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(400 * KIB + 7)
    download(host, tmp_path)
    assert (tmp_path / "file").read_bytes() == host.content
    ranges = [request["headers"].get("Range") for request in host.requests]
    assert ranges[0] is None
    assert len(ranges) == 1 + 384 + 1, "the first connection, 384 parts and a shorter one"
    assert len(set(ranges)) == len(ranges)


@pytest.mark.usefixtures("small_parts")
def test_a_fast_connection_stays_the_only_one(
    host: ScriptedHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_FAST_BYTES_PER_SECOND", 0)
    host.content = random.Random(1).randbytes(400 * KIB)
    download(host, tmp_path)
    assert len(host.requests) == 1


@pytest.mark.usefixtures("always_parallel")
def test_several_connections_that_are_no_faster_than_one_are_closed(
    host: ScriptedHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_MIN_SPEEDUP", float("inf"))
    host.content = random.Random(1).randbytes(400 * KIB)
    download(host, tmp_path)
    assert (tmp_path / "file").read_bytes() == host.content
    last = host.requests[-1]["headers"]["Range"]
    assert last.endswith("-"), "one request must get the rest"
    assert len(host.requests) < 60


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("ranges", ["ignored", "refused", "early", "short", "unsaid", "late"])
def test_several_connections_to_a_host_with_wrong_ranges_store_the_right_file(
    host: ScriptedHost, tmp_path: Path, ranges: str
) -> None:
    host.content = random.Random(1).randbytes(200 * KIB)
    host.answers = itertools.chain([Answer()], itertools.repeat(Answer(ranges=ranges)))
    download(host, tmp_path)
    assert (tmp_path / "file").read_bytes() == host.content


@pytest.mark.usefixtures("always_parallel")
def test_a_file_that_changes_during_several_connections_is_downloaded_again(host: ScriptedHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(200 * KIB)

    def change(number: int) -> None:
        if number == 10:
            host.version, host.content = 2, random.Random(2).randbytes(150 * KIB)

    host.on_request = change
    download(host, tmp_path)
    assert (tmp_path / "file").read_bytes() == host.content


@pytest.mark.usefixtures("always_parallel")
def test_an_error_of_one_connection_ends_this_download_but_no_other(host: ScriptedHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(400 * KIB)
    host.answers = itertools.chain([Answer()] * 8, itertools.repeat(Answer(status=451)))
    stop = Event()
    with pytest.raises(DownloadError, match="HTTP 451"):
        download(host, tmp_path, stop=stop)
    assert list(tmp_path.iterdir()) == []
    assert not stop.is_set(), "the caller's other downloads use this event, too"


RANGES = st.sampled_from(["honest", "ignored", "refused", "early", "short", "unsaid", "late"])
CUTS = st.none() | st.integers(0, 100 * KIB)
HONEST = st.builds(Answer, cut=CUTS, reset=st.booleans())
BROKEN_RANGES = st.builds(Answer, ranges=RANGES, cut=CUTS, reset=st.booleans(), length=st.booleans())
ANY = st.builds(
    Answer,
    ranges=RANGES,
    cut=CUTS,
    reset=st.booleans(),
    status=st.sampled_from([None] * 8 + [403, 404, 500, 503]),
    validators=st.sampled_from([True, True, True, False]),
    length=st.booleans(),
)


@contextmanager
def random_world(size: int, answers: list[Answer], *, several: bool) -> Iterator[ScriptedHost]:
    """Run a host that sends these answers first, and divide the sizes by 1024, so that the file has many parts."""
    with scripted_host() as host, pytest.MonkeyPatch.context() as patch:
        for name in ("_BLOCK_BYTES", "_PART_BYTES", "_PROBE_BYTES"):
            patch.setattr(transfer, name, getattr(transfer, name) >> 10)
        patch.setattr(transfer, "_FAST_BYTES_PER_SECOND", float("inf") if several else 0)
        patch.setattr(stream, "_MIN_DELAY", 0.0)
        host.content, host.answers = random.Random(size).randbytes(size), iter(answers)
        yield host


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 100 * KIB),
    broken_ranges=st.lists(BROKEN_RANGES, max_size=5),
    honest=st.lists(HONEST, max_size=10),
    several=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_a_download_that_breaks_off_anywhere_stores_the_right_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    size: int,
    broken_ranges: list[Answer],
    honest: list[Answer],
    several: bool,
    order: random.Random,
) -> None:
    answers = [*broken_ranges, *honest]
    order.shuffle(answers)
    folder = tmp_path_factory.mktemp("random")
    with random_world(size, answers, several=several) as host:
        stored = download(host, folder)
        assert (folder / "file").read_bytes() == host.content
        assert stored == (size, hashlib.sha256(host.content).hexdigest())
        assert [path.name for path in folder.iterdir()] == ["file"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 100 * KIB),
    answers=st.lists(ANY, max_size=12),
    changes=st.sets(st.integers(1, 12), max_size=4),
    several=st.booleans(),
)
def test_with_any_answers_the_file_is_right_or_absent(
    tmp_path_factory: pytest.TempPathFactory, size: int, answers: list[Answer], changes: set[int], several: bool
) -> None:
    folder = tmp_path_factory.mktemp("random")
    with random_world(size, answers, several=several) as host:

        def change(number: int) -> None:
            if number in changes:
                host.version += 1
                host.content = random.Random(number).randbytes(size // 2)

        host.on_request = change
        try:
            download(host, folder)
        except DownloadError:
            assert list(folder.iterdir()) == []
            return
        assert (folder / "file").read_bytes() == host.content
        assert [path.name for path in folder.iterdir()] == ["file"]
