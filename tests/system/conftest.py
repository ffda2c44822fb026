"""Real Airflow beside an emulated RealtimeKit, both as processes, started once for all tests of this folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.local_airflow import LocalAirflow
from scripts.local_emulator import LocalEmulator
from tests.support.examples import copy_examples

HERE = Path(__file__).parent
ACCOUNT_ID, APP_ID, TOKEN = "account-of-the-tests", "app-of-the-tests", "token-of-the-tests"
# The secrets that the DAG `system_secrets` sends, in every form.
SECRETS = {
    "ACCESS_KEY": "AKIAVERYSECRETACCESSKEY",
    "SECRET": "s3cr3t+storage/key=value",
    "RTMP": "rtmp://live.example.org/app/stream-key-nobody-sees",
    "PRIVATE_KEY": "-----BEGIN KEY-----\nbGluZSBvbmUgb2YgYSBrZXk\nbGluZSB0d28gb2YgYSBrZXk\n-----END KEY-----",
    "PASSPHRASE": "correct horse battery staple",
    "AZURE": "DefaultEndpointsProtocol=https;AccountName=n;AccountKey=YXp1cmVzZWNyZXQ=",
    # The secrets of the connections below.
    "STORED_ACCESS_KEY": "AKIAKEYOFACONNECTION",
    "STORED_SECRET": "c0nnecti0n/s3cr3t+key",
    "STORED_SERVICE_KEY": "-----BEGIN KEY-----\nc2VydmljZSBsaW5lIG9uZQ\nc2VydmljZSBsaW5lIHR3bw\n-----END KEY-----",
    "STORED_SERVICE_KEY_ID": "0f0f0f0f-id-of-the-service-key",
    "STORED_ACCOUNT_KEY": "YWNjb3VudCBrZXkgb2YgYSBjb25uZWN0aW9u",
    "STORED_PASSWORD": "a password for sftp, spaces and all",
    "STORED_SSH_KEY": "-----BEGIN KEY-----\nc3NoIGxpbmUgb25l\nc3NoIGxpbmUgdHdv\n-----END KEY-----",
    "STORED_PASSPHRASE": "staple battery horse correct",
}
SERVICE_ACCOUNT = {
    "type": "service_account",
    "client_email": "robot@example.org",
    "private_key_id": SECRETS["STORED_SERVICE_KEY_ID"],
    "private_key": SECRETS["STORED_SERVICE_KEY"],
}
KEY_PAIR = {"login": SECRETS["STORED_ACCESS_KEY"], "password": SECRETS["STORED_SECRET"]}
SSH_KEY = {"private_key": SECRETS["STORED_SSH_KEY"], "private_key_passphrase": SECRETS["STORED_PASSPHRASE"]}
# A connection of each type of storage.
STORAGES: dict[str, dict[str, Any]] = {
    "stored_s3": {"conn_type": "aws", **KEY_PAIR, "extra": {"region_name": "eu-west-1"}},
    "stored_r2": {"conn_type": "aws", **KEY_PAIR, "extra": {"endpoint_url": "https://0a.r2.cloudflarestorage.com"}},
    "stored_gcs": {
        "conn_type": "google_cloud_platform",
        "extra": {"keyfile_dict": json.dumps(SERVICE_ACCOUNT), "region_name": "europe-west1"},
    },
    "stored_azure": {"conn_type": "wasb", "login": "n", "password": SECRETS["STORED_ACCOUNT_KEY"]},
    "stored_sftp": {"conn_type": "sftp", "host": "h", "login": "u", "password": SECRETS["STORED_PASSWORD"]},
    "stored_ssh": {"conn_type": "ssh", "host": "h", "login": "u", "extra": SSH_KEY},
}
TEST_SECONDS = 420
QUICK = ["--invoked-seconds", "0.5", "--uploading-seconds", "2"]


# First, because xdist reads the groups in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder as a system test, with the time that a slow machine needs."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.system)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture(scope="session")
def emulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEmulator]:
    """The emulator that the connection `realtimekit_default` of `airflow_stack` leads to."""
    with LocalEmulator(tmp_path_factory.mktemp("emulator"), QUICK) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def airflow_stack(emulator_process: LocalEmulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAirflow]:
    """A healthy Airflow with the example DAGs and the DAGs in the folder `dags`, all paused."""
    dags = tmp_path_factory.mktemp("dags")
    shutil.copytree(HERE / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    # In a folder below the DAGs folder. The demo uses the examples as the DAGs folder itself.
    copy_examples(dags / "team" / "example_dags")
    connection = emulator_process.connection(ACCOUNT_ID, APP_ID, TOKEN)
    environment = {"AIRFLOW_CONN_REALTIMEKIT_DEFAULT": connection}
    environment |= {f"SYSTEM_SECRET_{name}": value for name, value in SECRETS.items()}
    environment |= {f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in STORAGES.items()}
    with LocalAirflow(tmp_path_factory.mktemp("airflow"), dags, environment=environment, parallelism=8) as airflow:
        yield airflow


@pytest.fixture
def emulator_control(emulator_process: LocalEmulator) -> httpx.Client:
    """A client of the control routes of the emulator, which is reset before each test."""
    emulator_process.control.post("reset").raise_for_status()
    return emulator_process.control
