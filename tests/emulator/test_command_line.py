"""The command line, in a process of its own or called from the test."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_realtimekit.emulator import EmulatorServer, Settings
from airflow_provider_realtimekit.emulator.__main__ import main
from tests.support.emulator import bearer

COMMAND = [sys.executable, "-m", "airflow_provider_realtimekit.emulator", "--port", "0"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Any]:
    """Return a function that starts an emulator process, and returns the process and its printed address."""
    started: list[subprocess.Popen[str]] = []

    def run(*options: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [*COMMAND, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(tmp_path)},
        )
        started.append(process)
        line = process.stdout.readline()
        address = re.fullmatch(r"RealtimeKit emulator listens on (http://127\.0\.0\.1:\d+/client/v4)\n", line)
        assert address, line + process.stderr.read()
        return process, address[1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_emulator_runs_until_a_signal_and_leaves_no_files(run: Any, tmp_path: Path, number: int) -> None:
    process, address = run("--token", "T", "--media", "tiny", "--invoked-seconds", "0", "--uploading-seconds", "0")
    with httpx.Client(headers=bearer("T")) as client:
        recordings = f"{address}/accounts/a/realtime/kit/b/recordings"
        recording_id = client.post(recordings, json={"meeting_id": "m"}).json()["data"]["id"]
        assert client.get(recordings, headers=bearer("U")).status_code == 401
        control = address.replace("/client/v4", "/_emulator")
        client.post(f"{control}/recordings/{recording_id}/status", json={"status": "UPLOADED"})
        url = client.get(f"{recordings}/{recording_id}").json()["data"]["download_url"]
        assert client.get(url).status_code == 200
        assert list(tmp_path.iterdir())
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
    assert (process.stdout.read(), process.stderr.read()) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_every_setting_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr("airflow_provider_realtimekit.emulator.__main__._serve", lambda *args: served.append(args))
    options = ["--host", "127.0.0.2", "--port", "0", "--speed", "60", "--quota", "7", "--account", "a"]
    options += ["--second-start", "accept", "--strict-meetings", "--denied-token", "T1", "--denied-token", "T2"]
    assert main(options) == 0
    ((settings, host, port, state),) = served
    assert (host, port, state) == ("127.0.0.2", 0, None)
    assert settings == Settings(
        speed=60, quota=7, account="a", second_start="accept", strict_meetings=True, denied_token=["T1", "T2"]
    )
    assert main([]) == 0
    assert served[1] == (Settings(), "127.0.0.1", 8787, None)


def test_with_a_state_file_meetings_recordings_and_ledger_survive_a_restart(run: Any, tmp_path: Path) -> None:
    options = ["--state", str(tmp_path / "state.json"), "--media", "tiny", "--invoked-seconds", "0"]
    process, address = run(*options, "--uploading-seconds", "0")
    control, recordings = address.replace("/client/v4", "/_emulator"), "/accounts/a/realtime/kit/b/recordings"
    with httpx.Client(headers=bearer("T")) as client:
        running, ended = (
            client.post(f"{address}{recordings}", json={"meeting_id": meeting_id}).json()["data"]["id"]
            for meeting_id in ("m1", "m2")
        )
        client.post(f"{control}/recordings/{ended}/status", json={"status": "UPLOADED"})
        assert client.post(f"{address}{recordings}", json={"meeting_id": "m1"}).status_code == 409
        client.post(f"{control}/faults", json={"operation": "list", "delay": 60})
        with pytest.raises(httpx.ReadTimeout):
            client.get(f"{address}{recordings}", timeout=0.2)
        before = client.get(f"{control}/ledger").json()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert (tmp_path / "state.json").stat().st_mode & 0o077 == 0

    _, address = run(*options, "--uploading-seconds", "0")
    control = address.replace("/client/v4", "/_emulator")
    with httpx.Client(base_url=f"{address}{recordings}", headers=bearer("T")) as client:
        assert client.get(f"{control}/ledger").json() == before
        assert before["started"] == [running, ended]
        assert before["running"] == [running]
        assert client.get("active-recording/m1").json()["data"]["id"] == running
        recording = client.get(ended).json()["data"]
        assert recording["status"] == "UPLOADED"
        assert len(client.get(recording["download_url"]).content) == recording["file_size"]
        client.put(running, json={"action": "stop"}).raise_for_status()
        ledger = client.get(f"{control}/ledger").json()
    assert ledger["running"] == []
    assert ledger["counts"]["start"] == {"200": 2, "409": 1}


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"world": {"meetings": [{"id": "m"}]}}'])
def test_a_file_without_a_state_is_refused_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    assert main(["--port", "0", "--state", str(path)]) == 1
    assert f"{path} is no state of an emulator" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--speed", "0"], "--speed: .*greater than 0"),
        (["--second-start", "perhaps"], "--second-start: .*'conflict'"),
        (["--unheard-of"], "unrecognized arguments"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_invalid_option_is_refused_with_a_reason(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(options)
    assert end.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_the_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "--invoked-seconds" in text
    assert "from INVOKED to RECORDING (default: 2)" in " ".join(text.split())


def test_a_port_in_use_is_refused_with_a_reason(emulator: EmulatorServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", str(httpx.URL(emulator.url).port)]) == 1
    assert "in use" in capsys.readouterr().err
