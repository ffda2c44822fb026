"""Run worlds and print a line for each: ``python -m tests.once.worlds [-k PATTERN] [--jobs N] [--log]``."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter

from tests.once.worlds.running import Result, start_worlds
from tests.once.worlds.table import ROWS


def main() -> int:
    """Run what was asked for; return 1 if a world was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.once.worlds", description="Run worlds.")
    parser.add_argument("-k", default="", metavar="PATTERN", help="only those whose name this expression matches")
    parser.add_argument("--jobs", type=int, default=1, help="how many run at a time (default: 1)")
    parser.add_argument("--log", action="store_true", help="print the logs of those that were violated")
    parser.add_argument("--all-logs", action="store_true", help="print all logs")
    chosen = parser.parse_args()
    rows = [row for row in ROWS if re.search(chosen.k, row.name)]
    began = time.monotonic()
    results = []
    with start_worlds(rows, chosen.jobs) as started:
        for future in started.values():
            results.append(future.result())
            show(results[-1], has_log=chosen.all_logs or (chosen.log and bool(results[-1].violations)))
    summarize(results, time.monotonic() - began)
    return int(any(result.violations for result in results))


def show(result: Result, *, has_log: bool) -> None:
    """Print a world's line, after its log."""
    if has_log:
        print(*result.log, sep="\n")
    verdict = f"violated: {'; '.join(result.violations)}" if result.violations else "held"
    print(f"{result.seconds:5.2f} s  {result.row.name} -- {verdict}", flush=True)


def summarize(results: list[Result], seconds: float) -> None:
    """Print how many worlds of each kind held."""
    worlds = Counter(result.row.kind for result in results)
    held = Counter(result.row.kind for result in results if not result.violations)
    print()
    for kind, count in worlds.items():
        print(f"{held[kind]:4} of {count:3} held  {kind}")
    print(f"{held.total():4} of {worlds.total():3} held  in {seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
