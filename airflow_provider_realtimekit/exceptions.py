"""The errors, as a tree whose classes retry policies and ``except`` clauses can name.

::

    RealtimeKitError
    ├── RealtimeKitInputError          an argument or a connection field is wrong         fails at once
    ├── RealtimeKitAPIError            the API refused: status, code, message             task retries
    │   ├── RealtimeKitAuthError       401, 403: token refused, or permission missing     fails at once
    │   ├── RealtimeKitNotFoundError   404
    │   │   └── RealtimeKitRouteError  wrong address: account, app or base URL is unknown
    │   └── RealtimeKitRateLimitError  429: has retry_after
    ├── RealtimeKitConnectionError     no answer
    ├── RealtimeKitResponseError       an answer that cannot be read
    ├── StartOutcomeUnknownError       a start was sent, and may have taken effect        fails at once
    ├── StartOutcomePendingError       the same, in a task whose next try will find out   task retries
    └── RecordingError                 something is wrong with one recording
        ├── RecordingFailedError       ERRORED                                            fails at once
        ├── RecordingStuckError        INVOKED for too long
        ├── RecordingActiveError       another recording is active, and if_active is "fail"
        ├── RecordingStateError        an action did not lead to the status that it should
        ├── RecordingTimeoutError      not finished within the given time                 fails at once
        ├── RecordingUnavailableError  the recording has no file that can be fetched
        │   └── RecordingExpiredError  the bucket has deleted its files                   fails at once
        └── DownloadError              a file did not arrive complete, or could not be stored

*Fails at once*: the class is also Airflow's ``AirflowFailException``, since a retry of the task cannot help, or could
record twice. No message holds a token, a header, a storage credential or a signed URL.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowFailException


# Not an AirflowException: a deferrable sensor with soft_fail skips on each of those, and would hide an outage.
class RealtimeKitError(Exception):
    """Base of every error that this provider raises."""


class RealtimeKitInputError(RealtimeKitError, ValueError, AirflowFailException):
    """An argument or a connection field is missing or malformed; nothing was sent."""


class RealtimeKitAPIError(RealtimeKitError):
    """The API refused the request.

    :param message: what the API said, without secrets
    :param status: the HTTP status of the answer
    :param code: the API's own error code, ``None`` if there is none
    """

    def __init__(self, message: str, *, status: int | None = None, code: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class RealtimeKitAuthError(RealtimeKitAPIError, AirflowFailException):
    """The token was refused, or lacks the permission (HTTP 401 or 403)."""


class RealtimeKitNotFoundError(RealtimeKitAPIError):
    """The API does not know the recording, meeting, app or account (HTTP 404)."""


class RealtimeKitRouteError(RealtimeKitNotFoundError):
    """The API does not know the address: the account, the app or the base URL is wrong."""


class RealtimeKitRateLimitError(RealtimeKitAPIError):
    """The quota of the token is used up (HTTP 429).

    :param retry_after: seconds until the API accepts requests again, ``None`` if it did not say
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.retry_after = retry_after


class RealtimeKitConnectionError(RealtimeKitError):
    """No answer came: the connection was refused or lost, timed out, or the host is unknown.

    :param message: what happened, without secrets
    :param processed: ``False`` if the API certainly did not receive the request, ``None`` if that is not known
    """

    def __init__(self, message: str, *, processed: bool | None = None) -> None:
        super().__init__(message)
        self.processed = processed


class RealtimeKitResponseError(RealtimeKitError):
    """The answer cannot be read: it is not JSON, or lacks what it must hold.

    :param message: what is wrong with it
    :param status: the HTTP status of the answer
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class StartOutcomeUnknownError(RealtimeKitError, AirflowFailException):
    """A start was sent and no clear answer came: the recording may be running.

    It is not sent again, also not by a retry of the task, since that could record twice. The meeting's active
    recording, or the list of its recordings, shows whether it runs.

    :param message: what happened
    :param meeting_id: the meeting
    :param accepted: whether the API accepted the start, and only does not show its recording
    """

    def __init__(self, message: str, *, meeting_id: str | None = None, accepted: bool = False) -> None:
        super().__init__(message)
        self.meeting_id = meeting_id
        self.accepted = accepted


class StartOutcomePendingError(RealtimeKitError):
    """A start was sent and no clear answer came. The task's next try finds out before it starts anything."""


class RecordingError(RealtimeKitError):
    """Something is wrong with one recording.

    :param message: what is wrong
    :param recording_id: the recording
    """

    def __init__(self, message: str, *, recording_id: str | None = None) -> None:
        super().__init__(message)
        self.recording_id = recording_id


class RecordingFailedError(RecordingError, AirflowFailException):
    """The recording ended in ERRORED."""


class RecordingStuckError(RecordingError):
    """The recording stayed in INVOKED for longer than allowed."""


class RecordingActiveError(RecordingError):
    """The meeting has an active recording that the task did not start, and ``if_active`` is ``fail``."""


class RecordingStateError(RecordingError):
    """The recording does not have a status that the action leads to, although the action was sent."""


class RecordingTimeoutError(RecordingError, AirflowFailException):
    """The recording did not finish within the given time."""


class RecordingUnavailableError(RecordingError):
    """The recording has no file that can be fetched: it is not uploaded, or is stored elsewhere only."""


class RecordingExpiredError(RecordingUnavailableError, AirflowFailException):
    """The recording's files are deleted: RealtimeKit's bucket stores them for 7 days.

    :param message: what is deleted, and since when
    :param recording_id: the recording
    :param expired_at: when it expired, in ISO 8601; ``None`` if the API did not say
    """

    def __init__(self, message: str, *, recording_id: str | None = None, expired_at: str | None = None) -> None:
        super().__init__(message, recording_id=recording_id)
        self.expired_at = expired_at


class DownloadError(RecordingError):
    """A file did not arrive complete, or could not be stored. No part of it is left under its name."""
