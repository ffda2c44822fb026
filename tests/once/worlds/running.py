"""Run worlds, several at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from tests.once.worlds.processes import Zygote
from tests.once.worlds.rows import Row
from tests.once.worlds.violations import find_violations
from tests.once.worlds.world import World


@dataclass(frozen=True)
class Result:
    """How a world ended.

    :param row: the world
    :param violations: what is wrong; empty if the world held
    :param log: what happened, line by line
    :param seconds: of real time that it took
    """

    row: Row
    violations: list[str]
    log: list[str]
    seconds: float


@contextmanager
def start_worlds(rows: Sequence[Row], jobs: int) -> Iterator[dict[str, Future[Result]]]:
    """Start worlds; yield the result of each by its name.

    :param jobs: how many run at a time
    """
    zygotes: list[Zygote] = []
    local = threading.local()

    def begin() -> None:
        local.zygote = Zygote()
        zygotes.append(local.zygote)

    pool = ThreadPoolExecutor(jobs, initializer=begin)
    try:
        yield {row.name: pool.submit(lambda row=row: run_world(row, local.zygote)) for row in rows}
    finally:
        pool.shutdown(cancel_futures=True)
        for zygote in zygotes:
            zygote.close()


def run_world(row: Row, zygote: Zygote) -> Result:
    """Run one world to its end, and check it."""
    began = time.monotonic()
    world = World(row, zygote)
    try:
        world.run()
        violations = find_violations(world)
    except RuntimeError as error:
        violations = [str(error)]
    return Result(row, violations, world.log, time.monotonic() - began)
