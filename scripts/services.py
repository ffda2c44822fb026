"""PostgreSQL and Redis for one test: on free ports of the loopback, with a password, gone with their folder."""

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
from typing import TYPE_CHECKING, Self

from scripts.airflow_config import HOST, find_free_port
from scripts.processes import Children

if TYPE_CHECKING:
    from collections.abc import Callable

START_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 0.1
# Who runs PostgreSQL where root starts it, which it refuses to be.
UNPRIVILEGED_USER = "postgres"
# Where Debian puts what is on no PATH.
POSTGRES_FOLDERS = "/usr/lib/postgresql"
POSTGRES_OPTIONS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "300",
    # What a crash of the machine would lose is of no use after it.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


class MissingProgramError(RuntimeError):
    """A program that is needed is not installed."""


class Services:
    """One PostgreSQL and one Redis."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="realtimekit-services-"))
        self._children = Children(self._folder)
        self._password = secrets.token_hex(16)
        self._postgres_port = find_free_port()
        self._redis_port = find_free_port()

    def __enter__(self) -> Self:
        try:
            self.start_postgres()
            self.start_redis()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def database(self) -> str:
        """The empty database's address, less the scheme."""
        return f"postgres:{self._password}@{HOST}:{self._postgres_port}/postgres"

    @property
    def broker(self) -> str:
        """The address of the Redis."""
        return f"redis://:{self._password}@{HOST}:{self._redis_port}/0"

    def start_postgres(self) -> None:
        """Make a new database, and serve it."""
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
        """Serve a Redis with what an earlier one kept."""
        config = self._secret_file(
            "redis.conf",
            f"bind {HOST}\nport {self._redis_port}\nrequirepass {self._password}\n"
            f'dir "{self._folder}"\nappendonly yes\nappendfsync everysec\n',
        )
        self._children.start("redis", [find_program("redis-server"), str(config)], os.environ)
        self._wait_for("redis", self._redis_answers)

    def stop_redis(self) -> None:
        """Stop the Redis, which keeps what it holds."""
        self._children.stop("redis")

    def close(self) -> None:
        """End both, and forget all that they held."""
        self._children.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _secret_file(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

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
            time.sleep(LOOK_AGAIN_SECONDS)


def find_program(name: str, elsewhere: str = "") -> str:
    """Give the path of a program, the newest version of those `elsewhere` if the PATH has none."""
    found = shutil.which(name)
    versions = sorted(Path(elsewhere).glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3])) if elsewhere else []
    if not found and not versions:
        raise MissingProgramError(f"{name} is not installed; scripts/install_services.sh says how it gets here")
    return found or str(versions[-1])


def _other_user() -> pwd.struct_passwd | None:
    """Give the user to run as, unless it is the one that runs this."""
    return None if os.getuid() else pwd.getpwnam(UNPRIVILEGED_USER)


def _as_other_user(program: str) -> list[str]:
    if other := _other_user():
        change = ["--reuid", str(other.pw_uid), "--regid", str(other.pw_gid), "--clear-groups", "--"]
        return [find_program("setpriv"), *change, program]
    return [program]
