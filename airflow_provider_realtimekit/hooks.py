"""The hook: an Airflow connection, and on it the six operations of the recordings API, synchronous and not."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import update_wrapper
from typing import Any, ClassVar, Concatenate, ParamSpec, Self, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_realtimekit.api.client import AsyncClient, Client, Credentials
from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.pagination import PageWalk
from airflow_provider_realtimekit.api.recordings import RecordingsAPI
from airflow_provider_realtimekit.api.retry import RetryPolicy
from airflow_provider_realtimekit.connections.form import (
    CONN_FIELDS,
    CONN_TYPE,
    HOOK_NAME,
    UI_FIELD_BEHAVIOUR,
)
from airflow_provider_realtimekit.connections.realtimekit import read_credentials
from airflow_provider_realtimekit.defaults import DEFAULT_CONN_NAME
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAuthError,
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitInputError,
    RealtimeKitNotFoundError,
)
from airflow_provider_realtimekit.models import Recording
from airflow_provider_realtimekit.start import ensure

P = ParamSpec("P")
T = TypeVar("T")


def _sync(
    flow: Callable[Concatenate[RecordingsAPI, P], Flow[T]],
) -> Callable[Concatenate[RealtimeKitHook, P], T]:
    def call(self: RealtimeKitHook, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.client.run(flow(self.credentials.api, *args, **kwargs))

    update_wrapper(call, flow)
    return call


def _async(
    flow: Callable[Concatenate[RecordingsAPI, P], Flow[T]],
) -> Callable[Concatenate[RealtimeKitHook, P], Awaitable[T]]:
    async def call(self: RealtimeKitHook, /, *args: P.args, **kwargs: P.kwargs) -> T:
        client = await self.get_async_client()
        return await client.run(flow((await self.get_async_credentials()).api, *args, **kwargs))

    update_wrapper(call, flow)
    return call


def _walk(
    walk: Callable[Concatenate[RecordingsAPI, P], PageWalk],
) -> Callable[Concatenate[RealtimeKitHook, P], Iterator[Recording]]:
    def call(self: RealtimeKitHook, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Recording]:
        return self.client.walk(walk(self.credentials.api, *args, **kwargs))

    update_wrapper(call, walk)
    return call


def _async_walk(
    walk: Callable[Concatenate[RecordingsAPI, P], PageWalk],
) -> Callable[Concatenate[RealtimeKitHook, P], AsyncIterator[Recording]]:
    async def call(self: RealtimeKitHook, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Recording]:
        client = await self.get_async_client()
        async for recording in client.walk(walk((await self.get_async_credentials()).api, *args, **kwargs)):
            yield recording

    update_wrapper(call, walk)
    return call


class RealtimeKitHook(BaseHook):
    """Recordings of Cloudflare RealtimeKit meetings.

    The methods, their arguments and what they raise are those of :class:`~.api.RecordingsAPI`; each ``a…`` is the
    same one for an event loop. Starts are never sent twice on a guess, everything else is tried again for as long
    as ``policy`` says. Close the hook, or use it in a ``with`` (``async with``) block.

    :param realtimekit_conn_id: connection of type ``realtimekit``: password = API token, login = account id,
        host = base URL (empty: Cloudflare's), extra ``app_id``, ``timeout`` (seconds for one request, default 30)
        and ``retry_timeout`` (seconds to keep trying when no good answer comes, default 330)
    :param app_id: another app than the connection's
    :param policy: how patient the calls are (default: as the connection says)
    """

    conn_name_attr = "realtimekit_conn_id"
    default_conn_name = DEFAULT_CONN_NAME
    conn_type = CONN_TYPE
    hook_name = HOOK_NAME

    # One call, two faces: what a call does stands once, in RecordingsAPI.
    get_recording = _sync(RecordingsAPI.get_recording)
    aget_recording = _async(RecordingsAPI.get_recording)
    get_active_recording = _sync(RecordingsAPI.get_active_recording)
    aget_active_recording = _async(RecordingsAPI.get_active_recording)
    start_recording = _sync(RecordingsAPI.start_recording)
    astart_recording = _async(RecordingsAPI.start_recording)
    ensure_recording = _sync(ensure.ensure_recording)
    aensure_recording = _async(ensure.ensure_recording)
    start_track_recording = _sync(RecordingsAPI.start_track_recording)
    astart_track_recording = _async(RecordingsAPI.start_track_recording)
    pause_recording = _sync(RecordingsAPI.pause_recording)
    apause_recording = _async(RecordingsAPI.pause_recording)
    resume_recording = _sync(RecordingsAPI.resume_recording)
    aresume_recording = _async(RecordingsAPI.resume_recording)
    stop_recording = _sync(RecordingsAPI.stop_recording)
    astop_recording = _async(RecordingsAPI.stop_recording)
    get_newest_recording = _sync(RecordingsAPI.get_newest_recording)
    aget_newest_recording = _async(RecordingsAPI.get_newest_recording)
    apply_action = _sync(RecordingsAPI.apply_action)
    aapply_action = _async(RecordingsAPI.apply_action)
    list_recordings = _walk(RecordingsAPI.list_recordings)
    alist_recordings = _async_walk(RecordingsAPI.list_recordings)

    #: Patience of the connection test: somebody waits at a form.
    connection_test_timeout: ClassVar[float] = 3.0

    def __init__(
        self,
        realtimekit_conn_id: str = DEFAULT_CONN_NAME,
        app_id: str | None = None,
        *,
        policy: RetryPolicy | None = None,
    ) -> None:
        super().__init__()
        self.realtimekit_conn_id = realtimekit_conn_id
        self.app_id = app_id
        self.policy = policy
        self._credentials: Credentials | None = None
        self._client: Client | None = None
        self._async_client: AsyncClient | None = None

    @property
    def app_url(self) -> str:
        """The address of the app in the Cloudflare dashboard; empty before a call has read the connection."""
        if self._credentials is None:
            return ""
        return f"https://dash.cloudflare.com/{self._credentials.account_id}/realtime/kit/{self._credentials.app_id}"

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the form of Airflow before 3.3 shows."""
        return {key.replace("-", "_"): value for key, value in UI_FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the extra fields of the form of Airflow before 3.3."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import StringField

        # Text for numbers too: what stands in for wtforms in Airflow 3.1's API server knows no field for them.
        return {
            name: StringField(said["label"], description=said["description"], widget=BS3TextFieldWidget())
            for name, said in CONN_FIELDS.items()
        }

    @property
    def credentials(self) -> Credentials:
        """What the connection says, read once."""
        if self._credentials is None:
            self._credentials = read_credentials(self.get_connection(self.realtimekit_conn_id), self.app_id)
        return self._credentials

    async def get_async_credentials(self) -> Credentials:
        """Return what the connection says, read once and without blocking the loop."""
        if self._credentials is None:
            from airflow.providers.common.compat.connection import get_async_connection

            connection = await get_async_connection(self.realtimekit_conn_id)
            self._credentials = read_credentials(connection, self.app_id)
        return self._credentials

    @property
    def client(self) -> Client:
        """The client that all of this hook's calls share."""
        if self._client is None:
            self._client = Client(self.credentials, self.policy)
            # A task that forgets to close its hook must not leave a socket to be complained about.
            weakref.finalize(self, self._client.close)
        return self._client

    async def get_async_client(self) -> AsyncClient:
        """Return the asynchronous client that all of this hook's calls share."""
        credentials = await self.get_async_credentials()
        # Nothing is awaited from here on: calls that start at once share one client.
        if self._async_client is None:
            self._async_client = AsyncClient(credentials, self.policy)
        return self._async_client

    def get_conn(self) -> Client:
        """Return the client, as every hook does."""
        return self.client

    def close(self) -> None:
        """Close the connections of the synchronous calls."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def aclose(self) -> None:
        """Close the connections of the asynchronous calls."""
        if self._async_client is not None:
            await self._async_client.close()
            self._async_client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def test_connection(self) -> tuple[bool, str]:
        """Try the connection and say in words what is wrong: fields, network, token, permission, account or app."""
        try:
            credentials = self.credentials
        except RealtimeKitInputError as error:
            return False, str(error)
        with Client(credentials, RetryPolicy(retry_timeout=self.connection_test_timeout)) as client:
            return _try(client, credentials)


def _try(client: Client, credentials: Credentials) -> tuple[bool, str]:
    try:
        walk = credentials.api.list_recordings(limit=1)
        client.run(walk.next_page())
    except RealtimeKitAuthError:
        return False, _which_refusal(client, credentials)
    except RealtimeKitNotFoundError as error:
        return False, (
            f"account {credentials.account_id!r} or app {credentials.app_id!r} is not known at "
            f"{credentials.base_url}: {error}"
        )
    except RealtimeKitConnectionError as error:
        return False, f"{credentials.base_url} cannot be reached: {error}"
    except RealtimeKitError as error:
        return False, f"{credentials.base_url} answers, but not as the recordings API does: {error}"
    return True, f"the recordings of app {credentials.app_id!r} can be read"


def _which_refusal(client: Client, credentials: Credentials) -> str:
    """Tell a token that is refused from one that lacks the permission: a user's token or an account's may be meant."""
    try:
        known = any(
            client.run(credentials.api.verify_token(path)) for path in ("/user", f"/accounts/{credentials.account_id}")
        )
    except RealtimeKitError:
        return "the token was refused, or lacks the permission"
    if known:
        return "the token is valid but lacks the permission: it needs Realtime or Realtime Admin on this account"
    return "the token was refused: it is wrong, expired or revoked"
