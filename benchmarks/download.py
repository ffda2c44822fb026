"""Time and memory of a download: this provider, curl, requests and Airflow's own operator.

    python benchmarks/download.py [--size MIB] [--runs N] [--save]

Everything is on loopback: one process serves the file with ``sendfile``, another one is moto's S3 server, and each
way to download runs in a process of its own. Memory is the peak of the resident set, less its size when the process
was an idle Airflow task. Needs curl, and ``pip install -e '.[amazon]' --group stores-test``. Exits with 1 if a target
is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

HERE = Path(__file__)
MIB = 1 << 20
MOST_MEMORY = 64.0  # MiB over an idle task
LEAST_OF_CURL = 0.9
SLOW_RATE = 40 * MIB  # bytes a second on one connection, for the slow host
SLOW_SIZE = 256  # MiB


@dataclass(frozen=True)
class Way:
    """A way to download the file."""

    name: str
    title: str
    slow: bool = False


WAYS = (
    Way("curl", "`curl -o`, to local disk"),
    Way("ours_local", "**ours, to local disk**"),
    Way("requests_local", "`requests` + `shutil.copyfileobj`, to local disk"),
    Way("ours_s3", "**ours, to S3**"),
    Way("requests_s3", "`requests` + `shutil.copyfileobj`, to S3 through s3fs"),
    Way("operator_s3", "`HttpToS3Operator`"),
    Way("curl_slow", "`curl -o`, a host of 40 MiB/s a connection", slow=True),
    Way("ours_slow", "**ours, the same host**", slow=True),
)


IMPORTS = {
    "ours": ("airflow_provider_realtimekit.hooks", "airflow_provider_realtimekit.downloads"),
    "requests": ("requests",),
    "operator": ("airflow.providers.amazon.aws.transfers.http_to_s3",),
}


# One process: download the file in one way, and print seconds and memory.
# Imports are inside the functions, because each process must import only what its way needs.


def idle_task() -> int:
    """Import what every Airflow task imports, and return the resident set in KiB."""
    import airflow.providers.common.compat.sdk
    import airflow.sdk
    import airflow.sdk.execution_time.task_runner
    from airflow.sdk import ObjectStoragePath

    airflow.sdk.BaseOperator(task_id="idle")
    airflow.providers.common.compat.sdk.Connection(conn_id="idle", conn_type="http")
    airflow.providers.common.compat.sdk.get_hook_lineage_collector().add_output_asset(
        context=ObjectStoragePath("/"), uri="file:///idle"
    )  # loads all plugins and providers, once per process
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    return resident("VmRSS")


def resident(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(what)))


def ours(folder: str) -> None:
    from airflow_provider_realtimekit.transfers import RealtimeKitDownloadRecordingOperator

    RealtimeKitDownloadRecordingOperator(task_id="ours", recording_id="recording", destination=folder).execute({})


def requests_into(url: str, path: str) -> None:
    import requests
    from airflow.sdk import ObjectStoragePath

    with requests.get(url, stream=True, timeout=60) as response, ObjectStoragePath(path).open("wb") as out:
        shutil.copyfileobj(response.raw, out)


def operator(url: str, bucket: str) -> None:
    from airflow.providers.amazon.aws.transfers.http_to_s3 import HttpToS3Operator

    endpoint = url.partition("//")[2].partition("/")[2]
    HttpToS3Operator(
        task_id="theirs", http_conn_id="my_http", endpoint=endpoint, s3_bucket=bucket, s3_key="file.mp4",
        aws_conn_id="my_s3",
    ).execute({})  # fmt: skip


def load_in_child(way: str, url: str, folder: str) -> None:
    loads: dict[str, Callable[[], None]] = {
        "ours_local": lambda: ours(folder),
        "ours_slow": lambda: ours(folder),
        "ours_s3": lambda: ours("s3://my_s3@bucket/ours"),
        "requests_local": lambda: requests_into(url, f"{folder}/file.mp4"),
        "requests_s3": lambda: requests_into(url, "s3://my_s3@bucket/theirs/file.mp4"),
        "operator_s3": lambda: operator(url, "bucket"),
    }
    idle = idle_task()
    for module in IMPORTS[way.partition("_")[0]]:  # counts as memory, but not as time
        import_module(module)
    began = time.perf_counter()
    loads[way]()
    seconds = time.perf_counter() - began
    print("RESULT" + json.dumps({"seconds": seconds, "memory": (resident("VmHWM") - idle) / 1024}))


# The servers.


class FileHost(BaseHTTPRequestHandler):
    """Serves a file and an API that lists it. Below ``/slow``, each connection is limited to ``SLOW_RATE``."""

    protocol_version = "HTTP/1.1"
    path_of_file = ""

    def do_GET(self) -> None:
        if self.path.startswith(("/api", "/slowapi")):
            self.answer_api("/slow" if self.path.startswith("/slowapi") else "/files")
        else:
            self.answer_file()

    def answer_api(self, files: str) -> None:
        data = {
            "id": "recording", "status": "UPLOADED", "file_size": self.size(files), "output_file_name": "file.mp4",
            "download_url": f"http://{self.headers['Host']}{files}/file.mp4?Signature=x",
        }  # fmt: skip
        body = json.dumps({"success": True, "data": data}).encode()
        self.begin(200, len(body), {"Content-Type": "application/json"})
        self.wfile.write(body)

    def answer_file(self) -> None:
        total = self.size(self.path)
        first, last = 0, total - 1
        headers = {"ETag": '"file"', "Accept-Ranges": "bytes"}
        if asked := self.headers.get("Range", "").removeprefix("bytes="):
            first, last = (int(end or total - 1) for end in asked.split("-"))
            headers["Content-Range"] = f"bytes {first}-{last}/{total}"
        self.begin(206 if asked else 200, last + 1 - first, headers)
        with open(self.path_of_file, "rb") as file:
            self.send(file.fileno(), first, last + 1)

    def size(self, path: str) -> int:
        size = os.path.getsize(self.path_of_file)
        return min(size, SLOW_SIZE * MIB) if path.startswith("/slow") else size

    def begin(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, file: int, begin: int, end: int) -> None:
        slow = self.path.startswith("/slow")
        piece, due = SLOW_RATE // 50 if slow else 4 * MIB, time.monotonic()
        while begin < end:
            begin += os.sendfile(self.connection.fileno(), file, begin, min(piece, end - begin))
            if slow:
                due += piece / SLOW_RATE
                time.sleep(max(0.0, due - time.monotonic()))

    def log_message(self, *_: object) -> None:
        pass


def serve(path: str, port: int) -> None:
    """Serve a file until killed."""
    FileHost.path_of_file = path
    ThreadingHTTPServer(("127.0.0.1", port), FileHost).serve_forever()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(*command: str, port: int) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if process.poll() is not None:
                        raise SystemExit(f"{command} ended") from None
                    threading.Event().wait(0.1)
            yield
        finally:
            process.kill()


@dataclass
class Bench:
    """Runs the ways against the servers, with a folder and an S3 bucket for the results."""

    folder: Path
    host: str
    s3: str

    def run(self, way: Way) -> dict[str, float]:
        target = self.folder / "target"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        urlopen(Request(f"{self.s3}/moto-api/reset", method="POST")).close()
        urlopen(Request(f"{self.s3}/bucket", method="PUT")).close()
        url = f"{self.host}/{'slow' if way.slow else 'files'}/file.mp4"
        measured = self.curl(url, target) if way.name.startswith("curl") else self.child(way, url, target)
        self.check(way, target)
        return measured

    def curl(self, url: str, target: Path) -> dict[str, float]:
        began = time.perf_counter()
        process = subprocess.Popen(["curl", "--fail", "--silent", "--output", str(target / "file.mp4"), url])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"curl ended with {process.returncode}")
        return {"seconds": time.perf_counter() - began, "memory": usage.ru_maxrss / 1024}

    def child(self, way: Way, url: str, target: Path) -> dict[str, float]:
        command = [sys.executable, str(HERE), "--way", way.name, url, str(target)]
        ran = subprocess.run(command, env=self.environment(way), capture_output=True, text=True, check=False)
        line = next((line for line in ran.stdout.splitlines() if line.startswith("RESULT")), None)
        if line is None:
            raise SystemExit(f"{way.title} failed:\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}")
        return dict(json.loads(line.removeprefix("RESULT")))

    def environment(self, way: Way) -> dict[str, str]:
        extra = {"endpoint_url": self.s3, "region_name": "us-east-1"}
        kit = {
            "conn_type": "realtimekit", "login": "account", "password": "token", "extra": {"app_id": "app"},
            "host": f"{self.host}/{'slowapi' if way.slow else 'api'}/client/v4",
        }  # fmt: skip
        return os.environ | {
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
            "AIRFLOW_CONN_MY_S3": json.dumps({"conn_type": "aws", "login": "k", "password": "s", "extra": extra}),
            "AIRFLOW_CONN_MY_HTTP": json.dumps({"conn_type": "http", "host": self.host}),
            "AIRFLOW_CONN_REALTIMEKIT_DEFAULT": json.dumps(kit),
            "NO_PROXY": "127.0.0.1",
        }

    def check(self, way: Way, target: Path) -> None:
        """Check that the complete file was stored."""
        total = (self.folder / "file.mp4").stat().st_size
        expected = min(total, SLOW_SIZE * MIB) if way.slow else total
        if way.name.endswith("s3"):
            listing = urlopen(f"{self.s3}/bucket").read().decode()
            assert f"<Size>{expected}</Size>" in listing, listing[:2000]
        else:
            assert (target / "file.mp4").stat().st_size == expected


@contextmanager
def bench(size: int) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="realtimekit-benchmark-") as folder, ExitStack() as servers:
        path = Path(folder, "file.mp4")
        with path.open("wb") as file:
            block = os.urandom(MIB)
            for _ in range(size):
                file.write(block)
        host, s3 = free_port(), free_port()
        servers.enter_context(running(sys.executable, str(HERE), "--serve", str(path), str(host), port=host))
        servers.enter_context(running(sys.executable, "-m", "moto.server", "-p", str(s3), port=s3))
        yield Bench(Path(folder), f"http://127.0.0.1:{host}", f"http://127.0.0.1:{s3}")


def measure(size: int, runs: int) -> dict[str, dict[str, float]]:
    """Measure all ways in turn, several times, and return the best time and the worst memory of each."""
    found: dict[str, list[dict[str, float]]] = {way.name: [] for way in WAYS}
    with bench(size) as place:
        for run in range(runs):
            for way in WAYS if run % 2 == 0 else WAYS[::-1]:
                if run and way.name.endswith("s3"):
                    continue  # they are slow
                found[way.name].append(place.run(way))
                print(f"  {way.name}: {found[way.name][-1]}", file=sys.stderr)
    return {
        name: {"seconds": min(one["seconds"] for one in all_), "memory": max(one["memory"] for one in all_)}
        for name, all_ in found.items()
    }


def report(found: dict[str, dict[str, float]], size: int, runs: int) -> tuple[str, bool]:
    """Return the lines of the table and the targets, and whether all targets are met."""
    speeds = {
        way.name: (min(size, SLOW_SIZE) if way.slow else size) * MIB / 1e6 / found[way.name]["seconds"] for way in WAYS
    }
    lines = ["| way | MB/s | seconds | peak memory over an idle task, MiB |", "|---|---:|---:|---:|"]
    for way in WAYS:
        one = found[way.name]
        note = " (the complete process)" if way.name.startswith("curl") else ""
        lines.append(f"| {way.title} | {speeds[way.name]:.0f} | {one['seconds']:.2f} | {one['memory']:.1f}{note} |")
    of_curl = speeds["ours_local"] / speeds["curl"]
    of_requests = speeds["ours_s3"] / speeds["requests_s3"]
    memory = max(found[name]["memory"] for name in ("ours_local", "ours_s3", "ours_slow"))
    verdicts = [
        (f"local disk: {of_curl:.2f} of curl's throughput, at least {LEAST_OF_CURL} wanted", of_curl >= LEAST_OF_CURL),
        (f"S3: {of_requests:.2f} of the throughput of `requests` + `copyfileobj`, at least 1 wanted", of_requests >= 1),
        (f"memory: {memory:.1f} MiB over an idle task, at most {MOST_MEMORY:.0f} wanted", memory <= MOST_MEMORY),
        (f"slow host: {speeds['ours_slow'] / speeds['curl_slow']:.1f} times curl's throughput",
         speeds["ours_slow"] > speeds["curl_slow"]),
    ]  # fmt: skip
    lines += ["", *(f"- {'met' if met else '**missed**'}: {text}" for text, met in verdicts)]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release().partition('-')[0]}"
    head = f"{size} MiB over loopback, best time and worst memory of {runs} runs (S3: one); {machine}, Python "
    return "\n".join([head + platform.python_version() + ".", "", *lines, ""]), all(met for _, met in verdicts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, metavar="MIB")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write the table to download.md beside this file")
    parser.add_argument("--way", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    if options.way:
        load_in_child(*options.way)
        return 0
    if options.serve:
        serve(options.serve[0], int(options.serve[1]))
    text, met = report(measure(options.size, options.runs), options.size, options.runs)
    print(text)
    if options.save:
        HERE.with_suffix(".md").write_text(f"# Time and memory of a download\n\n{text}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
