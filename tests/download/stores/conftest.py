"""S3, Azure's blob storage and SFTP: one server each for all tests, and a new folder for each test."""

from __future__ import annotations

import getpass
import itertools
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from azure.storage.blob import BlobServiceClient
from moto.server import ThreadedMotoServer

from tests.support.downloads import Store, list_folder
from tests.support.store_servers import azurite, free_port, sshd

# asyncssh logs at the exit of the process, when pytest has closed the stream for logs.
logging.getLogger("asyncssh").setLevel(logging.WARNING)

AZURE_ACCOUNT = "devstoreaccount1"
# The published key of Azurite's only account.
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
FOLDERS = (f"folder-{number}" for number in itertools.count())


class S3Store(Store):
    def __init__(self, client: Any, folder: str) -> None:
        self._client, self._folder = client, folder
        self.destination = f"s3://my_s3@bucket/{folder}"
        self.forbidden = f"s3://my_s3@no-such-bucket/{folder}"

    def listing(self) -> dict[str, bytes]:
        found = self._client.list_objects_v2(Bucket="bucket", Prefix=f"{self._folder}/").get("Contents", [])
        keys = [item["Key"] for item in found]
        return {
            key.removeprefix(f"{self._folder}/"): self._client.get_object(Bucket="bucket", Key=key)["Body"].read()
            for key in keys
        }

    def pending(self) -> int:
        uploads = self._client.list_multipart_uploads(Bucket="bucket").get("Uploads", [])
        return len([upload for upload in uploads if upload["Key"].startswith(self._folder)])


class AzureStore(Store):
    # Azure discards uncommitted blocks at the next commit, or after a week.
    discards = False

    def __init__(self, service: BlobServiceClient, folder: str) -> None:
        self._container = service.get_container_client("container")
        self._folder = folder
        self.destination = f"abfs://my_azure@container/{folder}"
        self.forbidden = f"abfs://my_azure@no-such-container/{folder}"

    def listing(self) -> dict[str, bytes]:
        found = self._container.list_blobs(name_starts_with=f"{self._folder}/")
        return {
            blob.name.removeprefix(f"{self._folder}/"): self._container.download_blob(blob.name).readall()
            for blob in found
        }

    def pending(self) -> int:
        blobs = self._container.list_blobs(name_starts_with=f"{self._folder}/", include=["uncommittedblobs"])
        return len(list(blobs)) - len(self.listing())


class SftpStore(Store):
    def __init__(self, folder: Path) -> None:
        self._folder = folder / "fetched"
        self._folder.mkdir()
        (folder / "file").touch()
        self.destination = f"sftp://my_sftp@{self._folder}"
        self.forbidden = f"sftp://my_sftp@{folder}/file/below"

    def listing(self) -> dict[str, bytes]:
        return list_folder(self._folder)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=s3_endpoint, **keys)
    client.create_bucket(Bucket="bucket")
    extra = {"endpoint_url": s3_endpoint, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_MY_S3", json.dumps(connection))
    return S3Store(client, next(FOLDERS))


@pytest.fixture(scope="session")
def azure_connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with azurite(tmp_path_factory.mktemp("azurite")) as port:
        yield (
            f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{AZURE_ACCOUNT};"
        )


@pytest.fixture
def azure(azure_connection: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureStore]:
    connection = {"conn_type": "wasb", "extra": {"connection_string": azure_connection}}
    monkeypatch.setenv("AIRFLOW_CONN_MY_AZURE", json.dumps(connection))
    with BlobServiceClient.from_connection_string(azure_connection) as service:
        if not service.get_container_client("container").exists():
            service.create_container("container")
        yield AzureStore(service, next(FOLDERS))


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    with sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def sftp(ssh_server: tuple[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SftpStore:
    port, key = ssh_server
    connection = {
        "conn_type": "sftp",
        "host": "127.0.0.1",
        "port": port,
        "login": getpass.getuser(),
        "extra": {"key_file": str(key), "no_host_key_check": True},
    }
    monkeypatch.setenv("AIRFLOW_CONN_MY_SFTP", json.dumps(connection))
    return SftpStore(tmp_path)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Store:
    """The store with the name that the class of tests has."""
    found: Store = request.getfixturevalue(request.cls.name)
    return found
