"""Signed download links, as object stores make them: whoever holds one may read the file until it expires."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import quote, urlencode

from airflow_provider_realtimekit.emulator.settings import Settings
from airflow_provider_realtimekit.emulator.world.models import Recording

FILES = "/files"


class SignedLinks:
    """Signs links and checks them."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def expiry(self, recording: Recording) -> float | None:
        """Return when a link that is handed out now dies; None before there are any files."""
        if recording.uploaded_at is None or recording.expires_at is None:
            return None
        return min(self._issued(recording.uploaded_at) + self._settings.link_seconds, recording.expires_at)

    def is_expired(self, recording: Recording) -> bool:
        """Return whether a recording has files that cannot be had any more."""
        expiry = self.expiry(recording)
        return expiry is not None and expiry <= self._clock()

    def is_file_deleted(self, recording: Recording) -> bool:
        """Return whether the bucket has deleted the files of a recording."""
        return recording.expires_at is not None and recording.expires_at <= self._clock()

    def sign(self, recording: Recording, name: str) -> str:
        """Return path and query of a link to a file of an uploaded recording."""
        path = f"{FILES}/{recording.id}/{quote(name, safe='')}"
        issued, expires = self._issued(recording.uploaded_at or 0), self.expiry(recording) or 0
        terms = {"Issued": f"{issued:.6f}", "Expires": f"{expires:.3f}"}
        signature = self._signature(recording.id, name, terms)
        return f"{path}?{urlencode({**terms, 'Signature': signature})}"

    def check(self, recording_id: str, name: str, query: Mapping[str, str]) -> Literal["valid", "expired", "forged"]:
        """Tell whether a request for a file carries a good link."""
        terms = {term: query.get(term, "") for term in ("Issued", "Expires")}
        if not hmac.compare_digest(self._signature(recording_id, name, terms), query.get("Signature", "")):
            return "forged"
        return "valid" if float(terms["Expires"]) > self._clock() else "expired"

    def _issued(self, uploaded_at: float) -> float:
        return uploaded_at if self._settings.keep_links else self._clock()

    def _signature(self, recording_id: str, name: str, terms: dict[str, str]) -> str:
        text = "\n".join((recording_id, name, *terms.values()))
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
