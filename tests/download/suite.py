"""The tests of downloads that every store must pass: a file is stored completely and correctly, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from airflow_provider_realtimekit.exceptions import DownloadError, RecordingExpiredError
from tests.support.downloads import MIB, Recorded, Store, fetch
from tests.support.tasks import when

ROOT = Path(__file__).parents[2]


def assert_complete(store: Store, recorded: Recorded, fetched: dict[str, Any]) -> None:
    (file,) = fetched["files"]
    assert (file["size"], file["sha256"]) == (recorded.size, recorded.sha256)
    assert store.files() == {recorded.name: recorded.content}
    assert set(store.listing()) == {recorded.name, f"{recorded.id}.manifest.json"}
    assert store.pending() == 0


def assert_absent(store: Store) -> None:
    assert store.listing() == {}
    assert store.pending() == 0 or not store.discards


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


class StoreSuite:
    """The tests. A subclass needs a fixture ``store``."""

    def test_a_file_is_stored_completely_and_downloaded_once(self, store: Store, recorded: Recorded) -> None:
        fetched = fetch(recorded, store.destination)
        assert_complete(store, recorded, fetched)
        assert fetched["files"][0]["skipped"] is False
        again = fetch(recorded, store.destination)
        assert_complete(store, recorded, again)
        assert again["files"][0]["skipped"] is True
        assert recorded.requests == 1

    def test_the_manifest_lists_what_was_downloaded(self, store: Store, recorded: Recorded) -> None:
        fetched = fetch(recorded, store.destination)
        manifest = json.loads(store.listing()[f"{recorded.id}.manifest.json"])
        assert (manifest["recording_id"], manifest["output_file_name"]) == (recorded.id, recorded.name)
        assert datetime.fromisoformat(manifest["invoked_time"]).tzinfo is not None
        (file,) = manifest["files"]
        assert file.items() <= fetched["files"][0].items()
        assert (file["size"], file["sha256"]) == (recorded.size, recorded.sha256)

    def test_a_file_of_another_size_is_downloaded_again(self, store: Store, recorded: Recorded) -> None:
        fetch(recorded, store.destination)
        recorded.change(recorded.size + 1)
        assert_complete(store, recorded, fetch(recorded, store.destination))
        assert recorded.requests == 2

    def test_a_download_that_breaks_off_at_every_tenth_is_resumed(self, store: Store, recorded: Recorded) -> None:
        for _ in range(9):
            recorded.add_fault(cut=recorded.size // 10)
        assert_complete(store, recorded, fetch(recorded, store.destination))
        assert recorded.requests == 10, "each request must resume where the previous one broke off"

    @pytest.mark.parametrize("tenth", range(1, 10))
    def test_a_download_that_cannot_be_resumed_stores_nothing(
        self, store: Store, recorded: Recorded, short_retry_timeout: None, tenth: int
    ) -> None:
        recorded.add_fault(cut=recorded.size * tenth // 10)
        recorded.add_fault(count=None, reset=True)
        with pytest.raises(DownloadError, match="did not arrive"):
            fetch(recorded, store.destination)
        assert_absent(store)

    def test_a_host_without_ranges_sends_the_file_again(self, store: Store, recorded: Recorded) -> None:
        recorded.add_fault(no_ranges=True, cut=recorded.size // 2)
        recorded.add_fault(no_ranges=True, count=None)
        assert_complete(store, recorded, fetch(recorded, store.destination))
        assert recorded.requests == 2

    @pytest.mark.parametrize("check_size", [True, False])
    def test_a_content_length_that_is_too_long_stores_nothing(
        self, store: Store, recorded: Recorded, short_retry_timeout: None, check_size: bool
    ) -> None:
        recorded.add_fault(count=None, no_ranges=True, length=recorded.size + 10)
        with pytest.raises(DownloadError, match="but the API announced" if check_size else "breaks off|did not arrive"):
            fetch(recorded, store.destination, check_size=check_size)
        assert_absent(store)

    def test_a_content_length_that_is_too_short_stores_nothing(self, store: Store, recorded: Recorded) -> None:
        recorded.add_fault(length=recorded.size - 10)
        with pytest.raises(
            DownloadError, match=f"offers a file of {recorded.size - 10} bytes, but the API announced {recorded.size}"
        ):
            fetch(recorded, store.destination)
        assert_absent(store)

    def test_a_file_that_changed_between_two_ranges_is_downloaded_again(self, store: Store, recorded: Recorded) -> None:
        recorded.act_at_half(lambda: recorded.change(recorded.size + 5))
        assert_complete(store, recorded, fetch(recorded, store.destination))

    def test_a_url_that_expires_during_the_download_is_renewed(self, store: Store, recorded: Recorded) -> None:
        recorded.add_fault(cut=recorded.size // 2)
        recorded.add_fault(status=403)
        assert_complete(store, recorded, fetch(recorded, store.destination))
        assert recorded.emulator.ledger.count("get") == 2
        assert recorded.requests == 3

    def test_a_recording_that_expires_during_the_download_stores_nothing(
        self, store: Store, recorded: Recorded
    ) -> None:
        recorded.act_at_half(lambda: recorded.emulator.world.expire(recorded.id))
        with pytest.raises(RecordingExpiredError, match=r"its files expired at 20\d\d-") as raised:
            fetch(recorded, store.destination)
        assert raised.value.recording_id == recorded.id
        assert_absent(store)

    def test_a_store_that_refuses_the_file_is_an_error(self, store: Store, recorded: Recorded) -> None:
        with pytest.raises(DownloadError, match="cannot be stored"):
            fetch(recorded, store.forbidden)
        assert_absent(store)

    def test_a_download_can_be_stopped_from_another_thread(self, store: Store, recorded: Recorded) -> None:
        stop = Event()
        recorded.add_fault(rate=4 * MIB)
        when(store.begun, stop.set)
        with pytest.raises(DownloadError, match="stopped"):
            fetch(recorded, store.destination, stop=stop)
        assert_absent(store)

    def test_a_killed_download_leaves_no_incomplete_file_under_the_name(self, store: Store, recorded: Recorded) -> None:
        recorded.add_fault(rate=6 * MIB)
        command = [sys.executable, "-m", "tests.support.downloads", recorded.id, store.destination]
        with subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True) as process:
            wait_until(store.begun, process)
            process.kill()
            assert process.wait() == -9
        assert recorded.name not in store.listing()
        assert_complete(store, recorded, fetch(recorded, store.destination))
