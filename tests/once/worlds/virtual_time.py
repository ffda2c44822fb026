"""Virtual time in a process of a world: every clock shows the world's time, and every timed wait is ended by the world.

The world writes its time, in seconds, into a shared file. A wait that has an end tells the world when that is, and
blocks in the kernel until the world says so. So the world sees in ``/proc`` whether a process has anything to do, and
moves its time on only when none has: no time passes while Python computes, however busy the machine is.

Not covered: a timeout given to ``Lock.acquire`` or ``queue.SimpleQueue.get`` lasts real seconds, and ``time.strftime``
without a time shows the real one.
"""

from __future__ import annotations

import _thread
import calendar
import ctypes
import datetime as dt
import gc
import itertools
import json
import mmap
import os
import select
import selectors
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

#: The wall clock at virtual second 0.
EPOCH = 1_800_000_000.0
# A monotonic clock has no meaning of its own; this keeps the two apart in logs.
_MONOTONIC = 5_000.0

_real_sleep, _real_time, _real_monotonic = time.sleep, time.time, time.monotonic
_real_settimeout, _real_gettimeout = socket.socket.settimeout, socket.socket.gettimeout
_real_recv, _real_recv_into = socket.socket.recv, socket.socket.recv_into
_real_wait, _real_join = threading.Condition.wait, threading.Thread.join
_real_setitimer, _real_alarm = signal.setitimer, signal.alarm


class World:
    """This process's end of the channel to its world.

    :param clock: the file that holds the world's time
    :param path: the world's socket
    :param skew: how many seconds this process's wall clock is ahead
    """

    def __init__(self, clock: str, path: str, skew: float) -> None:
        with open(clock, "rb") as file:
            self._clock = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
        self.skew = skew
        self._ids = itertools.count(1)
        self._waiting: dict[int, Callable[[Any], None]] = {}
        #: Called with what the world says unasked.
        self.on_message: Callable[[dict[str, Any]], None] = lambda _: None
        # Each message arrives as a whole, so that threads and signal handlers may send without a lock.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(path)
        _thread.start_new_thread(self._listen, ())

    @property
    def now(self) -> float:
        """The world's time in seconds."""
        return float(struct.unpack_from("d", self._clock)[0])

    def send(self, message: dict[str, Any]) -> None:
        """Send a message to the world."""
        self._socket.send(json.dumps(message).encode())

    def call(self, message: dict[str, Any]) -> Any:
        """Send a message, and wait for the reply."""
        answered = _thread.allocate_lock()
        answered.acquire()
        reply: list[Any] = []

        def on_reply(value: Any) -> None:
            reply.append(value)
            answered.release()

        number = next(self._ids)
        self._waiting[number] = on_reply
        self.send({**message, "id": number})
        answered.acquire()
        return reply[0]

    def at(self, deadline: float, act: Callable[[], None]) -> int:
        """Have something done, on another thread, at a time; return what cancels it."""
        number = next(self._ids)
        self._waiting[number] = lambda _: act()
        self.send({"do": "timer", "id": number, "at": deadline})
        return number

    def cancel(self, number: int) -> None:
        """Cancel what was to be done."""
        if self._waiting.pop(number, None) is not None:
            self.send({"do": "cancel", "id": number})

    def _listen(self) -> None:
        while True:
            data = _real_recv(self._socket, 1 << 20)
            if not data:
                os._exit(99)
            message = json.loads(data)
            if "id" not in message:
                self.on_message(message)
            elif act := self._waiting.pop(message["id"], None):
                # Whoever waited may have been interrupted, and its lock be free already.
                with suppress(RuntimeError, OSError):
                    act(message.get("value"))


_world: World | None = None
_timeouts: dict[int, float] = {}
_alarm: int | None = None


def enter(clock: str, path: str, skew: float) -> World:
    """Live in a world from now on: to be called once, in a process with one thread."""
    global _world
    _world = World(clock, path, skew)
    shown = (time.time(), dt.datetime.now(dt.UTC).timestamp(), float(calendar.timegm(time.gmtime())))
    if max(shown) - min(shown) > 1.1 or abs(shown[0] - EPOCH - skew - _world.now) > 1e-3:
        raise RuntimeError(f"not every clock shows the world's time: {shown}")
    return _world


def _wall() -> float:
    return _real_time() if _world is None else EPOCH + _world.now + _world.skew


def _monotonic() -> float:
    return _real_monotonic() if _world is None else _MONOTONIC + _world.now


def _at_now(real: Callable[[float], Any]) -> Callable[..., Any]:
    return lambda seconds=None: real(_wall() if seconds is None else seconds)


def _sleep(seconds: float) -> None:
    if _world is None:
        _real_sleep(seconds)
    elif seconds > 0:
        over = _thread.allocate_lock()
        over.acquire()
        _world.at(_world.now + seconds, over.release)
        over.acquire()


def _now(cls: type[dt.datetime], tz: dt.tzinfo | None = None) -> dt.datetime:
    return cls.fromtimestamp(_wall(), tz)


def _utcnow(cls: type[dt.datetime]) -> dt.datetime:
    return cls.fromtimestamp(_wall(), dt.UTC).replace(tzinfo=None)


def _wait(self: threading.Condition, timeout: float | None = None) -> bool:
    """Wait as ``Condition.wait`` does; the world ends it."""
    if _world is None or timeout is None or timeout <= 0:
        return _real_wait(self, timeout)
    inner: Any = self
    if not inner._is_owned():
        raise RuntimeError("cannot wait on un-acquired lock")
    waiter = _thread.allocate_lock()
    waiter.acquire()
    inner._waiters.append(waiter)
    saved = inner._release_save()
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = True
        waiter.release()

    timer = _world.at(_world.now + timeout, expire)
    try:
        waiter.acquire()
        return not expired
    finally:
        _world.cancel(timer)
        inner._acquire_restore(saved)
        if expired:
            with suppress(ValueError):
                inner._waiters.remove(waiter)


def _join(self: threading.Thread, timeout: float | None = None) -> None:
    if _world is None or timeout is None:
        _real_join(self, timeout)
        return
    end = _monotonic() + timeout
    while self.is_alive() and (left := end - _monotonic()) > 0:
        _sleep(min(0.05, left))


def _settimeout(self: socket.socket, value: float | None) -> None:
    _timeouts.pop(self.fileno(), None)
    if _world is None or not value:
        _real_settimeout(self, value)
    else:
        _real_settimeout(self, None)
        _timeouts[self.fileno()] = value


def _gettimeout(self: socket.socket) -> float | None:
    real = _real_gettimeout(self)
    return _timeouts.get(self.fileno()) if real is None else real


def _await_readable(self: socket.socket) -> None:
    timeout = _timeouts.get(self.fileno())
    if _world is None or timeout is None or _real_gettimeout(self) is not None:
        return
    alarm = os.eventfd(0)
    timer = _world.at(_world.now + timeout, lambda: os.eventfd_write(alarm, 1))
    try:
        both = select.poll()
        both.register(self.fileno(), select.POLLIN)
        both.register(alarm, select.POLLIN)
        ready = {fd for fd, _ in both.poll()}
    finally:
        _world.cancel(timer)
        os.close(alarm)
    if self.fileno() not in ready:
        raise TimeoutError("timed out")


def _recv(self: socket.socket, *args: Any) -> bytes:
    _await_readable(self)
    return _real_recv(self, *args)


def _recv_into(self: socket.socket, *args: Any) -> int:
    _await_readable(self)
    return _real_recv_into(self, *args)


_alarms: dict[int, int] = {}


def _select(real: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the ``select`` of a selector of epoll: the world ends its timeout."""

    def timed(self: Any, timeout: float | None = None) -> Any:
        if _world is None or timeout is None or timeout <= 0:
            return real(self, timeout)
        # Known to the epoll object alone: what Python's selector does not know it leaves out of its answer.
        if self.fileno() not in _alarms:
            _alarms[self.fileno()] = os.eventfd(0, os.EFD_NONBLOCK)
            self._selector.register(_alarms[self.fileno()], select.EPOLLIN)
        alarm = _alarms[self.fileno()]
        timer = _world.at(_world.now + timeout, lambda: os.eventfd_write(alarm, 1))
        try:
            return real(self, None)
        finally:
            _world.cancel(timer)
            with suppress(BlockingIOError):
                os.eventfd_read(alarm)

    return timed


def _setitimer(which: int, seconds: float, interval: float = 0.0) -> tuple[float, float]:
    global _alarm
    if _world is None or which != signal.ITIMER_REAL:
        return _real_setitimer(which, seconds, interval)
    if _alarm is not None:
        _world.cancel(_alarm)
    _alarm = _world.at(_world.now + seconds, lambda: os.kill(os.getpid(), signal.SIGALRM)) if seconds else None
    return 0.0, 0.0


def _set_alarm(seconds: int) -> int:
    if _world is None:
        return _real_alarm(seconds)
    _setitimer(signal.ITIMER_REAL, seconds)
    return 0


def install() -> None:
    """Put the clocks and waits in place; until :func:`enter` they are the real ones.

    To be called before anything else is imported, so that nobody keeps a real one.
    """
    for name, clock in (("time", _wall), ("monotonic", _monotonic), ("perf_counter", _monotonic)):
        setattr(time, name, clock)
        setattr(time, f"{name}_ns", lambda clock=clock: int(clock() * 1e9))
    for name in ("gmtime", "localtime"):
        setattr(time, name, _at_now(getattr(time, name)))
    time.sleep = _sleep
    threading._time = _monotonic  # type: ignore[attr-defined]
    threading.Condition.wait = _wait  # type: ignore[method-assign]
    threading.Thread.join = _join  # type: ignore[method-assign]
    socket.socket.settimeout = _settimeout  # type: ignore[method-assign]
    socket.socket.gettimeout = _gettimeout  # type: ignore[method-assign]
    socket.socket.recv = _recv  # type: ignore[method-assign,assignment]
    socket.socket.recv_into = _recv_into  # type: ignore[method-assign,assignment]
    selectors.EpollSelector.select = _select(selectors.EpollSelector.select)  # type: ignore[method-assign]
    signal.setitimer = _setitimer
    signal.alarm = _set_alarm
    # A type written in C takes no new attributes, but its dictionary does.
    attributes = gc.get_referents(dt.datetime.__dict__)[0]
    attributes["now"], attributes["utcnow"] = classmethod(_now), classmethod(_utcnow)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(dt.datetime))
