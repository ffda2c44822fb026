"""What each room of the emulator may import, in any place of its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import airflow_provider_realtimekit

PACKAGE = "airflow_provider_realtimekit"
EMULATOR = f"{PACKAGE}.emulator"
ROOT = Path(airflow_provider_realtimekit.__file__).parent

#: For each room, the beginnings of the names that its modules must not import.
FORBIDDEN = {
    "world": (f"{EMULATOR}.http", f"{EMULATOR}.server", "fastapi", "starlette", "uvicorn", "httpx"),
    "media": (f"{EMULATOR}.http", f"{EMULATOR}.world", f"{EMULATOR}.server", "fastapi", "starlette"),
    "http": (f"{EMULATOR}.server", f"{EMULATOR}.fixtures", f"{EMULATOR}.__main__", "uvicorn"),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted((ROOT / "emulator").rglob("*.py"))}


def imports(module: str) -> Iterator[str]:
    """Yield the modules that a module imports; `from a import b` counts as `a.b` where that is a module of ours."""
    for node in ast.walk(ast.parse(SOURCES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}, line {node.lineno}: imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in SOURCES else str(node.module)


def begins_with(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def test_the_sources_are_found() -> None:
    assert {f"{EMULATOR}.{room}" for room in FORBIDDEN} <= set(SOURCES)


@pytest.mark.parametrize(
    ("room", "module"),
    [(room, module) for room in FORBIDDEN for module in SOURCES if begins_with(module, f"{EMULATOR}.{room}")],
)
def test_a_room_imports_only_what_it_may(room: str, module: str) -> None:
    wrong = [name for name in imports(module) if any(begins_with(name, prefix) for prefix in FORBIDDEN[room])]
    assert wrong == [], f"{module} is in {room}/ and must not import these"


@pytest.mark.parametrize("module", SOURCES)
def test_the_emulator_imports_nothing_of_the_rest_of_the_package(module: str) -> None:
    ours = [name for name in imports(module) if begins_with(name, PACKAGE)]
    assert [name for name in ours if not begins_with(name, EMULATOR)] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: {name for name in imports(module) if name in SOURCES} for module in SOURCES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))
