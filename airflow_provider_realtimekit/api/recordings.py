"""The six operations of the recordings API, as flows (see :mod:`.flow`): no I/O happens here.

Also decides when the outcome of a start is unknown, how an action that failed is checked, and which recording of a
meeting is the newest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx
import pendulum
from pydantic import ValidationError

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.headers import parse_date
from airflow_provider_realtimekit.api.pagination import PageWalk
from airflow_provider_realtimekit.api.responses import parse_active_recording, parse_body, parse_recording
from airflow_provider_realtimekit.defaults import REQUEST_TIMEOUT
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitAuthError,
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitRateLimitError,
    RealtimeKitResponseError,
    RecordingStateError,
    StartOutcomeUnknownError,
)
from airflow_provider_realtimekit.models import (
    Action,
    ListQuery,
    Recording,
    StartRecordingRequest,
    StartTrackRecordingRequest,
)
from airflow_provider_realtimekit.models.base import check_identifier
from airflow_provider_realtimekit.redaction import find_secrets, find_strings, mask_error

DEFAULT_BASE_URL = "https://api.cloudflare.com/client/v4"
# The server's clock may differ from ours by this, including the error of a Date header in full seconds.
CLOCK_SLACK = pendulum.duration(seconds=60)
DATE_SLACK = pendulum.duration(seconds=1)

# Seconds before an action without effect is sent again; after the last one it is not. A recording that was just
# invoked takes some seconds to accept a pause.
_ACTION_PAUSES = (1.0, 2.0, None)


@dataclass(frozen=True)
class RecordingsAPI:
    """The recordings of one app.

    :param account_id: Cloudflare's account id
    :param app_id: the RealtimeKit app's id; its form is not checked
    :param base_url: the API's address, up to and including ``/client/v4``
    :param timeout: seconds that a request may take; a start without an answer may still take effect during this time
    """

    account_id: str
    app_id: str
    base_url: str = DEFAULT_BASE_URL
    timeout: float = REQUEST_TIMEOUT

    @cached_property
    def url(self) -> str:
        """The address of the app's recordings."""
        return f"{self.base_url}/accounts/{self.account_id}/realtime/kit/{self.app_id}/recordings"

    def get_recording(self, recording_id: str) -> Flow[Recording]:
        """Fetch a recording: ``GET …/recordings/{recording_id}``.

        :raises RealtimeKitNotFoundError: when the API does not know it
        """
        # Nothing sends "operation": the metrics name the request by it.
        url = f"{self.url}/{check_identifier('recording_id', recording_id)}"
        response = yield httpx.Request("GET", url, extensions={"operation": "get"})
        return parse_recording(response)

    def get_active_recording(self, meeting_id: str) -> Flow[Recording | None]:
        """Fetch a meeting's active recording, ``None`` if it has none: ``GET …/active-recording/{meeting_id}``."""
        recording, _ = yield from self.get_active_with_time(meeting_id)
        return recording

    def get_active_with_time(self, meeting_id: str) -> Flow[tuple[Recording | None, pendulum.DateTime | None]]:
        """Fetch a meeting's active recording, and the server's time: either is ``None`` if the answer lacks it."""
        url = f"{self.url}/active-recording/{check_identifier('meeting_id', meeting_id)}"
        response = yield httpx.Request("GET", url, extensions={"operation": "active"})
        return parse_active_recording(response), parse_date(response.headers.get("date"))

    def pause_recording(self, recording_id: str) -> Flow[Recording]:
        """Pause a recording: ``PUT …/recordings/{recording_id}`` with ``pause``.

        :raises RealtimeKitAPIError: when the API refuses, since the recording has another status, say
        """
        return self._act(recording_id, Action.PAUSE)

    def resume_recording(self, recording_id: str) -> Flow[Recording]:
        """Resume a paused recording: ``PUT …/recordings/{recording_id}`` with ``resume``.

        :raises RealtimeKitAPIError: when the API refuses, since the recording has another status, say
        """
        return self._act(recording_id, Action.RESUME)

    def stop_recording(self, recording_id: str) -> Flow[Recording]:
        """Stop a recording: ``PUT …/recordings/{recording_id}`` with ``stop``.

        :raises RealtimeKitAPIError: when the API refuses, since the recording has ended, say
        """
        return self._act(recording_id, Action.STOP)

    def apply_action(self, recording_id: str, action: Action) -> Flow[Recording]:
        """Apply an action, and check its effect: ``PUT …/recordings/{recording_id}``.

        After an error the recording is read. It may have the status nevertheless, because somebody else acted or only
        the answer was lost. While it is active without that status, the action is sent again, three times in total.

        :param action: :class:`~.models.Action`
        :raises RecordingStateError: when the action failed and the recording does not have the status
        """
        for pause in _ACTION_PAUSES:
            try:
                return (yield from self._act(recording_id, action))
            except (RealtimeKitAuthError, RealtimeKitRateLimitError):
                raise
            except (RealtimeKitAPIError, RealtimeKitConnectionError, RealtimeKitResponseError) as failure:
                error = failure
            # The answer to an action that the status does not allow is not documented, so the status decides.
            try:
                recording = yield from self.get_recording(recording_id)
            except RealtimeKitResponseError:
                if pause is None:
                    raise
            else:
                if recording.has_reached(action):
                    return recording
                if pause is None or not recording.is_active:
                    break
            yield pause
        raise RecordingStateError(
            f"{action} of recording {recording_id} did not take effect: its status is {recording.status}: {error}",
            recording_id=recording_id,
        ) from error

    def get_newest_recording(self, meeting_id: str, invoked_after: pendulum.DateTime) -> Flow[Recording | None]:
        """Find the newest of a meeting's recordings that were invoked at or after a time, ``None`` if there is none."""
        # It is not documented which time of a recording start_time filters. So more is requested, and filtered here.
        walk = self.list_recordings(meeting_id=meeting_id, start_time=invoked_after - CLOCK_SLACK, sort_order="DESC")
        found: list[Recording] = []
        while not walk.is_done:
            page = yield from walk.next_page()
            found += [row for row in walk.accept(page) if row.invoked_time and row.invoked_time >= invoked_after]
        return max(found, key=lambda row: row.invoked_time or pendulum.DateTime.min, default=None)

    def start_recording(
        self,
        *,
        meeting_id: str,
        max_seconds: int | None = None,
        allow_multiple_recordings: bool | None = None,
        file_name_prefix: str | None = None,
        url: str | None = None,
        audio_config: Mapping[str, Any] | None = None,
        video_config: Mapping[str, Any] | None = None,
        interactive_config: Mapping[str, Any] | None = None,
        rtmp_out_config: Mapping[str, Any] | None = None,
        realtimekit_bucket_config: Mapping[str, Any] | None = None,
        storage_config: Mapping[str, Any] | None = None,
        extra_fields: Mapping[str, Any] | None = None,
    ) -> Flow[Recording]:
        """Start recording a meeting: ``POST …/recordings``.

        The call is not idempotent, so it is sent again only if it was certainly not processed.

        :param meeting_id: the meeting to record
        :param max_seconds: seconds after which the recording ends, 60 to 86400 (default: the server's, 86400)
        :param allow_multiple_recordings: start even if the meeting is being recorded (default: the server's, false)
        :param file_name_prefix: the beginning of the file's name
        :param url: a page of your own that is recorded instead of the meeting's
        :param audio_config: ``codec`` (MP3, AAC), ``channel`` (mono, stereo), ``export_file``
        :param video_config: ``codec`` (H264, VP8, VP9), ``width``, ``height`` (1–1920), ``export_file``, ``watermark``
        :param interactive_config: ``{"type": "ID3"}`` for timed metadata; the file is then a ``.tar``
        :param rtmp_out_config: ``{"rtmp_url": …}`` for a live stream of the meeting
        :param realtimekit_bucket_config: ``{"enabled": …}``; disabled needs ``storage_config``
        :param storage_config: your own storage, see :class:`~.models.StorageConfig`
        :param extra_fields: fields that this version does not know, merged into the body unchecked
        :raises RealtimeKitInputError: when a value is not allowed; nothing was sent
        :raises StartOutcomeUnknownError: when no clear answer came; the recording may be running
        """
        arguments = {name: value for name, value in locals().items() if name != "self"}
        return (yield from self.send_start(StartRecordingRequest.checked(**arguments)))

    def start_track_recording(
        self,
        *,
        meeting_id: str,
        layers: Mapping[str, Any] | None = None,
        user_ids: list[str] | None = None,
        max_seconds: int | None = None,
        extra_fields: Mapping[str, Any] | None = None,
    ) -> Flow[Recording]:
        """Start recording each participant's track of a meeting: ``POST …/recordings/track``.

        :param meeting_id: the meeting to record; it needs a participant
        :param layers: by name, ``{file_name_prefix, media_kind, outputs[{type, storage_config}]}``
        :param user_ids: record these participants only, 100 at most (default: all)
        :param max_seconds: seconds after which the recording ends, 60 to 86400 (default: the server's, 86400)
        :param extra_fields: fields that this version does not know, merged into the body unchecked
        :raises RealtimeKitInputError: when a value is not allowed; nothing was sent
        :raises StartOutcomeUnknownError: when no clear answer came; the recording may be running
        """
        arguments = {name: value for name, value in locals().items() if name != "self"}
        return (yield from self.send_start(StartTrackRecordingRequest.checked(**arguments)))

    def send_start(self, request: StartRecordingRequest | StartTrackRecordingRequest) -> Flow[Recording]:
        """Send a start whose arguments are checked: ``POST …/recordings``, or ``POST …/recordings/track``.

        :raises StartOutcomeUnknownError: when no clear answer came; the recording may be running
        """
        if isinstance(request, StartRecordingRequest):
            data, _ = yield from self._post_start("start", "", request)
            return _read_started(data, request.meeting_id)
        began = pendulum.now("UTC")
        data, response = yield from self._post_start("start_track", "/track", request)
        if isinstance(data, Mapping) and data:
            # The current SDK reads data.recording.
            return _read_started(data.get("recording", data), request.meeting_id)
        # The reference's answer is empty. The recording is then the newest that was invoked since the request was
        # sent, by the server's clock if the answer has its time.
        now = pendulum.now("UTC")
        since = (parse_date(response.headers.get("date")) or now - CLOCK_SLACK) - (now - began) - DATE_SLACK
        return (yield from self._find_started(request.meeting_id, since))

    def list_recordings(
        self,
        *,
        meeting_id: str | None = None,
        status: str | list[str] | None = None,
        search: str | None = None,
        expired: bool | None = None,
        start_time: str | pendulum.DateTime | None = None,
        end_time: str | pendulum.DateTime | None = None,
        sort_order: str = "ASC",
        limit: int | None = None,
    ) -> PageWalk:
        """List the app's recordings; each page is fetched when it is needed: ``GET …/recordings``.

        :param meeting_id: only recordings of this meeting
        :param status: only recordings with this status, or one of these
        :param search: only recordings whose meeting's id or title matches
        :param expired: only recordings whose files have expired (true), or have not (false)
        :param start_time: only recordings invoked at or after this time (ISO 8601 or datetime)
        :param end_time: only recordings invoked at or before this time (ISO 8601 or datetime)
        :param sort_order: ``ASC`` (oldest first, the default) or ``DESC``
        :param limit: the largest number of recordings (default: no limit)
        :raises RealtimeKitInputError: when a value is not allowed; nothing was sent
        """
        arguments = {name: value for name, value in locals().items() if name != "self"}
        return PageWalk(ListQuery.checked(**arguments), self.url)

    def verify_token(self, path: str = "/user") -> Flow[bool]:
        """Whether Cloudflare knows the token: ``GET {path}/tokens/verify``.

        :param path: ``/user`` for a user's token, ``/accounts/{account_id}`` for an account's
        """
        response = yield httpx.Request("GET", f"{self.base_url}{path}/tokens/verify")
        return response.is_success

    def _act(self, recording_id: str, action: Action) -> Flow[Recording]:
        url = f"{self.url}/{check_identifier('recording_id', recording_id)}"
        body = {"action": action.value}
        response = yield httpx.Request("PUT", url, json=body, extensions={"operation": action.value})
        return parse_recording(response)

    def _post_start(
        self, operation: str, path: str, request: StartRecordingRequest | StartTrackRecordingRequest
    ) -> Flow[tuple[Any, httpx.Response]]:
        """Send a start; return the answer's data, and the answer."""
        body = request.to_body()
        try:
            response = yield httpx.Request("POST", self.url + path, json=body, extensions={"operation": operation})
            return parse_body(response, may_be_empty=True).get("data"), response
        except (RealtimeKitConnectionError, RealtimeKitResponseError, RealtimeKitAPIError) as error:
            # The API's message may repeat values of the request.
            error = mask_error(error, [*find_secrets(body), *find_strings(request.extra_fields)])
            if _may_have_started(error):
                raise _outcome_unknown(str(error), request.meeting_id) from error
            raise error from None

    def _find_started(self, meeting_id: str, since: pendulum.DateTime) -> Flow[Recording]:
        try:
            found = yield from self.get_newest_recording(meeting_id, since)
        except RealtimeKitError as error:
            reason = f"the API accepted the start, but its list of recordings cannot be read: {error}"
            raise _outcome_unknown(reason, meeting_id, accepted=True) from error
        if found is None:
            reason = "the API accepted the start, but its list shows no new recording yet"
            raise _outcome_unknown(reason, meeting_id, accepted=True)
        return found


def _read_started(data: Any, meeting_id: str) -> Recording:
    try:
        return Recording.model_validate(data)
    except ValidationError:
        # The start probably took effect. The cause says that the API answered, so that a search can be short.
        error = RealtimeKitResponseError("the API accepted the start, but its answer holds no recording: it has no id")
        raise _outcome_unknown(str(error), meeting_id) from error


def _may_have_started(error: Exception) -> bool:
    """Whether a start may have had an effect although it led to this error."""
    if isinstance(error, RealtimeKitConnectionError):
        return error.processed is not False
    if isinstance(error, RealtimeKitAPIError):
        return error.status is not None and (error.status >= 500 or error.status == 408)
    return True


def _outcome_unknown(reason: str, meeting_id: str, *, accepted: bool = False) -> StartOutcomeUnknownError:
    return StartOutcomeUnknownError(
        f"whether the start of a recording of meeting {meeting_id} took effect is not known: {reason}. Check "
        "the meeting's active recording before you start another",
        meeting_id=meeting_id,
        accepted=accepted,
    )
