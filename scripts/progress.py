"""What the demo prints: functions that format task states and files, and the class that prints them."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

States = dict[str, str]
# A task has each of these only for a moment, so they are not printed.
PASSING_STATES = {None, "none", "removed", "scheduled", "queued"}
COLOURS = {
    "success": 32,
    "running": 36,
    "deferred": 35,
    "failed": 31,
    "upstream_failed": 31,
    "up_for_retry": 33,
}
NAME_WIDTH = 17


def now_states(instances: Iterable[Mapping[str, Any]]) -> States:
    """Return the states to print by task, in the order in which the tasks started."""
    started = sorted(instances, key=lambda instance: instance.get("start_date") or "9999")
    return {_name(instance): instance["state"] for instance in started if instance["state"] not in PASSING_STATES}


def changed(before: States, now: States) -> States:
    """Return the states that are new."""
    return {name: state for name, state in now.items() if before.get(name) != state}


def failed_tasks(instances: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the instances that ran and failed, without those that were not run because of an upstream failure."""
    return [instance for instance in instances if instance["state"] == "failed"]


def clock(seconds: float) -> str:
    """Format a number of seconds as minutes and seconds."""
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


def line(seconds: float, name: str, what: str, coloured: bool = False) -> str:
    """Format one line of progress."""
    shown = f"\033[{COLOURS[what]}m{what}\033[0m" if coloured and what in COLOURS else what
    return f"{clock(seconds)}  {name:<{NAME_WIDTH}} {shown}"


def as_path(location: object) -> Path | None:
    """Return the path that a task returned as a path or a `file:` URL, or `None` if it returned neither."""
    if not isinstance(location, str) or not location:
        return None
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if "://" in location else Path(location)


def results(folder: Path) -> list[str]:
    """List the files below a folder with their sizes, in two columns."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [str(path.relative_to(folder)) for path in files]
    width = max(map(len, names), default=0)
    return [f"{name:<{width}}  {size(path.stat().st_size)}" for name, path in zip(names, files, strict=True)]


def size(count: int) -> str:
    """Format a number of bytes with a unit."""
    for unit, scale in (("MB", 1_000_000), ("kB", 1_000)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


class ProgressPrinter:
    """Prints the progress on standard output, with the time since the printer was created."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    @property
    def seconds(self) -> float:
        """The seconds since the start."""
        return time.monotonic() - self._start

    def print_progress(self, name: str, what: str) -> None:
        """Print one line of progress."""
        self.print_lines(line(self.seconds, name, what, self._coloured))

    def print_lines(self, *lines: str) -> None:
        """Print lines unchanged, and flush the output."""
        print("\n".join(lines), flush=True)

    def print_indented(self, lines: Sequence[str]) -> None:
        """Print lines, each indented."""
        self.print_lines(*(f"    {text}" for text in lines))


def _name(instance: Mapping[str, Any]) -> str:
    index = instance.get("map_index", -1)
    return str(instance["task_id"]) if index < 0 else f"{instance['task_id']}[{index}]"
