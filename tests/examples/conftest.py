"""Test recordings for the reports, and Airflow's database."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.utils.db import initdb

from tests.support.example_media import MakeMedia, Recipe, make_media


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> MakeMedia:
    """Return a function that makes a recording; each is made once for all tests."""
    folder = tmp_path_factory.mktemp("media")

    def make(recipe: Recipe) -> Path:
        path = folder / recipe.name
        return path if path.exists() else make_media(folder, recipe)

    return make


@pytest.fixture(scope="session")
def database() -> None:
    """Create Airflow's database, for DAG runs in this process."""
    initdb()
