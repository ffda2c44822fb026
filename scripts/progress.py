"""What the demo says on the terminal: pure functions of task states and files, and the one that prints."""

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
# On their way to the next state, for a moment each.
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
    """Give the states worth a line, by task, in the order of the tasks' starts."""
    started = sorted(instances, key=lambda instance: instance.get("start_date") or "9999")
    return {_name(instance): instance["state"] for instance in started if instance["state"] not in PASSING_STATES}


def changed(before: States, now: States) -> States:
    """Give the states that are new."""
    return {name: state for name, state in now.items() if before.get(name) != state}


def failed_tasks(instances: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Give the instances that failed themselves, not those that a failure before them kept from running."""
    return [instance for instance in instances if instance["state"] == "failed"]


def clock(seconds: float) -> str:
    """Give a time span as minutes and seconds."""
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


def line(seconds: float, name: str, what: str, coloured: bool = False) -> str:
    """Give one line of progress."""
    shown = f"\033[{COLOURS[what]}m{what}\033[0m" if coloured and what in COLOURS else what
    return f"{clock(seconds)}  {name:<{NAME_WIDTH}} {shown}"


def as_path(location: object) -> Path | None:
    """Give the path that a task returned, be it a path or a `file:` URL; `None` if it is neither."""
    if not isinstance(location, str) or not location:
        return None
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if "://" in location else Path(location)


def results(folder: Path) -> list[str]:
    """List the files below a folder with their sizes, largest names aligned."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [str(path.relative_to(folder)) for path in files]
    width = max(map(len, names), default=0)
    return [f"{name:<{width}}  {size(path.stat().st_size)}" for name, path in zip(names, files, strict=True)]


def size(count: int) -> str:
    """Give a number of bytes as a person reads it."""
    for unit, scale in (("MB", 1_000_000), ("kB", 1_000)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


class Teller:
    """Tells the progress on standard output, with the time since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return time.monotonic() - self._start

    def tell(self, name: str, what: str) -> None:
        """Print one line of progress."""
        self.say(line(self.seconds, name, what, self._coloured))

    def say(self, *lines: str) -> None:
        """Print lines at once, as they are."""
        print("\n".join(lines), flush=True)

    def quote(self, lines: Sequence[str]) -> None:
        """Print what somebody else wrote, indented."""
        self.say(*(f"    {text}" for text in lines))


def _name(instance: Mapping[str, Any]) -> str:
    index = instance.get("map_index", -1)
    return str(instance["task_id"]) if index < 0 else f"{instance['task_id']}[{index}]"
