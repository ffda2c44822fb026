"""What stands before the operations: tokens, quota, unknown accounts, faults, and the ledger that sees it all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_realtimekit.emulator.http.emulator import Emulator
from airflow_provider_realtimekit.emulator.http.errors import gateway_error_response
from airflow_provider_realtimekit.emulator.http.faults import ClientConnection, respond_with_fault
from airflow_provider_realtimekit.emulator.http.ledger import Ledger, LoggedRequest
from airflow_provider_realtimekit.emulator.http.rate_limit import RateLimitStatus

API = "/client/v4"
CONTROL = "/_emulator"
_BEARER = "Bearer "


@dataclass(frozen=True)
class _Call:
    """A request, as far as the gateway looks at it."""

    operation: str
    account_id: str | None
    token: str | None
    is_api: bool


class Gateway:
    """An ASGI application around the one with the routes."""

    def __init__(self, app: ASGIApp, emulator: Emulator, routes: Iterable[Route]) -> None:
        self._app = app
        self._emulator = emulator
        self._routes = tuple(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; those that drive the emulator pass as they are."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self._app(scope, receive, send)
            return
        call = self._identify(scope)
        allowance = self._emulator.rate_limiter.count_request(call.token) if call.is_api and call.token else None
        answer = self._refusal(call, allowance) or self._app
        connection = _LoggedConnection(receive, send, allowance, self._open(call, scope), self._emulator.ledger)
        if fault := self._emulator.faults.next_fault(call.operation):
            await respond_with_fault(fault, answer, scope, receive, connection)
        else:
            await answer(scope, receive, connection)

    def _identify(self, scope: Scope) -> _Call:
        scheme_and_token = Headers(scope=scope).get("authorization", "")
        token = scheme_and_token.removeprefix(_BEARER) if scheme_and_token.startswith(_BEARER) else None
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                account_id = found["path_params"].get("account_id")
                return _Call(route.name, account_id, token, scope["path"].startswith(API))
        return _Call("unknown", None, token, scope["path"].startswith(API))

    def _open(self, call: _Call, scope: Scope) -> LoggedRequest:
        # The query of a download is its signature.
        query = scope["query_string"].decode() if call.is_api else ""
        authorized = "authorization" in Headers(scope=scope)
        client = "{}:{}".format(*scope["client"]) if scope.get("client") else None
        return self._emulator.ledger.add_request(
            call.operation, scope["method"], scope["path"], query, authorized=authorized, client=client
        )

    def _refusal(self, call: _Call, allowance: RateLimitStatus | None) -> ASGIApp | None:
        """Return the answer to a call that does not get through."""
        if not call.is_api:
            return None
        if not call.token:
            return gateway_error_response(401, 10001, "Unable to authenticate request")
        if allowance and allowance.retry_after is not None:
            return gateway_error_response(429, 971, "Please wait and consider throttling your request speed")
        state = self._emulator.tokens.get_state(call.token)
        if state == "refused":
            return gateway_error_response(401, 1000, "Invalid API Token")
        if state == "denied" and call.operation != "verify":
            return gateway_error_response(403, 10000, "Authentication error")
        if call.account_id and self._emulator.settings.account not in (None, call.account_id):
            return gateway_error_response(
                404, 7003, "Could not route to that account, perhaps its identifier is invalid?"
            )
        return None


class _LoggedConnection(ClientConnection):
    """The way to the client; it adds the gateway's headers, and the ledger hears of an answer before the client."""

    def __init__(
        self, receive: Receive, send: Send, allowance: RateLimitStatus | None, entry: LoggedRequest, ledger: Ledger
    ) -> None:
        super().__init__(receive, send)
        self._headers = allowance.headers() if allowance else {}
        self._entry = entry
        self._ledger = ledger

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._ledger.add_response(self._entry, message["status"])
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        await super().__call__(message)

    async def reset(self) -> None:
        """Break the connection."""
        self._ledger.add_response(self._entry, "reset")
        await super().reset()
