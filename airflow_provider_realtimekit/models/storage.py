"""The storage of the user's own that a recording is uploaded to: what each type needs and refuses."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, SecretStr, model_validator

from airflow_provider_realtimekit.models.base import RequestModel


class _Needs(NamedTuple):
    required: frozenset[str]
    optional: frozenset[str] = frozenset({"path"})


_KEY_PAIR = frozenset({"access_key", "secret", "bucket", "region"})

# The R2 type is described in Cloudflare's guides and seen working, but missing from the reference.
_NEEDS = {
    "aws": _Needs(_KEY_PAIR),
    "digitalocean": _Needs(_KEY_PAIR),
    "azure": _Needs(frozenset({"access_key", "bucket"}), frozenset({"path", "region"})),
    "gcs": _Needs(frozenset({"secret", "bucket", "region"}), frozenset({"path", "access_key"})),
    "cloudflare": _Needs(frozenset({"access_key", "secret", "bucket", "account_id"})),
}
_SFTP = frozenset({"host", "port", "username", "path", "auth_method"})
_SFTP_NEEDS = {
    "KEY": _Needs(_SFTP | {"private_key"}, frozenset({"password"})),
    "PASSWORD": _Needs(_SFTP | {"password"}, frozenset()),
}

Text = Annotated[str, Field(min_length=1)]
Secret = Annotated[SecretStr, Field(min_length=1)]


class StorageConfig(RequestModel):
    """Where RealtimeKit uploads the recording, besides or instead of its own bucket.

    ======================  =============================================================================
    type                    needs (in brackets: takes)
    ======================  =============================================================================
    ``aws``                 ``access_key, secret, bucket, region`` [``path``]
    ``digitalocean``        the same
    ``azure``               ``access_key`` (the connection string), ``bucket`` (the container) [``path, region``]
    ``gcs``                 ``secret`` (the service account's JSON), ``bucket, region`` [``path, access_key``]
    ``cloudflare`` (R2)     ``access_key, secret, bucket, account_id`` [``path``]
    ``sftp``                ``host, port, username, path, auth_method``; with ``KEY`` ``private_key`` [``password``,
                            its passphrase], with ``PASSWORD`` ``password``
    ======================  =============================================================================

    Secrets are hidden in ``repr`` and never published.
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
        needs, kind = self._needs()
        given = {name for name in type(self).model_fields if getattr(self, name) is not None} - {"type"}
        if missing := needs.required - given:
            raise ValueError(f"storage of type {kind} needs {_names(missing)}")
        if refused := given - needs.required - needs.optional:
            takes = _names(needs.required | needs.optional)
            raise ValueError(f"storage of type {kind} does not take {_names(refused)}; it takes {takes}")
        return self

    def _needs(self) -> tuple[_Needs, str]:
        if self.type != "sftp":
            return _NEEDS[self.type], repr(self.type)
        if self.auth_method is None:
            raise ValueError("storage of type 'sftp' needs auth_method: 'KEY' or 'PASSWORD'")
        return _SFTP_NEEDS[self.auth_method], f"'sftp' with auth_method {self.auth_method!r}"


def _names(names: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names))
