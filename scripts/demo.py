"""`make demo` and `make ui`: real Airflow records a meeting with the emulator, and shows how it goes."""

from __future__ import annotations

import argparse
import fcntl
import signal
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

FOLDER = Path(".demo")


def main() -> int:
    """Run the demo, and return the exit code."""
    _catch_signals()
    parser = argparse.ArgumentParser(description="Record a meeting with real Airflow and an emulated RealtimeKit.")
    parser.add_argument("--stay", action="store_true", help="keep Airflow up until Ctrl-C")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where everything goes (%(default)s)")
    arguments = parser.parse_args()
    with _alone(arguments.folder):
        return _run(arguments.stay, arguments.folder.resolve())


def _run(stay: bool, folder: Path) -> int:
    # Imported here: main() has set the signal handlers, so a signal during these imports shows no traceback.
    import httpx

    from scripts.demo_run import Demo
    from scripts.processes import ProcessDiedError, signals_held
    from scripts.progress import ProgressPrinter

    demo = Demo(ProgressPrinter(), folder)
    try:
        return 0 if demo.run(stay) else 1
    except (httpx.HTTPError, ProcessDiedError, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    finally:
        with signals_held():
            with suppress(OSError):
                print("Stopping...", flush=True)
            demo.stop()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder, and exit if another demo has locked it."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"A demo is already running in {folder}. Stop it, or use --folder.") from None
        yield


def _catch_signals() -> None:
    # A shell makes background processes ignore SIGINT, which is undone here. A SIGHUP that nohup ignores stays ignored.
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
