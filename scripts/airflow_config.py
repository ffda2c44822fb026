"""Settings and environment of a local Airflow: quick, on loopback, and not configured by the caller's own Airflow."""

from __future__ import annotations

import base64
import configparser
import os
import random
import secrets
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOST = "127.0.0.1"
# Linux and macOS use higher ports for outgoing connections.
PORTS = range(20_000, 32_000)
Settings = dict[str, dict[str, str]]

# Airflow's defaults are for a cluster. These intervals are shorter, for one person who waits for the result.
QUICK: Settings = {
    "scheduler": {
        "job_heartbeat_sec": "2",
        "scheduler_heartbeat_sec": "1",
        "scheduler_idle_sleep_time": "0.2",
        "trigger_timeout_check_interval": "1",
        "parsing_cleanup_interval": "600",
    },
    "dag_processor": {
        "min_file_process_interval": "20",
        "refresh_interval": "5",
        "bundle_refresh_check_interval": "1",
        "parsing_processes": "1",
    },
    "triggerer": {"job_heartbeat_sec": "1"},
    "core": {"min_serialized_dag_update_interval": "1"},
}


def find_free_port() -> int:
    """Return a free loopback port that no outgoing connection uses before Airflow listens on it."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def make_settings(dags: Path, port: int, parallelism: int) -> Settings:
    """Return the settings for the `airflow.cfg` of an Airflow that listens on `port`."""
    url = f"http://{HOST}:{port}"
    fixed: Settings = {
        "core": {
            "dags_folder": str(dags),
            "load_examples": "False",
            "executor": "LocalExecutor",
            "parallelism": str(parallelism),
            "simple_auth_manager_all_admins": "True",
            "execution_api_server_url": f"{url}/execution/",
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            # The default asks the name server for the machine's full name.
            "hostname_callable": "socket.gethostname",
        },
        "api": {"host": HOST, "port": str(port), "base_url": url, "secret_key": secrets.token_hex(32)},
        "api_auth": {"jwt_secret": secrets.token_hex(32)},
        "logging": {"colored_console_log": "False"},
        "usage_data_collection": {"enabled": "False"},
    }
    return {name: QUICK.get(name, {}) | fixed.get(name, {}) for name in QUICK | fixed}


def write_config(path: Path, settings: Settings) -> None:
    """Write `airflow.cfg`, readable by its owner only."""
    parser = configparser.RawConfigParser()
    parser.read_dict({name: _escaped(options) for name, options in settings.items()})
    # The file holds the keys of this Airflow.
    path.touch(mode=0o600)
    with path.open("w") as file:
        parser.write(file)


def make_environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of Airflow's processes: the caller's without settings of another Airflow, and `extra`."""
    inherited = {name: value for name, value in os.environ.items() if not _is_foreign(name)}
    own = {
        "AIRFLOW_HOME": str(home),
        "NO_COLOR": "1",
        # A proxy cannot connect to this machine's loopback.
        "NO_PROXY": "*",
        "no_proxy": "*",
        "PYTHONUNBUFFERED": "1",
        # The emulator shows a recording at once: a start need not wait for views that lag.
        "REALTIMEKIT_RIVAL_SECONDS": "0.2",
    }
    if sys.platform == "darwin":
        own["OBJC_DISABLE_INITIALIZE_FORK_SAFETY"] = "YES"
    return inherited | own | dict(extra)


def _escaped(options: Mapping[str, str]) -> dict[str, str]:
    return {name: value.replace("%", "%%") for name, value in options.items()}


def _is_foreign(name: str) -> bool:
    """Return whether a variable configures another Airflow, or makes Airflow think that pytest runs it."""
    return name.startswith(("AIRFLOW_", "_AIRFLOW_", "PYTEST_"))
