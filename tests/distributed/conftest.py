"""Airflow on Celery beside an emulated RealtimeKit, started once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.distributed_airflow import DistributedAirflow
from scripts.local_emulator import LocalEmulator
from scripts.services import Services

HERE = Path(__file__).parent
ACCOUNT_ID, APP_ID, TOKEN = "account-of-the-tests", "app-of-the-tests", "token-of-the-tests"
TEST_SECONDS = 840


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, with the time that a slow machine needs."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.distributed)
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """A PostgreSQL and a Redis."""
    with Services() as services:
        yield services


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEmulator]:
    """The emulator; its recordings survive a restart."""
    folder = tmp_path_factory.mktemp("emulator")
    options = ["--state", str(folder / "state.json"), "--media", "tiny", "--token", TOKEN]
    with LocalEmulator(folder, [*options, "--invoked-seconds", "1", "--uploading-seconds", "1"]) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def cluster(
    services: Services, emulator: LocalEmulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DistributedAirflow]:
    """Healthy, with the DAGs of `dags` beside this file, all of them paused."""
    environment = {"AIRFLOW_CONN_REALTIMEKIT_DEFAULT": emulator.connection(ACCOUNT_ID, APP_ID, TOKEN)}
    home = tmp_path_factory.mktemp("airflow")
    with DistributedAirflow(home, HERE / "dags", services, environment=environment) as cluster:
        yield cluster
