"""Helpers for the tests of downloads: recordings whose file has known bytes, and stores that can be listed.

As a program, it downloads one recording, so that a test can kill the process:
``python -m tests.support.downloads RECORDING DESTINATION``.
"""

from __future__ import annotations

import hashlib
import random
import resource
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_realtimekit.downloads import download_recording
from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.exceptions import RealtimeKitError
from airflow_provider_realtimekit.hooks import RealtimeKitHook
from tests.support.tasks import when

MIB = 1 << 20


@dataclass
class Recorded:
    """A recording on the emulator whose file holds known bytes."""

    emulator: EmulatorServer
    id: str
    content: bytes = field(repr=False)
    folder: Path

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def name(self) -> str:
        return self.emulator.world.get(self.id).files[0].output.name

    def change(self, size: int, seed: int = 1) -> None:
        """Replace the file on its host."""
        self.content = random.Random(seed).randbytes(size)
        path = self.folder / f"{self.id}-{size}-{seed}.mp4"
        path.write_bytes(self.content)
        self.emulator.world.replace_file(self.id, path)

    def act_at_half(self, act: Callable[[], Any]) -> None:
        """Call ``act`` when half of the file has arrived and the rest is requested."""
        self.add_fault(cut=self.size // 2)
        self.add_fault(status=503, count=None)

        def resume() -> None:
            act()
            self.emulator.faults.clear()

        when(lambda: self.requests >= 2, resume)

    def add_fault(self, **fault: Any) -> None:
        """Make the next request for the file fail."""
        self.emulator.faults.add(operation="download", **fault)

    @property
    def requests(self) -> int:
        """The number of requests for the file."""
        return len([request for request in self.emulator.ledger.requests if request.operation == "download"])


def record(emulator: EmulatorServer, folder: Path, size: int) -> Recorded:
    (recording_id,) = emulator.world.seed(1, status="UPLOADED")
    recorded = Recorded(emulator, str(recording_id), b"", folder)
    recorded.change(size, seed=0)
    return recorded


class Store(ABC):
    """A real store, and a folder in it for one test."""

    #: The folder, as a user would write it.
    destination: str
    #: A path that no test may write to.
    forbidden: str
    #: Whether it can discard an incomplete file; otherwise the next upload replaces it.
    discards = True

    @abstractmethod
    def listing(self) -> dict[str, bytes]:
        """Return all visible files in the folder."""

    def pending(self) -> int:
        """Return how many uploads there are that were neither completed nor aborted."""
        return 0

    def begun(self) -> bool:
        """Return whether there is an incomplete file."""
        return self.pending() > 0 or any(name.endswith(".part") for name in self.listing())

    def files(self) -> dict[str, bytes]:
        """Return all visible files without manifests."""
        return {name: data for name, data in self.listing().items() if not name.endswith(".manifest.json")}


def list_folder(folder: Path) -> dict[str, bytes]:
    """Return the files and empty folders below a folder, by their relative paths."""
    listing = {}
    for path in folder.rglob("*"):
        if path.is_file():
            listing[str(path.relative_to(folder))] = path.read_bytes()
        elif not any(path.iterdir()):
            listing[f"{path.relative_to(folder)}/"] = b""
    return listing


def fetch(recorded: Recorded, destination: Any, **options: Any) -> dict[str, Any]:
    with RealtimeKitHook() as hook:
        return download_recording(hook, recorded.id, destination, **options)


def main(recording_id: str, destination: str, largest: str = "") -> int:
    if largest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
    with RealtimeKitHook() as hook:
        try:
            download_recording(hook, recording_id, destination)
        except RealtimeKitError as error:
            print(type(error).__name__, error, flush=True)
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
