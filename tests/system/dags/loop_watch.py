"""Finds the code that blocks an event loop. Airflow's triggerer warns of a blocked loop, but does not know the cause.

A thread samples the stack of the loop's thread many times a second. A task on the loop records when its turn comes
late, as the triggerer's own watchdog does, which warns when a sleep of 0.1 s took more than 0.2 s.
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
SAMPLE_EVERY = 0.01
TURN_EVERY = 0.02
# When Airflow warns, the loop was blocked for at least this long.
LATE = 0.1
_watches: list[asyncio.Task[None]] = []


def start(notes: Path) -> None:
    """Watch the event loop of this thread, if one is running."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    sampler = StackSampler(threading.get_ident(), threading.get_native_id())
    threading.Thread(target=sampler.run, name="loop-watch", daemon=True).start()
    _watches.append(loop.create_task(_note_turns(sampler, notes)))


def read(notes: Path) -> list[dict[str, Any]]:
    """Return the recorded turns: those that came late, and those before which our package ran.

    Each has its time (``at``, seconds since the epoch), the seconds in which nothing else got a turn (``held``), the
    seconds of these in which our package ran (``ours``), and the samples (``stacks``).
    """
    return [json.loads(line) for line in notes.read_text().splitlines()]


@dataclass
class StackSampler:
    """Samples the stack of one thread from another thread."""

    ident: int
    native_id: int
    samples: list[tuple[float, list[str]]] = field(default_factory=list)
    over: bool = False
    _collected: float = 0.0
    _collecting_since: float | None = None

    def run(self) -> None:
        """Take samples until ``over`` is set.

        A sample counts for the time since the last one, without the time in which either thread waited for a processor,
        and without full garbage collections.
        """
        # A full collection goes through all objects of Airflow's process. The code that happens to create the next
        # object triggers it, and is not its cause.
        gc.callbacks.append(self._note_collection)
        last, lost = time.monotonic(), self._lost()
        while not self.over:
            time.sleep(SAMPLE_EVERY)
            stack = _stack(sys._current_frames().get(self.ident))
            now, lost_now = time.monotonic(), self._lost()
            lost_since = max(after - before for before, after in zip(lost[:2], lost_now[:2], strict=True))
            self.samples.append((max(0.0, now - last - lost_since - (lost_now[2] - lost[2])), stack))
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


async def _note_turns(sampler: StackSampler, notes: Path) -> None:
    last = time.monotonic()
    try:
        with notes.open("a", buffering=1) as file:
            while True:
                await asyncio.sleep(TURN_EVERY)
                samples, sampler.samples = sampler.samples, []
                held, last = time.monotonic() - last, time.monotonic()
                ours = sum(seconds for seconds, stack in samples if any(line.startswith(PACKAGE) for line in stack))
                if held > LATE or ours:
                    note = {"at": time.time(), "held": held, "ours": ours, "stacks": samples}
                    file.write(json.dumps(note) + "\n")
    finally:
        sampler.over = True


def _stack(frame: FrameType | None) -> list[str]:
    """Return the call stack of a thread, the innermost call first."""
    stack = []
    while frame is not None:
        stack.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return stack


def _waited(native_id: int) -> float:
    """Return the seconds that a thread has waited for a processor; 0 except on Linux."""
    with suppress(OSError):
        return int(Path(f"/proc/self/task/{native_id}/schedstat").read_text().split()[1]) / 1e9
    return 0.0
