"""Run worlds and print a line for each: ``python -m tests.once.worlds [-k PATTERN] [--jobs N] [--log]``."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.once.worlds.judge import judge
from tests.once.worlds.table import ROWS
from tests.once.worlds.world import Row, World, Zygote


def main() -> int:
    """Run what was asked for; return 1 if a world was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.once.worlds", description="Run worlds.")
    parser.add_argument("-k", default="", metavar="PATTERN", help="only those whose name this expression matches")
    parser.add_argument("--jobs", type=int, default=1, help="how many run at a time (default: 1)")
    parser.add_argument("--log", action="store_true", help="print the logs of those that were violated")
    parser.add_argument("--all-logs", action="store_true", help="print all logs")
    parser.add_argument("--share", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    rows = [row for row in ROWS if re.search(chosen.k, row.name)]
    if chosen.share:
        first, step = map(int, chosen.share.split("/"))
        run(rows[first::step], chosen)
        return 0
    began = time.monotonic()
    lines = run_beside(chosen) if chosen.jobs > 1 else run(rows, chosen)
    return summarize(lines, time.monotonic() - began)


def run(rows: list[Row], chosen: argparse.Namespace) -> list[str]:
    """Run worlds one after the other; return the lines that were printed."""
    lines = []
    zygote = Zygote()
    try:
        for row in rows:
            lines.append(run_one(row, zygote, chosen))
            print(lines[-1], flush=True)
    finally:
        zygote.close()
    return lines


def run_one(row: Row, zygote: Zygote, chosen: argparse.Namespace) -> str:
    """Run a world; return its line."""
    began = time.monotonic()
    world = World(row, zygote)
    try:
        world.run()
        wrong = judge(world)
    except RuntimeError as error:
        wrong = [str(error).splitlines()[0]]
    if chosen.all_logs or (chosen.log and wrong):
        print(*world.log, sep="\n")
    verdict = f"violated: {'; '.join(wrong)}" if wrong else "held"
    return f"{time.monotonic() - began:5.2f} s  {row.name} -- {verdict}"


def run_beside(chosen: argparse.Namespace) -> list[str]:
    """Run shares of the worlds side by side, each in a process of its own."""
    command = [sys.executable, "-m", "tests.once.worlds", "-k", chosen.k]
    command += ["--log"] * chosen.log + ["--all-logs"] * chosen.all_logs

    def share(number: int) -> list[str]:
        process = subprocess.Popen([*command, "--share", f"{number}/{chosen.jobs}"], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
        if process.wait():
            raise RuntimeError("a share of the worlds could not be run")
        return lines

    with ThreadPoolExecutor(chosen.jobs) as pool:
        return [line for lines in pool.map(share, range(chosen.jobs)) for line in lines]


def summarize(lines: list[str], seconds: float) -> int:
    """Print how many worlds of each kind held."""
    found = [match for line in lines if (match := re.match(r" *[\d.]+ s  ([^:]+): .* -- (held|violated)", line))]
    worlds, held = Counter(match[1] for match in found), Counter(match[1] for match in found if match[2] == "held")
    print()
    for kind, count in worlds.items():
        print(f"{held[kind]:4} of {count:3} held  {kind}")
    print(f"{held.total():4} of {worlds.total():3} held  in {seconds:.0f} s")
    return int(held.total() < worlds.total())


if __name__ == "__main__":
    sys.exit(main())
