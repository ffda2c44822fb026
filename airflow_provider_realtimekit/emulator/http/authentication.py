"""Which requests the gateway accepts: the checks of the API token, its permission and the account."""

from __future__ import annotations

from typing import Literal

from starlette.datastructures import Headers
from starlette.responses import Response

from airflow_provider_realtimekit.emulator.http.errors import gateway_error_response
from airflow_provider_realtimekit.emulator.settings import Settings

#: `denied` tokens are valid but lack the permission; `refused` ones are not valid.
TokenState = Literal["active", "denied", "refused"]

_BEARER = "Bearer "


def read_token(headers: Headers) -> str | None:
    """Return the API token of a request, or None if it carries none."""
    value = headers.get("authorization", "")
    # An empty token counts as none.
    return value.removeprefix(_BEARER) or None if value.startswith(_BEARER) else None


class Tokens:
    """Decides which tokens are valid: those of the settings, unless a test has set the state of a token."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._states: dict[str, TokenState] = {}

    def set_state(self, token: str, state: TokenState) -> None:
        """Set the state of one token, instead of the one in the settings."""
        self._states[token] = state

    def reset(self) -> None:
        """Return to the settings."""
        self._states.clear()

    def refuse(self, token: str | None, operation: str, account_id: str | None) -> Response | None:
        """Return the error answer to a request that must not reach the API, or None."""
        if token is None:
            return gateway_error_response(401, 10001, "Unable to authenticate request")
        state = self._state_of(token)
        if state == "refused":
            return gateway_error_response(401, 1000, "Invalid API Token")
        # The token check needs no permission: it returns only whether the token is valid.
        if state == "denied" and operation != "verify":
            return gateway_error_response(403, 10000, "Authentication error")
        if account_id and self._settings.account not in (None, account_id):
            message = "Could not route to that account, perhaps its identifier is invalid?"
            return gateway_error_response(404, 7003, message)
        return None

    def _state_of(self, token: str) -> TokenState:
        if token in self._states:
            return self._states[token]
        if token in self._settings.denied_token:
            return "denied"
        return "active" if self._settings.token in (None, token) else "refused"
