"""The emulator as an HTTP server, in a thread of this process."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import uvicorn

from airflow_provider_realtimekit.emulator import state_file
from airflow_provider_realtimekit.emulator.http import API_PATH
from airflow_provider_realtimekit.emulator.http.app import create_app
from airflow_provider_realtimekit.emulator.http.emulator import Emulator
from airflow_provider_realtimekit.emulator.settings import Settings

_START_SECONDS = 30.0
# Open requests have this many seconds to end when the server stops.
_GRACE_SECONDS = 1


class EmulatorServer(Emulator):
    """An emulator that listens during its `with` block.

    :param settings: default: those of `Settings()`
    :param port: 0 picks a free one
    :param clock: the present time, in seconds since the epoch
    :param state_path: a file to load the state from and to save it to; default: the state is lost
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.time,
        state_path: Path | None = None,
    ) -> None:
        super().__init__(settings, clock)
        self._address = (host, port)
        self._state_path = state_path
        self._socket: socket.socket | None = None
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(self),
                # uvicorn must not configure the loggers of the process that it runs in. The level and the access log
                # are off besides, because Airflow's configuration would turn uvicorn's loggers on again.
                log_config=None,
                access_log=False,
                log_level="warning",
                lifespan="off",
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )

    @property
    def url(self) -> str:
        """The address of the server, below which the control routes are.

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
        """The address of the API, which is the host of a connection.

        :raises RuntimeError: outside the `with` block, where there is no socket
        """
        return self.url + API_PATH

    def connection_json(
        self, *, account_id: str | None = None, app_id: str | None = None, token: str | None = None
    ) -> str:
        """Return an Airflow connection to this server, as an `AIRFLOW_CONN_...` variable holds it.

        :raises RuntimeError: outside the `with` block, where there is no address
        """
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
        if self._state_path:
            state_file.load(self, self._state_path)
        self._socket = socket.create_server(self._address, backlog=1024)
        # A daemon, so that the process ends even if a test never leaves the block.
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self._stop()
                self.close()
                raise RuntimeError(f"The emulator did not start within {_START_SECONDS:g} s")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        try:
            if self._state_path:
                # Before `close`, which stops the encoder: a recording whose time is up must still get its files.
                state_file.save(self, self._state_path)
        finally:
            self.close()

    def _stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        if self._socket:
            self._socket.close()
            self._socket = None
