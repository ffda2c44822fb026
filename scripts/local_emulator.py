"""The RealtimeKit emulator as a process of its own, with a client for its control routes."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx

from scripts.airflow_config import HOST, find_free_port, make_environment
from scripts.processes import Children, Server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ADDRESS = re.compile(r"listens on (http://[^\s/]+)(\S*)\n")
START_SECONDS = 30.0
CHECK_INTERVAL = 0.05


class LocalEmulator(Server):
    """An emulator on a free loopback port, with these arguments of its command line."""

    def __init__(self, folder: Path, arguments: Sequence[str] = ()) -> None:
        self.base_url = ""
        self.control = httpx.Client(trust_env=False, timeout=30.0)
        self._port = find_free_port()
        self._folder = folder.resolve()
        self._arguments = arguments
        self._children = Children(self._folder)

    def start_and_wait(self) -> None:
        """Start the emulator, and wait until it prints its address."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._children.log("emulator").unlink(missing_ok=True)
        module = "airflow_provider_realtimekit.emulator"
        command = [sys.executable, "-m", module, "--host", HOST, "--port", str(self._port), *self._arguments]
        self._children.start("emulator", command, make_environment(self._folder, {}))
        root, path = self._wait_for_address()
        self.base_url = root + path
        self.control.base_url = httpx.URL(f"{root}/_emulator/")

    def interrupt(self) -> None:
        """End the emulator. It can be started again on the same port; with `--state` it still has its recordings."""
        self._children.stop()

    def stop(self) -> None:
        """End the emulator. May be called at any time and repeatedly."""
        self.control.close()
        self._children.stop()

    def connection(self, account_id: str, app_id: str, token: str) -> str:
        """Return the Airflow connection to this emulator as JSON, for a variable `AIRFLOW_CONN_…`."""
        fields: dict[str, Any] = {
            "conn_type": "realtimekit",
            "host": self.base_url,
            "login": account_id,
            "password": token,
            "extra": {"app_id": app_id},
        }
        return json.dumps(fields)

    def _wait_for_address(self) -> tuple[str, str]:
        deadline = time.monotonic() + START_SECONDS
        while not (found := ADDRESS.search(self._children.log("emulator").read_text())):
            self._children.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the emulator did not print its address within {START_SECONDS:g} s")
            time.sleep(CHECK_INTERVAL)
        return found[1], found[2]
