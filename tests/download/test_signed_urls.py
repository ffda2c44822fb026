"""Signed URLs: when they are renewed, and how often."""

from __future__ import annotations

import pendulum
import pytest
from pydantic import SecretStr

from airflow_provider_realtimekit.downloads.http import RenewableUrl, SignedUrl


class Api:
    """Signs URLs that expire after some seconds."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.signed = 0

    def sign(self) -> SignedUrl:
        self.signed += 1
        expiry = None if self.seconds is None else pendulum.now("UTC").add(seconds=self.seconds)
        return SignedUrl(SecretStr(f"https://f.example/{self.signed}"), expiry, 7)

    def url(self) -> RenewableUrl:
        return RenewableUrl(self.sign, self.sign())


def test_a_url_is_used_until_it_is_about_to_expire() -> None:
    api = Api(3600)
    url = api.url()
    assert {url.current() for _ in range(5)} == {("https://f.example/1", 0)}


def test_a_url_without_an_expiry_is_not_renewed() -> None:
    api = Api(None)
    url = api.url()
    url.current()
    assert api.signed == 1


@pytest.mark.parametrize("seconds", [50, 0, -5])
def test_a_url_that_is_about_to_expire_is_renewed_before_it_is_used(seconds: float) -> None:
    api = Api(seconds)
    url = api.url()
    api.seconds = 3600
    assert url.current() == ("https://f.example/2", 1)
    assert url.current() == ("https://f.example/2", 1)


def test_a_url_that_comes_back_with_the_same_expiry_is_renewed_once() -> None:
    expiry = pendulum.now("UTC").add(seconds=30)
    times = []

    def sign() -> SignedUrl:
        times.append(1)
        return SignedUrl(SecretStr("https://f.example/same"), expiry, None)

    url = RenewableUrl(sign, sign())
    for _ in range(5):
        url.current()
    assert len(times) == 2


def test_a_rejected_url_is_renewed_once_for_all_connections() -> None:
    api = Api(3600)
    url = api.url()
    versions = [url.current()[1] for _ in range(4)]
    for version in versions:
        url.reject(version)
    assert api.signed == 2
