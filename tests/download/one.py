"""Fetch one recording, in a process that a test may kill: ``python -m tests.download.one RECORDING DESTINATION``."""

from __future__ import annotations

import resource
import sys

from airflow_provider_realtimekit.downloads import download_recording
from airflow_provider_realtimekit.exceptions import RealtimeKitError
from airflow_provider_realtimekit.hooks import RealtimeKitHook


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
