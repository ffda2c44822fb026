"""What happens to each request: authentication, rate limit, faults, the route, and a record in the ledger."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_realtimekit.emulator.http import API_PATH, CONTROL_PATH, control_routes, routes
from airflow_provider_realtimekit.emulator.http.authentication import read_token
from airflow_provider_realtimekit.emulator.http.emulator import Emulator
from airflow_provider_realtimekit.emulator.http.errors import add_error_handlers, gateway_error_response
from airflow_provider_realtimekit.emulator.http.faults import ClientConnection, respond_with_fault
from airflow_provider_realtimekit.emulator.http.ledger import Ledger, LoggedRequest
from airflow_provider_realtimekit.emulator.http.rate_limit import RateLimitStatus


def create_app(emulator: Emulator) -> ASGIApp:
    """Return the emulator as an ASGI application."""
    # No redirects: Starlette would redirect from a path with an extra slash, but the API has no such route.
    app = FastAPI(title="RealtimeKit emulator", redirect_slashes=False, docs_url=None, redoc_url=None)
    app.state.emulator = emulator
    app.include_router(routes.router)
    app.include_router(control_routes.router)
    add_error_handlers(app, emulator.settings)
    return Gateway(app, emulator, (route for route in routes.router.routes if isinstance(route, Route)))


class Gateway:
    """The ASGI application around the routes. `routes` are those that are counted and can have faults."""

    def __init__(self, app: ASGIApp, emulator: Emulator, routes: Iterable[Route]) -> None:
        self._app = app
        self._emulator = emulator
        self._routes = tuple(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Those to the control routes skip all checks, faults and counts."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PATH):
            await self._app(scope, receive, send)
            return
        emulator, headers = self._emulator, Headers(scope=scope)
        operation, account_id = self._match(scope)
        responder: ASGIApp = self._app
        limit: RateLimitStatus | None = None
        is_api = scope["path"].startswith(API_PATH)
        if is_api:
            token = read_token(headers)
            limit = emulator.rate_limiter.count_request(token) if token else None
            if limit and limit.retry_after is not None:
                message = "Please wait and consider throttling your request speed"
                responder = gateway_error_response(429, 971, message)
            else:
                responder = emulator.tokens.refuse(token, operation, account_id) or responder
        logged = emulator.ledger.add_request(
            operation,
            scope["method"],
            scope["path"],
            # The query of a download is its signature, which is a secret.
            scope["query_string"].decode() if is_api else "",
            authorized="authorization" in headers,
            client="{}:{}".format(*scope["client"]) if scope.get("client") else None,
        )
        connection = _LoggedConnection(receive, send, limit, logged, emulator.ledger)
        if fault := emulator.faults.next_fault(operation):
            await respond_with_fault(fault, responder, scope, receive, connection)
        else:
            await responder(scope, receive, connection)

    def _match(self, scope: Scope) -> tuple[str, str | None]:
        """Return the operation and the account that a request is about."""
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                return route.name, found["path_params"].get("account_id")
        return "unknown", None


class _LoggedConnection(ClientConnection):
    """Adds the headers of the rate limit, and logs an answer before the client has it, so that tests can rely on it."""

    def __init__(
        self, receive: Receive, send: Send, limit: RateLimitStatus | None, logged: LoggedRequest, ledger: Ledger
    ) -> None:
        super().__init__(receive, send)
        self._headers = limit.headers() if limit else {}
        self._logged = logged
        self._ledger = ledger

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._ledger.add_response(self._logged, message["status"])
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                # A fault may bring rate limit headers of its own.
                headers.setdefault(name, value)
        await super().__call__(message)

    async def reset(self) -> None:
        """Break the connection."""
        self._ledger.add_response(self._logged, "reset")
        await super().reset()
