"""The command line: `python -m airflow_provider_realtimekit.emulator`. Every setting is an option."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from airflow_provider_realtimekit import emulator
from airflow_provider_realtimekit.emulator.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM, and return the exit status."""
    parser = _create_parser()
    options = vars(parser.parse_args(arguments))
    host, port, state = options.pop("host"), options.pop("port"), options.pop("state")
    try:
        settings = Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        parser.error(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}")
    try:
        _serve(settings, host, port, state)
    except (ImportError, OSError, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _serve(settings: Settings, host: str, port: int, state: Path | None) -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # The package imports the server when it is first named: --help answers at once, and `main` can report that
    # an extra is not installed.
    with emulator.EmulatorServer(settings, host=host, port=port, state_path=state) as server:
        # Scripts read the address from this line.
        print(f"RealtimeKit emulator listens on {server.base_url}", flush=True)  # noqa: T201
        stop.wait()


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_realtimekit.emulator",
        description="Serve a local RealtimeKit: its recordings API, meetings and files. Ctrl-C ends it.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8787, help="0 picks a free one (default: 8787)")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="load meetings, recordings and ledger from this file at the start, and save them there at the end",
    )
    for name, field in Settings.model_fields.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **_option(name, field))
    return parser


def _option(name: str, field: FieldInfo) -> dict[str, Any]:
    # None means the model's default.
    option: dict[str, Any] = {"dest": name, "default": None, "help": field.description}
    if isinstance(field.default, bool):
        return option | {"action": "store_true"}
    if isinstance(field.default, list):
        return option | {"action": "append", "metavar": "X"}
    default = "" if field.default is None else f" (default: {field.default})"
    return option | {"metavar": "X", "help": f"{field.description}{default}"}


if __name__ == "__main__":
    sys.exit(main())
