"""Connections of every type are converted to the API's storage_config, and show no secret."""

from __future__ import annotations

import json
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook
from airflow.sdk import Connection
from pydantic import SecretStr

from airflow_provider_realtimekit.connections.storage import _pieces, read_storage
from airflow_provider_realtimekit.emulator import EmulatorServer
from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.hooks import RealtimeKitHook
from airflow_provider_realtimekit.operators import (
    RealtimeKitStartRecordingOperator,
    RealtimeKitStartTrackRecordingOperator,
)
from tests.support.tasks import Ended, run_task

KEYS = {"login": "AKIA5ACCESS5KEY", "password": "5ecret/of+aws"}
PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nbGluZS1vbmUtNQ==\nbGluZS10d28tNQ==\n-----END PRIVATE KEY-----\n"
GOOGLE_KEY = {
    "type": "service_account",
    "project_id": "p",
    "private_key_id": "5-id-of-the-key",
    "private_key": PRIVATE_KEY,
    "client_email": "robot@p.iam.gserviceaccount.com",
}
ACCOUNT_KEY = "YWNjb3VudC1rZXktNQ=="
AZURE = f"DefaultEndpointsProtocol=https;AccountName=acc;AccountKey={ACCOUNT_KEY};EndpointSuffix=core.windows.net"
R2 = "https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com"
SFTP = {"host": "files.example.org", "login": "robot"}
PIECES = [*KEYS.values(), *PRIVATE_KEY.split("\n")[1:3], "5-id-of-the-key", ACCOUNT_KEY, "pass-5-phrase", "pass-5-word"]


Fields = dict[str, Any]


def connect(
    monkeypatch: pytest.MonkeyPatch, conn_type: str, extra: dict[str, Any] | None = None, **fields: Any
) -> None:
    connection = {"conn_type": conn_type, **fields, "extra": extra or {}}
    monkeypatch.setenv("AIRFLOW_CONN_MY_STORAGE", json.dumps(connection))


def plain(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value.get_secret_value() if isinstance(value, SecretStr) else value for key, value in config.items()}


def start(operator: Any = RealtimeKitStartRecordingOperator, **arguments: Any) -> Ended:
    arguments = {"meeting_id": "m", "storage_conn_id": "{{ 'my' }}_storage", **arguments}
    return run_task(lambda: operator(task_id="start", **arguments))


def only_recording(emulator: EmulatorServer) -> Any:
    (recording,) = emulator.world.recordings()
    return recording


def aws(**more: Any) -> dict[str, Any]:
    return {"type": "aws", "access_key": KEYS["login"], "secret": KEYS["password"], "bucket": "b", **more}


GOOD: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "aws": (
        "aws",
        KEYS,
        {"region_name": "eu-west-1"},
        {"storage_bucket": "{{ 'b' }}", "storage_path": "{{ 'a' }}/b"},
        aws(region="eu-west-1", path="a/b"),
    ),
    "aws-all-in-the-connection": (
        "aws",
        {},
        {
            "aws_access_key_id": KEYS["login"],
            "aws_secret_access_key": KEYS["password"],
            "endpoint_url": "https://s3.eu-west-1.amazonaws.com",
            "service_config": {"s3": {"bucket_name": "b", "region_name": "eu-west-1"}},
            "region_name": "us-east-1",
            "path": "there",
        },
        {},
        aws(region="eu-west-1", path="there"),
    ),
    "aws-another-region-and-bucket": (
        "aws",
        KEYS,
        {"region_name": "eu-west-1", "bucket_name": "other"},
        {"storage_bucket": "b", "storage_region": "sa-east-1"},
        aws(region="sa-east-1"),
    ),
    "r2": (
        "aws",
        KEYS,
        {"endpoint_url": R2, "bucket_name": "b", "region_name": "auto"},
        {},
        aws(type="cloudflare", account_id="0123456789abcdef0123456789abcdef"),
    ),
    "spaces": (
        "aws",
        KEYS,
        {"endpoint_url": "https://b.ams3.digitaloceanspaces.com/", "bucket_name": "b", "region_name": "us-east-1"},
        {},
        aws(type="digitalocean", region="ams3"),
    ),
    "google-object": (
        "google_cloud_platform",
        {},
        {"keyfile_dict": GOOGLE_KEY},
        {"storage_bucket": "b", "storage_region": "europe-west1"},
        {"type": "gcs", "secret": json.dumps(GOOGLE_KEY), "bucket": "b", "region": "europe-west1"},
    ),
    "google-text-under-its-older-name": (
        "google_cloud_platform",
        {},
        {
            "extra__google_cloud_platform__keyfile_dict": json.dumps(GOOGLE_KEY).replace("\\n", "\\\\n"),
            "bucket_name": "b",
            "region_name": "europe-west1",
        },
        {},
        {"type": "gcs", "secret": json.dumps(GOOGLE_KEY), "bucket": "b", "region": "europe-west1"},
    ),
    "azure-string": (
        "wasb",
        {},
        {"connection_string": AZURE},
        {"storage_bucket": "container", "storage_path": "p"},
        {"type": "azure", "access_key": AZURE, "bucket": "container", "path": "p"},
    ),
    "azure-account-and-key": (
        "wasb",
        {"login": "acc", "password": ACCOUNT_KEY},
        {},
        {"storage_bucket": "container"},
        {"type": "azure", "access_key": AZURE, "bucket": "container"},
    ),
    "azure-host-in-another-cloud": (
        "wasb",
        {"host": "https://acc.blob.core.chinacloudapi.cn/"},
        {"shared_access_key": ACCOUNT_KEY},
        {"storage_bucket": "container"},
        {"type": "azure", "access_key": AZURE.replace("windows.net", "chinacloudapi.cn"), "bucket": "container"},
    ),
    "sftp-password": (
        "sftp",
        {**SFTP, "password": "pass-5-word"},
        {},
        {"storage_path": "/recordings"},
        {"type": "sftp", "host": "files.example.org", "port": 22, "username": "robot", "path": "/recordings"}
        | {"auth_method": "PASSWORD", "password": "pass-5-word"},
    ),
    "ssh-key": (
        "ssh",
        {**SFTP, "port": 2222},
        {"private_key": PRIVATE_KEY, "private_key_passphrase": "pass-5-phrase", "path": "in"},
        {},
        {"type": "sftp", "host": "files.example.org", "port": 2222, "username": "robot", "path": "in"}
        | {"auth_method": "KEY", "private_key": PRIVATE_KEY, "password": "pass-5-phrase"},
    ),
}


@pytest.fixture(params=GOOD.values(), ids=GOOD)
def good_storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Fields, Fields]:
    """Set a valid connection; return the operator's arguments, and the storage_config that the API must get."""
    conn_type, fields, extra, arguments, expected = request.param
    connect(monkeypatch, conn_type, extra, **fields)
    return arguments, expected


def test_the_api_gets_the_storage_config(emulator: EmulatorServer, good_storage: tuple[Fields, Fields]) -> None:
    arguments, expected = good_storage
    ended = start(**arguments, realtimekit_bucket_config={"enabled": False})
    assert ended.state == "success", ended.error
    assert only_recording(emulator).config["storage_config"] == expected
    assert not [piece for piece in PIECES if piece in json.dumps(ended.result)]


def test_keys_in_files_are_read_where_the_task_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "google.json").write_text(json.dumps(GOOGLE_KEY))
    (tmp_path / "id_ed25519").write_text(PRIVATE_KEY)
    connect(monkeypatch, "google_cloud_platform", {"key_path": str(tmp_path / "google.json")})
    config = plain(read_storage("my_storage", "b", storage_region="r"))
    assert json.loads(config["secret"]) == GOOGLE_KEY
    connect(monkeypatch, "sftp", {"key_file": str(tmp_path / "id_ed25519"), "path": "p"}, **SFTP)
    assert plain(read_storage("my_storage"))["private_key"] == PRIVATE_KEY


NO_KEYS = "has no permanent keys"
BAD: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("aws", KEYS, {"region_name": "r"}, "needs: storage_bucket, or the extra field bucket_name"),
    ("aws", KEYS, {"bucket_name": "b"}, "needs: storage_region, or the extra field region_name"),
    ("aws", {"login": "AKIA"}, {"bucket_name": "b", "region_name": "r"}, "needs: password, or the extra field aws_s"),
    ("aws", {}, {"bucket_name": "b", "profile_name": "p"}, NO_KEYS),
    ("aws", KEYS, {"bucket_name": "b", "aws_session_token": "t"}, NO_KEYS),
    ("aws", KEYS, {"bucket_name": "b", "role_arn": "arn:aws:iam::1:role/x"}, NO_KEYS),
    ("aws", {**KEYS, "login": "ASIA5"}, {"bucket_name": "b", "region_name": "r"}, NO_KEYS),
    ("aws", KEYS, {"endpoint_url": "https://minio.example.org:9000"}, "leads to 'minio.example.org'"),
    ("aws", KEYS, {"endpoint_url": "https://[pass-5-word"}, "leads to '?'"),
    ("aws", KEYS, {"endpoint_url": R2.replace(".r2", ".eu.r2")}, "no R2 bucket in a jurisdiction"),
    ("google_cloud_platform", {}, {}, "needs: extra field keyfile_dict, or key_path; storage_bucket, or"),
    ("google_cloud_platform", {}, {"keyfile_dict": "{}"}, "has no service account's key"),
    ("google_cloud_platform", {}, {"keyfile_dict": {"type": "authorized_user"}}, "has no service account's key"),
    ("google_cloud_platform", {}, {"keyfile_dict": GOOGLE_KEY, "impersonation_chain": "x"}, "field impersonation_"),
    ("google_cloud_platform", {}, {"key_path": "/no/such/key.json"}, "names a file in its extra field key_path that"),
    ("wasb", {"login": "acc"}, {}, "needs: extra field connection_string, or login (the account) and password"),
    ("wasb", {"login": "acc", "password": "p"}, {"tenant_id": "t"}, "has the extra field tenant_id, which cannot"),
    ("wasb", {"login": "acc"}, {"sas_token": "sv=1"}, "has the extra field sas_token, which cannot be sent"),
    ("wasb", {"host": "https://files.example.org", "password": "p"}, {}, "leads to 'files.example.org'"),
    ("sftp", {**SFTP, "password": "p"}, {}, "needs: storage_path, or the extra field path"),
    ("sftp", {"password": "p"}, {"path": "p"}, "needs: host; login"),
    ("ssh", SFTP, {"path": "p"}, "needs: password, or the extra field private_key or key_file"),
    ("sftp", {**SFTP, "port": 99999, "password": "p"}, {"path": "p"}, "port=99999 is not allowed: must be from 1"),
    (
        "http",
        {"host": "h"},
        {},
        "storage_conn_id must have the type 'aws', 'google_cloud_platform', 'wasb', 'sftp', 'ssh'",
    ),
]


@pytest.mark.parametrize(("conn_type", "fields", "extra", "message"), BAD)
def test_a_missing_field_is_named_before_the_start(
    emulator: EmulatorServer,
    monkeypatch: pytest.MonkeyPatch,
    conn_type: str,
    fields: dict[str, Any],
    extra: dict[str, Any],
    message: str,
) -> None:
    connect(monkeypatch, conn_type, extra, **fields)
    ended = start()
    assert ended.state == "failed"
    assert isinstance(ended.error, RealtimeKitInputError)
    assert f"connection 'my_storage' of type '{conn_type}' " in str(ended.error)
    assert message in str(ended.error)
    shown = "".join(traceback.format_exception(ended.error))
    assert not [piece for piece in PIECES if piece in shown]
    assert emulator.ledger.count() == 0


def test_extra_that_is_no_object_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # Airflow 3.1 does not accept such a connection from the environment, but its database may have one.
    found = Connection(conn_id="my_storage", conn_type="aws", extra='["pass-5-word"]')
    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(lambda _: found))
    with pytest.raises(RealtimeKitInputError, match=r"^extra of connection 'my_storage' is not a JSON object$"):
        read_storage("my_storage")


def test_two_storages_are_refused(emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "aws", {"region_name": "r"}, **KEYS)
    own = {"type": "aws", "access_key": "k", "secret": "s", "bucket": "b", "region": "r"}
    ended = start(storage_bucket="b", storage_config=own)
    assert "storage_config and storage_conn_id are both given" in str(ended.error)
    layers = {"default": {"outputs": [{"type": "STORAGE_CONFIG", "storage_config": own}]}}
    ended = start(RealtimeKitStartTrackRecordingOperator, storage_bucket="b", layers=layers, mark_name=False)
    assert "a storage_config in layer 'default' and storage_conn_id are both given" in str(ended.error)
    assert emulator.ledger.count() == 0


def test_a_bucket_needs_a_connection(emulator: EmulatorServer) -> None:
    ended = start(storage_conn_id=None, storage_bucket="b")
    assert (ended.state, str(ended.error)) == (
        "failed",
        "storage_bucket, storage_path and storage_region need a storage_conn_id",
    )


def test_an_empty_rendered_connection_means_no_storage(emulator: EmulatorServer) -> None:
    ended = start(storage_conn_id="{{ '' }}")
    assert ended.state == "success", ended.error
    assert "storage_config" not in only_recording(emulator).config


BUCKET, STORAGE = {"type": "REALTIMEKIT_BUCKET"}, {"type": "STORAGE_CONFIG"}
FILLED = {"type": "STORAGE_CONFIG", "storage_config": aws(region="r")}
LAYERS: list[tuple[Any, dict[str, Any]]] = [
    (None, {"default": {"outputs": [BUCKET, FILLED]}}),
    ({"calls": {"file_name_prefix": "c"}}, {"calls": {"file_name_prefix": "c", "outputs": [BUCKET, FILLED]}}),
    ({"default": {"outputs": [STORAGE]}}, {"default": {"outputs": [FILLED]}}),
    (
        {"a": {"outputs": [BUCKET]}, "b": {"outputs": [BUCKET, STORAGE]}},
        {"a": {"outputs": [BUCKET]}, "b": {"outputs": [BUCKET, FILLED]}},
    ),
    ('{"default": {"outputs": [{"type": "STORAGE_CONFIG"}]}}', {"default": {"outputs": [FILLED]}}),
]


@pytest.mark.parametrize(("layers", "expected"), LAYERS)
def test_the_layers_of_tracks_get_the_storage(
    emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch, layers: Any, expected: dict[str, Any]
) -> None:
    connect(monkeypatch, "aws", {"region_name": "r"}, **KEYS)
    ended = start(RealtimeKitStartTrackRecordingOperator, storage_bucket="b", layers=layers, mark_name=False)
    assert ended.state == "success", ended.error
    assert only_recording(emulator).config["layers"] == expected


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"default": {"outputs": [BUCKET]}}, "no layer has an output of type 'STORAGE_CONFIG'"),
        ({"default": "all"}, "layers.default"),
        ({"default": {"outputs": "all"}}, "no layer has an output of type 'STORAGE_CONFIG'"),
        ("all", "layers="),
    ],
)
def test_layers_without_an_output_for_the_storage_are_refused(
    emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch, layers: Any, message: str
) -> None:
    connect(monkeypatch, "aws", {"region_name": "r"}, **KEYS)
    ended = start(RealtimeKitStartTrackRecordingOperator, storage_bucket="b", layers=layers, mark_name=False)
    assert isinstance(ended.error, RealtimeKitInputError)
    assert message in str(ended.error)
    assert emulator.ledger.count() == 0


def test_read_storage_works_with_the_hook(emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "aws", {"region_name": "r"}, **KEYS)
    with RealtimeKitHook() as hook:
        hook.start_recording(meeting_id="m", storage_config=read_storage("my_storage", "b"))
    assert only_recording(emulator).config["storage_config"] == aws(region="r")


def test_secrets_are_masked_completely_and_in_their_secret_parts(
    emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch, good_storage: tuple[Fields, Fields]
) -> None:
    arguments, expected = good_storage
    masked: set[str] = set()
    monkeypatch.setattr("airflow_provider_realtimekit.connections.storage._pieces", partial(_noted, _pieces, masked))
    assert start(**arguments).state == "success"
    secrets = {value for value in expected.values() if any(piece in str(value) for piece in PIECES)}
    assert secrets
    assert secrets <= masked
    # A log may show a single line of a key.
    assert {piece for piece in PIECES for secret in secrets if piece in secret} <= masked


def _noted(pieces: Any, masked: set[str], secret: str) -> list[str]:
    found = list(pieces(secret))
    masked.update(found)
    return found


def test_a_storage_config_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "aws", {"region_name": "r"}, **KEYS)
    config = read_storage("my_storage", "b")
    assert not [piece for piece in KEYS.values() if piece in f"{config} {config!r}"]


def test_no_secret_stays_on_the_task(emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "aws", {"region_name": "r"}, **KEYS)
    made: list[Any] = []

    def make() -> Any:
        made.append(
            RealtimeKitStartRecordingOperator(
                task_id="start", meeting_id="m", storage_conn_id="my_storage", storage_bucket="b"
            )
        )
        return made[-1]

    assert run_task(make).state == "success"
    assert not [piece for piece in KEYS.values() if piece in repr(vars(made[-1]))]
