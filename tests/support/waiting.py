"""Virtual time, a RealtimeKit in memory, and a runner of waits that uses both."""

from __future__ import annotations

import asyncio
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any

import httpx
import pendulum
import pytest

from airflow_provider_realtimekit.api import rate_limit
from airflow_provider_realtimekit.api.client import AsyncClient, Credentials
from airflow_provider_realtimekit.api.retry import RetryPolicy
from airflow_provider_realtimekit.waiting.outcome import Event, Wait
from airflow_provider_realtimekit.waiting.poller import Poller
from airflow_provider_realtimekit.waiting.shared import SharedPolling
from tests.support.api import CREDENTIALS, no, ok

START = pendulum.now("UTC").replace(microsecond=0)
LATENCY = 0.01
# No poll round of these tests takes longer, in seconds; rounding errors are included.
ROUND = 20 * LATENCY


class _Jump(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Moves the clock instead of waiting."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "the loop would wait for ever: no timer is set"
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


@dataclass(frozen=True)
class Life:
    """A recording and the times of its changes, in seconds from the start."""

    id: str
    meeting: str = "m"
    invoked: float = -60.0
    shown: float = -1e9
    gone: float = 1e9
    ends: float = 1e9
    final: str = "UPLOADED"
    listed: bool = True

    @property
    def invoked_time(self) -> str:
        return at(self.invoked)

    def is_shown(self, now: float) -> bool:
        return max(self.shown, self.invoked) <= now < self.gone

    def row(self, now: float) -> dict[str, Any]:
        status = self.final if now >= self.ends else "RECORDING"
        return {"id": self.id, "status": status, "invoked_time": self.invoked_time, "meeting": {"id": self.meeting}}


def lives(*all_of_them: Life) -> dict[str, Life]:
    return {life.id: life for life in all_of_them}


def deadline(seconds: float) -> float:
    return START.timestamp() + seconds


@cache
def at(seconds: float) -> str:
    return START.add(seconds=seconds).isoformat()


@dataclass
class Kit:
    """A RealtimeKit in memory. If ``fault`` returns an answer, that one is sent."""

    lives: dict[str, Life]
    clock: Callable[[], float]
    cap: int = 100
    first_page: int = 1
    token: str = CREDENTIALS.token
    fault: Callable[[httpx.Request, float], httpx.Response | None] = lambda request, now: None
    received: list[tuple[float, httpx.Request]] = field(default_factory=list)

    @property
    def kinds(self) -> Counter[str]:
        return Counter(str(request.extensions["operation"]) for _, request in self.received)

    def times(self) -> list[float]:
        return [now for now, _ in self.received]

    def answer(self, request: httpx.Request) -> httpx.Response:
        now = self.clock()
        self.received.append((now, request))
        assert len(self.received) < 20_000, "the waits send requests without end"
        if fault := self.fault(request, now):
            return fault
        if request.headers.get("authorization") not in (None, f"Bearer {self.token}"):
            return no(401)
        return self._list(request, now) if request.url.path.endswith("/recordings") else self._get(request, now)

    def _get(self, request: httpx.Request, now: float) -> httpx.Response:
        life = self.lives.get(request.url.path.rpartition("/")[2])
        return ok(life.row(now)) if life and life.is_shown(now) else no(404)

    def _list(self, request: httpx.Request, now: float) -> httpx.Response:
        query = request.url.params
        found = self.found(now, query["start_time"], query.get("meeting_id"))
        found.sort(key=lambda life: life.invoked, reverse=query["sort_order"] == "DESC")
        size = min(int(query["per_page"]), self.cap)
        begin = (int(query["page_no"]) - self.first_page) * size
        page = found[begin : begin + size]
        paging = {"total_count": len(found), "start_offset": begin + 1, "end_offset": begin + len(page)}
        return ok([life.row(now) for life in page], paging=paging)

    def found(self, now: float, start_time: str, meeting: str | None) -> list[Life]:
        since = (datetime.fromisoformat(start_time) - START).total_seconds()
        return [
            life
            for life in self.lives.values()
            if life.listed and life.is_shown(now) and life.invoked >= since and meeting in (None, life.meeting)
        ]


@dataclass(eq=False)
class WatchedPolling(SharedPolling):
    """Shared polling that also records every poller."""

    made: list[Poller] = field(default_factory=list)

    def _poller_for(self, credentials: Credentials) -> Poller:
        poller = super()._poller_for(credentials)
        if poller not in self.made:
            self.made.append(poller)
        return poller


@dataclass
class WaitRunner:
    """Runs waits against a kit in virtual time, counts the reads of connections, and checks that nothing is left.

    ``others`` are connections by id; any other connection has ``credentials``.
    """

    lives: dict[str, Life] = field(default_factory=dict)
    credentials: Credentials = CREDENTIALS
    others: dict[str, Credentials] = field(default_factory=dict)
    cap: int = 100
    connection_reads: int = 0
    clients: list[Any] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    _broken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.loop = VirtualLoop()
        self.kit = Kit(self.lives, self.loop.time, self.cap)
        self.polling = WatchedPolling(self._read, self._make_client, lambda: START.timestamp() + self.loop.time())

    @property
    def pollers(self) -> list[Poller]:
        return self.polling.made

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            patch.setattr(rate_limit, "_limiters", {})
            patch.setattr(rate_limit, "RateLimiter", lambda make=rate_limit.RateLimiter: make(clock=self.loop.time))
            return runner.run(self._play(main))

    async def wait(self, wait: Wait | str, interval: float = 30.0, conn_id: str = "rtk") -> Event:
        wait = Wait(recording_id=wait) if isinstance(wait, str) else wait
        return await self.polling.wait_for(wait, conn_id, None, interval, self._log)

    async def _log(self, line: str) -> None:
        self.logged.append(line)

    def break_connection(self, conn_id: str) -> None:
        self._broken.add(conn_id)

    async def _play(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        result = await main()
        self.assert_nothing_is_left()
        return result

    def assert_nothing_is_left(self) -> None:
        assert self.polling.pollers == {}
        assert self.polling.connections == {}
        assert [list(poller.registry) for poller in self.pollers if poller.registry] == []
        assert [client for client in self.clients if not client._http.is_closed] == []
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    def _make_client(self, credentials: Credentials) -> AsyncClient:
        self.clients.append(AsyncClient(credentials, RetryPolicy(retry_timeout=0.0), httpx.MockTransport(self._answer)))
        return self.clients[-1]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(LATENCY)
        return self.kit.answer(request)

    async def _read(self, conn_id: str, app_id: str | None) -> Credentials:
        self.connection_reads += 1
        await asyncio.sleep(LATENCY)
        if conn_id in self._broken:
            raise RuntimeError("the backend does not answer")
        return replace(self.others.get(conn_id, self.credentials))
