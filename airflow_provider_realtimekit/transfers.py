"""The operator that fetches the files of a recording into the user's storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_realtimekit.operators.base import RealtimeKitOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

    from airflow_provider_realtimekit.models import Recording, RecordingFile


class RealtimeKitDownloadRecordingOperator(RealtimeKitOperator):
    """Fetch all files of an uploaded recording (``GET …/recordings/{recording_id}``, links fresh).

    A file is streamed, checked against the size that was announced, and appears under its name only when whole.
    Returns plain JSON: ``id``, and under ``files`` the ``path``, ``name``, ``kind``, ``layer`` and ``size`` (bytes) of
    each file.

    :param recording_id: the recording (templated)
    :param destination: the folder to put the files in (templated): any path of Airflow's object storage, such as
        ``s3://conn_id@bucket/folder`` or ``file:///data``, or a plain local one
    :raises RecordingUnavailableError: when there is no file to fetch: not uploaded, expired, or stored elsewhere
    :raises DownloadError: when a file did not arrive whole; nothing is left of it then
    """

    template_fields: Sequence[str] = (*RealtimeKitOperator.template_fields, "recording_id", "destination")

    def __init__(self, *, recording_id: str, destination: str | ObjectStoragePath, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recording_id = recording_id
        self.destination = destination

    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch the files."""
        folder = self._folder()
        recording = self.hook.get_recording(self.recording_id)
        files = [self._fetch(file, recording, folder) for file in self._available(recording)]
        return {"id": recording.id, "files": files}

    def _folder(self) -> ObjectStoragePath:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        from airflow_provider_realtimekit.exceptions import RealtimeKitInputError

        if not self.destination:
            raise RealtimeKitInputError(f"destination={self.destination!r} is not allowed: must be a folder's path")
        if isinstance(self.destination, ObjectStoragePath):
            return self.destination
        return ObjectStoragePath(self.destination)

    def _fetch(self, file: RecordingFile, recording: Recording, folder: ObjectStoragePath) -> dict[str, Any]:
        from airflow_provider_realtimekit.downloads import save

        target = folder / file.layer / file.safe_name if file.layer else folder / file.safe_name
        announced = recording.file_size if file.is_main else None
        size = save(file.url.get_secret_value(), target, announced, self.hook.credentials.timeout)
        self.log.info("Fetched %s of recording %s: %d bytes", target, recording.id, size)
        return {
            "path": str(target),
            "name": file.safe_name,
            "kind": file.kind,
            "layer": file.layer,
            "size": size,
        }

    def _available(self, recording: Recording) -> tuple[RecordingFile, ...]:
        from airflow_provider_realtimekit.exceptions import RecordingUnavailableError

        if recording.is_uploaded and recording.files and not recording.is_expired():
            return recording.files
        if not recording.is_uploaded:
            why = f"it is {recording.status}, not UPLOADED"
        elif recording.is_expired():
            why = f"its links expired at {recording.download_url_expiry}"
        else:
            why = "the API gives no link; it may have been stored in a storage of your own only"
        raise RecordingUnavailableError(f"recording {recording.id} cannot be fetched: {why}", recording_id=recording.id)
