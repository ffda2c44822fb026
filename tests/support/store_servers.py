"""Servers of real stores on loopback; each stops at the end of its ``with`` block."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[None]:
    """Run a server during the block, which begins when the server listens."""
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            deadline = time.monotonic() + 60
            while not listens(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                threading.Event().wait(0.05)
            yield
        finally:
            process.terminate()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def azurite(folder: Path) -> Iterator[int]:
    """Run Azurite, Microsoft's emulator of Azure's blob storage, and yield its port."""
    port = free_port()
    command = [
        *os.environ["REALTIMEKIT_AZURITE"].split(),
        *("--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder), "--skipApiVersionCheck"),
    ]
    with running(command, port, folder / "log"):
        yield port


@contextmanager
def sshd(folder: Path) -> Iterator[tuple[int, Path]]:
    """Run OpenSSH's server for this user only, and yield its port and the user's private key."""
    port = free_port()
    for name in ("host", "user"):
        make_key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(make_key, check=True)
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        f"AllowUsers {getpass.getuser()}\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n"
        "PasswordAuthentication no\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd needs this folder for privilege separation
    with running(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], port, folder / "log"):
        yield port, folder / "user"
