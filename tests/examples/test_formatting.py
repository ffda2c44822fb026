"""How numbers and times are written."""

from __future__ import annotations

import pytest

from example_dags.realtimekit_report.formatting import format_clock


@pytest.mark.parametrize(
    ("seconds", "digits", "text"),
    [(0, 0, "00:00"), (59.96, 1, "01:00.0"), (65.24, 1, "01:05.2"), (3599.6, 0, "1:00:00"), (86400, 0, "24:00:00")],
)
def test_format_clock(seconds: float, digits: int, text: str) -> None:
    assert format_clock(seconds, digits) == text
