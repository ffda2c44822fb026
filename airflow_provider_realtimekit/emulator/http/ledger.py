"""What was asked of the emulator, for tests to count."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

from airflow_provider_realtimekit.emulator.world.world import World

_MAX_REQUESTS = 20_000  # requests


@dataclass(eq=False)
class LoggedRequest:
    """One request.

    `client` is the address and port that it came from; `status` is None while it runs, and "reset" if the
    connection was.
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
    """Counts of all requests, and the last of them in full. TokenStates and signatures are not kept."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = Lock()
        self._entries: deque[LoggedRequest] = deque(maxlen=_MAX_REQUESTS)
        self._unanswered: set[LoggedRequest] = set()
        self._counts: Counter[tuple[str, int | str | None]] = Counter()
        self._file_host_saw_authorization = 0

    @property
    def requests(self) -> list[LoggedRequest]:
        """The last requests, oldest first."""
        with self._lock:
            return list(self._entries)

    @property
    def file_host_saw_authorization(self) -> int:
        """How many requests for files carried an Authorization header, where it does not belong."""
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
        """Write down a request that has come in."""
        entry = LoggedRequest(self._clock(), operation, method, path, query, authorized, client)
        with self._lock:
            self._entries.append(entry)
            self._unanswered.add(entry)
            self._file_host_saw_authorization += operation == "download" and authorized
        return entry

    def add_response(self, entry: LoggedRequest, status: int | str) -> None:
        """Write down how a request was answered, unless it was asked before a reset."""
        with self._lock:
            entry.status = status
            if entry in self._unanswered:
                self._unanswered.remove(entry)
                self._counts[entry.operation, status] += 1

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._unanswered.clear()
            self._counts.clear()
            self._file_host_saw_authorization = 0

    def contents(self) -> tuple[list[LoggedRequest], Counter[tuple[str, int | str | None]], int]:
        """Return the last requests, the counts of all, and how many of those for files carried a token."""
        with self._lock:
            return list(self._entries), Counter(self._counts), self._file_host_saw_authorization

    def restore(
        self, entries: Iterable[LoggedRequest], counts: dict[tuple[str, int | str | None], int], saw_authorization: int
    ) -> None:
        """Go on with these instead; what was not answered by then never will be."""
        with self._lock:
            self._entries = deque(entries, maxlen=_MAX_REQUESTS)
            self._unanswered.clear()
            self._counts = Counter(counts)
            self._file_host_saw_authorization = saw_authorization

    def summary(self, world: World) -> dict[str, Any]:
        """Return the ledger, and what became of the recordings, as JSON."""
        with self._lock:
            requests = [asdict(entry) for entry in self._entries]
            counts: dict[str, dict[str, int]] = {}
            for (operation, status), count in self._counts.items():
                counts.setdefault(operation, {})[str(status)] = count
        return {
            "counts": counts,
            "requests": requests,
            "file_host_saw_authorization": self._file_host_saw_authorization,
            **_recordings(world),
        }


def _recordings(world: World) -> dict[str, Any]:
    recordings = world.recordings()
    by_status: dict[str, list[str]] = {}
    for recording in recordings:
        by_status.setdefault(recording.status, []).append(recording.id)
    running = [recording.id for recording in recordings if recording.stopped_at is None]
    return {"started": [recording.id for recording in recordings], "by_status": by_status, "running": running}
