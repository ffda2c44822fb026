"""Every world holds: at most one recording of ours at a time, none left running, nobody else's stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.once.worlds.judge import judge
from tests.once.worlds.table import ROWS
from tests.once.worlds.world import Row, World, Zygote

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a world watches its processes in /proc")


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """The process that forks the processes of all worlds."""
    found = Zygote()
    yield found
    found.close()


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_world(zygote: Zygote, row: Row) -> None:
    """Run a world, and have it judged."""
    world = World(row, zygote)
    world.run()
    wrong = judge(world)
    assert not wrong, "\n".join([*wrong, "the log of the world:", *world.log])


def test_names_are_unique() -> None:
    """A name chooses one world."""
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names)) >= 120
