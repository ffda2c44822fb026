"""How signed file links are made and checked. A link needs no token: it is a secret, and valid until it expires."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import quote, urlencode

from airflow_provider_realtimekit.emulator.http import FILES_PATH
from airflow_provider_realtimekit.emulator.settings import Settings
from airflow_provider_realtimekit.emulator.world.models import Recording


class SignedLinks:
    """Makes and checks links with a key of its own, so that the links of another emulator are refused."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def create(self, recording: Recording, name: str) -> str:
        """Return the path and query of a link to a file of an uploaded recording."""
        issued, expires = self._issued_at(recording.uploaded_at or 0), self.expires_at(recording) or 0
        terms = {"Issued": f"{issued:.6f}", "Expires": f"{expires:.3f}"}
        query = urlencode({**terms, "Signature": self._signature(recording.id, name, terms)})
        return f"{FILES_PATH}/{recording.id}/{quote(name, safe='')}?{query}"

    def check(self, recording_id: str, name: str, query: Mapping[str, str]) -> Literal["valid", "expired", "forged"]:
        """Return whether a request for a file carries a valid link."""
        terms = {term: query.get(term, "") for term in ("Issued", "Expires")}
        if not hmac.compare_digest(self._signature(recording_id, name, terms), query.get("Signature", "")):
            return "forged"
        return "valid" if float(terms["Expires"]) > self._clock() else "expired"

    def expires_at(self, recording: Recording) -> float | None:
        """Return when a link that is made now expires; None before the recording is uploaded."""
        if recording.uploaded_at is None or recording.expires_at is None:
            return None
        # No link is valid after the bucket has deleted the file.
        return min(self._issued_at(recording.uploaded_at) + self._settings.link_seconds, recording.expires_at)

    def is_expired(self, recording: Recording) -> bool:
        """Return whether the links to the files of a recording have expired, as the filter `expired` means it."""
        expires_at = self.expires_at(recording)
        return expires_at is not None and expires_at <= self._clock()

    def is_file_deleted(self, recording: Recording) -> bool:
        """Return whether the bucket has deleted the files of a recording."""
        return recording.expires_at is not None and recording.expires_at <= self._clock()

    def _issued_at(self, uploaded_at: float) -> float:
        # It is not documented whether the API signs a link at each request or once: a setting decides.
        return uploaded_at if self._settings.keep_links else self._clock()

    def _signature(self, recording_id: str, name: str, terms: dict[str, str]) -> str:
        text = "\n".join((recording_id, name, *terms.values()))
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
