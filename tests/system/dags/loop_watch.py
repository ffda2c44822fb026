"""Says whose work holds up an event loop; Airflow's triggerer, which warns of that, only sees that it was held up.

A thread looks many times a second at what the loop's thread is about, and a task on the loop notes when its turn
comes late, as the triggerer's own watchdog does: it warns when a sleep of 0.1 s took more than 0.2 s.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGE = "airflow_provider_realtimekit"
LOOK_EVERY = 0.01
TURN_EVERY = 0.02
# The loop is held up for no less than that whenever Airflow warns.
LATE = 0.1
_watches: list[asyncio.Task[None]] = []


def start(notes: Path) -> None:
    """Watch the loop that runs on this thread, if one does."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    looks = Looks(threading.get_ident(), threading.get_native_id())
    threading.Thread(target=looks.run, name="loop-watch", daemon=True).start()
    _watches.append(loop.create_task(_note_turns(looks, notes)))


def read(notes: Path) -> list[dict[str, Any]]:
    """Give the turns that were noted: those that came late, and those before which our package was at work.

    Of each, when it was (``at``, seconds since the epoch), for how long nothing else got a turn (``held``), for how
    long of that our package was at work (``ours``), and what (``stacks``).
    """
    return [json.loads(line) for line in notes.read_text().splitlines()]


@dataclass
class Looks:
    """Looks at one thread, on another one."""

    ident: int
    native_id: int
    taken: list[tuple[float, list[str]]] = field(default_factory=list)
    over: bool = False
    _collected: float = 0.0
    _collecting_since: float | None = None

    def run(self) -> None:
        """Look until it is over.

        A look counts for the time since the last one, less what is nobody's: that in which the machine had none of
        its processors for either thread, and that of a full garbage collection. Such a collection goes through all
        that Airflow's process holds, and begins in the midst of whoever makes the next object.
        """
        gc.callbacks.append(self._note_collection)
        last, lost = time.monotonic(), self._lost()
        while not self.over:
            time.sleep(LOOK_EVERY)
            stack = _stack(sys._current_frames().get(self.ident))
            now, lost_now = time.monotonic(), self._lost()
            lost_since = max(after - before for before, after in zip(lost[:2], lost_now[:2], strict=True))
            self.taken.append((max(0.0, now - last - lost_since - (lost_now[2] - lost[2])), stack))
            last, lost = now, lost_now
        gc.callbacks.remove(self._note_collection)

    def _lost(self) -> tuple[float, float, float]:
        collecting = time.monotonic() - since if (since := self._collecting_since) else 0.0
        return _waited(self.native_id), _waited(threading.get_native_id()), self._collected + collecting

    def _note_collection(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] < 2:
            return
        if phase == "start":
            self._collecting_since = time.monotonic()
        elif since := self._collecting_since:
            self._collected, self._collecting_since = self._collected + time.monotonic() - since, None


async def _note_turns(looks: Looks, notes: Path) -> None:
    last = time.monotonic()
    try:
        with notes.open("a", buffering=1) as file:
            while True:
                await asyncio.sleep(TURN_EVERY)
                taken, looks.taken = looks.taken, []
                held, last = time.monotonic() - last, time.monotonic()
                ours = sum(seconds for seconds, stack in taken if any(line.startswith(PACKAGE) for line in stack))
                if held > LATE or ours:
                    note = {"at": time.time(), "held": held, "ours": ours, "stacks": taken}
                    file.write(json.dumps(note) + "\n")
    finally:
        looks.over = True


def _stack(frame: FrameType | None) -> list[str]:
    """Tell what a thread is about, the innermost first."""
    stack = []
    while frame is not None:
        stack.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return stack


def _waited(native_id: int) -> float:
    """Give the seconds that a thread has waited for a processor, which only Linux tells."""
    with suppress(OSError):
        return int(Path(f"/proc/self/task/{native_id}/schedstat").read_text().split()[1]) / 1e9
    return 0.0
