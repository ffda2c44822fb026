"""The scripts behind `make demo` and `make ui`: processes, Airflow's settings, and the printed progress."""

from __future__ import annotations

import configparser
import fcntl
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from scripts import airflow_api, airflow_config, progress
from scripts.processes import Children, ProcessDiedError, find_process_trees, signals_held
from tests.support.emulator import wait_until

ROOT = Path(__file__).parent.parent

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(99)"
)
# The child leads a session of its own and ignores SIGTERM; its parent waits for it.
NESTED = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {STUBBORN!r}], start_new_session=True)"
# The child stays in its parent's session; its parent exits at once.
ORPHANING = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]); sys.exit('gone')"


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    started = Children(tmp_path)
    yield started
    started.stop(grace=0)


def start(children: Children, code: str, ready: str = "ready") -> list[psutil.Process]:
    children.start("child", [sys.executable, "-c", code], os.environ)
    wait_until(lambda: ready in children.log("child").read_text(), "the child")
    return children.processes()


def test_stop_ends_a_descendant_that_ignores_sigterm_in_a_session_of_its_own(children: Children) -> None:
    processes = start(children, NESTED)
    assert len(processes) == 2
    assert len({os.getsid(process.pid) for process in processes}) == 2

    children.stop(grace=0.2)

    assert [process for process in processes if not is_gone(process)] == []
    assert children.processes() == []


def test_a_process_whose_parent_died_is_found_and_ended(children: Children) -> None:
    start(children, ORPHANING)
    wait_until(lambda: len(children.processes()) == 1, "the end of the parent")
    (orphan,) = children.processes()

    with pytest.raises(ProcessDiedError, match=r"child has ended(.|\n)*gone"):
        children.check()
    children.stop(grace=0.2)

    assert is_gone(orphan)


def test_stop_gives_a_child_time_to_end(children: Children) -> None:
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit('bye'))\n"
        "print('ready', flush=True)\n"
        "signal.pause()"
    )
    start(children, code)
    children.stop(grace=20)
    assert children.log_tail("child") == "ready\nbye"


def test_only_the_named_child_is_stopped(children: Children) -> None:
    children.start("stays", [sys.executable, "-c", STUBBORN], os.environ)
    start(children, STUBBORN)
    children.stop("child", grace=0)
    assert len(children.processes("stays")) == 1
    children.check()


def test_wait_gives_the_exit_code(children: Children) -> None:
    children.start("ends", [sys.executable, "-c", "raise SystemExit(7)"], os.environ)
    assert children.wait("ends") == 7


def test_stop_may_be_repeated(children: Children) -> None:
    start(children, STUBBORN)
    children.stop(grace=0)
    children.stop(grace=0)


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time\nfrom pathlib import Path\nfrom scripts.processes import Children\n"
        f"children = Children(Path({str(tmp_path)!r}))\n"
        f"children.start('child', [sys.executable, '-c', {STUBBORN!r}], os.environ)\n"
        "while not children.log('child').read_text(): time.sleep(0.01)\n"
        "print(*[process.pid for process in children.processes()], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=False)

    assert parent.returncode == -signal.SIGKILL
    leaders = {int(pid) for pid in parent.stdout.split()}
    assert len(leaders) == 1
    wait_until(lambda: not find_process_trees(leaders), "the end of the children")


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Make SIGINT raise KeyboardInterrupt. A shell makes processes in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_a_held_signal_is_raised_when_the_block_ends() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        with signals_held():
            signal.raise_signal(signal.SIGINT)
            steps.append("not interrupted")
        steps.append("never reached")
    assert steps == ["not interrupted"]


@pytest.mark.usefixtures("_interruptible")
def test_signals_can_be_held_by_nested_blocks() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), signals_held():  # noqa: PT012
        with signals_held():
            signal.raise_signal(signal.SIGINT)
        steps.append("still held")
    assert steps == ["still held"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_ends_the_demo_and_all_its_processes_with_exit_code_130(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.demo", "--folder", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        lines = [demo.stdout.readline(), demo.stdout.readline()]
        started = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()

    assert "RealtimeKit" in lines[0]
    assert "Airflow" in lines[1]
    assert rest == "Stopping...\n"
    assert demo.returncode == 130
    assert started
    assert [process for process in started if not is_gone(process)] == []


def test_a_second_demo_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-m", "scripts.demo", "--folder", str(tmp_path)]
        demo = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert demo.returncode == 1
    assert "running" in demo.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_the_environment_holds_no_settings_of_the_callers_airflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production")
    monkeypatch.setenv("AIRFLOW_CONN_REALTIMEKIT_DEFAULT", "{}")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid")
    environment = airflow_config.make_environment(tmp_path, {"AIRFLOW__TRIGGERER__CAPACITY": "2"})

    ours = {name: value for name, value in environment.items() if name.startswith(("AIRFLOW", "PYTEST"))}
    assert ours == {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__TRIGGERER__CAPACITY": "2"}
    assert environment["NO_PROXY"] == environment["no_proxy"] == "*"
    assert environment["PATH"] == os.environ["PATH"]


def test_airflow_reads_the_written_configuration_and_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "airflow.cfg"
    airflow_config.write_config(path, airflow_config.make_settings(Path("/dags of 100 %"), 4711, parallelism=3))

    # Airflow reads the file with this class, which interpolates "%".
    parser = configparser.ConfigParser()
    parser.read(path)
    assert parser["core"]["dags_folder"] == "/dags of 100 %"
    assert parser["core"]["parallelism"] == "3"
    assert parser["core"]["execution_api_server_url"] == "http://127.0.0.1:4711/execution/"
    assert parser["api"]["host"] == "127.0.0.1"
    assert parser["usage_data_collection"]["enabled"] == "False"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_logged_exception_is_shown_with_its_message() -> None:
    event = {"event": "Task failed", "error_detail": [{"exc_type": "ValueError", "exc_value": "no such meeting"}]}
    assert airflow_api.log_line(event) == "Task failed ValueError: no such meeting"
    assert airflow_api.log_line("plain") == "plain"
    assert airflow_api.log_line({"event": "plain", "error_detail": None}) == "plain"


def instance(task_id: str, state: str | None, start: str | None = None, map_index: int = -1) -> dict[str, object]:
    return {"task_id": task_id, "state": state, "start_date": start, "map_index": map_index}


def test_states_are_in_the_order_in_which_the_tasks_started() -> None:
    instances = [
        instance("late", "running", "2026-11-21T10:00:02Z"),
        instance("early", "success", "2026-11-21T10:00:01Z"),
        instance("held", "upstream_failed"),
    ]
    assert list(progress.now_states(instances)) == ["early", "late", "held"]


def test_short_lived_states_are_left_out() -> None:
    instances = [instance("a", None), instance("b", "scheduled"), instance("c", "queued"), instance("d", "deferred")]
    assert progress.now_states(instances) == {"d": "deferred"}


def test_each_mapped_task_has_a_state_of_its_own() -> None:
    instances = [instance("a", "running", map_index=0), instance("a", "success", map_index=1)]
    assert progress.now_states(instances) == {"a[0]": "running", "a[1]": "success"}


def test_only_changed_states_are_returned() -> None:
    before = {"a": "running", "b": "deferred"}
    assert progress.changed(before, {"a": "success", "b": "deferred", "c": "running"}) == {
        "a": "success",
        "c": "running",
    }
    assert progress.changed(before, before) == {}


def test_upstream_failed_is_not_a_failed_task() -> None:
    failed = instance("a", "failed")
    assert progress.failed_tasks([failed, instance("b", "upstream_failed"), instance("c", "success")]) == [failed]


def test_a_line_of_progress() -> None:
    assert progress.line(72.9, "wait_for_file", "deferred") == "01:12  wait_for_file     deferred"
    assert progress.line(3, "page", "failed", coloured=True) == "00:03  page              \033[31mfailed\033[0m"
    assert progress.line(3, "Airflow", "listens", coloured=True) == "00:03  Airflow           listens"


@pytest.mark.parametrize(
    ("returned", "path"),
    [
        ("/out/report.html", Path("/out/report.html")),
        ("file:///an%20out/report.html", Path("/an out/report.html")),
        ("s3://bucket/report.html", None),
        ("", None),
        (None, None),
        ({"path": "/out"}, None),
    ],
)
def test_a_returned_path_or_file_url_becomes_a_path(returned: object, path: Path | None) -> None:
    assert progress.as_path(returned) == path


def test_files_are_listed_with_their_sizes(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "recording.mp4").write_bytes(bytes(2_500_000))
    (tmp_path / "one" / "page.html").write_bytes(bytes(1500))
    (tmp_path / "note").write_bytes(bytes(7))
    assert progress.results(tmp_path) == [
        "note               7 B",
        "one/page.html      1.5 kB",
        "one/recording.mp4  2.5 MB",
    ]
    assert progress.results(tmp_path / "none") == []


def test_without_a_usable_python_the_error_names_the_needed_version(tmp_path: Path) -> None:
    for name in ("python3.13", "python3"):
        stub = tmp_path / name
        stub.write_text("#!/bin/sh\nexit 127\n")
        stub.chmod(0o755)
    made = subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "make_venv.sh"), str(tmp_path / "venv")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 1
    assert "at least 3.11" in made.stderr
    assert not (tmp_path / "venv").exists()


def test_constraints_hold_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)] == []
    assert [line.split("==")[0] for line in lines].count("apache-airflow") == 1
