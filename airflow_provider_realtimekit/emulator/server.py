"""The emulator behind a socket, in a thread of this process."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

import uvicorn

from airflow_provider_realtimekit.emulator.http.app import create_app
from airflow_provider_realtimekit.emulator.http.emulator import Emulator
from airflow_provider_realtimekit.emulator.http.gateway import API
from airflow_provider_realtimekit.emulator.settings import Settings

_START_SECONDS = 30.0
_GRACE_SECONDS = 1


class EmulatorServer(Emulator):
    """An emulator that listens while its `with` block lasts; port 0 picks a free one."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings, clock)
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._server = uvicorn.Server(_configuration(self))

    @property
    def url(self) -> str:
        """Where it listens; the control API is below.

        :raises RuntimeError: outside the `with` block, where there is no socket
        """
        if self._socket is None:
            raise RuntimeError(
                "The emulator has no address because it does not listen: "
                "read it inside `with EmulatorServer(...) as emulator:`"
            )
        host, port = self._socket.getsockname()
        return f"http://{host}:{port}"

    @property
    def base_url(self) -> str:
        """Where the API begins: what a Connection has as its host."""
        return self.url + API

    def connection_json(
        self, *, account_id: str | None = None, app_id: str | None = None, token: str | None = None
    ) -> str:
        """Return an Airflow Connection to this server, as an `AIRFLOW_CONN_...` variable has it."""
        return json.dumps(
            {
                "conn_type": "realtimekit",
                "host": self.base_url,
                "login": account_id or self.settings.account or "account",
                "password": token or self.settings.token or "token",
                "extra": {"app_id": app_id or self.settings.app or "app"},
            }
        )

    def __enter__(self) -> Self:
        self._socket = socket.create_server(self._address, backlog=1024)
        # A daemon, so that a test that never leaves the block cannot keep its process alive.
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError("The emulator did not start")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        if self._socket:
            self._socket.close()
            self._socket = None
        self.close()


def _configuration(emulator: Emulator) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(emulator),
        log_config=None,
        # The loggers are those of the whole process, and whoever sets up logging next turns them on again.
        access_log=False,
        log_level="warning",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
