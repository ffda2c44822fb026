"""The user's own storage that a recording is uploaded to: which fields each type needs and allows."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, SecretStr, model_validator

from airflow_provider_realtimekit.models.base import RequestModel


class _Fields(NamedTuple):
    required: frozenset[str]
    optional: frozenset[str] = frozenset({"path"})


_KEY_PAIR = frozenset({"access_key", "secret", "bucket", "region"})

# The type cloudflare (R2) is in Cloudflare's guides and works, but the reference lacks it.
_FIELDS = {
    "aws": _Fields(_KEY_PAIR),
    "digitalocean": _Fields(_KEY_PAIR),
    "azure": _Fields(frozenset({"access_key", "bucket"}), frozenset({"path", "region"})),
    "gcs": _Fields(frozenset({"secret", "bucket", "region"}), frozenset({"path", "access_key"})),
    "cloudflare": _Fields(frozenset({"access_key", "secret", "bucket", "account_id"})),
}
_SFTP = frozenset({"host", "port", "username", "path", "auth_method"})
_SFTP_FIELDS = {
    "KEY": _Fields(_SFTP | {"private_key"}, frozenset({"password"})),
    "PASSWORD": _Fields(_SFTP | {"password"}, frozenset()),
}

Text = Annotated[str, Field(min_length=1)]
Secret = Annotated[SecretStr, Field(min_length=1)]


class StorageConfig(RequestModel):
    """The storage that RealtimeKit uploads a recording to, in addition to its own bucket or instead of it.

    ======================  =============================================================================
    type                    needs [may have]
    ======================  =============================================================================
    ``aws``                 ``access_key, secret, bucket, region`` [``path``]
    ``digitalocean``        the same
    ``azure``               ``access_key`` (the connection string), ``bucket`` (the container) [``path, region``]
    ``gcs``                 ``secret`` (the service account's JSON), ``bucket, region`` [``path, access_key``]
    ``cloudflare`` (R2)     ``access_key, secret, bucket, account_id`` [``path``]
    ``sftp``                ``host, port, username, path, auth_method``; with ``KEY`` ``private_key`` [``password``,
                            its passphrase], with ``PASSWORD`` ``password``
    ======================  =============================================================================

    Secrets are hidden in ``repr``, and never published.
    """

    type: Literal["aws", "azure", "digitalocean", "gcs", "sftp", "cloudflare"]
    access_key: Secret | None = None
    secret: Secret | None = None
    bucket: Text | None = None
    region: Text | None = None
    path: Text | None = None
    account_id: Text | None = None
    host: Text | None = None
    port: int | None = Field(default=None, ge=1, le=65535, description="must be from 1 to 65535")
    username: Text | None = None
    auth_method: Literal["KEY", "PASSWORD"] | None = None
    private_key: Secret | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _check_type(self) -> Self:
        fields, kind = self._fields_of_type()
        given = {name for name in type(self).model_fields if getattr(self, name) is not None} - {"type"}
        if missing := fields.required - given:
            raise ValueError(f"storage of type {kind} needs {_names(missing)}")
        if refused := given - fields.required - fields.optional:
            allowed = _names(fields.required | fields.optional)
            raise ValueError(f"storage of type {kind} does not have {_names(refused)}; its fields are {allowed}")
        return self

    def _fields_of_type(self) -> tuple[_Fields, str]:
        if self.type != "sftp":
            return _FIELDS[self.type], repr(self.type)
        if self.auth_method is None:
            raise ValueError("storage of type 'sftp' needs auth_method: 'KEY' or 'PASSWORD'")
        return _SFTP_FIELDS[self.auth_method], f"'sftp' with auth_method {self.auth_method!r}"


def _names(names: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names))
