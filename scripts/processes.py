"""Child processes that are sure to end, with everything that they started.

Each child leads a session of its own, by which a process is found again whose parent has died. A guard, a
child too, ends them all if this process is killed without a chance to do so.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

HELD_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK_AGAIN_SECONDS = 0.05
# After SIGKILL only the kernel can be late.
KERNEL_SECONDS = 20.0


class ProcessDiedError(RuntimeError):
    """A child ended although it was to stay."""


@contextmanager
def signals_held() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP wait until the block has ended.

    Without it, a child between its start and its entry in the books could be left behind.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        waiting.append(number)

    before = {number: signal.signal(number, note) for number in HELD_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])


class Children:
    """Long-running children by name, whose output goes to `<name>.log` in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._leaders: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start `command` in the folder, with just this environment."""
        with signals_held(), self.log(name).open("ab") as log:
            leader = subprocess.Popen(
                command,
                cwd=self._folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._leaders[name] = leader
            self._tell_guard(leader.pid)

    def log(self, name: str) -> Path:
        """Where the output of one child goes."""
        return self._folder / f"{name}.log"

    def log_tail(self, name: str, lines: int = 20) -> str:
        """Give the last lines that one child wrote."""
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])

    def check(self) -> None:
        """Raise `ProcessDiedError` if a child has ended, with the end of its output."""
        for name, leader in self._leaders.items():
            if not _lives(leader.pid):
                raise ProcessDiedError(f"{name} has ended. The end of {self.log(name)}:\n{self.log_tail(name)}")

    def wait(self, name: str) -> int:
        """Wait until one child ends by itself; gives its exit code."""
        leader = self._leaders[name]
        while _lives(leader.pid):
            time.sleep(LOOK_AGAIN_SECONDS)
        self.stop(name, grace=0)
        return leader.returncode

    def processes(self, *names: str) -> list[psutil.Process]:
        """Give the living processes of the named children, or of all, with all that descend from them."""
        return find_families({self._leaders[name].pid for name in names or self._leaders})

    def stop(self, *names: str, grace: float = 5.0) -> None:
        """End the named children, or all, with their descendants: SIGTERM, after `grace` seconds SIGKILL."""
        with signals_held():
            ending = [self._leaders[name] for name in names or self._leaders]
            end_families({leader.pid for leader in ending}, grace)
            # Reaped only now: until then its number, which is its session's, cannot pass to a stranger.
            for leader in ending:
                leader.wait()
            self._leaders = {name: leader for name, leader in self._leaders.items() if leader not in ending}
            if not self._leaders:
                self._dismiss_guard()

    def _tell_guard(self, pid: int) -> None:
        if self._guard is None:
            self._guard = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, start_new_session=True, bufsize=0
            )
        if self._guard.stdin:
            self._guard.stdin.write(f"{pid}\n".encode())

    def _dismiss_guard(self) -> None:
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            self._guard.wait()
        self._guard = None


def find_families(leaders: set[int]) -> list[psutil.Process]:
    """Give the living processes of these leaders' sessions, and their descendants in whatever session."""
    living = {process.pid: process for process in psutil.process_iter() if _runs(process)}
    parents = {pid: _parent(process) for pid, process in living.items()}
    family = {pid for pid in living if pid in leaders or _session(pid) in leaders}
    while more := {pid for pid, parent in parents.items() if parent in family and pid not in family}:
        family |= more
    return [living[pid] for pid in sorted(family)]


def end_families(leaders: set[int], grace: float) -> None:
    """End all that `find_families` finds or has found: SIGTERM first, SIGKILL after `grace` seconds."""
    known: set[psutil.Process] = set()
    asked: set[psutil.Process] = set()
    start = time.monotonic()
    while known := {process for process in known.union(find_families(leaders)) if _runs(process)}:
        late = time.monotonic() - start - grace
        if late > KERNEL_SECONDS:
            raise RuntimeError(f"these processes cannot be ended: {sorted(process.pid for process in known)}")
        _signal(
            known - asked if late < 0 else known,
            psutil.Process.terminate if late < 0 else psutil.Process.kill,
        )
        asked |= known
        time.sleep(LOOK_AGAIN_SECONDS)


def title(process: psutil.Process) -> str:
    """Give what `ps` shows of a process; nothing once it is gone."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _signal(processes: set[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            send(process)


def _lives(pid: int) -> bool:
    with suppress(psutil.Error):
        return _runs(psutil.Process(pid))
    return False


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _parent(process: psutil.Process) -> int | None:
    with suppress(psutil.Error):
        return int(process.ppid())
    return None


def _session(pid: int) -> int | None:
    with suppress(OSError):
        return os.getsid(pid)
    return None


def _guard() -> None:
    """End the leaders named on standard input once it closes, as it does however the parent ends."""
    leaders = {int(line) for line in sys.stdin}
    end_families(leaders, grace=2.0)


if __name__ == "__main__":
    _guard()
