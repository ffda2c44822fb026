"""The operator that lists recordings: which ones, how many, and which fields it returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError
from airflow_provider_realtimekit.operators.base import RealtimeKitOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_realtimekit.models import Recording

# Airflow maps a task over 1,024 values at most, unless [core] max_map_length says otherwise.
DEFAULT_LIMIT = 1000
ALL_FIELDS = "all"
# The log warns of recordings that expire within this many hours, in which a daily archive has one run left.
_EXPIRY_WARNING_HOURS = 24
# Recordings that a log line names at most.
_MAX_NAMED = 20


class RealtimeKitListRecordingsOperator(RealtimeKitOperator):
    """List recordings (``GET …/recordings``), sorted by the time of their invocation, for dynamic task mapping.

    Returns a list of ids, for ``expand(recording_id=listing.output)``; with ``fields`` a list of plain JSON objects.
    The log says how many there are, whether the limit left some out, and which expire within 24 hours. All arguments
    are templated, and are checked before anything is sent.

    :param meeting_id: only this meeting's
    :param status: only those in this status, or in one of these
    :param search: only those whose meeting's id or title matches
    :param expired: only those whose files have expired (true) or not (false)
    :param start_time: only those invoked at or after it (ISO 8601 or datetime)
    :param end_time: only those invoked at or before it
    :param sort_order: ``ASC`` (default) or ``DESC``: with a limit, the oldest or the newest
    :param limit: number of recordings at most (default: 1000; Airflow maps a task over 1,024 at most)
    :param fields: names of the fields to return of each recording, ``id`` always included, or ``"all"``, which is about
        1 kB of XCom for each recording (default: ids only)
    :raises RealtimeKitInputError: when a rendered value is not allowed; nothing was sent then
    """

    template_fields: Sequence[str] = (
        *RealtimeKitOperator.template_fields,
        "meeting_id",
        "status",
        "search",
        "expired",
        "start_time",
        "end_time",
        "sort_order",
        "limit",
        "fields",
    )

    def __init__(
        self,
        *,
        meeting_id: str | None = None,
        status: str | list[str] | None = None,
        search: str | None = None,
        expired: Any = None,
        start_time: Any = None,
        end_time: Any = None,
        sort_order: str = "ASC",
        limit: int | str = DEFAULT_LIMIT,
        fields: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.meeting_id = meeting_id
        self.status = status
        self.search = search
        self.expired = expired
        self.start_time = start_time
        self.end_time = end_time
        self.sort_order = sort_order
        self.limit = limit
        self.fields = fields

    def execute(self, context: Context) -> list[str] | list[dict[str, Any]]:
        """List the recordings, and return their ids or fields."""
        fields = _check_fields(self.fields)
        recordings = self._list()
        self._warn_of_expiry(recordings)
        if not fields:
            return [recording.id for recording in recordings]
        return [
            {name: value for name, value in recording.to_json().items() if name in fields} for recording in recordings
        ]

    def _list(self) -> list[Recording]:
        from airflow_provider_realtimekit.models import ListQuery

        limit = ListQuery.checked(limit=self.limit).limit or DEFAULT_LIMIT
        found = list(
            self.hook.list_recordings(
                meeting_id=self.meeting_id,
                status=self.status,
                search=self.search,
                expired=self.expired,
                start_time=self.start_time,
                end_time=self.end_time,
                sort_order=self.sort_order,
                limit=limit + 1,  # with one more it is known whether there are more
            )
        )
        self.log.info("Found %d recordings", len(found[:limit]))
        if len(found) > limit:
            self.log.warning("There are more: limit=%d left the others out", limit)
        return found[:limit]

    def _warn_of_expiry(self, recordings: Iterable[Recording]) -> None:
        import pendulum

        now = pendulum.now("UTC")
        limit = now.add(hours=_EXPIRY_WARNING_HOURS)
        soon = [one for one in recordings if one.download_url_expiry and now < one.download_url_expiry <= limit]
        if soon:
            named = ", ".join(f"{one.id} at {one.download_url_expiry}" for one in soon[:_MAX_NAMED])
            more = f" and {len(soon) - _MAX_NAMED} more" if len(soon) > _MAX_NAMED else ""
            self.log.warning("%d of them expire within %d hours: %s%s", len(soon), _EXPIRY_WARNING_HOURS, named, more)


def _check_fields(fields: Sequence[str] | str | None) -> frozenset[str]:
    """Return the names of the fields to return; an empty result means ids only.

    :raises RealtimeKitInputError: when a name is not a field of a recording
    """
    from airflow_provider_realtimekit.models import Recording

    known = frozenset(Recording(id="any").to_json())
    if not fields:
        return frozenset()
    if fields == ALL_FIELDS:
        return known
    wanted = frozenset(() if isinstance(fields, str) else fields)
    if not wanted or not wanted <= known:
        raise RealtimeKitInputError(
            f"fields={fields!r} is not allowed: must be {ALL_FIELDS!r} or a list of {', '.join(sorted(known))}"
        )
    return wanted | {"id"}
