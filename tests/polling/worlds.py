"""Time that nobody waits for, a RealtimeKit in memory, and a stage on which the poller meets both."""

from __future__ import annotations

import asyncio
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from types import SimpleNamespace
from typing import Any

import httpx
import pendulum
import pytest

from airflow_provider_realtimekit import polling, quota, waiting
from airflow_provider_realtimekit.client import AsyncClient, Credentials
from airflow_provider_realtimekit.polling import wait_for
from airflow_provider_realtimekit.retry import RetryPolicy
from airflow_provider_realtimekit.waiting import Event, Wait
from tests.api.support import CREDENTIALS, no, ok

START = pendulum.now("UTC").replace(microsecond=0)
LATENCY = 0.01


class _Jump(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Waits for nothing, and moves the clock instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everything waits, and nothing will ever happen"
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to whatever is next."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


@dataclass(frozen=True)
class Life:
    """A recording and when, in seconds from the start, what happens to it."""

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


@cache
def at(seconds: float) -> str:
    return START.add(seconds=seconds).isoformat()


@dataclass
class Kit:
    """A RealtimeKit in memory; ``fault`` may answer in its place."""

    lives: dict[str, Life]
    clock: Callable[[], float]
    cap: int = 100
    first_page: int = 1
    token: str = CREDENTIALS.token
    fault: Callable[[httpx.Request, float], httpx.Response | None] = lambda request, now: None
    asked: list[tuple[float, httpx.Request]] = field(default_factory=list)

    @property
    def kinds(self) -> Counter[str]:
        return Counter(str(request.extensions["operation"]) for _, request in self.asked)

    def times(self) -> list[float]:
        return [now for now, _ in self.asked]

    def answer(self, request: httpx.Request) -> httpx.Response:
        now = self.clock()
        self.asked.append((now, request))
        assert len(self.asked) < 20_000, "this is a storm"
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


@dataclass
class Stage:
    """Runs waits against a kit in virtual time, counts the looks at the connection, and sees that nothing is left."""

    lives: dict[str, Life] = field(default_factory=dict)
    credentials: Credentials = CREDENTIALS
    cap: int = 100
    connection_reads: int = 0
    clients: list[Any] = field(default_factory=list)
    pollers: list[polling.Poller] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loop = VirtualLoop()
        self.kit = Kit(self.lives, self.loop.time, self.cap)

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            self._set(patch)
            return runner.run(self._play(main))

    async def wait(self, wait: Wait | str, interval: float = 30.0) -> Event:
        wait = Wait(recording_id=wait) if isinstance(wait, str) else wait
        return await wait_for(wait, "rtk", None, interval, self.told.append)

    async def _play(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        result = await main()
        self.assert_nothing_is_left()
        return result

    def assert_nothing_is_left(self) -> None:
        assert polling._pollers == []
        assert polling._sources == {}
        assert [poller.entries for poller in self.pollers if poller.entries] == []
        assert [client for client in self.clients if not client._http.is_closed] == []
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    def _set(self, patch: pytest.MonkeyPatch) -> None:
        clock = SimpleNamespace(time=lambda: START.timestamp() + self.loop.time(), strftime=lambda *_: "", gmtime=int)
        patch.setattr(polling, "time", clock)
        patch.setattr(waiting, "time", clock)
        patch.setattr(quota, "_gates", {})
        patch.setattr(polling, "_pollers", [])
        patch.setattr(polling, "_sources", {})
        patch.setattr(quota, "Gate", lambda gate=quota.Gate: gate(clock=self.loop.time))
        patch.setattr(polling, "AsyncClient", self._client)
        patch.setattr(polling, "RealtimeKitHook", lambda *_: SimpleNamespace(get_async_credentials=self._read))
        patch.setattr(polling, "Poller", lambda *given, make=polling.Poller: self._keep(make(*given)))

    def _keep(self, poller: polling.Poller) -> polling.Poller:
        self.pollers.append(poller)
        return poller

    def _client(self, credentials: Credentials, policy: RetryPolicy) -> AsyncClient:
        self.clients.append(AsyncClient(credentials, policy, httpx.MockTransport(self._answer)))
        return self.clients[-1]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(LATENCY)
        return self.kit.answer(request)

    async def _read(self) -> Credentials:
        self.connection_reads += 1
        await asyncio.sleep(LATENCY)
        return replace(self.credentials)
