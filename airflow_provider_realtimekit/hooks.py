"""The hook: the operations of the recordings API as methods on an Airflow connection, synchronous and asynchronous."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, ClassVar, Concatenate, ParamSpec, Self, TypeVar, get_args

from airflow.providers.common.compat.connection import get_async_connection
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


def _sync(flow: Callable[Concatenate[RecordingsAPI, P], Flow[T]]) -> Callable[Concatenate[RealtimeKitHook, P], T]:
    def call(self: RealtimeKitHook, /, *args: P.args, **kwargs: P.kwargs) -> T:
        client = self.get_conn()
        return client.run(flow(client.api, *args, **kwargs))

    _describe(call, flow, flow.__name__)
    return call


def _async(
    flow: Callable[Concatenate[RecordingsAPI, P], Flow[T]],
) -> Callable[Concatenate[RealtimeKitHook, P], Awaitable[T]]:
    async def call(self: RealtimeKitHook, /, *args: P.args, **kwargs: P.kwargs) -> T:
        client = await self.get_async_conn()
        return await client.run(flow(client.api, *args, **kwargs))

    _describe(call, flow, f"a{flow.__name__}")
    return call


def _sync_list(
    walk: Callable[Concatenate[RecordingsAPI, P], PageWalk],
) -> Callable[Concatenate[RealtimeKitHook, P], Iterator[Recording]]:
    def call(self: RealtimeKitHook, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Recording]:
        client = self.get_conn()
        return client.walk(walk(client.api, *args, **kwargs))

    _describe(call, walk, walk.__name__, Iterator[Recording])
    return call


def _async_list(
    walk: Callable[Concatenate[RecordingsAPI, P], PageWalk],
) -> Callable[Concatenate[RealtimeKitHook, P], AsyncIterator[Recording]]:
    async def call(self: RealtimeKitHook, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Recording]:
        client = await self.get_async_conn()
        async for recording in client.walk(walk(client.api, *args, **kwargs)):
            yield recording

    _describe(call, walk, f"a{walk.__name__}", AsyncIterator[Recording])
    return call


def _describe(method: Any, flow: Callable[..., Any], name: str, returns: Any = None) -> None:
    """Give a method the name, docstring and signature that ``help()`` and documentation show.

    :param flow: what the method runs
    :param name: the method's name
    :param returns: what the method returns (default: the result of the flow)
    """
    # Not functools.wraps: it makes inspect follow __wrapped__, and show the flow's name and that it is a generator.
    signature = inspect.signature(flow, eval_str=True)
    parameters = list(signature.parameters.values())
    parameters[0] = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if returns is None:
        # Flow[T] is a Generator[yields, is sent, returns].
        returns = get_args(signature.return_annotation)[2]
    method.__name__ = name
    method.__qualname__ = f"RealtimeKitHook.{name}"
    method.__doc__ = flow.__doc__
    method.__signature__ = signature.replace(parameters=parameters, return_annotation=returns)
    method.__annotations__ = {part.name: part.annotation for part in parameters[1:]} | {"return": returns}


class RealtimeKitHook(BaseHook):
    """Recordings of Cloudflare RealtimeKit meetings.

    Each method ``a…`` is the asynchronous form of the method without the ``a``. A start is sent again only if it
    certainly had no effect; every other request is sent again as ``policy`` says. Close the hook, or use it in a
    ``with`` (``async with``) block.

    :param realtimekit_conn_id: connection of type ``realtimekit``: password = API token, login = account id,
        host = base URL (empty: Cloudflare's), extra ``app_id``, ``timeout`` (seconds for one request, default 30),
        ``retry_timeout`` (seconds to keep trying when no good answer comes, default 330) and ``polling_share`` (the
        share of the token's quota that polling may use, default 0.5)
    :param app_id: another app than the connection's
    :param policy: when requests are repeated (default: as the connection says)
    """

    conn_name_attr = "realtimekit_conn_id"
    default_conn_name = DEFAULT_CONN_NAME
    conn_type = CONN_TYPE
    hook_name = HOOK_NAME

    # Each call is written once, as a flow, from which a synchronous and an asynchronous method are made here.
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
    list_recordings = _sync_list(RecordingsAPI.list_recordings)
    alist_recordings = _async_list(RecordingsAPI.list_recordings)

    #: Seconds for which the connection test retries. A user waits for its result in a form.
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
        """Return what the connection form shows in Airflow before 3.3."""
        return {key.replace("-", "_"): value for key, value in UI_FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the extra fields of the connection form in Airflow before 3.3."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import StringField

        # Numbers have text fields too: Airflow 3.1's API server replaces wtforms, and has no field for numbers.
        return {
            name: StringField(field["label"], description=field["description"], widget=BS3TextFieldWidget())
            for name, field in CONN_FIELDS.items()
        }

    def get_credentials(self) -> Credentials:
        """Return what the connection says, read once.

        :raises RealtimeKitInputError: naming the field that is missing or malformed
        """
        if self._credentials is None:
            self._credentials = read_credentials(self.get_connection(self.realtimekit_conn_id), self.app_id)
        return self._credentials

    async def get_async_credentials(self) -> Credentials:
        """Return what the connection says, read once and without blocking the event loop.

        :raises RealtimeKitInputError: naming the field that is missing or malformed
        """
        if self._credentials is None:
            connection = await get_async_connection(self.realtimekit_conn_id)
            self._credentials = read_credentials(connection, self.app_id)
        return self._credentials

    def get_conn(self) -> Client:
        """Return the client that this hook's synchronous calls share."""
        if self._client is None:
            self._client = Client(self.get_credentials(), self.policy)
            # Closed with the hook, because Python warns of sockets that a task leaves open.
            weakref.finalize(self, self._client.close)
        return self._client

    async def get_async_conn(self) -> AsyncClient:
        """Return the client that this hook's asynchronous calls share."""
        credentials = await self.get_async_credentials()
        # No await from here on, so that calls that begin at the same time share one client.
        if self._async_client is None:
            self._async_client = AsyncClient(credentials, self.policy)
        return self._async_client

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
        """Try the connection; return whether it works, and what is wrong: field, network, token, account or app."""
        try:
            credentials = self.get_credentials()
        except RealtimeKitInputError as error:
            return False, str(error)
        with Client(credentials, RetryPolicy(retry_timeout=self.connection_test_timeout)) as client:
            return _test(client, credentials)


def _test(client: Client, credentials: Credentials) -> tuple[bool, str]:
    try:
        client.run(client.api.list_recordings(limit=1).next_page())
    except RealtimeKitAuthError:
        return False, _explain_refused_token(client, credentials)
    except RealtimeKitNotFoundError as error:
        return False, (
            f"account {credentials.account_id!r} or app {credentials.app_id!r} is not known at "
            f"{credentials.base_url}: check login (the account id) and the extra field app_id ({error})"
        )
    except RealtimeKitConnectionError as error:
        return False, f"{credentials.base_url} cannot be reached: {error}"
    except RealtimeKitError as error:
        return False, f"{credentials.base_url} answers, but not as the recordings API does: {error}"
    return True, f"the recordings of app {credentials.app_id!r} can be read"


def _explain_refused_token(client: Client, credentials: Credentials) -> str:
    # A token belongs to a user or to an account, and each kind has an address that verifies it. A token that is
    # valid there, and refused for recordings, lacks the permission.
    paths = ("/user", f"/accounts/{credentials.account_id}")
    try:
        is_valid = any(client.run(client.api.verify_token(path)) for path in paths)
    except RealtimeKitError:
        return "the token was refused, or lacks the permission Realtime or Realtime Admin on this account"
    if is_valid:
        return "the token is valid but lacks the permission: it needs Realtime or Realtime Admin on this account"
    return "the token was refused: it is wrong, expired or revoked"
