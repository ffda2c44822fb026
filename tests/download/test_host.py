"""Hosts of files: what they may do to a download, and what they may not learn or make us tell."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from airflow_provider_realtimekit.downloads import stream, transfer
from airflow_provider_realtimekit.downloads.http import Link, Signed
from airflow_provider_realtimekit.downloads.stream import Access
from airflow_provider_realtimekit.downloads.transfer import Progress, Whole, fetch_file
from airflow_provider_realtimekit.exceptions import DownloadError
from tests.support.file_host import Manner, RudeHost, rude_host

KIB = 1 << 10


class Silent:
    def info(self, message: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def host() -> Iterator[RudeHost]:
    with rude_host() as host:
        yield host


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again without much ado."""
    monkeypatch.setattr(stream, "_SHORTEST_DELAY", 0.01)


def load_file(host: RudeHost, folder: Path, url: str | None = None, retry_timeout: float = 20) -> Whole:
    from airflow.sdk import ObjectStoragePath

    signed = Signed(SecretStr(url or host.url), None, None)
    access = Access(Link(lambda: signed, signed), timeout=10, retry_timeout=retry_timeout)
    return fetch_file(access, ObjectStoragePath(str(folder / "file")), Progress(Silent(), "file"))


def test_a_file_without_a_length(host: RudeHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(3 << 20)
    host.manners = iter([Manner(length=False)])
    assert load_file(host, tmp_path).size == len(host.content)
    assert (tmp_path / "file").read_bytes() == host.content


def test_a_file_without_a_length_that_is_cut_off(host: RudeHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(3 << 20)
    host.manners = iter([Manner(length=False, cut=1 << 20)])
    load_file(host, tmp_path)
    assert (tmp_path / "file").read_bytes() == host.content


def test_an_empty_file(host: RudeHost, tmp_path: Path) -> None:
    assert load_file(host, tmp_path).size == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_without_validators_nothing_is_pieced_together(host: RudeHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(1 << 20)
    host.manners = iter([Manner(validators=False, cut=KIB), *[Manner(validators=False)] * 5])
    load_file(host, tmp_path)
    assert (tmp_path / "file").read_bytes() == host.content
    assert "Range" not in host.requests[-1]["headers"]


def test_a_file_that_changes_all_the_time(host: RudeHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(1 << 20)
    host.manners = itertools.repeat(Manner(cut=300 * KIB))

    def change(number: int) -> None:
        host.version += 1

    host.on_request = change
    with pytest.raises(DownloadError, match="changed while it was read, 3 times"):
        load_file(host, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [400, 405, 451])
def test_what_no_retry_can_help_is_told_at_once(host: RudeHost, tmp_path: Path, status: int) -> None:
    host.manners = itertools.repeat(Manner(status=status))
    with pytest.raises(DownloadError, match=f"127.0.0.1 answers HTTP {status}$"):
        load_file(host, tmp_path)
    assert len(host.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_link_that_stays_refused(host: RudeHost, tmp_path: Path, status: int) -> None:
    host.manners = itertools.repeat(Manner(status=status))
    with pytest.raises(DownloadError, match=f"HTTP {status} to a fresh link too|HTTP {status}, .* in a row"):
        load_file(host, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_is_busy(host: RudeHost, tmp_path: Path) -> None:
    host.content = b"content"
    host.manners = iter([Manner(status=503), Manner(status=429, headers={"Retry-After": "0"}), Manner(status=500)])
    assert load_file(host, tmp_path).size == 7


def redirect(to: str, status: int = 302) -> Manner:
    return Manner(status=status, headers={"Location": to})


def test_three_redirects_are_followed(host: RudeHost, tmp_path: Path) -> None:
    host.content = b"content"
    host.manners = iter([redirect("/a?x=1"), redirect("b"), redirect(host.url.replace("127.0.0.1", "localhost"))])
    assert load_file(host, tmp_path).size == 7
    assert [request["path"] for request in host.requests[1:3]] == ["/a?x=1", "/b"]


def test_a_fourth_redirect_is_not(host: RudeHost, tmp_path: Path) -> None:
    host.manners = itertools.repeat(redirect("/again"))
    with pytest.raises(DownloadError, match="redirects more than 3 times"):
        load_file(host, tmp_path)
    assert len(host.requests) == 4


@pytest.mark.parametrize("to", ["http://example.org/x?s=S3CRET", "ftp://127.0.0.1/x", "file:///etc/passwd", "//[x"])
def test_a_redirect_may_not_lead_anywhere(host: RudeHost, tmp_path: Path, to: str) -> None:
    host.manners = iter([redirect(to)])
    with pytest.raises(DownloadError, match=r"not https|is no URL") as raised:
        load_file(host, tmp_path)
    assert "S3CRET" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://example.org/file?sig=S3CRET", "ftp://127.0.0.2/file?sig=S3CRET", "S3CRET"])
def test_links_must_be_https(host: RudeHost, tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="which is not https") as raised:
        load_file(host, tmp_path, url)
    assert "S3CRET" not in str(raised.value)


@pytest.mark.parametrize("manner", [Manner(status=418), Manner(cut=0), Manner(cut=3, reset=True)], ids=str)
def test_no_error_holds_the_link(host: RudeHost, tmp_path: Path, manner: Manner) -> None:
    host.content = b"content"
    host.manners = itertools.repeat(manner)
    with pytest.raises(DownloadError) as raised:
        load_file(host, tmp_path, retry_timeout=1)
    link = raised.value
    while link is not None:
        assert "S3CRET" not in f"{link!r} {link}"
        link = link.__cause__ or link.__context__


def test_the_host_learns_nothing_of_the_api(host: RudeHost, tmp_path: Path) -> None:
    host.content = b"content"
    load_file(host, tmp_path)
    (request,) = host.requests
    assert set(request["headers"]) == {"Host", "Accept-Encoding"}
    assert request["headers"]["Accept-Encoding"] == "identity"


def test_a_host_that_is_not_there(tmp_path: Path) -> None:
    with rude_host() as host:
        url = host.url
    with pytest.raises(DownloadError, match=r"did not arrive: ConnectionRefusedError, \d times in a row"):
        load_file(host, tmp_path, url, retry_timeout=1)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that is counted in MiB be counted in KiB."""
    for name in ("_BLOCK", "_PART", "_PROBE"):
        monkeypatch.setattr(transfer, name, getattr(transfer, name) >> 10)


@pytest.fixture
def always_several(small_parts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_FAST_ENOUGH", float("inf"))
    monkeypatch.setattr(transfer, "_GAIN", 0)


@pytest.mark.usefixtures("always_several")
def test_several_connections_bring_one_file(host: RudeHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(400 * KIB + 7)
    load_file(host, tmp_path)
    assert (tmp_path / "file").read_bytes() == host.content
    ranges = [request["headers"].get("Range") for request in host.requests]
    assert ranges[0] is None
    assert len(ranges) == 1 + 384 + 1, "the rest comes in parts, each once"
    assert len(set(ranges)) == len(ranges)


@pytest.mark.usefixtures("small_parts")
def test_one_fast_connection_is_left_alone(host: RudeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_FAST_ENOUGH", 0)
    host.content = random.Random(1).randbytes(400 * KIB)
    load_file(host, tmp_path)
    assert len(host.requests) == 1


@pytest.mark.usefixtures("always_several")
def test_several_that_bring_no_more_than_one_are_given_up(
    host: RudeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_GAIN", float("inf"))
    host.content = random.Random(1).randbytes(400 * KIB)
    load_file(host, tmp_path)
    assert (tmp_path / "file").read_bytes() == host.content
    last = host.requests[-1]["headers"]["Range"]
    assert last.endswith("-"), "the rest is one question"
    assert len(host.requests) < 60


@pytest.mark.usefixtures("always_several")
@pytest.mark.parametrize("ranges", ["ignored", "refused", "early", "short", "unsaid", "late"])
def test_several_connections_to_a_host_that_cannot(host: RudeHost, tmp_path: Path, ranges: str) -> None:
    host.content = random.Random(1).randbytes(200 * KIB)
    host.manners = itertools.chain([Manner()], itertools.repeat(Manner(ranges=ranges)))
    load_file(host, tmp_path)
    assert (tmp_path / "file").read_bytes() == host.content


@pytest.mark.usefixtures("always_several")
def test_a_file_that_changes_under_several_connections(host: RudeHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(200 * KIB)

    def change(number: int) -> None:
        if number == 10:
            host.version, host.content = 2, random.Random(2).randbytes(150 * KIB)

    host.on_request = change
    load_file(host, tmp_path)
    assert (tmp_path / "file").read_bytes() == host.content


@pytest.mark.usefixtures("always_several")
def test_an_error_of_one_ends_all(host: RudeHost, tmp_path: Path) -> None:
    host.content = random.Random(1).randbytes(400 * KIB)
    host.manners = itertools.chain([Manner()] * 8, itertools.repeat(Manner(status=451)))
    with pytest.raises(DownloadError, match="HTTP 451"):
        load_file(host, tmp_path)
    assert list(tmp_path.iterdir()) == []


RANGES = st.sampled_from(["honest", "ignored", "refused", "early", "short", "unsaid", "late"])
CUTS = st.none() | st.integers(0, 100 * KIB)
HONEST = st.builds(Manner, cut=CUTS, reset=st.booleans())
CLUMSY = st.builds(Manner, ranges=RANGES, cut=CUTS, reset=st.booleans(), length=st.booleans())
RUDE = st.builds(
    Manner,
    ranges=RANGES,
    cut=CUTS,
    reset=st.booleans(),
    status=st.sampled_from([None] * 8 + [403, 404, 500, 503]),
    validators=st.sampled_from([True, True, True, False]),
    length=st.booleans(),
)


@contextmanager
def random_world(size: int, manners: list[Manner], *, several: bool) -> Iterator[RudeHost]:
    """A host of some manners that is honest after them, and parts so small that there are many."""
    with rude_host() as host, pytest.MonkeyPatch.context() as patch:
        for name in ("_BLOCK", "_PART", "_PROBE"):
            patch.setattr(transfer, name, getattr(transfer, name) >> 10)
        patch.setattr(transfer, "_FAST_ENOUGH", float("inf") if several else 0)
        patch.setattr(stream, "_SHORTEST_DELAY", 0.0)
        host.content, host.manners = random.Random(size).randbytes(size), iter(manners)
        yield host


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 100 * KIB),
    clumsy=st.lists(CLUMSY, max_size=5),
    honest=st.lists(HONEST, max_size=10),
    several=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_cut_and_resumed_anywhere_the_bytes_are_equal(
    tmp_path_factory: pytest.TempPathFactory,
    size: int,
    clumsy: list[Manner],
    honest: list[Manner],
    several: bool,
    order: random.Random,
) -> None:
    """However ranges are answered and wherever answers are cut off."""
    manners = [*clumsy, *honest]
    order.shuffle(manners)
    folder = tmp_path_factory.mktemp("random")
    with random_world(size, manners, several=several) as host:
        whole = load_file(host, folder)
        assert (folder / "file").read_bytes() == host.content
        assert whole == (size, hashlib.sha256(host.content).hexdigest())
        assert [path.name for path in folder.iterdir()] == ["file"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 100 * KIB),
    manners=st.lists(RUDE, max_size=12),
    changes=st.sets(st.integers(1, 12), max_size=4),
    several=st.booleans(),
)
def test_whatever_the_host_does_the_bytes_are_right_or_absent(
    tmp_path_factory: pytest.TempPathFactory, size: int, manners: list[Manner], changes: set[int], several: bool
) -> None:
    """Also where the file changes, and the link is refused."""
    folder = tmp_path_factory.mktemp("random")
    with random_world(size, manners, several=several) as host:

        def change(number: int) -> None:
            if number in changes:
                host.version += 1
                host.content = random.Random(number).randbytes(size // 2)

        host.on_request = change
        try:
            load_file(host, folder)
        except DownloadError:
            assert list(folder.iterdir()) == []
            return
        assert (folder / "file").read_bytes() == host.content
        assert [path.name for path in folder.iterdir()] == ["file"]
