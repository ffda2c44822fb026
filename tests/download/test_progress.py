"""Which progress of a download is logged, and how often."""

from __future__ import annotations

from typing import Any

from airflow_provider_realtimekit.downloads.transfer import Progress


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, *args: Any) -> None:
        self.lines.append(message % args)


def test_progress_is_logged_every_ten_seconds() -> None:
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


def test_progress_of_a_file_of_unknown_size() -> None:
    log, now = Log(), [0.0]
    progress = Progress(log, "file.mp4", lambda: now[0])
    progress.begin(None)
    now[0] = 20.0
    progress.add(10_000_000)
    assert log.lines == ["file.mp4: 10.0 MB, 0.5 MB/s"]
