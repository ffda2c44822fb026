"""Read an Airflow connection to the user's own storage into the API's ``storage_config``.

=========================  ====================================================================================
connection type            becomes ``storage_config`` of type
=========================  ====================================================================================
``aws``                    ``aws``; with R2's endpoint ``cloudflare``, with that of Spaces ``digitalocean``
``google_cloud_platform``  ``gcs``
``wasb``                   ``azure``
``sftp``, ``ssh``          ``sftp``
=========================  ====================================================================================

The connection's fields are read as Airflow's own providers read them; none of those needs to be installed. A
connection whose credentials only a worker can get (a role, a metadata service) is refused: they cannot be sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseHook
from airflow.sdk.log import mask_secret
from pydantic import SecretStr

from airflow_provider_realtimekit.connections.realtimekit import read_extra
from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.models import StorageConfig
from airflow_provider_realtimekit.redaction import SECRET_KEYS, find_secrets, parse_json_object

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

_R2 = ".r2.cloudflarestorage.com"
_SPACES = ".digitaloceanspaces.com"
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")
_AZURE = "core.windows.net"
_TEMPORARY_KEY = "ASIA"  # the ids of AWS's temporary keys begin with this
_SSH_PORT = 22
_WHERE_BUCKET = "storage_bucket, or the extra field bucket_name"


def read_storage(
    storage_conn_id: str | None,
    storage_bucket: str | None = None,
    storage_path: str | None = None,
    storage_region: str | None = None,
) -> dict[str, Any]:
    """Return the ``storage_config`` for an Airflow connection, for a start by your own code.

    Its secrets are ``SecretStr``, and Airflow masks them in its logs. Do not call it on an event loop: Airflow
    reads the connection synchronously.

    :param storage_conn_id: connection of type ``aws``, ``google_cloud_platform``, ``wasb``, ``sftp`` or ``ssh``
    :param storage_bucket: bucket, or Azure's container (default: the extra field ``bucket_name``)
    :param storage_path: folder in it (default: the extra field ``path``); SFTP needs one
    :param storage_region: the bucket's region (default: the extra field ``region_name``), for S3 and GCS
    :raises RealtimeKitInputError: naming the connection, and the field that is missing or cannot be sent
    """
    if not storage_conn_id:
        raise RealtimeKitInputError("storage_bucket, storage_path and storage_region need a storage_conn_id")
    connection = BaseHook.get_connection(storage_conn_id)
    source = _Source(connection, read_extra(connection, storage_conn_id), storage_bucket, storage_path, storage_region)
    reader = _READERS.get(source.kind)
    if reader is None:
        raise source.error(
            "is no storage that RealtimeKit can upload to: storage_conn_id must have the type "
            + ", ".join(map(repr, _READERS))
        )
    config = {name: SecretStr(str(value)) if name in SECRET_KEYS else value for name, value in reader(source).items()}
    try:
        StorageConfig.checked(**config)
    except RealtimeKitInputError as error:
        raise source.error(f"gives a storage_config that the API does not accept: {error}") from None
    mask_secret([piece for secret in find_secrets(config) for piece in _pieces(secret)])
    return config


class _Field(NamedTuple):
    """A field of the ``storage_config``: its value, and the fields of the connection that it can be in."""

    value: Any
    where: str


@dataclass(frozen=True)
class _Source:
    """A connection and the arguments of the task, which take precedence."""

    connection: Connection = field(repr=False)
    extra: Mapping[str, Any] = field(repr=False)
    bucket: str | None
    path: str | None
    region: str | None

    @property
    def kind(self) -> str:
        """The connection's type."""
        return str(self.connection.conn_type or "")

    def get(self, *names: str) -> Any:
        """Return the first of these extra fields that is not empty, under its short or its older long name."""
        prefixed = (f"extra__{self.kind}__{name}" for name in names)
        return next((self.extra[name] for name in (*names, *prefixed) if self.extra.get(name)), None)

    def error(self, why: str) -> RealtimeKitInputError:
        """Return an error that names the connection."""
        return RealtimeKitInputError(f"connection {self.connection.conn_id!r} of type {self.kind!r} {why}")

    def bucket_field(self) -> _Field:
        return _Field(self.bucket or self.get("bucket_name"), _WHERE_BUCKET)

    def region_field(self, *, default: str | None = None) -> _Field:
        region = self.region or default or self.get("region_name")
        return _Field(region, "storage_region, or the extra field region_name")

    def config(self, storage: str, **fields: _Field) -> dict[str, Any]:
        """Return the ``storage_config`` of these fields, with the path if there is one.

        :raises RealtimeKitInputError: naming the fields that are empty
        """
        if missing := [field.where for field in fields.values() if field.value in (None, "")]:
            raise self.error(f"lacks what a storage of type {storage!r} needs: {'; '.join(missing)}")
        path = self.path or self.get("path")
        values = {name: field.value for name, field in fields.items()}
        return {"type": storage, **values, **({"path": path} if path else {})}

    def read_file(self, name: str) -> str | None:
        """Return the text of the file that an extra field names, ``None`` if it names none."""
        path = self.get(name)
        try:
            return Path(path).read_text(encoding="utf-8") if path else None
        except (OSError, ValueError, TypeError) as error:
            raise self.error(
                f"names a file in its extra field {name} that cannot be read on this worker: {error}"
            ) from None


def _read_aws(source: _Source) -> dict[str, Any]:
    service = source.get("service_config")
    s3 = service.get("s3") if isinstance(service, Mapping) else None
    s3 = s3 if isinstance(s3, Mapping) else {}
    access_key, secret = _keys(source)
    parts = {
        "access_key": _Field(access_key, "login, or the extra field aws_access_key_id"),
        "secret": _Field(secret, "password, or the extra field aws_secret_access_key"),
        "bucket": _Field(source.bucket or s3.get("bucket_name") or source.get("bucket_name"), _WHERE_BUCKET),
    }
    host = _host(str(s3.get("endpoint_url") or source.get("endpoint_url") or ""))
    if host.endswith(_R2):
        return source.config("cloudflare", **parts, account_id=_Field(_r2_account(source, host), "endpoint_url"))
    if host.endswith(_SPACES):
        region = source.region_field(default=host.removesuffix(_SPACES).rpartition(".")[2])
        return source.config("digitalocean", **parts, region=region)
    if host and not host.endswith(_AMAZON):
        raise source.error(
            f"leads to {host!r}: RealtimeKit uploads to Amazon S3, Cloudflare R2 and DigitalOcean Spaces only, and to "
            "no other storage with S3's protocol"
        )
    return source.config("aws", **parts, region=source.region_field(default=s3.get("region_name")))


def _keys(source: _Source) -> tuple[str | None, str | None]:
    login, password = source.connection.login, source.connection.password
    if not (login and password):
        login = source.get("aws_access_key_id") or login
        password = source.get("aws_secret_access_key") or password
    temporary = source.get("aws_session_token", "role_arn") or str(login or "").startswith(_TEMPORARY_KEY)
    if temporary or not (login or password):
        raise source.error(
            "has no permanent keys, and nothing else can be sent (no session token, role_arn, profile or role of an "
            "instance): put an access key in login and its secret in password"
        )
    return login, password


def _r2_account(source: _Source, host: str) -> str:
    account = host.removesuffix(_R2)
    if "." in account:
        raise source.error(f"leads to {host!r}: the API accepts no R2 bucket in a jurisdiction")
    return account


def _host(url: str) -> str:
    try:
        return urlsplit(url if "//" in url else f"//{url}").hostname or ""
    except ValueError:
        return "?"  # not a host name, so the caller refuses it without showing the URL, which may hold a secret


def _read_google(source: _Source) -> dict[str, Any]:
    for name in ("impersonation_chain", "credential_config_file", "key_secret_name", "is_anonymous"):
        if source.get(name):
            raise source.error(f"has the extra field {name}, which cannot be sent: put the key in keyfile_dict")
    return source.config(
        "gcs",
        secret=_Field(_service_account(source), "extra field keyfile_dict, or key_path"),
        bucket=source.bucket_field(),
        region=source.region_field(),
    )


def _service_account(source: _Source) -> str | None:
    given = source.get("keyfile_dict") or source.read_file("key_path")
    key = parse_json_object(given) if isinstance(given, str) else given
    if not given:
        return None
    if not isinstance(key, Mapping) or not all(key.get(name) for name in ("client_email", "private_key")):
        raise source.error("has no service account's key: it must be JSON with client_email and private_key")
    # As Airflow's own hook does: in an environment variable the line ends may be escaped once more.
    return json.dumps({**key, "private_key": str(key["private_key"]).replace("\\n", "\n")})


def _read_azure(source: _Source) -> dict[str, Any]:
    text = source.get("connection_string") or _connection_string(source)
    where = "extra field connection_string, or login (the account) and password (its key)"
    return source.config("azure", access_key=_Field(text, where), bucket=source.bucket_field())


def _connection_string(source: _Source) -> str | None:
    for name in ("tenant_id", "sas_token", "managed_identity_client_id"):
        if source.get(name):
            raise source.error(f"has the extra field {name}, which cannot be sent: put the account's key in password")
    key = source.get("shared_access_key") or source.connection.password or source.get("account_key")
    host = _host(source.connection.host or "")
    account, _, domain = host.partition(".blob.")
    if "." in host and not domain:
        raise source.error(f"leads to {host!r}: RealtimeKit uploads to hosts like <account>.blob.{_AZURE} only")
    account = source.connection.login or (account if domain else "")
    if not (account and key):
        return None
    suffix = domain.rstrip(".") or _AZURE
    return f"DefaultEndpointsProtocol=https;AccountName={account};AccountKey={key};EndpointSuffix={suffix}"


def _read_sftp(source: _Source) -> dict[str, Any]:
    connection = source.connection
    parts = {
        "host": _Field(connection.host, "host"),
        "port": _Field(connection.port or _SSH_PORT, "port"),
        "username": _Field(connection.login, "login"),
        "path": _Field(source.path or source.get("path"), "storage_path, or the extra field path"),
    }
    key = source.get("private_key") or source.read_file("key_file")
    if not key:
        where = "password, or the extra field private_key or key_file"
        return source.config("sftp", **parts, password=_Field(connection.password, where)) | {"auth_method": "PASSWORD"}
    config = source.config("sftp", **parts, private_key=_Field(key, "extra field private_key"))
    passphrase = source.get("private_key_passphrase", "passphrase")
    return config | {"auth_method": "KEY"} | ({"password": passphrase} if passphrase else {})


_READERS: dict[str, Callable[[_Source], dict[str, Any]]] = {
    "aws": _read_aws,
    "google_cloud_platform": _read_google,
    "wasb": _read_azure,
    "sftp": _read_sftp,
    "ssh": _read_sftp,
}


def _pieces(secret: str) -> Iterator[str]:
    """Yield a secret and its secret parts: the keys of a key file, the lines of a key, an account key."""
    yield secret
    inside = parse_json_object(secret)
    if isinstance(inside, Mapping):
        for name in ("private_key", "private_key_id"):
            yield from _pieces(str(inside.get(name) or ""))
        return
    yield from secret.splitlines()
    for part in secret.split(";"):
        name, _, value = part.partition("=")
        if name in ("AccountKey", "SharedAccessSignature"):
            yield value
