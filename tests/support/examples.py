"""Helpers for the tests of the examples: their folder, how Airflow parses it, and the pages that they write."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "example_dags"
PACKAGE = EXAMPLES / "realtimekit_report"

# Run in a process of its own, because Python caches the modules that one copy of the folder imports.
_PARSE = """
import json, sys
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag

bag = BundleDagBag(sys.argv[1], bundle_path=Path(sys.argv[1]), bundle_name="examples", safe_mode=False)
named = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
print("PARSED", json.dumps({
    "dags": {dag_id: dag.relative_fileloc for dag_id, dag in bag.dags.items()},
    "errors": bag.import_errors,
    # Airflow gives each file that it parses a module name with this prefix.
    "files": [file for name, file in named.items() if name.startswith("unusual_prefix_")],
    "package": [file for name, file in named.items() if name.partition(".")[0] == sys.argv[2]],
}))
"""


@dataclass(frozen=True)
class Parsed:
    """What Airflow found in a DAGs folder, with paths as strings.

    `dags` maps ids to files, and `errors` maps files to import errors. `files` were parsed as DAG files, and `package`
    are the imported modules of the examples' package.
    """

    dags: dict[str, str]
    errors: dict[str, str]
    files: list[str]
    package: list[str]


def copy_examples(folder: Path) -> Path:
    """Copy the folder of the examples to `folder`, which must not exist, and return it."""
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def parse_dags(dags_folder: Path) -> Parsed:
    """Parse a DAGs folder as the DAG processor and the task runner do, with only its root on `sys.path`.

    Unlike there, files without the words "airflow" and "dag" are parsed, too.
    """
    command = [sys.executable, "-c", _PARSE, str(dags_folder), PACKAGE.name]
    # In the project's folder, so that this copy of the provider is imported.
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, f"parsing {dags_folder} failed:\n{ended.stderr}"
    (line,) = (line for line in ended.stdout.splitlines() if line.startswith("PARSED "))
    return Parsed(**json.loads(line.removeprefix("PARSED ")))


# A meeting's title or a participant's name that would inject HTML into a page.
HOSTILE = """</title><script>alert("1")</script><img src=x onerror='alert(2)'> &amp;"""


class Page(HTMLParser):
    """A page of HTML: its tags with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        """Return the attributes of all tags of a name."""
        return [attrs for tag, attrs in self.tags if tag == name]

    def links(self) -> list[str]:
        """Return the addresses that the page links or embeds."""
        return [link for _, attrs in self.tags for key in ("href", "src") if (link := attrs.get(key))]


def make_voice(
    speaker: str, *turns: tuple[float, float], started: int | None = None, seconds: float = 60.0
) -> dict[str, Any]:
    """Make a voice as the examples measure it.

    :param turns: the spans of talk, in seconds
    :param started: the second of a minute at which its track starts; None if that is unknown
    """
    return {
        "speaker": speaker,
        "started_at": None if started is None else f"2026-11-20T14:00:{started:02}.000Z",
        "wav": f"speaker_{speaker}.wav",
        "seconds": seconds,
        "peaks": [0.1, 0.5, 0.0, 0.25],
        "turns": [list(turn) for turn in turns],
    }


def states_of(run: Any) -> dict[str, str]:
    """Return the states of a DAG run's tasks by their ids."""
    return {instance.task_id: str(instance.state) for instance in run.get_task_instances()}


def result_of(run: Any, task_id: str) -> Any:
    """Return what a task of a DAG run returned."""
    return run.get_task_instance(task_id).xcom_pull(task_ids=task_id)
