"""The link to a file, asked for anew when it is refused or about to expire."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pendulum
    from pydantic import SecretStr

# A link that dies sooner is not begun with: the host may check it at the start only, but clocks differ.
_MARGIN_SECONDS = 60.0


class Signed(NamedTuple):
    """A link as the API gave it, and what it said of the file."""

    url: SecretStr
    expiry: pendulum.DateTime | None
    announced: int | None


class Link:
    """A link that renews itself; safe to share between threads.

    :param renew: asks the API for the file's link; raises when there is none any more
    :param signed: the link to begin with
    """

    def __init__(self, renew: Callable[[], Signed], signed: Signed) -> None:
        self._renew = renew
        self._signed = signed
        self._age = 0
        self._lock = Lock()
        self._asked_at_expiry: float | None = None

    @property
    def announced(self) -> int | None:
        """The size in bytes that the API announced last, if it did."""
        return self._signed.announced

    def current(self) -> tuple[str, int]:
        """Return the link to use now, and its age to name it by should it be refused."""
        with self._lock:
            if self._is_dying():
                self._replace()
            return self._signed.url.get_secret_value(), self._age

    def refuse(self, age: int) -> None:
        """Have the link renewed, unless somebody has done so since."""
        with self._lock:
            if age == self._age:
                self._replace()

    def refresh(self) -> None:
        """Hear what the API says of the file now."""
        with self._lock:
            self._replace()

    def _is_dying(self) -> bool:
        expiry = self._signed.expiry
        if expiry is None or expiry.timestamp() - time.time() > _MARGIN_SECONDS:
            return False
        # Some links cannot be renewed: one with the same expiry is asked for once only.
        return self._asked_at_expiry != expiry.timestamp()

    def _replace(self) -> None:
        self._signed = self._renew()
        self._age += 1
        expiry = self._signed.expiry
        self._asked_at_expiry = expiry.timestamp() if expiry else None
