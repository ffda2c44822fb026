"""Tasks that use secrets of every kind, from templates and connections. Airflow does not know that they are secret."""

from __future__ import annotations

import logging
import os
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_realtimekit.operators import (
    RealtimeKitStartRecordingOperator,
    RealtimeKitStartTrackRecordingOperator,
    RealtimeKitStopRecordingOperator,
)
from airflow_provider_realtimekit.transfers import RealtimeKitDownloadRecordingOperator

SHOWN = "a secret is logged on purpose:"
SFTP = {"type": "sftp", "host": "h", "port": 22, "username": "u", "path": "p", "auth_method": "KEY"}


def secret(name: str) -> str:
    return os.environ[f"SYSTEM_SECRET_{name}"]


with DAG(
    "system_secrets",
    schedule=None,
    user_defined_macros={"secret": secret},
    default_args={"retries": 0},
):
    start = RealtimeKitStartRecordingOperator(
        task_id="start",
        meeting_id="secrets-1",
        storage_config={
            "type": "aws",
            "access_key": "{{ secret('ACCESS_KEY') }}",
            "secret": "{{ secret('SECRET') }}",
            "bucket": "b",
            "region": "r",
        },
        rtmp_out_config={"rtmp_url": "{{ secret('RTMP') }}"},
    )
    stop = RealtimeKitStopRecordingOperator(
        task_id="stop",
        recording_id="{{ ti.xcom_pull('start')['id'] }}",
        wait_for_completion=True,
        deferrable=True,
        poll_interval=1,
    )
    fetch = RealtimeKitDownloadRecordingOperator(
        task_id="fetch",
        recording_id="{{ ti.xcom_pull('start')['id'] }}",
        destination="{{ dag_run.conf['destination'] }}",
    )
    tracks = RealtimeKitStartTrackRecordingOperator(
        task_id="tracks",
        meeting_id="secrets-2",
        layers={
            "default": {
                "outputs": [
                    {
                        "type": "STORAGE_CONFIG",
                        "storage_config": {
                            **SFTP,
                            "private_key": "{{ secret('PRIVATE_KEY') }}",
                            "password": "{{ secret('PASSPHRASE') }}",
                        },
                    }
                ]
            }
        },
    )
    refused = RealtimeKitStartRecordingOperator(
        task_id="refused",
        meeting_id="secrets-3",
        storage_config='{{ \'{"type": "azure", "bucket": 7, "access_key": "\' ~ secret(\'AZURE\') ~ \'"}\' }}',  # type: ignore[arg-type]
    )

    @task
    def print_recording(recording: dict[str, Any]) -> dict[str, Any]:
        """Print, log, raise and return a recording, as users do."""
        from airflow_provider_realtimekit.hooks import RealtimeKitHook

        with RealtimeKitHook() as hook:
            found = hook.get_recording(recording["id"])
            print(found, repr(found), found.files, hook.get_credentials(), vars(hook))
            logging.getLogger(__name__).info("%s %r", found, found.to_json())
            try:
                raise RuntimeError(f"{found} {found.files}")  # noqa: TRY301 (it is to be logged)
            except RuntimeError:
                logging.getLogger(__name__).exception("as it happens")
            return found.to_json()

    for name in ("s3", "r2", "gcs", "azure"):
        RealtimeKitStartRecordingOperator(
            task_id=f"stored_{name}",
            meeting_id=f"stored-{name}",
            storage_conn_id=f"stored_{name}",
            storage_bucket="b",
            storage_path="{{ dag.dag_id }}",
        )
    for name in ("sftp", "ssh"):
        RealtimeKitStartTrackRecordingOperator(
            task_id=f"stored_{name}",
            meeting_id=f"stored-{name}",
            storage_conn_id=f"stored_{name}",
            storage_path="p",
        )
    refused_storage = RealtimeKitStartRecordingOperator(
        task_id="refused_storage", meeting_id="secrets-4", storage_conn_id="stored_s3"
    )

    @task
    def print_storages() -> None:
        """Print the secrets of storages, as nobody should."""
        from airflow_provider_realtimekit.connections.storage import read_storage

        for name in ("s3", "r2", "gcs", "azure"):
            show(read_storage(f"stored_{name}", "b"), logging.getLogger(__name__))
        for name in ("sftp", "ssh"):
            show(read_storage(f"stored_{name}", storage_path="p"), logging.getLogger(__name__))

    def show(config: dict[str, Any], log: Any) -> None:
        print(config)
        for value in config.values():
            text = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
            for line in [text, *text.splitlines()]:
                log.warning("%s %r", SHOWN, line)

    print_storages()
    start >> stop >> fetch >> print_recording(start.output)
    tracks >> refused
