"""Let functions that read and write local files work on files in any storage that Airflow knows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")
CHUNK_BYTES = 1 << 20


def process_file(path: str, name: str, process: Callable[[Path, Path], Result]) -> Result:
    """Run `process` on a file, and store what it writes beside the file.

    :param path: a file in object storage, such as `s3://conn_id@bucket/folder/talk.mp4`, or a local one
    :param name: the name of the new file; an older one of that name is replaced
    :param process: is called with a local copy of the file and a local path; it may write to that path, or not
    :returns: what `process` returns
    """
    from airflow.sdk import ObjectStoragePath

    source = ObjectStoragePath(path)
    with tempfile.TemporaryDirectory() as inputs, tempfile.TemporaryDirectory() as outputs:
        if source.protocol in ("", "file"):
            local = Path(source.path)  # a recording may be large, so a local one is not copied
        else:
            local = Path(inputs, source.name)
            with source.open("rb") as remote, local.open("wb") as copy:
                shutil.copyfileobj(remote, copy, CHUNK_BYTES)
        written = Path(outputs, name)
        result = process(local, written)
        if written.exists():
            with written.open("rb") as content, (source.parent / name).open("wb") as target:
                shutil.copyfileobj(content, target, CHUNK_BYTES)
    return result
