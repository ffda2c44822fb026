"""The six operations of the recordings API, as flows (see :mod:`.flow`): no I/O happens here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pendulum
from pydantic import ValidationError

from airflow_provider_realtimekit.api.flow import Flow
from airflow_provider_realtimekit.api.headers import parse_date
from airflow_provider_realtimekit.api.pagination import Page, PageWalk
from airflow_provider_realtimekit.api.responses import parse_data
from airflow_provider_realtimekit.defaults import REQUEST_TIMEOUT
from airflow_provider_realtimekit.exceptions import (
    RealtimeKitAPIError,
    RealtimeKitAuthError,
    RealtimeKitConnectionError,
    RealtimeKitError,
    RealtimeKitNotFoundError,
    RealtimeKitRateLimitError,
    RealtimeKitResponseError,
    RealtimeKitRouteError,
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
from airflow_provider_realtimekit.models.requests import MeetingRef, RecordingRef
from airflow_provider_realtimekit.redaction import find_secrets, find_strings, mask_error

DEFAULT_BASE_URL = "https://api.cloudflare.com/client/v4"
# How far the server's clock and ours may be apart, and how far its Date header (whole seconds) is from the truth.
CLOCK_SLACK = pendulum.duration(seconds=60)
DATE_SLACK = pendulum.duration(seconds=1)

# Seconds before an action that took no effect is asked for again; after the last one it is given up.
_ASK_AGAIN = (1.0, 2.0, None)


@dataclass(frozen=True)
class RecordingsAPI:
    """The recordings of one app.

    :param account_id: Cloudflare's account id
    :param app_id: the RealtimeKit app's id; its form is not checked
    :param base_url: where the API lives, up to and including ``/client/v4``
    :param timeout: seconds that a request may take: for so long a start in doubt may still take effect
    """

    account_id: str
    app_id: str
    base_url: str = DEFAULT_BASE_URL
    timeout: float = REQUEST_TIMEOUT

    def get_recording(self, recording_id: str) -> Flow[Recording]:
        """Fetch a recording: ``GET …/recordings/{recording_id}``."""
        ref = RecordingRef.checked(recording_id=recording_id)
        response = yield self._request("get", "GET", f"/{ref.recording_id}")
        return read_recording(parse_data(response), response)

    def get_active_recording(self, meeting_id: str) -> Flow[Recording | None]:
        """Fetch a meeting's active recording, ``None`` if there is none: ``GET …/active-recording/{meeting_id}``."""
        recording, _ = yield from self.look_at_active(meeting_id)
        return recording

    def look_at_active(self, meeting_id: str) -> Flow[tuple[Recording | None, pendulum.DateTime | None]]:
        """Fetch a meeting's active recording, and the server's time at the answer as far as it tells."""
        ref = MeetingRef.checked(meeting_id=meeting_id)
        response = yield self._request("active", "GET", f"/active-recording/{ref.meeting_id}")
        try:
            recording = read_recording(parse_data(response), response)
        except RealtimeKitRouteError:
            raise
        except RealtimeKitNotFoundError:
            return None, parse_date(response.headers.get("date"))
        return recording, parse_date(response.headers.get("date"))

    def pause_recording(self, recording_id: str) -> Flow[Recording]:
        """Pause a recording: ``PUT …/recordings/{recording_id}`` with ``pause``."""
        return self._act(recording_id, Action.PAUSE)

    def resume_recording(self, recording_id: str) -> Flow[Recording]:
        """Resume a paused recording: ``PUT …/recordings/{recording_id}`` with ``resume``."""
        return self._act(recording_id, Action.RESUME)

    def stop_recording(self, recording_id: str) -> Flow[Recording]:
        """Stop a recording: ``PUT …/recordings/{recording_id}`` with ``stop``."""
        return self._act(recording_id, Action.STOP)

    def apply_action(self, recording_id: str, action: Action) -> Flow[Recording]:
        """Bring a recording to where ``action`` leads; an error of the call is judged by looking again.

        While the recording is active the action is asked for a few times: one that was just invoked can be paused
        some seconds later, and a stop must not be lost to a bad answer.

        :raises RecordingStateError: when the calls failed and the recording is not there either
        """
        for pause in _ASK_AGAIN:
            try:
                return (yield from self._act(recording_id, action))
            except (RealtimeKitAuthError, RealtimeKitRateLimitError):
                raise
            except (RealtimeKitAPIError, RealtimeKitConnectionError, RealtimeKitResponseError) as failure:
                error = failure
            recording = yield from self.get_recording(recording_id)
            if recording.has_reached(action):
                return recording
            if pause is None or not recording.is_active:
                break
            yield pause
        raise RecordingStateError(
            f"{action} of recording {recording_id} did not take effect, it is {recording.status}: {error}",
            recording_id=recording_id,
        ) from error

    def get_newest_recording(self, meeting_id: str, invoked_after: pendulum.DateTime) -> Flow[Recording | None]:
        """Find the newest of a meeting's recordings that were invoked at or after a time."""
        walk = self.list_recordings(meeting_id=meeting_id, start_time=invoked_after - CLOCK_SLACK, sort_order="DESC")
        newest = None
        while not walk.done:
            for found in walk.take((yield from walk.next_page())):
                if found.invoked_time and found.invoked_time >= invoked_after:
                    newest = max(newest or found, found, key=_invoked)
        return newest

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

        The call is not idempotent: it is sent again only when it surely was not processed.

        :param meeting_id: the meeting to record
        :param max_seconds: end the recording after so many seconds, 60 to 86400 (the server's default: 86400)
        :param allow_multiple_recordings: start even though the meeting is being recorded (server's default: false)
        :param file_name_prefix: what the file's name begins with
        :param url: a page of your own to record instead of the meeting's
        :param audio_config: ``codec`` (MP3, AAC), ``channel`` (mono, stereo), ``export_file``
        :param video_config: ``codec`` (H264, VP8, VP9), ``width``, ``height`` (1–1920), ``export_file``, ``watermark``
        :param interactive_config: ``{"type": "ID3"}`` for timed metadata; the file is a ``.tar`` then
        :param rtmp_out_config: ``{"rtmp_url": …}`` for a live stream beside the recording
        :param realtimekit_bucket_config: ``{"enabled": …}``; disabled needs ``storage_config``
        :param storage_config: your own storage, see :class:`~.models.StorageConfig`
        :param extra_fields: fields that the API gained since, merged into the body unchecked
        :raises RealtimeKitInputError: before anything is sent, when a value is not allowed
        :raises StartOutcomeUnknownError: when no clear answer came
        """
        body = {name: value for name, value in locals().items() if name != "self"}
        request = StartRecordingRequest.checked(**body)
        data, response = yield from self._start("", request)
        return _believe(data, response, request.meeting_id)

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

        :param meeting_id: the meeting to record; somebody must be in it
        :param layers: by name, ``{file_name_prefix, media_kind, outputs[{type, storage_config}]}``
        :param user_ids: only the tracks of these participants, 100 at most
        :param max_seconds: end the recording after so many seconds, 60 to 86400
        :param extra_fields: fields that the API gained since, merged into the body unchecked
        :raises RealtimeKitInputError: before anything is sent, when a value is not allowed
        :raises StartOutcomeUnknownError: when no clear answer came
        """
        body = {name: value for name, value in locals().items() if name != "self"}
        request = StartTrackRecordingRequest.checked(**body)
        began = pendulum.now("UTC")
        data, response = yield from self._start("/track", request)
        if isinstance(data, Mapping) and data:
            return _believe(data.get("recording", data), response, request.meeting_id)
        # The reference's answer is empty: the recording is the newest that was invoked since the request was sent,
        # by the server's own clock where it tells the time.
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
        """Walk the app's recordings, page by page as they are read: ``GET …/recordings``.

        :param meeting_id: only this meeting's
        :param status: only those in this status, or in one of these
        :param search: only those whose meeting's id or title matches
        :param expired: only those whose files have expired (true) or not (false)
        :param start_time: only those invoked at or after it (ISO 8601 or datetime)
        :param end_time: only those invoked at or before it
        :param sort_order: by the time of invocation, ``ASC`` or ``DESC``
        :param limit: at most so many
        :raises RealtimeKitInputError: before anything is sent, when a value is not allowed
        """
        arguments = {name: value for name, value in locals().items() if name != "self"}
        return PageWalk(ListQuery.checked(**arguments), self._page)

    def verify_token(self, path: str = "/user") -> Flow[bool]:
        """Ask Cloudflare whether the token is one of its own: ``GET {path}/tokens/verify``."""
        response = yield httpx.Request("GET", f"{self.base_url}{path}/tokens/verify")
        return response.is_success

    def _page(self, params: Mapping[str, Any]) -> Flow[Page]:
        response = yield self._request("list", "GET", "", params=params)
        return Page.read(parse_data(response), response.json().get("paging"))

    def _act(self, recording_id: str, action: Action) -> Flow[Recording]:
        ref = RecordingRef.checked(recording_id=recording_id)
        response = yield self._request(action.value, "PUT", f"/{ref.recording_id}", json={"action": action.value})
        return read_recording(parse_data(response), response)

    def _start(
        self, path: str, request: StartRecordingRequest | StartTrackRecordingRequest
    ) -> Flow[tuple[Any, httpx.Response]]:
        body = request.to_body()
        try:
            response = yield self._request("start_track" if path else "start", "POST", path, json=body)
            return parse_data(response, may_be_empty=True), response
        except (RealtimeKitConnectionError, RealtimeKitResponseError, RealtimeKitAPIError) as error:
            error = mask_error(error, [*find_secrets(body), *find_strings(request.extra_fields)])
            if _is_doubtful(error):
                raise _doubt(str(error), request.meeting_id) from error
            raise error from None

    def _find_started(self, meeting_id: str, since: pendulum.DateTime) -> Flow[Recording]:
        try:
            found = yield from self.get_newest_recording(meeting_id, since)
        except RealtimeKitError as error:
            what = f"the API accepted the start but cannot show it: {error}"
            raise _doubt(what, meeting_id, accepted=True) from error
        if found is None:
            raise _doubt("the API accepted the start but shows no recording yet", meeting_id, accepted=True)
        return found

    def _request(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Mapping[str, Any] | None = None,
    ) -> httpx.Request:
        url = f"{self.base_url}/accounts/{self.account_id}/realtime/kit/{self.app_id}/recordings{path}"
        return httpx.Request(method, url, params=params, json=json, extensions={"operation": operation})


def read_recording(data: Any, response: httpx.Response) -> Recording:
    """Read a recording out of an answer.

    :raises RealtimeKitResponseError: when the answer holds none
    """
    try:
        return Recording.model_validate(data)
    except ValidationError:
        raise RealtimeKitResponseError(
            "the answer holds no recording (no id in data)", status=response.status_code
        ) from None


def _invoked(recording: Recording) -> pendulum.DateTime:
    return recording.invoked_time or pendulum.DateTime.min


def _believe(data: Any, response: httpx.Response, meeting_id: str) -> Recording:
    """Read the recording that a start answers; one without an id was started all the same."""
    try:
        return read_recording(data, response)
    except RealtimeKitResponseError as error:
        raise _doubt(str(error), meeting_id) from error


def _is_doubtful(error: Exception) -> bool:
    if isinstance(error, RealtimeKitConnectionError):
        return error.processed is not False
    if isinstance(error, RealtimeKitAPIError):
        return error.status is not None and (error.status >= 500 or error.status == 408)
    return True


def _doubt(what: str, meeting_id: str, *, accepted: bool = False) -> StartOutcomeUnknownError:
    return StartOutcomeUnknownError(
        f"the start of a recording of meeting {meeting_id} was sent, but whether it took effect is not known: {what}. "
        "It is not sent again, since that could record twice: look at the meeting's active recording",
        meeting_id=meeting_id,
        accepted=accepted,
    )
