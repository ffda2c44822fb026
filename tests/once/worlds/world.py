"""A world: a server, a small Airflow, their processes, and one time for all of them."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.once.worlds import clock as clocks
from tests.once.worlds.actions import Actions
from tests.once.worlds.airflow import Airflow, Task
from tests.once.worlds.clock import Clock
from tests.once.worlds.processes import Process, Zygote
from tests.once.worlds.rows import Row, Step
from tests.once.worlds.server import Server

#: Seconds of real time in which the processes of a world must become idle.
_PATIENCE = 30.0


class World:
    """Runs one row.

    :param row: the row
    :param zygote: forks the processes
    """

    def __init__(self, row: Row, zygote: Zygote) -> None:
        self.row = row
        self.zygote = zygote
        self.log: list[str] = []
        self._directory = tempfile.TemporaryDirectory(prefix="world-", dir=zygote.directory)
        self._folder = Path(self._directory.name)
        self.clock = Clock(self._folder / "clock")
        self.server = Server(self.clock, row.behaviour, self.log_event)
        self.airflow = Airflow(self.clock, row.settings, row.tasks, self._spawn, self.log_event)
        self.processes: list[Process] = []
        self._due = list(row.steps)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self._folder / "socket"))
        self._listener.listen(16)
        self._strangers: list[socket.socket] = []
        # What the processes print, in the order of events.
        os.mkfifo(self._folder / "output")
        self._output = os.open(self._folder / "output", os.O_RDWR | os.O_NONBLOCK)
        self._watched = [zygote.pid, *clocks.kernel_threads()]

    def run(self) -> None:
        """Run the world to its end."""
        try:
            self.log_event("begin", self.row.name)
            while True:
                self._wait_until_idle()
                if not self.clock.step(self.row.lasts):
                    break
        finally:
            self._close()

    def log_event(self, event: str, detail: str) -> None:
        """Log an event, and do what follows on it."""
        self.log.append(f"{self.clock.now:8.2f}  {event}: {detail}" if detail else f"{self.clock.now:8.2f}  {event}")
        for step in [step for step in self._due if step.on == event]:
            self._due.remove(step)
            act = getattr(Actions(self.airflow, self.server.model), step.does)
            if step.after:
                self.clock.after(step.after, lambda act=act, step=step: act(*step.arguments))
            else:
                act(*step.arguments)

    def unmet(self) -> list[Step]:
        """Return the steps whose event never came."""
        return self._due

    # Processes

    def _spawn(self, name: str, spec: dict[str, Any], task: Task) -> Process:
        connection = {
            "conn_type": "realtimekit",
            "host": f"http://127.0.0.1:{self.server.port}/client/v4",
            "login": "account-1",
            "password": f"token-of-{name}",
            "extra": {"app_id": "app-1"},
        }
        paths = {name: str(self._folder / name) for name in ("clock", "socket", "output")}
        pid = self.zygote.fork({**spec, **paths, "name": name, "connection": connection})
        process = Process(name, pid, task)
        self.processes.append(process)
        self.log_event("process", f"{name} begins")
        return process

    def _wait_until_idle(self) -> None:
        """Wait until no process has anything to do, and serve them meanwhile."""
        patience = time.monotonic() + _PATIENCE
        while True:
            if self._pump(0.0):
                continue
            pids = [*self._watched, *(process.pid for process in self.processes if process.is_alive)]
            has_all = all(process.channel or not process.is_alive for process in self.processes)
            if has_all and clocks.is_idle(pids) and not self._pump(0.0):
                return
            if time.monotonic() > patience:
                raise RuntimeError("\n".join([f"world {self.row.name} does not become idle", *self.log]))
            self._pump(0.0003)

    def _pump(self, seconds: float) -> bool:
        """Handle what processes sent; return whether there was anything."""
        readers: dict[Any, Callable[[], None]] = {
            **self.server.sockets,
            self._listener: self._accept,
            self._output: lambda: None,
            self.zygote.stdout: lambda: None,
            **{stranger: lambda stranger=stranger: self._meet(stranger) for stranger in self._strangers},
            **{
                process.channel: lambda process=process: self._receive(process)
                for process in self.processes
                if process.channel is not None
            },
        }
        ready, _, _ = select.select(list(readers), [], [], seconds)
        # First, so that what a process printed stands before what it did next.
        self._print()
        for stream in readers:
            if stream in ready and stream is not self.zygote.stdout:
                readers[stream]()
        # Last, so that what a process said before it ended counts.
        ended = self.zygote.collect()
        for pid in ended:
            self._exited(pid)
        return bool(ready or ended)

    def _print(self) -> None:
        try:
            lines = os.read(self._output, 1 << 16).decode(errors="replace").splitlines()
        except BlockingIOError:
            return
        self.log += [f"{self.clock.now:8.2f}      {line}" for line in lines]

    def _accept(self) -> None:
        channel, _ = self._listener.accept()
        self._strangers.append(channel)

    def _meet(self, channel: socket.socket) -> None:
        self._strangers.remove(channel)
        data = channel.recv(1 << 20)
        process = next((row for row in self.processes if data and row.pid == json.loads(data).get("pid")), None)
        if process is None:
            channel.close()
        else:
            process.channel = channel

    def _exited(self, pid: int) -> None:
        process = next((row for row in self.processes if row.pid == pid and row.is_alive), None)
        if process is None:
            return
        while process.channel is not None and select.select([process.channel], [], [], 0)[0]:
            self._receive(process)
        process.is_alive = False
        self.log_event("process", f"{process.name} has ended")
        self.airflow.exited(process.task, process)

    def _receive(self, process: Process) -> None:
        channel = process.channel
        assert channel is not None
        try:
            data = channel.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            process.channel = None
            channel.close()
            return
        message = json.loads(data)
        reply = getattr(self, f"_on_{message['do']}")(process, message)
        if message["do"] in ("states", "get", "set", "report"):
            process.say({"id": message["id"], "value": reply})

    # What a process says

    def _on_timer(self, process: Process, message: dict[str, Any]) -> None:
        number = message["id"]

        def fire() -> None:
            if number in process.timers:
                process.timers.discard(number)
                process.say({"id": number})

        process.timers.add(number)
        self.clock.at(message["at"], fire)

    def _on_cancel(self, process: Process, message: dict[str, Any]) -> None:
        process.timers.discard(message["id"])

    def _on_log(self, process: Process, message: dict[str, Any]) -> None:
        self.log.append(f"{self.clock.now:8.2f}      {process.name} | {message['line']}")

    def _on_states(self, process: Process, message: dict[str, Any]) -> dict[str, str | None]:
        self.log_event("state", f"{process.task.state}, as {process.name} is answered")
        return self.airflow.states()

    def _on_get(self, process: Process, message: dict[str, Any]) -> Any:
        return process.task.store.get(message["key"])

    def _on_set(self, process: Process, message: dict[str, Any]) -> bool:
        return self.airflow.store(process.task, message["serial"], message["key"], message["value"])

    def _on_report(self, process: Process, message: dict[str, Any]) -> bool:
        return self.airflow.report(process.task, message["serial"], message["said"])

    def _on_event(self, process: Process, message: dict[str, Any]) -> None:
        self.airflow.fire(process.task, process.name, message["event"])

    # The end

    def _close(self) -> None:
        for process in self.processes:
            process.kill(signal.SIGKILL)
        while any(process.is_alive for process in self.processes):
            for pid in self.zygote.collect():
                for process in self.processes:
                    process.is_alive = process.is_alive and process.pid != pid
            time.sleep(0.001)
        os.close(self._output)
        for channel in [*self._strangers, *(process.channel for process in self.processes)]:
            if channel is not None:
                channel.close()
        self._listener.close()
        self.server.close()
        self.clock.close()
        self._directory.cleanup()
