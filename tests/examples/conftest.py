"""Recordings to make reports of, and Airflow's database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.example_media import MakeMedia, Recipe, make_media


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> MakeMedia:
    """Make a recording, once for all tests."""
    folder = tmp_path_factory.mktemp("media")

    def make(recipe: Recipe) -> Path:
        path = folder / recipe.name
        return path if path.exists() else make_media(folder, recipe)

    return make


@pytest.fixture(scope="session")
def database() -> None:
    """Make Airflow's database, for whole runs of a DAG in this process."""
    from airflow.utils.db import initdb

    initdb()
