"""The waits that have joined a poller, by what they look for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from airflow_provider_realtimekit.models import Recording
from airflow_provider_realtimekit.waiting.entries import Entry
from airflow_provider_realtimekit.waiting.outcome import fault_event
from airflow_provider_realtimekit.waiting.planner import Subject


class Book:
    """Entries by subject; several may look for the same."""

    def __init__(self) -> None:
        self._entries: dict[Subject, set[Entry]] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter([entry for entries in self._entries.values() for entry in entries])

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entry: Entry) -> None:
        """Enter a wait."""
        self._entries.setdefault(entry.subject, set()).add(entry)

    def remove(self, entry: Entry) -> None:
        """Strike out a wait."""
        entries = self._entries[entry.subject]
        entries.discard(entry)
        if not entries:
            del self._entries[entry.subject]

    def of(self, subjects: Iterable[Subject]) -> list[Entry]:
        """Return the waits for some subjects."""
        return [entry for subject in subjects for entry in self._entries.get(subject, ())]

    def next_look(self, now: float) -> float:
        """Return when the first of all is to be looked at."""
        return min((entry.next_look(now) for entry in self), default=math.inf)

    def near(self, now: float) -> list[Subject]:
        """Return what a round looks for: whatever would be due within half of its interval anyway."""
        return [
            subject
            for subject, entries in self._entries.items()
            if any(entry.next_look(now) <= now + entry.interval / 2 for entry in entries)
        ]

    def hand_out(self, subject: Subject, recording: Recording | None, now: float, calm: float) -> None:
        """Tell those who look for a subject what was seen.

        :param calm: the share of its interval after which each is due again
        """
        for entry in self._entries.get(subject, ()):
            entry.due = now + calm * entry.interval
            entry.take(recording, now)

    def end(self, subjects: Iterable[Subject], error: Exception) -> None:
        """End all waits for some subjects with an error."""
        for entry in self.of(subjects):
            entry.end(fault_event(error))
