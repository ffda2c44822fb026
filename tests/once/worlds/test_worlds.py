"""Every world holds: at most one recording of ours at a time, none left running, nobody else's stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.once.worlds.running import Result, start_worlds
from tests.once.worlds.table import ROWS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a world watches its processes in /proc")

Results = dict[str, Future[Result]]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Iterator[Results]:
    """The results of the worlds that were chosen, which run side by side."""
    chosen = {item.name for item in request.session.items}
    rows = [row for row in ROWS if f"test_world[{row.name}]" in chosen]
    with start_worlds(rows, jobs=os.cpu_count() or 1) as started:
        yield started


@pytest.mark.parametrize("name", [row.name for row in ROWS])
def test_world(results: Results, name: str) -> None:
    """Wait for a world's result."""
    result = results[name].result()
    if result.violations:
        pytest.fail("\n".join([*result.violations, "the log of the world:", *result.log]), pytrace=False)


def test_world_is_independent() -> None:
    """The server and the small Airflow import neither the package nor Airflow."""
    code = "import sys, tests.once.worlds.running; print(*sys.modules)"
    root = Path(__file__).parents[3]
    printed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert not {"airflow", "airflow_provider_realtimekit"} & {name.partition(".")[0] for name in printed.split()}


def test_names_are_unique() -> None:
    """A name chooses one world."""
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names)) >= 120
