"""Links that renew themselves, and progress that is told at a bearable rate."""

from __future__ import annotations

from typing import Any

import pendulum
import pytest
from pydantic import SecretStr

from airflow_provider_realtimekit.downloads.http import Link, Signed
from airflow_provider_realtimekit.downloads.transfer import Progress


class Api:
    """Gives links that live so many seconds."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.given = 0

    def sign(self) -> Signed:
        self.given += 1
        expiry = None if self.seconds is None else pendulum.now("UTC").add(seconds=self.seconds)
        return Signed(SecretStr(f"https://f.example/{self.given}"), expiry, 7)

    def link(self) -> Link:
        return Link(self.sign, self.sign())


def test_a_good_link_is_kept() -> None:
    api = Api(3600)
    link = api.link()
    assert {link.current() for _ in range(5)} == {("https://f.example/1", 0)}


def test_one_without_an_expiry_is_kept() -> None:
    api = Api(None)
    link = api.link()
    link.current()
    assert api.given == 1


@pytest.mark.parametrize("seconds", [50, 0, -5])
def test_one_that_is_about_to_die_is_replaced_before_it_is_used(seconds: float) -> None:
    api = Api(seconds)
    link = api.link()
    api.seconds = 3600
    assert link.current() == ("https://f.example/2", 1)
    assert link.current() == ("https://f.example/2", 1)


def test_one_that_cannot_be_renewed_is_asked_for_once() -> None:
    expiry = pendulum.now("UTC").add(seconds=30)
    given = []

    def sign() -> Signed:
        given.append(1)
        return Signed(SecretStr("https://f.example/same"), expiry, None)

    link = Link(sign, sign())
    for _ in range(5):
        link.current()
    assert len(given) == 2


def test_a_refused_one_is_replaced_once_however_many_were_refused_by_it() -> None:
    api = Api(3600)
    link = api.link()
    ages = [link.current()[1] for _ in range(4)]
    for age in ages:
        link.refuse(age)
    assert api.given == 2


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, *args: Any) -> None:
        self.lines.append(message % args)


def test_progress_is_told_every_ten_seconds() -> None:
    log, now = Log(), [0.0]
    progress = Progress(log, "file.mp4", lambda: now[0])
    progress.begin(100_000_000)
    for _ in range(50):
        now[0] += 0.5
        progress.add(2_000_000)
    assert log.lines == [
        "file.mp4: 40 % of 100.0 MB, 4.0 MB/s, 15 s left",
        "file.mp4: 80 % of 100.0 MB, 4.0 MB/s, 5 s left",
    ]
    assert progress.finish() == 25.0
    assert log.lines[-1] == "file.mp4: all 100.0 MB in 25.0 s, 4.0 MB/s"


def test_progress_of_a_file_whose_size_nobody_tells() -> None:
    log, now = Log(), [0.0]
    progress = Progress(log, "file.mp4", lambda: now[0])
    progress.begin(None)
    now[0] = 20.0
    progress.add(10_000_000)
    assert log.lines == ["file.mp4: 10.0 MB, 0.5 MB/s"]
