"""Archive every recording that finished in the data interval: each file once, a catch-up or backfill included.

*Which run fetches what.* A recording belongs to the run in whose interval it stopped, whenever it was started: the
API lists by the time of invocation, so a run looks 48 hours further back (a recording lasts up to 24 hours, and a
start was once seen to hang for 15). A run looks a quarter of an hour after its interval has ended, when what stopped
at its very end shows as stopped. What is still uploading then is waited for by the same run, without a worker, and
holds up nothing else. So every recording has exactly one run, and runs may go in any order and side by side.

*Once.* A recording's place in the archive is named after its day and its id; a file that is there is not loaded
again, whichever task tries again and whichever run is cleared.

*In time.* RealtimeKit keeps files for 7 days, which is how far back a catch-up can reach. What nears its end and is
not in the archive is named in the log of the last task, at the end of every run.

Runs as it is against the local RealtimeKit and, with a connection ``realtimekit_default``, against Cloudflare's.
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

# The plain "@daily" gives intervals of no length.
DAILY = CronDataIntervalTimetable("@daily", timezone="UTC")
START = datetime(2026, 11, 14, tzinfo=UTC)  # a week before you begin: there is nothing older to fetch

# A run that somebody triggers without a date takes what finished in the last 24 hours.
END = "(dag_run.data_interval_end or dag_run.run_after)"
BEGIN = "(dag_run.data_interval_start or dag_run.run_after - macros.timedelta(days=1))"
SETTLED = f"{END} + macros.timedelta(minutes=15 if dag_run.data_interval_end else 0)"
REACH_BACK = f"{BEGIN} - macros.timedelta(hours=48)"

# What the download fills in: a recording has the same place whichever run fetches it.
FOLDER = "{invoked_time:%Y-%m-%d}/{recording_id}"
LIMIT = 10_000  # recordings in three days; more make the run fail rather than be left out
NEAR = timedelta(hours=48)  # two daily runs name a file before it is gone
FIELDS = ["status", "invoked_time", "started_time", "stopped_time", "recording_duration", "download_url_expiry"]

PARAMS = {
    "destination": Param(
        f"{tempfile.gettempdir()}/realtimekit-archive",
        type="string",
        minLength=1,
        title="Destination",
        description="A local folder, or any path of object storage, such as s3://conn_id@bucket/archive.",
    ),
}


def as_time(value: str | None) -> datetime | None:
    """Parse a time of the API, which may be missing."""
    return datetime.fromisoformat(value) if value else None


def finished_at(recording: dict[str, Any]) -> datetime | None:
    """Return when a recording stopped, or what comes nearest to it of what the API tells."""
    if recording["stopped_time"]:
        return datetime.fromisoformat(recording["stopped_time"])
    if recording["started_time"] and recording["recording_duration"] is not None:
        return datetime.fromisoformat(recording["started_time"]) + timedelta(seconds=recording["recording_duration"])
    # While it uploads its end may still come to light; later it never does, and any fixed moment serves.
    return as_time(recording["invoked_time"]) if recording["status"] != "UPLOADING" else None


def of_interval(recordings: Iterable[dict[str, Any]], begin: str, end: str) -> Iterator[dict[str, Any]]:
    """Pick what finished in the interval, and what uploads without telling when it stopped."""
    for recording in recordings:
        finished = finished_at(recording)
        if finished is None or datetime.fromisoformat(begin) <= finished < datetime.fromisoformat(end):
            yield recording


def sort_out(recordings: Iterable[dict[str, Any]], now: datetime) -> dict[str, list[str]]:
    """Part recordings by what is to be done about them; what expires first comes first."""
    parts: dict[str, list[str]] = {"uploaded": [], "uploading": [], "errored": [], "expired": []}
    for recording in sorted(recordings, key=lambda recording: recording["download_url_expiry"] or ""):
        expiry = recording["download_url_expiry"]
        is_expired = recording["status"] == "UPLOADED" and expiry and datetime.fromisoformat(expiry) <= now
        parts["expired" if is_expired else recording["status"].lower()].append(recording["id"])
    return parts


def uploaded_id(recording: dict[str, Any]) -> str:
    """Return the id of a recording that was waited for, unless it ended without a file."""
    if recording["status"] != "UPLOADED":
        raise AirflowSkipException(f"recording {recording['id']} is {recording['status']}")
    return str(recording["id"])


def in_archive(destination: str, recording_id: str, invoked_time: datetime | None, files: int = 1) -> bool:
    """Whether the archive has so many files of a recording; a file is listed there only when it is whole."""
    if invoked_time is None:  # its folder is named after it
        return False
    folder = FOLDER.format(recording_id=recording_id, invoked_time=invoked_time)
    manifest = ObjectStoragePath(f"{destination}/{folder}/{recording_id}.manifest.json")
    return manifest.exists() and len(json.loads(manifest.read_text())["files"]) >= files


@dag(
    schedule=DAILY,
    start_date=START,
    catchup=True,
    max_active_runs=2,
    params=PARAMS,
    tags=["realtimekit", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
)
def example_archive_recordings() -> None:
    """Look, part what is uploaded from what still uploads, fetch both, and tell what is about to expire."""
    settle = DateTimeSensor(task_id="settle", target_time=f"{{{{ {SETTLED} }}}}", mode="reschedule", poke_interval=300)
    look = RealtimeKitListRecordingsOperator(
        task_id="look",
        status=["UPLOADING", "UPLOADED", "ERRORED"],
        start_time=f"{{{{ {REACH_BACK} }}}}",
        # Nobody says for sure which of a recording's times this is compared with.
        end_time=f"{{{{ {END} + macros.timedelta(days=1) }}}}",
        limit=LIMIT,
        fields=FIELDS,
    )

    @task
    def uploaded(recordings: list[dict[str, Any]], begin: str, end: str, destination: str) -> list[str]:
        """Pick what can be fetched now, and say what never can."""
        if len(recordings) >= LIMIT:
            raise ValueError(f"more than {LIMIT} recordings in three days: raise LIMIT")
        parts = sort_out(of_interval(recordings, begin, end), datetime.now(UTC))
        log.info("In this interval: %s", {name: len(ids) for name, ids in parts.items()})
        if parts["errored"]:
            log.warning("These ended in ERRORED and have no file: %s", ", ".join(parts["errored"]))
        invoked = {recording["id"]: as_time(recording["invoked_time"]) for recording in recordings}
        lost = [gone for gone in parts["expired"] if not in_archive(destination, gone, invoked[gone])]
        if lost:
            log.warning("It is too late for these, their files are gone: %s", ", ".join(lost))
        return parts["uploaded"]

    @task
    def uploading(recordings: list[dict[str, Any]], begin: str, end: str) -> list[str]:
        """Pick what is to be waited for."""
        return sort_out(of_interval(recordings, begin, end), datetime.now(UTC))["uploading"]

    @task
    def tell_what_expires(destination: str) -> list[str]:
        """Name every recording that is about to expire and is not in the archive, of whatever interval."""
        from airflow_provider_realtimekit.hooks import RealtimeKitHook

        now, named = datetime.now(UTC), []
        with RealtimeKitHook() as hook:
            for found in hook.list_recordings(status="UPLOADED", expired=False):
                expiry = found.download_url_expiry
                if not expiry or not now < expiry < now + NEAR:
                    continue
                if not in_archive(destination, found.id, found.invoked_time, len(found.files)):
                    named.append(found.id)
                    log.warning("Recording %s expires at %s and is not in the archive", found.id, expiry)
        return named

    seen: Any = (look.output, f"{{{{ {BEGIN} }}}}", f"{{{{ {END} }}}}")
    archive = "{{ params.destination }}"
    fetch = RealtimeKitDownloadRecordingOperator.partial(
        task_id="fetch", destination=f"{archive}/{FOLDER}", max_active_tis_per_dag=4
    ).expand(recording_id=uploaded(*seen, archive))
    wait = RealtimeKitRecordingSensor.partial(
        task_id="wait_for_upload", deferrable=True, fail_on_error=False, timeout=timedelta(hours=6).total_seconds()
    ).expand(recording_id=uploading(*seen))
    fetch_late = RealtimeKitDownloadRecordingOperator.partial(
        task_id="fetch_late", destination=f"{archive}/{FOLDER}"
    ).expand(recording_id=wait.output.map(uploaded_id))
    settle >> look
    # It always runs, and what became of the fetching decides how the run ended.
    [fetch, fetch_late] >> tell_what_expires(archive).as_teardown()


example_archive_recordings()
