"""Which requests were received and how they were answered, for tests to count."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

from airflow_provider_realtimekit.emulator.world.world import World

# Enough for the requests of thousands of waits in a test; uses a few megabytes.
_MAX_REQUESTS = 20_000

Json = dict[str, Any]


@dataclass(eq=False)
class LoggedRequest:
    """One request, without its token and the signature of its link.

    :param at: when it came, in seconds since the epoch
    :param client: the address and port that it came from
    :param status: the HTTP status of the answer; "reset" if the connection was broken, None before either
    """

    at: float
    operation: str
    method: str
    path: str
    query: str
    authorized: bool
    client: str | None = None
    status: int | str | None = None


class Ledger:
    """Counts all requests by operation and answer, and has the last ones in full."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = Lock()
        self._requests: deque[LoggedRequest] = deque(maxlen=_MAX_REQUESTS)
        self._unanswered: set[LoggedRequest] = set()
        self._counts: Counter[tuple[str, int | str | None]] = Counter()
        self._file_host_saw_authorization = 0

    @property
    def requests(self) -> list[LoggedRequest]:
        """The last requests, oldest first."""
        with self._lock:
            return list(self._requests)

    @property
    def file_host_saw_authorization(self) -> int:
        """How many requests for files carried an Authorization header. The header must not go to the file host."""
        return self._file_host_saw_authorization

    def count(self, operation: str | None = None, status: int | str | None = None) -> int:
        """Return how many requests were answered, of one operation or all, with one status or any."""
        with self._lock:
            return sum(
                count
                for (name, answer), count in self._counts.items()
                if operation in (None, name) and status in (None, answer)
            )

    def add_request(
        self, operation: str, method: str, path: str, query: str, *, authorized: bool, client: str | None = None
    ) -> LoggedRequest:
        """Log a request that has come in."""
        request = LoggedRequest(self._clock(), operation, method, path, query, authorized, client)
        with self._lock:
            self._requests.append(request)
            self._unanswered.add(request)
            self._file_host_saw_authorization += operation == "download" and authorized
        return request

    def add_response(self, request: LoggedRequest, status: int | str) -> None:
        """Log how a request was answered. Requests from before a reset are not counted."""
        with self._lock:
            request.status = status
            if request in self._unanswered:
                self._unanswered.remove(request)
                self._counts[request.operation, status] += 1

    def reset(self) -> None:
        """Remove all requests and counts."""
        with self._lock:
            self._requests.clear()
            self._unanswered.clear()
            self._counts.clear()
            self._file_host_saw_authorization = 0

    def dump(self) -> Json:
        """Return everything as JSON that `restore` can read."""
        with self._lock:
            return {
                "requests": [asdict(request) for request in self._requests],
                # The keys of a JSON object are text; here they are an operation and a status.
                "counts": [[operation, status, count] for (operation, status), count in self._counts.items()],
                "file_host_saw_authorization": self._file_host_saw_authorization,
            }

    def restore(self, saved: Json) -> None:
        """Replace everything by what `dump` returned. Requests that were unanswered then stay so."""
        requests = [LoggedRequest(**request) for request in saved["requests"]]
        counts = {(operation, status): count for operation, status, count in saved["counts"]}
        with self._lock:
            self._requests = deque(requests, maxlen=_MAX_REQUESTS)
            self._unanswered.clear()
            self._counts = Counter(counts)
            self._file_host_saw_authorization = saved["file_host_saw_authorization"]

    def summary(self, world: World) -> Json:
        """Return requests, counts and the ids of all recordings by status, as the control API shows them."""
        with self._lock:
            requests = [asdict(request) for request in self._requests]
            counts: dict[str, dict[str, int]] = {}
            for (operation, status), count in self._counts.items():
                counts.setdefault(operation, {})[str(status)] = count
        recordings = world.recordings()
        by_status: dict[str, list[str]] = {}
        for recording in recordings:
            by_status.setdefault(recording.status, []).append(recording.id)
        return {
            "counts": counts,
            "requests": requests,
            "file_host_saw_authorization": self._file_host_saw_authorization,
            "started": [recording.id for recording in recordings],
            "by_status": by_status,
            "running": [recording.id for recording in recordings if recording.stopped_at is None],
        }
