"""The cost of waiting for many recordings at once: the shared poller, compared with one GET per wait.

Three contenders wait for the same recordings of the emulator, one after the other, each in a process of its own: the
triggers of this provider; a GET per wait with aiohttp, as the best of today's providers do; a GET per wait with httpx.
The latter two share one session among all waits. The recordings finish at random times.

    pip install aiohttp matplotlib            # beside this package with its extra "emulator"; Airflow brings neither
    python benchmarks/waiting.py              # 100, 1,000 and 5,000 waits; about seven minutes
    python benchmarks/waiting.py --quick      # 100 and 1,000, at larger scales; about three minutes
    python benchmarks/waiting.py --save       # also writes waiting.png and waiting.md

Time is scaled: at a scale of 6, the interval of 30 s is one of 5 s. How each figure is made:

requests per minute  what the server counted / minutes; a minute is 60 s / scale.
delay                from the answer to the control request that finished the recording to the event, times the scale.
                     So each millisecond that a request takes counts scale times. A recording whose end was not
                     noticed counts as noticed at the end of the run, and shows in the column "missed".
loop lag             the longest time by which a sleep of 20 ms was late, in true milliseconds, since the waits
                     started. In brackets: the most CPU time that the loop's thread used between two ticks. A lag far
                     above it is caused by the machine, not by the contender.
CPU share            CPU seconds of the process since the waits started / (wall seconds * scale): an unscaled minute
                     has as many rounds as a scaled one. Only what runs by the true clock, such as the ticker itself
                     50 times a second, is counted too low, by far less than 1 %.
memory per wait      (the greatest RSS since the waits started - RSS before) / waits. One wait has ended before, so
                     that imports and clients do not count.

httpx with 5,000 waits runs for one unscaled minute only, because it cannot keep up at any scale: its figures, if it
ends at all, are those of a process that is busy all the time, and it misses the end of most recordings.

All waits start together, as the triggerer starts them: a task each, and a turn of the loop after each. This provider's
rate limiter and its gathering time of half a second are scaled, too; the server sets no quota. Each contender has
the triggerer's modules loaded and logs JSON lines to a file, as the triggerer does.
Exits with 1 if ours misses a target.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import http.client
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
INTERVAL = 30.0
QUOTA = 240  # a minute: 1,200 in five
OURS, AIOHTTP, HTTPX = "shared poller", "aiohttp, a GET per wait", "httpx, a GET per wait"
SCALES = {100: 10.0, 1000: 6.0, 5000: 3.0}
QUICK_SCALES = {100: 20.0, 1000: 12.0}
# httpx takes longer for a round of 1,000 GETs than a shorter interval lasts.
OWN_SCALES = {(1000, HTTPX): 2.0}
# With 5,000 waits it does so at any scale: one round takes minutes, and a longer run would show nothing more.
OWN_MINUTES = {(5000, HTTPX): 1.0}
TICK = 0.02
ENDED = {"UPLOADED", "ERRORED"}
RECORDINGS = "/accounts/account/realtime/kit/app/recordings"

WaitFor = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Job:
    """The task of a contender; seconds are not scaled."""

    contender: str
    base_url: str
    waits: list[str]
    warm_up: str
    invoked_after: str
    scale: float
    seconds: float

    @property
    def interval(self) -> float:
        return INTERVAL / self.scale


@dataclass
class Measured:
    """What a contender measured of itself; seconds are not scaled."""

    ended: dict[str, float] = field(default_factory=dict)
    errors: int = 0
    lag: float = 0.0
    own_lag: float = 0.0
    rss_before: int = 0
    rss_most: int = 0
    cpu: float = 0.0
    wall: float = 0.0


@dataclass(frozen=True)
class Row:
    """The figures of a contender for a number of waits, in unscaled units."""

    waits: int
    contender: str
    scale: float
    per_minute: float
    delay_p50: float
    delay_p99: float
    lag_ms: float
    own_lag_ms: float
    cpu_percent: float
    kib_per_wait: float
    missed: int
    errors: int


# The contenders, each in a process of its own, which imports only what its contender needs: memory is measured.


@asynccontextmanager
async def shared_poller(job: Job, seen: Measured) -> Any:
    from airflow_provider_realtimekit.api import rate_limit
    from airflow_provider_realtimekit.triggers import RealtimeKitRecordingTrigger
    from airflow_provider_realtimekit.waiting import poller

    poller.GATHER_SECONDS /= job.scale
    rate_limit.DEFAULT_WINDOW /= job.scale
    rate_limit.DEFAULT_BLOCK /= job.scale

    async def wait_for(recording_id: str) -> None:
        trigger = RealtimeKitRecordingTrigger(
            realtimekit_conn_id="realtimekit_default",
            poll_interval=job.interval,
            recording_id=recording_id,
            invoked_after=job.invoked_after,
            deadline=time.time() + 24 * 3600,
        )
        async for event in trigger.run():
            if event.payload["outcome"] != "uploaded":
                seen.errors += 1
                raise RuntimeError(event.payload)

    yield wait_for


@asynccontextmanager
async def aiohttp_each(job: Job, seen: Measured) -> Any:
    import aiohttp

    async with aiohttp.ClientSession(headers={"Authorization": "Bearer token"}) as session:

        async def get(recording_id: str) -> Any:
            async with session.get(f"{job.base_url}{RECORDINGS}/{recording_id}") as response:
                response.raise_for_status()
                return await response.json()

        yield one_by_one(get, job, seen, (aiohttp.ClientError, TimeoutError))


@asynccontextmanager
async def httpx_each(job: Job, seen: Measured) -> Any:
    import httpx

    # No timeout for the pool: a wait for one of its hundred connections is not an error of the server.
    timeout = httpx.Timeout(60.0, pool=None)
    async with httpx.AsyncClient(headers={"Authorization": "Bearer token"}, timeout=timeout) as client:

        async def get(recording_id: str) -> Any:
            response = await client.get(f"{job.base_url}{RECORDINGS}/{recording_id}")
            return response.raise_for_status().json()

        yield one_by_one(get, job, seen, (httpx.HTTPError,))


def one_by_one(get: Callable[[str], Awaitable[Any]], job: Job, seen: Measured, errors: tuple[Any, ...]) -> WaitFor:
    async def wait_for(recording_id: str) -> None:
        while True:
            try:
                if (await get(recording_id))["data"]["status"] in ENDED:
                    return
            except errors:
                seen.errors += 1
            await asyncio.sleep(job.interval)

    return wait_for


CONTENDERS = {OURS: shared_poller, AIOHTTP: aiohttp_each, HTTPX: httpx_each}


async def contend(job: Job, ready: Callable[[], None], answer: Callable[[Measured], None]) -> None:
    """Warm up, call ``ready``, which blocks until the start, wait for all recordings, and report the figures."""
    seen = Measured()
    async with CONTENDERS[job.contender](job, seen) as wait_for:
        await wait_for(job.warm_up)
        gc.collect()
        seen.rss_before = seen.rss_most = rss()
        ready()
        running = [asyncio.create_task(tick(seen))]
        began, cpu = time.monotonic(), time.process_time()
        running += await start_all(job, wait_for, seen)
        await asyncio.sleep(began + job.seconds - time.monotonic())
        seen.cpu, seen.wall = time.process_time() - cpu, time.monotonic() - began
        answer(seen)
        # At once: httpx takes minutes to cancel thousands of requests.
        os._exit(0)


async def start_all(job: Job, wait_for: WaitFor, seen: Measured) -> list[asyncio.Task[None]]:
    async def wait_and_note(recording_id: str) -> None:
        await wait_for(recording_id)
        seen.ended[recording_id] = time.time()

    tasks = []
    for recording_id in job.waits:
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(wait_and_note(recording_id)))
    return tasks


async def tick(seen: Measured) -> None:
    """Measure how late and how busy the loop is, and once a second the size of the process."""
    ticks = 0
    while True:
        began, cpu = time.monotonic(), time.thread_time()
        await asyncio.sleep(TICK)
        seen.lag = max(seen.lag, time.monotonic() - began - TICK)
        seen.own_lag = max(seen.own_lag, time.thread_time() - cpu)
        ticks += 1
        if ticks % 50 == 0:
            seen.rss_most = max(seen.rss_most, rss())


def rss() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def pose_as_triggerer() -> None:
    """Load the modules of a triggerer, whose objects make garbage collections longer, and log as a triggerer does."""
    import airflow.jobs.triggerer_job_runner  # noqa: F401
    from airflow.sdk.log import configure_logging

    configure_logging(json_output=True, output=os.fdopen(2, "wb", buffering=0, closefd=False))


def contend_here() -> None:
    # The log goes to a file: a full pipe that nobody reads would block the loop.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        pose_as_triggerer()

        def ready() -> None:
            print("ready", file=answers, flush=True)
            sys.stdin.readline()

        def answer(seen: Measured) -> None:
            print(json.dumps(asdict(seen)), file=answers, flush=True)

        job = Job(**json.loads(sys.stdin.readline()))
        asyncio.run(contend(job, ready, answer))


# The server, and what finishes the recordings


class Emulator:
    """The control interface of the local RealtimeKit."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=60)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        self._http.request(method, f"/_emulator{path}", json.dumps(body), {"Content-Type": "application/json"})
        response = self._http.getresponse()
        text = response.read()
        # The server closes connections that were idle for some seconds.
        self._http.close()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {text[:200]!r}")
        return json.loads(text)

    def seed(self, count: int, status: str) -> list[str]:
        answer = self.call("POST", "/recordings", {"count": count, "status": status})
        ids: list[str] = answer["ids"] if isinstance(answer, dict) else answer
        return ids

    def polls(self) -> int:
        counts = self.call("GET", "/ledger")["counts"]
        return sum(sum(counts.get(operation, {}).values()) for operation in ("list", "get"))


@contextmanager
def emulator() -> Iterator[Emulator]:
    command = [sys.executable, "-m", "airflow_provider_realtimekit.emulator", "--media", "tiny", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield Emulator(server.stdout.readline().split()[-1])
        finally:
            server.terminate()


@contextmanager
def contender_process(home: str, base_url: str) -> Iterator[subprocess.Popen[str]]:
    connection = {
        "conn_type": "realtimekit",
        "host": base_url,
        "login": "account",
        "password": "token",
        "extra": {"app_id": "app"},
    }
    environment = {
        **os.environ,
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_REALTIMEKIT_DEFAULT": json.dumps(connection),
    }
    command = [sys.executable, str(HERE / "waiting.py"), "--contender"]
    with (
        open(Path(home) / "stderr", "w+", encoding="utf-8") as log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        ) as process,
    ):
        try:
            yield process
        except BaseException:
            # It writes the reason to its log after it has closed its output.
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            log.seek(0)
            sys.stderr.write(f"The contender's log ends with:\n{log.read()[-4000:]}\n")
            raise
        finally:
            process.kill()


@contextmanager
def time_limit(process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    """Kill a contender whose loop is so late that it does not end in time."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def send_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def read_answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    if answer := process.stdout.readline():
        return answer
    if process.wait() == -signal.SIGKILL:
        raise RuntimeError("no figures: it was so far behind that it did not end")
    raise RuntimeError("a contender ended early: see its log above")


def finish_at_random(server: Emulator, job: Job, share: float) -> dict[str, float]:
    """Finish a share of the recordings during the run, early enough for a poll, and return when each finished."""
    chance = random.Random(len(job.waits))
    chosen = chance.sample(job.waits, round(share * len(job.waits)))
    span = job.seconds - 1.5 * job.interval
    began = time.monotonic()
    finished = {}
    for moment, recording_id in zip(sorted(chance.uniform(0.0, span) for _ in chosen), chosen, strict=True):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        server.call("POST", f"/recordings/{recording_id}/status", {"status": "UPLOADED"})
        finished[recording_id] = time.time()
    return finished


# The run


def run_one(contender: str, waits: int, scale: float, options: argparse.Namespace) -> Row:
    seconds = OWN_MINUTES.get((waits, contender), options.minutes) * 60 / scale
    with tempfile.TemporaryDirectory() as home, emulator() as server:
        with contender_process(home, server.base_url) as process, time_limit(process, 60 + 3 * seconds):
            since = datetime.fromtimestamp(time.time() - 2, UTC).isoformat()
            warm_up = server.seed(1, "UPLOADED")[0]
            job = Job(contender, server.base_url, server.seed(waits, "RECORDING"), warm_up, since, scale, seconds)
            send_line(process, json.dumps(asdict(job)))
            read_answer(process)
            before = server.polls()
            send_line(process, "go")
            finished = finish_at_random(server, job, options.finish)
            measured = Measured(**json.loads(read_answer(process)))
            over = time.time()
        return figures(job, measured, finished, over, server.polls() - before)


def figures(job: Job, seen: Measured, finished: dict[str, float], over: float, polls: int) -> Row:
    delays = [seen.ended.get(recording_id, over) - moment for recording_id, moment in finished.items()]
    hundredths = statistics.quantiles(delays, n=100, method="inclusive")
    count = len(job.waits)
    return Row(
        waits=count,
        contender=job.contender,
        scale=job.scale,
        per_minute=polls / (seen.wall * job.scale / 60),
        delay_p50=hundredths[49] * job.scale,
        delay_p99=hundredths[98] * job.scale,
        lag_ms=seen.lag * 1000,
        own_lag_ms=seen.own_lag * 1000,
        cpu_percent=100 * seen.cpu / (seen.wall * job.scale),
        kib_per_wait=(seen.rss_most - seen.rss_before) / 1024 / count,
        missed=len(finished.keys() - seen.ended.keys()),
        errors=seen.errors,
    )


HEAD = (
    "| waits | contender | scale | requests/min | delay p50 s | delay p99 s | loop lag ms (own) "
    "| CPU % of a core | KiB per wait | missed | errors |\n|" + "---|" * 11
)


def line(row: Row) -> str:
    return (
        f"| {row.waits:>5,} | {row.contender:<23} | {row.scale:g} | {row.per_minute:>8,.1f} | {row.delay_p50:>5.1f} "
        f"| {row.delay_p99:>5.1f} | {row.lag_ms:>6,.0f} ({row.own_lag_ms:,.0f}) | {row.cpu_percent:>5.1f} "
        f"| {row.kib_per_wait:>5.1f} | {row.missed} | {row.errors} |"
    )


def targets(rows: list[Row]) -> list[tuple[str, float, float]]:
    """Return the targets: name, measured figure, and the most that it may be."""
    found = {(row.waits, row.contender): row for row in rows}
    goals = []
    if ours := found.get((1000, OURS)):
        each = found[1000, AIOHTTP].per_minute
        goals += [
            ("1,000 waits: requests, % of those of one GET per wait", 100 * ours.per_minute / each, 2.0),
            ("1,000 waits: delay p99, s", ours.delay_p99, INTERVAL + 5),
            ("1,000 waits: greatest loop lag, ms", ours.lag_ms, 100.0),
            ("1,000 waits: CPU, % of a core", ours.cpu_percent, 10.0),
            ("1,000 waits: memory, KiB per wait", ours.kib_per_wait, 20.0),
        ]
    if ours := found.get((5000, OURS)):
        goals.append(
            ("5,000 waits: requests in 5 minutes, with 300 starts and stops", 5 * ours.per_minute + 300, 1200.0)
        )
    goals += [(f"{r.waits:,} waits: missed or failed", r.missed + r.errors, 0.0) for r in rows if r.contender == OURS]
    return goals


def report(goals: list[tuple[str, float, float]]) -> str:
    return "\n".join(
        f"- {'met   ' if figure <= most else 'MISSED'} {name}: {figure:,.2f} (at most {most:,g})"
        for name, figure, most in goals
    )


def draw(rows: list[Row], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for contender, marker in zip(CONTENDERS, "os^", strict=True):
        points = sorted((row.waits, row.per_minute) for row in rows if row.contender == contender)
        axes.plot(*zip(*points, strict=True), marker=marker, label=contender)
    axes.axhline(QUOTA, color="black", linestyle="--", label=f"Cloudflare's quota: {QUOTA} a minute")
    axes.set(xscale="log", yscale="log", xlabel="recordings waited for at once", ylabel="requests per minute")
    axes.set_title(f"Waiting for recordings, polled every {INTERVAL:g} s")
    ticks = sorted({row.waits for row in rows})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], minor=False)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="100 and 1,000 waits only, at larger scales")
    parser.add_argument("--save", action="store_true", help="write waiting.png and waiting.md beside this file")
    parser.add_argument("--minutes", type=float, default=3.0, help="unscaled length of each run (default: 3)")
    parser.add_argument("--finish", type=float, default=0.5, help="share of the recordings that finish (default: 0.5)")
    parser.add_argument("--waits", type=int, action="append", choices=SCALES, help="only so many; may repeat")
    parser.add_argument("--only-ours", action="store_true", help="no comparison, and no targets checked")
    parser.add_argument("--contender", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.contender:
        contend_here()
        return 0
    scales = QUICK_SCALES if options.quick else SCALES
    sizes = [size for size in scales if size in (options.waits or scales)]
    about = (
        f"A poll every {INTERVAL:g} s, {options.minutes:g} minutes a run, in which {options.finish:.0%} of the "
        "recordings finish. Times are scaled back to real time, as the docstring of waiting.py describes."
    )
    print(f"{about}\n\n{HEAD}", flush=True)
    rows: list[Row] = []
    table = [HEAD]
    for size in sizes:
        for contender in [OURS] if options.only_ours else CONTENDERS:
            try:
                rows.append(run_one(contender, size, OWN_SCALES.get((size, contender), scales[size]), options))
                table.append(line(rows[-1]))
            except RuntimeError as error:
                if contender == OURS:
                    raise
                table.append(f"| {size:>5,} | {contender:<23} | {error} |" + " |" * 8)
            print(table[-1], flush=True)
    if options.only_ours:
        return 0
    goals = targets(rows)
    print(f"\n{report(goals)}")
    if options.save:
        draw(rows, HERE / "waiting.png")
        saved = "\n".join(["# Waiting", "", about, "", *table, "", report(goals), ""])
        (HERE / "waiting.md").write_text(saved, encoding="utf-8")
    return int(any(figure > most for _, figure, most in goals))


if __name__ == "__main__":
    sys.exit(main())
