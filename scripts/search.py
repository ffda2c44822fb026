"""`make search`: run the random tests with fresh seeds, until one fails or the time is over."""

from __future__ import annotations

import argparse
import hashlib
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SEEDS = 1 << 32
_SUMMARY = re.compile(r"^\d+ (passed|failed).* in [\d.]+s", re.MULTILINE)


def main() -> int:
    """Search; return 1 if a test failed."""
    parser = argparse.ArgumentParser(prog="python -m scripts.search", description="Run the random tests.")
    parser.add_argument("--seconds", type=float, help="for how long, about (default: 300; one run with --seed)")
    parser.add_argument("--runs", type=int, help="how many runs, in place of --seconds; they take as long as they take")
    parser.add_argument("--seed", help="of the first run: a number, or any text (default: chance)")
    chosen = parser.parse_args()
    first = secrets.randbelow(_SEEDS) if chosen.seed is None else _read_seed(chosen.seed)
    seconds, runs = chosen.seconds, chosen.runs
    if seconds is None and runs is None:
        seconds, runs = (300.0, None) if chosen.seed is None else (None, 1)
    return _search(first, seconds, runs)


def _read_seed(text: str) -> int:
    if text.isdecimal():
        return int(text)
    # A commit, say: the same number each time and on each machine.
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _search(first: int, seconds: float | None, runs: int | None) -> int:
    files = _find_random_tests()
    began = time.monotonic()
    count, longest = 0, 0.0
    while (runs is None or count < runs) and (seconds is None or time.monotonic() - began + longest <= seconds):
        seed, run_began = first + count, time.monotonic()
        print(f"seed {seed}: ", end="", flush=True)
        is_good, output = _run(seed, files)
        longest = max(longest, time.monotonic() - run_began)
        count += 1
        if not is_good:
            print(f"FAILED after {time.monotonic() - began:.0f} s\n\n{output}")
            print(f"Repeat this with `make search SEED={seed}`. Write the steps as a test in tests/once/test_found.py.")
            return 1
        summary = _SUMMARY.search(output)
        print(summary[0] if summary else "passed", flush=True)
    print(f"{count} runs in {time.monotonic() - began:.0f} s, nothing found.")
    return 0


def _find_random_tests() -> list[str]:
    """Return the files of the random tests: to import all others would take longer than to run these."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(file.relative_to(ROOT)) for file in files if "hypothesis" in file.read_text()]


def _run(seed: int, files: list[str]) -> tuple[bool, str]:
    """Run all random tests with a seed; return whether they passed, and what pytest printed."""
    options = ["--hypothesis-profile=search", f"--hypothesis-seed={seed}", "-m", "hypothesis", "-p", "no:cacheprovider"]
    quiet = ["-q", "-r", "f", "--tb=short", "--show-capture=no", "--runxfail"]
    command = [sys.executable, "-m", "pytest", *options, *quiet, *files]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return ended.returncode == 0, ended.stdout


if __name__ == "__main__":
    sys.exit(main())
