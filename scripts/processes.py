"""Child processes that are certain to end, together with every process that they started.

Each child leads a session of its own, so that its descendants are found even if their parent has died. A guard
process ends them all if this process is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

HELD_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHECK_INTERVAL = 0.05
# A process ends after SIGKILL as soon as the kernel gets to it.
KERNEL_SECONDS = 20.0


class ProcessDiedError(RuntimeError):
    """A child ended that should have gone on running."""


@contextmanager
def signals_held() -> Iterator[None]:
    """Delay SIGINT, SIGTERM and SIGHUP until the block has ended."""
    # A signal between the start of a child and its registration would leave the child running.
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


class Server:
    """Something that runs during a `with` block; it is also stopped if its start fails."""

    def start_and_wait(self) -> None:
        """Start it, and wait until it answers."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop it. May be called at any time and repeatedly."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start_and_wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


class Children:
    """Long-running children by name, whose output goes to `<name>.log` in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._leaders: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start `command` in the folder, with only this environment."""
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
            self._register_with_guard(leader.pid)

    def log(self, name: str) -> Path:
        """Return the file with the output of one child."""
        return self._folder / f"{name}.log"

    def log_tail(self, name: str, lines: int = 20) -> str:
        """Return the last lines of one child's output."""
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])

    def check(self) -> None:
        """Raise `ProcessDiedError` if a child has ended. The message shows the end of its output."""
        for name, leader in self._leaders.items():
            if not _is_alive(leader.pid):
                raise ProcessDiedError(f"{name} has ended. The end of {self.log(name)}:\n{self.log_tail(name)}")

    def wait(self, name: str) -> int:
        """Wait until one child ends, and return its exit code."""
        leader = self._leaders[name]
        while _is_alive(leader.pid):
            time.sleep(CHECK_INTERVAL)
        self.stop(name, grace=0)
        return leader.returncode

    def processes(self, *names: str) -> list[psutil.Process]:
        """Return the running processes of the named children, or of all, with all their descendants."""
        return find_process_trees({self._leaders[name].pid for name in names or self._leaders})

    def stop(self, *names: str, grace: float = 5.0) -> None:
        """End the named children, or all, and their descendants: SIGTERM, and SIGKILL after `grace` seconds."""
        with signals_held():
            ending = [self._leaders[name] for name in names or self._leaders]
            end_process_trees({leader.pid for leader in ending}, grace)
            # Reaped last: until then the system gives the child's id, which is also the session's, to no other process.
            for leader in ending:
                leader.wait()
            self._leaders = {name: leader for name, leader in self._leaders.items() if leader not in ending}
            if not self._leaders:
                self._end_guard()

    def _register_with_guard(self, pid: int) -> None:
        if self._guard is None:
            self._guard = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, start_new_session=True, bufsize=0
            )
        if self._guard.stdin:
            self._guard.stdin.write(f"{pid}\n".encode())

    def _end_guard(self) -> None:
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            self._guard.wait()
        self._guard = None


def find_process_trees(leaders: set[int]) -> list[psutil.Process]:
    """Return the running processes in the sessions of these leaders, and all their descendants in any session."""
    alive = {process.pid: process for process in psutil.process_iter() if _is_running(process)}
    parents = {pid: _parent(process) for pid, process in alive.items()}
    found = {pid for pid in alive if pid in leaders or _session(pid) in leaders}
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return [alive[pid] for pid in sorted(found)]


def end_process_trees(leaders: set[int], grace: float) -> None:
    """End the processes that `find_process_trees` returns: SIGTERM first, and SIGKILL after `grace` seconds.

    :raises RuntimeError: if a process does not end after SIGKILL
    """
    # A process stays known when its parent has ended, by which it was found.
    known: set[psutil.Process] = set()
    terminated: set[psutil.Process] = set()
    start = time.monotonic()
    while known := {process for process in known.union(find_process_trees(leaders)) if _is_running(process)}:
        late = time.monotonic() - start - grace
        if late > KERNEL_SECONDS:
            raise RuntimeError(f"these processes cannot be ended: {sorted(process.pid for process in known)}")
        _signal(
            known - terminated if late < 0 else known,
            psutil.Process.terminate if late < 0 else psutil.Process.kill,
        )
        terminated |= known
        time.sleep(CHECK_INTERVAL)


def title(process: psutil.Process) -> str:
    """Return the command line of a process, as `ps` shows it; empty if the process has ended."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _signal(processes: set[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            send(process)


def _is_alive(pid: int) -> bool:
    with suppress(psutil.Error):
        return _is_running(psutil.Process(pid))
    return False


def _is_running(process: psutil.Process) -> bool:
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
    """Read process ids from standard input, and end these processes when it closes: the parent has then ended."""
    leaders = {int(line) for line in sys.stdin}
    end_process_trees(leaders, grace=2.0)


if __name__ == "__main__":
    _guard()
