"""The required and optional fields of each type of storage, copied from the API's reference."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from tests.support.api import API, body_of, first_request

VALUES: dict[str, Any] = {
    "access_key": "AK",
    "secret": "SK",
    "bucket": "b",
    "region": "eu-1",
    "path": "a/b",
    "account_id": "acc",
    "host": "sftp.example",
    "port": 22,
    "username": "u",
    "auth_method": "KEY",
    "private_key": "PK",
    "password": "PW",
}
PAIR = ("access_key", "secret", "bucket", "region")
SFTP = ("host", "port", "username", "path", "auth_method")
# name: (fixed fields, required fields, optional fields)
TYPES: dict[str, tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = {
    "aws": ({"type": "aws"}, PAIR, ("path",)),
    "digitalocean": ({"type": "digitalocean"}, PAIR, ("path",)),
    "azure": ({"type": "azure"}, ("access_key", "bucket"), ("path", "region")),
    "gcs": ({"type": "gcs"}, ("secret", "bucket", "region"), ("path", "access_key")),
    "cloudflare": ({"type": "cloudflare"}, ("access_key", "secret", "bucket", "account_id"), ("path",)),
    "sftp-key": ({"type": "sftp", "auth_method": "KEY"}, (*SFTP, "private_key"), ("password",)),
    "sftp-password": ({"type": "sftp", "auth_method": "PASSWORD"}, (*SFTP, "password"), ()),
}
REQUIRED = [(name, field) for name, (_, required, _) in TYPES.items() for field in required]
OPTIONAL = [(name, field) for name, (_, _, optional) in TYPES.items() for field in optional]
REFUSED = [
    (name, field)
    for name, (_, required, optional) in TYPES.items()
    for field in VALUES
    if field not in (*required, *optional)
]


def storage(name: str) -> dict[str, Any]:
    fixed, required, _ = TYPES[name]
    return {field: VALUES[field] for field in required} | fixed


def composite(config: dict[str, Any]) -> Any:
    request = first_request(
        API.start_recording(meeting_id="m", storage_config=config, realtimekit_bucket_config={"enabled": False})
    )
    return body_of(request)["storage_config"]


def tracks(config: dict[str, Any]) -> Any:
    layers = {"d": {"outputs": [{"type": "STORAGE_CONFIG", "storage_config": config}]}}
    return body_of(first_request(API.start_track_recording(meeting_id="m", layers=layers)))["layers"]["d"]["outputs"][
        0
    ]["storage_config"]


both = pytest.mark.parametrize("send", [composite, tracks])


@both
@pytest.mark.parametrize("name", TYPES)
def test_required_fields_are_enough(send: Any, name: str) -> None:
    assert send(storage(name)) == storage(name)


@both
@pytest.mark.parametrize(("name", "field"), OPTIONAL)
def test_optional_fields_are_sent(send: Any, name: str, field: str) -> None:
    config = storage(name) | {field: VALUES[field]}
    assert send(config) == config


@both
@pytest.mark.parametrize(("name", "field"), REQUIRED)
def test_a_missing_required_field_is_named(send: Any, name: str, field: str) -> None:
    config = {key: value for key, value in storage(name).items() if key != field}
    with pytest.raises(RealtimeKitInputError) as caught:
        send(config)
    assert f"'{config['type']}'" in str(caught.value)
    assert "needs" in str(caught.value)
    assert field in str(caught.value)


@both
@pytest.mark.parametrize(("name", "field"), REFUSED)
def test_a_field_of_another_type_is_refused(send: Any, name: str, field: str) -> None:
    config = storage(name) | {field: VALUES[field]}
    with pytest.raises(RealtimeKitInputError) as caught:
        send(config)
    assert f"'{config['type']}'" in str(caught.value)
    assert f"does not have {field}" in str(caught.value)


@pytest.mark.parametrize("field", ["access_key", "secret", "bucket", "region"])
@pytest.mark.parametrize("value", ["", None])
def test_an_empty_required_field_is_refused(field: str, value: Any) -> None:
    with pytest.raises(RealtimeKitInputError, match=f"storage_config.*{field}"):
        composite(storage("aws") | {field: value})


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [("port", 0, "1 to 65535"), ("port", 65_536, "1 to 65535"), ("auth_method", "TOKEN", "'KEY' or 'PASSWORD'")],
)
def test_sftp_values_are_checked(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(RealtimeKitInputError) as caught:
        composite(storage("sftp-key") | {field: value})
    assert f"storage_config.{field}={value!r}" in str(caught.value)
    assert allowed in str(caught.value)


def test_an_unknown_field_is_refused_without_its_value() -> None:
    with pytest.raises(RealtimeKitInputError) as caught:
        composite(storage("aws") | {"acces_key": "mistyped-9f31c7"})
    assert "storage_config.acces_key" in str(caught.value)
    assert "mistyped" not in str(caught.value)
