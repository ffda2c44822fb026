"""The folder of examples is parsed without errors in any place, and its package is not parsed as DAGs."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.support.examples import EXAMPLES, PACKAGE, copy_examples, parse_dags

DAG_IDS = {path.stem for path in EXAMPLES.glob("example_*.py")}


@pytest.mark.parametrize("place", [".", "team/example_dags", "my-team/examples of 2026"])
def test_the_folder_works_in_any_place(tmp_path: Path, place: str) -> None:
    # As the DAGs folder and below it, and in a folder whose name Python cannot import.
    dags_folder = tmp_path / "dags"
    copy = copy_examples(dags_folder / place)
    parsed = parse_dags(dags_folder)
    assert parsed.errors == {}, place
    assert set(parsed.dags) == DAG_IDS, place
    foreign = [file for file in parsed.package if not Path(file).is_relative_to(copy / PACKAGE.name)]
    assert parsed.package, f"{place}: no DAG imports the package"
    assert foreign == [], f"{place}: the package was imported from elsewhere"


@pytest.mark.parametrize("syntax", ["glob", "regexp"])
def test_the_package_is_not_parsed_as_dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX", syntax)
    copy = copy_examples(tmp_path / "dags" / "team" / "example_dags")
    parsed = parse_dags(tmp_path / "dags")
    assert sorted(parsed.files) == sorted(str(path) for path in copy.glob("example_*.py")), syntax


def test_without_the_ignore_file_the_package_would_be_parsed(tmp_path: Path) -> None:
    # Shows that the test above can fail.
    copy = copy_examples(tmp_path / "dags")
    (copy / ".airflowignore").unlink()
    assert {file for file in parse_dags(copy).files if PACKAGE.name in file}, "none was parsed"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_importing_the_package_imports_no_large_library(path: Path) -> None:
    # DAG files import the package when they are parsed, so its functions import the large libraries.
    text = path.read_text()
    assert "pyplot" not in text, f"{path.name}: the state of pyplot is global"
    imported = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(node.module or "")
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names, path.name


@pytest.mark.parametrize(
    "path",
    [path for path in PACKAGE.glob("*.py") if path.name not in ("__init__.py", "object_storage.py")],
    ids=lambda path: path.name,
)
def test_only_one_module_of_the_package_knows_airflow(path: Path) -> None:
    assert "airflow" not in path.read_text().lower(), path.name


def test_the_quickstart_is_short_and_comes_first() -> None:
    lines = (EXAMPLES / "example_quickstart.py").read_text().splitlines()
    assert len(lines) <= 40, "the first example that a user reads must be short"
    listed = re.findall(r"^\| \[`(.*?)`\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert listed[0] == "example_quickstart.py"
    assert {name.removesuffix(".py") for name in listed} == DAG_IDS | {f"{PACKAGE.name}/"}


def test_the_readme_shows_the_quickstart_as_it_is() -> None:
    # So the tests run the first DAG that a reader copies.
    readme = (EXAMPLES.parent / "README.md").read_text()
    assert f"```python\n{(EXAMPLES / 'example_quickstart.py').read_text()}```" in readme
