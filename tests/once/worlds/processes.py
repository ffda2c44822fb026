"""The processes of worlds: one that has imported the package, and those that it forks."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.once.worlds.airflow import Task

_ROOT = Path(__file__).parents[3]


@dataclass(eq=False)
class Process:
    """A process of this world."""

    name: str
    pid: int
    task: Task
    channel: socket.socket | None = None
    timers: set[int] = field(default_factory=set)
    is_alive: bool = True

    def kill(self, number: int) -> None:
        """Send a signal."""
        if self.is_alive:
            os.kill(self.pid, number)

    def say(self, message: dict[str, Any]) -> None:
        """Send a message."""
        if self.is_alive and self.channel is not None:
            try:
                self.channel.send(json.dumps(message).encode())
            except OSError:
                self.is_alive = False


class Zygote:
    """The process that has imported the package, and forks all others."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="worlds-")
        environment = {
            # A setting that shortens what the worlds judge must not reach them.
            **{name: value for name, value in os.environ.items() if not name.startswith("REALTIMEKIT_")},
            "AIRFLOW_HOME": self._home.name,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.once.worlds.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=_ROOT,
            env=environment,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._stdin, self.stdout = self._process.stdin, self._process.stdout
        self._said = b""
        self.pid = int(self._read()["ready"])
        #: What it said of processes that have ended.
        self.ended: list[int] = []
        self.directory = Path(self._home.name)

    def _read(self) -> dict[str, Any]:
        while b"\n" not in self._said:
            data = self.stdout.read(1 << 16)
            if not data:
                raise RuntimeError("the process that forks all others has died")
            self._said += data
        line, _, self._said = self._said.partition(b"\n")
        return dict(json.loads(line))

    def fork(self, spec: dict[str, Any]) -> int:
        """Start a process; return its id."""
        self._stdin.write(json.dumps(spec).encode() + b"\n")
        self._stdin.flush()
        while "pid" not in (said := self._read()):
            self.ended.append(said["exit"])
        return int(said["pid"])

    def collect(self) -> list[int]:
        """Return which processes have ended."""
        while b"\n" in self._said or select.select([self.stdout], [], [], 0)[0]:
            self.ended.append(self._read()["exit"])
        ended, self.ended = self.ended, []
        return ended

    def close(self) -> None:
        """End it."""
        self._stdin.close()
        self._process.wait()
        self.stdout.close()
        self._home.cleanup()
