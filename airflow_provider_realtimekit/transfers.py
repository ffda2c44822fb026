"""The operator that downloads the files of a recording into the user's storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_realtimekit.operators.base import RealtimeKitOperator

if TYPE_CHECKING:
    from threading import Event

    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath


class RealtimeKitDownloadRecordingOperator(RealtimeKitOperator):
    """Download the files of an uploaded recording (``GET …/recordings/{recording_id}``, which signs new URLs).

    Memory use is bounded. A file is read over several connections where one is slow, resumed where a connection
    breaks, and begun again where it changed. It appears under its name only when it is complete. A retry, or another
    run, skips the files that are there already: a manifest beside them, ``<recording id>.manifest.json``, lists their
    sizes and checksums, and for tracks the participant and the time of the start.

    Returns plain JSON: ``id``, ``meeting_id``, ``duration`` (seconds), ``manifest`` (path), and in ``files`` for each
    file its ``path``, ``name``, ``kind``, ``layer``, ``size`` (bytes), ``sha256``, ``seconds`` (of the download),
    ``skipped`` (it was there already) and, for tracks, ``participant`` and ``started_at``.

    Airflow's lineage gets the files as outputs. Each of them is added to every ``AssetAlias`` in ``outlets``. The
    events of every ``Asset`` there get the recording's id and the paths as ``extra``.

    :param recording_id: the recording (templated)
    :param destination: the folder for the files (templated): any path of Airflow's object storage, such as
        ``s3://conn_id@bucket/folder`` or ``file:///data``, or a local one. Placeholders are filled from the recording:
        ``{recording_id}``, ``{meeting_id}``, ``{session_id}``, ``{layer}``, ``{kind}``, ``{output_file_name}``,
        ``{file_name}``, ``{file_stem}``, ``{suffix}``, and in UTC ``{invoked_time:%Y-%m-%d}``, ``{started_time:…}``,
        ``{stopped_time:…}``. With ``{output_file_name}``, ``{file_name}``, ``{file_stem}`` or ``{suffix}`` in its last
        part, ``destination`` is the path of the file itself.
    :param destination_conn_id: the Airflow connection of the destination's store (templated; default: the one that
        ``destination`` names, or else the store's own way to find credentials)
    :param files: ``"video"``, ``"audio"`` (with tracks) or ``"all"`` (templated; default: all)
    :param check_size: whether the video must be as large as the API announced (default: yes)
    :raises RealtimeKitInputError: before anything is sent, when an argument is wrong
    :raises RecordingExpiredError: when the files have expired; it says when
    :raises RecordingUnavailableError: when there is no file to download: not uploaded, or stored elsewhere
    :raises DownloadError: when a file did not arrive, or its store refuses it; nothing is left of it then
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
        """Download the files."""
        from threading import Event

        from airflow_provider_realtimekit.downloads import download_recording

        self._stop = Event()
        result = download_recording(
            self.hook,
            self.recording_id,
            self.destination,
            files=self.files,  # type: ignore[arg-type]  # download_recording checks it
            conn_id=self.destination_conn_id,
            check_size=self.check_size,
            stop=self._stop,
        )
        self._add_asset_events(context, result)
        return result

    def on_kill(self) -> None:
        """Stop the download, which then removes what it has written so far."""
        if self._stop is not None:
            self._stop.set()

    def _add_asset_events(self, context: Context, result: dict[str, Any]) -> None:
        from airflow.providers.common.compat.sdk import Asset, AssetAlias

        from airflow_provider_realtimekit.downloads.destination import asset_uri

        events = context.get("outlet_events")
        if events is None:
            return
        for outlet in self.outlets:
            if isinstance(outlet, AssetAlias):
                for file in result["files"]:
                    extra = {"recording_id": result["id"], "size": file["size"], "sha256": file["sha256"]}
                    events[outlet].add(Asset(asset_uri(file["path"])), extra=extra)
            elif isinstance(outlet, Asset):
                paths = [file["path"] for file in result["files"]]
                events[outlet].extra.update({"recording_id": result["id"], "files": paths})
