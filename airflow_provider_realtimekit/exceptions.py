"""What can go wrong, as a tree that retry policies and ``except`` clauses can name.

::

    RealtimeKitError
    ├── RealtimeKitInputError          an argument or a connection field is wrong        fails at once
    ├── RealtimeKitAPIError            the API said no: status, code, message            task retries
    │   ├── RealtimeKitAuthError       401, 403: token refused, or permission missing    fails at once
    │   ├── RealtimeKitNotFoundError   404
    │   │   └── RealtimeKitRouteError  the address itself: account, app or base URL is not known
    │   └── RealtimeKitRateLimitError  429: carries retry_after
    ├── RealtimeKitConnectionError     no answer
    ├── RealtimeKitResponseError       an answer that makes no sense
    ├── StartOutcomeUnknownError       a start was sent, and may have taken effect       fails at once
    ├── StartUnsettledError            the same, in a task whose next try settles it     task retries
    └── RecordingError                 something is wrong with one recording
        ├── RecordingFailedError       ERRORED                                           fails at once
        ├── RecordingStuckError        INVOKED for too long
        ├── RecordingActiveError       another recording runs, and if_active is "fail"
        ├── RecordingStateError        an action did not lead to the state it aims at
        ├── RecordingTimeoutError      not finished within the time given                fails at once
        ├── RecordingUnavailableError  the recording has no file to fetch
        │   └── RecordingExpiredError  the bucket has deleted its files                  fails at once
        └── DownloadError              a file did not arrive whole, or could not be stored

*Fails at once* means that the class is also Airflow's ``AirflowFailException``: a retry of the task cannot
help, or could record twice. The base is an ordinary exception and not an ``AirflowException``, because a
deferrable sensor with
``soft_fail`` skips on every ``AirflowException`` and would hide an outage as a skip.

No message holds a token, a header, a storage credential or a signed URL.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowFailException


class RealtimeKitError(Exception):
    """Base of everything that this provider raises on its own account."""


class RealtimeKitInputError(RealtimeKitError, ValueError, AirflowFailException):
    """An argument or a connection field is missing or malformed; nothing was sent."""


class RealtimeKitAPIError(RealtimeKitError):
    """The API answered that it did not do what was asked.

    :param message: what the API said, without secrets
    :param status: the HTTP status of the answer
    :param code: the API's own error code, where it gave one
    """

    def __init__(self, message: str, *, status: int | None = None, code: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class RealtimeKitAuthError(RealtimeKitAPIError, AirflowFailException):
    """The token was refused, or lacks the permission (HTTP 401 and 403)."""


class RealtimeKitNotFoundError(RealtimeKitAPIError):
    """No such recording, meeting, app or account (HTTP 404)."""


class RealtimeKitRouteError(RealtimeKitNotFoundError):
    """The API has nothing at this address: the account, the app or the base URL is wrong."""


class RealtimeKitRateLimitError(RealtimeKitAPIError):
    """The quota is spent (HTTP 429).

    :param retry_after: seconds until the API answers again, where it said so
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
    """No answer came: refused, reset, timed out, or not resolved.

    :param message: what happened, without secrets
    :param processed: ``False`` when the API surely did not see the request
    """

    def __init__(self, message: str, *, processed: bool | None = None) -> None:
        super().__init__(message)
        self.processed = processed


class RealtimeKitResponseError(RealtimeKitError):
    """The answer cannot be read: not JSON, or without what it must hold.

    :param message: what is wrong with it
    :param status: the HTTP status of the answer
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class StartOutcomeUnknownError(RealtimeKitError, AirflowFailException):
    """A start was sent and no clear answer came: the recording may be running.

    It is not sent again on a guess, by a retry of the task neither, and looking did not settle it.
    The meeting's active recording, or the list of its recordings, tells.

    :param message: what happened
    :param meeting_id: the meeting to look at
    :param accepted: whether the API said that it took the start, and only does not show what came of it
    """

    def __init__(self, message: str, *, meeting_id: str | None = None, accepted: bool = False) -> None:
        super().__init__(message)
        self.meeting_id = meeting_id
        self.accepted = accepted


class StartUnsettledError(RealtimeKitError):
    """A start in doubt, of a task that remembers it: its next try looks what came of it before it starts anything."""


class RecordingError(RealtimeKitError):
    """Something is wrong with one recording.

    :param message: what is wrong
    :param recording_id: with which recording
    """

    def __init__(self, message: str, *, recording_id: str | None = None) -> None:
        super().__init__(message)
        self.recording_id = recording_id


class RecordingFailedError(RecordingError, AirflowFailException):
    """The recording ended in ERRORED."""


class RecordingStuckError(RecordingError):
    """The recording stayed in INVOKED for longer than allowed."""


class RecordingActiveError(RecordingError):
    """The meeting is being recorded by somebody else, and ``if_active`` is ``fail``."""


class RecordingStateError(RecordingError):
    """After an action the recording is not in the state that the action aims at."""


class RecordingTimeoutError(RecordingError, AirflowFailException):
    """The recording did not finish within the time that the caller gave it."""


class RecordingUnavailableError(RecordingError):
    """The recording has no file that could be fetched: not uploaded, expired, or stored elsewhere."""


class RecordingExpiredError(RecordingUnavailableError, AirflowFailException):
    """The recording's files are gone: the bucket keeps them for 7 days only.

    :param message: what is gone, and since when
    :param recording_id: of which recording
    :param expired_at: when it expired, in ISO 8601, where the API told
    """

    def __init__(self, message: str, *, recording_id: str | None = None, expired_at: str | None = None) -> None:
        super().__init__(message, recording_id=recording_id)
        self.expired_at = expired_at


class DownloadError(RecordingError):
    """A file did not arrive whole, or could not be stored; nothing is left of it."""
