"""The operator that fetches the files of a recording into the user's storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_realtimekit.operators.base import RealtimeKitOperator

if TYPE_CHECKING:
    from threading import Event

    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath


class RealtimeKitDownloadRecordingOperator(RealtimeKitOperator):
    """Fetch the files of an uploaded recording (``GET …/recordings/{recording_id}``, links fresh).

    Each file is loaded in bounded memory, over several connections where one is slow, goes on where a connection
    broke, and starts over where the file changed. It is checked against the size that was announced, and appears
    under its name only when it is whole. A retry, or another run, does not load again what is there: a manifest
    beside the files, ``<recording id>.manifest.json``, tells sizes, checksums and, of tracks, who is heard since when.

    Returns plain JSON: ``id``, ``meeting_id``, ``duration`` (seconds), ``manifest`` (path), and under ``files`` the
    ``path``, ``name``, ``kind``, ``layer``, ``size`` (bytes), ``sha256``, ``seconds`` (that the download took),
    ``skipped`` (it was there already) and, of tracks, ``participant`` and ``started_at`` of each file.

    What was written is told to Airflow's hook lineage, added to every ``AssetAlias`` among ``outlets``, and is the
    ``extra`` of the events of every ``Asset`` there.

    :param recording_id: the recording (templated)
    :param destination: the folder to put the files in (templated): any path of Airflow's object storage, such as
        ``s3://conn_id@bucket/folder`` or ``file:///data``, or a plain local one. It may hold placeholders, filled from
        the recording: ``{recording_id}``, ``{meeting_id}``, ``{session_id}``, ``{layer}``, ``{kind}``,
        ``{output_file_name}``, ``{file_name}``, ``{file_stem}``, ``{suffix}``, and in UTC ``{invoked_time:%Y-%m-%d}``,
        ``{started_time:…}``, ``{stopped_time:…}``. With one of the file's name in its last part it is the path of the
        file itself.
    :param destination_conn_id: the Airflow connection of the destination's store, where ``destination`` does not
        name it (templated; default: the store's own way to find credentials)
    :param files: ``"video"``, ``"audio"`` (tracks too) or ``"all"`` (templated; default: all)
    :param check_size: whether the video must be as large as the API announced (default: yes)
    :raises RealtimeKitInputError: before anything is sent, when one of these cannot be
    :raises RecordingExpiredError: when the files are gone, naming since when
    :raises RecordingUnavailableError: when there is no file to fetch: not uploaded, or stored elsewhere
    :raises DownloadError: when a file did not arrive whole, or its store refuses it; nothing is left of it then
    """

    template_fields: Sequence[str] = (
        *RealtimeKitOperator.template_fields,
        "recording_id",
        "destination",
        "destination_conn_id",
        "files",
    )

    def __init__(
        self,
        *,
        recording_id: str,
        destination: str | ObjectStoragePath,
        destination_conn_id: str | None = None,
        files: str = "all",
        check_size: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.recording_id = recording_id
        self.destination = destination
        self.destination_conn_id = destination_conn_id
        self.files = files
        self.check_size = check_size
        self._stop: Event | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch the files."""
        from threading import Event

        from airflow_provider_realtimekit.downloads import download_recording

        self._stop = Event()
        fetched = download_recording(
            self.hook,
            self.recording_id,
            self.destination,
            files=self.files,  # type: ignore[arg-type]  # it is checked there
            conn_id=self.destination_conn_id,
            check_size=self.check_size,
            stop=self._stop,
        )
        self._tell_outlets(context, fetched)
        return fetched

    def on_kill(self) -> None:
        """End the download, so that it removes what it has written so far."""
        if self._stop is not None:
            self._stop.set()

    def _tell_outlets(self, context: Context, fetched: dict[str, Any]) -> None:
        """Say in the asset events what was written."""
        from airflow.providers.common.compat.sdk import Asset, AssetAlias

        from airflow_provider_realtimekit.downloads.recording import asset_uri

        events = context.get("outlet_events")
        if events is None:
            return
        told = {"recording_id": fetched["id"], "files": [file["path"] for file in fetched["files"]]}
        for outlet in self.outlets:
            if isinstance(outlet, AssetAlias):
                for file in fetched["files"]:
                    extra = {"recording_id": fetched["id"], "size": file["size"], "sha256": file["sha256"]}
                    events[outlet].add(Asset(asset_uri(file["path"])), extra=extra)
            elif isinstance(outlet, Asset):
                events[outlet].extra.update(told)
