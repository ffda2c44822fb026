"""A world: a server, a small Airflow, their processes, and one time for all of them."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.once.worlds import clock as clocks
from tests.once.worlds.airflow import Airflow, Settings, Task, TaskSpec
from tests.once.worlds.clock import Clock
from tests.once.worlds.server import Behaviour, Server

_ROOT = Path(__file__).parents[3]
#: Seconds of real time in which the processes of a world must come to rest.
_PATIENCE = 30.0
MEETING = "meeting-1"


@dataclass(frozen=True)
class Step:
    """Something that happens in a story.

    :param on: the event that it follows, as a world's log names them: ``begin``, ``start 1 received``, ``a try 2``
    :param does: a method of :class:`Story`, and its arguments
    :param after: seconds after the event; 0 is before anybody else does anything
    """

    on: str
    does: str
    arguments: tuple[Any, ...] = ()
    after: float = 0.0


@dataclass(frozen=True)
class Expected:
    """How a world must end.

    :param state: of each task in the end; ``None``: whatever it is
    :param result: whose recording a task that succeeded names: ``ours``, ``others`` or ``any``
    :param goes_on: whether a recording of ours goes on in the end
    :param grace: for how many seconds two of ours may run at a time
    :param may_be_left: whether a recording of ours may be left that nobody could know of
    """

    state: str | None = "success"
    result: str = "ours"
    goes_on: bool = False
    grace: float = 15.0
    may_be_left: bool = False


@dataclass(frozen=True)
class Row:
    """One world.

    :param name: its name, unique
    :param kind: the row of the table that it belongs to
    :param tasks: by name
    :param story: what happens
    :param lasts: seconds
    """

    name: str
    kind: str
    behaviour: Behaviour
    settings: Settings
    tasks: dict[str, TaskSpec]
    story: tuple[Step, ...]
    expected: Expected
    lasts: float = 600.0


class Story:
    """What may happen in a story."""

    def __init__(self, world: World) -> None:
        self.world = world

    def run(self, name: str) -> None:
        """Run a task."""
        self.world.airflow.run(name)

    def mark(self, name: str, state: str) -> None:
        """Mark a task as failed or successful."""
        self.world.airflow.mark(name, state)

    def clear(self, name: str, schedules: float | None = None) -> None:
        """Clear a task."""
        self.world.airflow.clear(name, schedules=schedules)

    def clear_and_lose(self, name: str) -> None:
        """Clear a task whose worker loses its heartbeat."""
        self.world.airflow.clear_and_lose(name)

    def clear_another(self) -> None:
        """Clear another task of the run."""
        self.world.airflow.clear_another()

    def deploy(self, name: str, retries: int) -> None:
        """Deploy the DAG with another number of retries."""
        self.world.airflow.deploy(name, retries)

    def crash(self, name: str) -> None:
        """Kill a worker's process."""
        self.world.airflow.crash(name)

    def end_process(self, name: str) -> None:
        """Tell a worker's process to end."""
        self.world.airflow.end_process(name)

    def restart_triggerer(self, name: str) -> None:
        """Restart the triggerer."""
        self.world.airflow.restart_triggerer(name)

    def lose_triggerer(self, name: str) -> None:
        """Kill the triggerer."""
        self.world.airflow.lose_triggerer(name)

    def others_start(self, meeting: str = MEETING, reason: str = "API_CALL") -> None:
        """Have somebody else start a recording, if none runs."""
        if self.world.server.model.running(meeting) is None:
            self.world.server.model.begin(meeting, "others", prefix="theirs", reason=reason)

    def others_stop(self, meeting: str = MEETING) -> None:
        """Have somebody else stop what runs."""
        if running := self.world.server.model.running(meeting):
            self.world.server.model.end(running, by="others")

    def leave(self, meeting: str = MEETING) -> None:
        """End the meeting."""
        self.world.server.model.leave(meeting)


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
            **os.environ,
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
        self.server = Server(self.clock, row.behaviour, self.tell)
        self.airflow = Airflow(self.clock, row.settings, row.tasks, self._spawn, self.tell)
        self.processes: list[Process] = []
        self._due = list(row.story)
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
            self.tell("begin", self.row.name)
            while True:
                self._settle()
                if not self.clock.step(self.row.lasts):
                    break
        finally:
            self._close()

    def tell(self, event: str, detail: str) -> None:
        """Log an event, and do what follows on it."""
        self.log.append(f"{self.clock.now:8.2f}  {event}: {detail}" if detail else f"{self.clock.now:8.2f}  {event}")
        for step in [step for step in self._due if step.on == event]:
            self._due.remove(step)
            act = getattr(Story(self), step.does)
            if step.after:
                self.clock.after(step.after, lambda act=act, step=step: act(*step.arguments))
            else:
                act(*step.arguments)

    def unmet(self) -> list[Step]:
        """Return the steps of the story that nothing led to."""
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
        self.tell("process", f"{name} begins")
        return process

    def _settle(self) -> None:
        """Wait until no process has anything to do."""
        patience = time.monotonic() + _PATIENCE
        while True:
            if self._pump(0.0):
                continue
            pids = [*self._watched, *(process.pid for process in self.processes if process.is_alive)]
            has_all = all(process.channel or not process.is_alive for process in self.processes)
            if has_all and clocks.is_idle(pids) and not self._pump(0.0):
                return
            if time.monotonic() > patience:
                raise RuntimeError("\n".join([f"world {self.row.name} does not come to rest", *self.log]))
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
                process.channel: lambda process=process: self._hear(process)
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
            self._hear(process)
        process.is_alive = False
        self.tell("process", f"{process.name} has ended")
        self.airflow.exited(process.task, process)

    def _hear(self, process: Process) -> None:
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
        self.tell("state", f"told to {process.name}: {process.task.state}")
        return self.airflow.states()

    def _on_get(self, process: Process, message: dict[str, Any]) -> Any:
        return process.task.store.get(message["key"])

    def _on_set(self, process: Process, message: dict[str, Any]) -> bool:
        return self.airflow.keep(process.task, message["serial"], message["key"], message["value"])

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
