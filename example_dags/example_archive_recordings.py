"""Archive every recording that finished in the data interval of a run: each file once, with catch-up and backfill.

*Shows* how to list recordings, map downloads over them, wait for late uploads without holding a worker, and write
runs that may be repeated, in any order and side by side.

*Needs* a connection `realtimekit_default`; no other packages, and no other file of this folder.

*Run it* by unpausing it, after you have set `START_DATE` to a week ago. Or trigger it without a date: then it archives
what finished in the last 24 hours.

**Which run archives a recording:** the one in whose interval the recording stopped. The API lists recordings by the
time of their invocation, so a run lists those of 48 more hours: a recording lasts up to 24 hours, and a start was once
seen to hang for 15. A run starts 15 minutes after its interval has ended, because a recording may show its stop late.
If a recording is still uploading then, the same run waits for it, and nothing else waits.

**Why each file is downloaded once:** its path has the day and the id of the recording, whichever run downloads it, and
the download passes over a file that is there.

**What may get lost:** RealtimeKit deletes files after 7 days, so a catch-up can go back that far. At its end, every run
warns in the log of `report_expiring` of recordings that will expire soon and are not in the archive.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.providers.standard.sensors.date_time import DateTimeSensor
from airflow.sdk import ObjectStoragePath, Param, dag, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_realtimekit.operators import RealtimeKitListRecordingsOperator
from airflow_provider_realtimekit.sensors import RealtimeKitRecordingSensor
from airflow_provider_realtimekit.transfers import RealtimeKitDownloadRecordingOperator

log = logging.getLogger(__name__)

# The plain "@daily" gives intervals without length.
DAILY = CronDataIntervalTimetable("@daily", timezone="UTC")
START_DATE = datetime(2026, 11, 14, tzinfo=UTC)

# Expressions for templates. A run that a user triggers without a date has no interval, and uses the last 24 hours.
END = "(dag_run.data_interval_end or dag_run.run_after)"
BEGIN = "(dag_run.data_interval_start or dag_run.run_after - macros.timedelta(days=1))"
LIST_AT = f"{END} + macros.timedelta(minutes=15 if dag_run.data_interval_end else 0)"
INVOKED_FROM = f"{BEGIN} - macros.timedelta(hours=48)"
# A day later than needed: it is not documented which of a recording's times the API compares with this.
INVOKED_TO = f"{END} + macros.timedelta(days=1)"

# The download fills in the placeholders.
FOLDER = "{invoked_time:%Y-%m-%d}/{recording_id}"
LIMIT = 10_000  # recordings in three days; if there are more, the run fails instead of leaving some out
EXPIRES_SOON = timedelta(hours=48)  # so that two daily runs warn of a recording before its files are gone
FIELDS = ["status", "invoked_time", "started_time", "stopped_time", "recording_duration", "download_url_expiry"]

PARAMS = {
    "destination": Param(
        f"{tempfile.gettempdir()}/realtimekit-archive",
        type="string",
        minLength=1,
        description="a local folder, or a path of object storage, such as s3://conn_id@bucket/archive",
    ),
}
ARCHIVE = "{{ params.destination }}"


def template(expression: str) -> str:
    """Make a template of an expression."""
    return f"{{{{ {expression} }}}}"


def as_time(value: str | None) -> datetime | None:
    """Parse a time of the API, which may be missing."""
    return datetime.fromisoformat(value) if value else None


def finished_at(recording: dict[str, Any]) -> datetime | None:
    """Return when a recording stopped, or the nearest time that the API gives; None if that is not known yet."""
    stopped, started = as_time(recording["stopped_time"]), as_time(recording["started_time"])
    if stopped:
        return stopped
    if started and recording["recording_duration"] is not None:
        return started + timedelta(seconds=recording["recording_duration"])
    # While a recording uploads, the API may still learn when it stopped. Later it does not, and then any time will do
    # that is the same in every run.
    return as_time(recording["invoked_time"]) if recording["status"] != "UPLOADING" else None


def finished_between(recordings: Iterable[dict[str, Any]], begin: str, end: str) -> Iterator[dict[str, Any]]:
    """Select the recordings that finished in an interval, and those of which nobody knows when they did."""
    for recording in recordings:
        finished = finished_at(recording)
        if finished is None or datetime.fromisoformat(begin) <= finished < datetime.fromisoformat(end):
            yield recording


def group_by_state(recordings: Iterable[dict[str, Any]], now: datetime) -> dict[str, list[dict[str, Any]]]:
    """Group recordings by what can be done about them; in each group, the first to expire comes first."""
    groups: dict[str, list[dict[str, Any]]] = {"uploaded": [], "uploading": [], "errored": [], "expired": []}
    for recording in sorted(recordings, key=lambda recording: recording["download_url_expiry"] or ""):
        expiry = as_time(recording["download_url_expiry"])
        is_expired = recording["status"] == "UPLOADED" and expiry is not None and expiry <= now
        groups["expired" if is_expired else recording["status"].lower()].append(recording)
    return groups


def ids_of(recordings: Iterable[dict[str, Any]]) -> list[str]:
    """Return the ids of recordings."""
    return [recording["id"] for recording in recordings]


def uploaded_id(recording: dict[str, Any]) -> str:
    """Return the id of a recording, or skip the task if the recording ended without a file."""
    if recording["status"] != "UPLOADED":
        raise AirflowSkipException(f"recording {recording['id']} is {recording['status']} and has no file")
    return str(recording["id"])


def is_archived(destination: str, recording_id: str, invoked_time: datetime | None, files: int = 1) -> bool:
    """Return whether the archive has at least ``files`` files of a recording.

    :param invoked_time: when the recording was invoked; without it, no folder is the recording's
    """
    if invoked_time is None:
        return False
    folder = FOLDER.format(recording_id=recording_id, invoked_time=invoked_time)
    # The download lists a file here when all of it has arrived.
    manifest = ObjectStoragePath(f"{destination}/{folder}/{recording_id}.manifest.json")
    return manifest.exists() and len(json.loads(manifest.read_text())["files"]) >= files


@task
def select_uploaded(recordings: list[dict[str, Any]], begin: str, end: str, destination: str) -> list[str]:
    """Select the recordings that can be downloaded now, and warn of those that never can."""
    if len(recordings) >= LIMIT:
        raise ValueError(f"the API lists {LIMIT} recordings or more in three days: raise LIMIT in this DAG")
    groups = group_by_state(finished_between(recordings, begin, end), datetime.now(UTC))
    log.info("Recordings in this interval: %s", {name: len(group) for name, group in groups.items()})
    if groups["errored"]:
        log.warning("These recordings are ERRORED and have no file: %s", ", ".join(ids_of(groups["errored"])))
    lost = [
        recording
        for recording in groups["expired"]
        if not is_archived(destination, recording["id"], as_time(recording["invoked_time"]))
    ]
    if lost:
        log.warning("The files of these recordings expired before they were archived: %s", ", ".join(ids_of(lost)))
    return ids_of(groups["uploaded"])


@task
def select_uploading(recordings: list[dict[str, Any]], begin: str, end: str) -> list[str]:
    """Select the recordings to wait for."""
    return ids_of(group_by_state(finished_between(recordings, begin, end), datetime.now(UTC))["uploading"])


@task
def report_expiring(destination: str) -> list[str]:
    """Warn of recordings of any interval that expire soon and are not in the archive."""
    from airflow_provider_realtimekit.hooks import RealtimeKitHook

    now, expiring = datetime.now(UTC), []
    with RealtimeKitHook() as hook:
        for found in hook.list_recordings(status="UPLOADED", expired=False):
            expiry = found.download_url_expiry
            if not expiry or not now < expiry < now + EXPIRES_SOON:
                continue
            if not is_archived(destination, found.id, found.invoked_time, len(found.files)):
                expiring.append(found.id)
                log.warning(
                    "Recording %s expires at %s and is not in the archive: run this DAG for its day", found.id, expiry
                )
    return expiring


@dag(
    schedule=DAILY,
    start_date=START_DATE,
    catchup=True,
    max_active_runs=2,
    params=PARAMS,
    tags=["realtimekit", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
)
def example_archive_recordings() -> None:
    """List the recordings, download those that are uploaded, then those that upload late, and report what expires."""
    wait_15_minutes = DateTimeSensor(
        task_id="wait_15_minutes", target_time=template(LIST_AT), mode="reschedule", poke_interval=300
    )
    list_recordings = RealtimeKitListRecordingsOperator(
        task_id="list_recordings",
        status=["UPLOADING", "UPLOADED", "ERRORED"],
        start_time=template(INVOKED_FROM),
        end_time=template(INVOKED_TO),
        limit=LIMIT,
        fields=FIELDS,
    )

    uploaded = select_uploaded(list_recordings.output, template(BEGIN), template(END), ARCHIVE)  # type: ignore[arg-type]
    download = RealtimeKitDownloadRecordingOperator.partial(
        task_id="download", destination=f"{ARCHIVE}/{FOLDER}", max_active_tis_per_dag=4
    ).expand(recording_id=uploaded)
    uploading = select_uploading(list_recordings.output, template(BEGIN), template(END))  # type: ignore[arg-type]
    wait = RealtimeKitRecordingSensor.partial(
        task_id="wait_for_upload", deferrable=True, fail_on_error=False, timeout=timedelta(hours=6).total_seconds()
    ).expand(recording_id=uploading)
    download_late = RealtimeKitDownloadRecordingOperator.partial(
        task_id="download_late", destination=f"{ARCHIVE}/{FOLDER}"
    ).expand(recording_id=wait.output.map(uploaded_id))
    wait_15_minutes >> list_recordings
    # As a teardown it always runs, and the downloads decide whether the run has succeeded.
    [download, download_late] >> report_expiring(ARCHIVE).as_teardown()


example_archive_recordings()
