"""Load what lies among the example DAGs, as Airflow does: with their folder on the path."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "example_dags"


def load(name: str) -> Any:
    """Import a module of the examples."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    return import_module(name)
