"""PostgreSQL and Redis for one test: on free loopback ports, with a password, and with data that is deleted."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.airflow_config import HOST, find_free_port
from scripts.processes import Children, Server

if TYPE_CHECKING:
    from collections.abc import Callable

START_SECONDS = 60.0
CHECK_INTERVAL = 0.1
# PostgreSQL refuses to run as root. If root starts the tests, PostgreSQL runs as this user.
UNPRIVILEGED_USER = "postgres"
# Debian installs PostgreSQL's server here, outside the PATH.
POSTGRES_FOLDERS = "/usr/lib/postgresql"
POSTGRES_OPTIONS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "300",
    # The data need not survive a crash of the machine, so nothing is flushed to the disk.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


class MissingProgramError(RuntimeError):
    """A program that is needed is not installed."""


class Services(Server):
    """One PostgreSQL and one Redis."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="realtimekit-services-"))
        self._children = Children(self._folder)
        self._password = secrets.token_hex(16)
        self._postgres_port = find_free_port()
        self._redis_port = find_free_port()

    def start_and_wait(self) -> None:
        """Start both."""
        self.start_postgres()
        self.start_redis()

    @property
    def database(self) -> str:
        """The address of the empty database, without the scheme."""
        return f"postgres:{self._password}@{HOST}:{self._postgres_port}/postgres"

    @property
    def broker(self) -> str:
        """The address of the Redis."""
        return f"redis://:{self._password}@{HOST}:{self._redis_port}/0"

    def start_postgres(self) -> None:
        """Create a new database, and start its server."""
        data = self._folder / "postgres"
        data.mkdir(mode=0o700)
        password = self._secret_file("postgres.password", f"{self._password}\n")
        if other := _other_user():
            self._folder.chmod(0o711)
            for path in (data, password):
                os.chown(path, other.pw_uid, other.pw_gid)
        subprocess.run(
            [
                *_as_other_user(find_program("initdb", POSTGRES_FOLDERS)),
                *("-D", data, "-U", "postgres", "--auth", "scram-sha-256", "--pwfile", password),
                *("--encoding", "UTF8", "--no-locale", "--no-sync"),
            ],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
        )
        options = [f"--{name}={value}" for name, value in POSTGRES_OPTIONS.items()]
        server = _as_other_user(find_program("postgres", POSTGRES_FOLDERS))
        command = [*server, "-D", str(data), "-p", str(self._postgres_port), *options]
        self._children.start("postgres", command, os.environ)
        self._wait_for("postgres", self._postgres_answers)

    def start_redis(self) -> None:
        """Start Redis with the data that it had when it was stopped."""
        config = self._secret_file(
            "redis.conf",
            f"bind {HOST}\nport {self._redis_port}\nrequirepass {self._password}\n"
            f'dir "{self._folder}"\nappendonly yes\nappendfsync everysec\n',
        )
        self._children.start("redis", [find_program("redis-server"), str(config)], os.environ)
        self._wait_for("redis", self._redis_answers)

    def stop_redis(self) -> None:
        """Stop Redis. Its data stays on the disk."""
        self._children.stop("redis")

    def stop(self) -> None:
        """Stop both, and delete their data."""
        self._children.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _secret_file(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    # The clients are imported where they are used: pytest imports this module to collect the tests, also where the
    # dependency group `system` is not installed.
    def _postgres_answers(self) -> bool:
        import psycopg2

        with suppress(psycopg2.OperationalError):
            psycopg2.connect(f"postgresql://{self.database}").close()
            return True
        return False

    def _redis_answers(self) -> bool:
        import redis

        with suppress(redis.RedisError), redis.Redis.from_url(self.broker) as client:
            return bool(client.ping())
        return False

    def _wait_for(self, name: str, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            self._children.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} does not answer:\n{self._children.log_tail(name)}")
            time.sleep(CHECK_INTERVAL)


def find_program(name: str, elsewhere: str = "") -> str:
    """Return the path of a program on the PATH, or else of its newest version below the folder `elsewhere`."""
    found = shutil.which(name)
    versions = sorted(Path(elsewhere).glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3])) if elsewhere else []
    if not found and not versions:
        raise MissingProgramError(f"{name} is not installed: run scripts/install_services.sh")
    return found or str(versions[-1])


def _other_user() -> pwd.struct_passwd | None:
    """Return the user that PostgreSQL runs as, or `None` if that is the current user."""
    return None if os.getuid() else pwd.getpwnam(UNPRIVILEGED_USER)


def _as_other_user(program: str) -> list[str]:
    if other := _other_user():
        change = ["--reuid", str(other.pw_uid), "--regid", str(other.pw_gid), "--clear-groups", "--"]
        return [find_program("setpriv"), *change, program]
    return [program]
