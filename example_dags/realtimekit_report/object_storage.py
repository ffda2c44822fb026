"""Lend files of object storage to what can only read and write local ones."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def local_copy(path: str) -> Iterator[Path]:
    """Lend a local copy of a file, or the file itself where it is local."""
    from airflow.sdk import ObjectStoragePath

    source = ObjectStoragePath(path)
    if source.protocol in ("", "file"):
        yield Path(source.path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, source.name)
        with source.open("rb") as remote, copy.open("wb") as local:
            shutil.copyfileobj(remote, local, 1 << 20)
        yield copy


@contextmanager
def beside(path: str, name: str) -> Iterator[Path]:
    """Lend a local path to write to, and put what was written beside ``path``, wherever that is."""
    from airflow.sdk import ObjectStoragePath

    target = ObjectStoragePath(path).parent / name
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, name)
        yield local
        if local.exists():
            with local.open("rb") as written, target.open("wb") as remote:
                shutil.copyfileobj(written, remote, 1 << 20)
