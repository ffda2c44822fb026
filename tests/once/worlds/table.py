"""The worlds: how the server behaves, what happens in Airflow, and how it must end.

A function makes the worlds of one kind; its docstring says what goes wrong in them. Unless a row says otherwise, a
task waits for its recording on a worker of Airflow 3.3 with one retry, and the meeting goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.once.worlds.airflow import Settings, TaskSpec
from tests.once.worlds.model import Behaviour, Fault, Start
from tests.once.worlds.rows import MEETING, Expected, Row, Step

WORKER = {"wait_for_completion": True, "deferrable": False, "poll_interval": 15, "timeout": 3600}
TRIGGERER = {**WORKER, "deferrable": True}
AT_ONCE = {"wait_for_completion": False}
BOTH = {"worker": WORKER, "triggerer": TRIGGERER}
NEW, OLD = Settings(version="3.3"), Settings(version="3.1")

FAILED, SUCCESS = Expected("failed"), Expected("success")
# A recording that appears up to 40 seconds late may run beside another one until it is found and stopped.
LATE = Expected("success", grace=75)

RUN = Step("begin", "run", ("a",))


def leaves(seconds: float) -> Step:
    """Return the end of the meeting."""
    return Step("begin", "leave", after=seconds)


def marks(state: str, on: str = "begin", after: float = 120) -> Step:
    """Return a person who marks the task."""
    return Step(on, "mark", ("a", state), after)


def clears(on: str = "begin", after: float = 120, schedules: float | None = None) -> Step:
    """Return a person who clears the task."""
    return Step(on, "clear", ("a", schedules), after)


def make(
    kind: str,
    name: str,
    *steps: Step,
    how: dict[str, Any] = WORKER,
    settings: Settings = NEW,
    expected: Expected = SUCCESS,
    retries: int = 1,
    tracks: bool = False,
    arguments: dict[str, Any] | None = None,
    lasts: float = 400,
    **behaviour: Any,
) -> Row:
    """Make a world of one task, which runs at the beginning."""
    task = TaskSpec({"meeting_id": MEETING, **how, **(arguments or {})}, tracks=tracks, retries=retries)
    if not any(step.does == "run" for step in steps):
        steps = (RUN, *steps)
    return Row(f"{kind}: {name}", kind, Behaviour(**behaviour), settings, {"a": task}, steps, expected, lasts)


def undisturbed() -> Iterator[Row]:
    """What must hold where nothing is wrong with the server."""
    kind = "undisturbed"
    for where, how in BOTH.items():
        yield make(kind, f"{where}, the meeting ends", leaves(200), how=how)
        yield make(kind, f"{where}, the meeting ends, 3.1", leaves(200), how=how, settings=OLD)
        yield make(kind, f"{where}, marked as failed", marks("failed"), how=how, expected=FAILED)
        yield make(kind, f"{where}, marked as successful", marks("success"), how=how)
        yield make(kind, f"{where}, cleared", clears(after=60), leaves(200), how=how)
        yield make(kind, f"{where}, out of time", how=how, arguments={"timeout": 60}, expected=FAILED)
    yield make(kind, "worker, marked as failed, 3.1", marks("failed"), settings=OLD, expected=FAILED)
    yield make(
        kind, "triggerer, cleared, the new try is late", clears(after=60, schedules=8), leaves(200), how=TRIGGERER
    )
    yield make(
        kind, "triggerer restarts", Step("a deferred", "restart_triggerer", ("a",), 30), leaves(200), how=TRIGGERER
    )
    yield make(kind, "worker dies", Step("begin", "crash", ("a",), 30), leaves(200))
    yield make(kind, "worker dies in the start", Step("start 1 received", "crash", ("a",), 0.3), leaves(200))
    # The server would start a second one beside the one of somebody else.
    lets = {"starts": (Start(checks="never"),), "expected": Expected(result="others")}
    theirs, late = Step("begin", "others_start"), Step("begin", "run", ("a",), 10)
    for where, how in {**BOTH, "at once": AT_ONCE}.items():
        yield make(kind, f"{where}, others record already", theirs, late, leaves(200), how=how, **lets)
    lets["expected"] = FAILED
    fails = {"if_active": "fail"}
    yield make(kind, "others record already, and it fails then", theirs, late, leaves(200), arguments=fails, **lets)
    yield make(kind, "at once", how=AT_ONCE, expected=Expected(goes_on=True))
    yield make(kind, "tracks", leaves(200), tracks=True)


def gateway() -> Iterator[Row]:
    """A gateway answers before the origin acts: the recording appears many seconds later."""
    kind = "gateway"
    hows = [WORKER, TRIGGERER]
    for number, (status, acts_at) in enumerate((status, at) for status in (502, 504, 524) for at in (8, 20, 40)):
        late = Start(status, answers_at=1, acts_at=acts_at)
        how = hows[number % 2]
        yield make(
            kind, f"{status}, acts after {acts_at} s", leaves(300), how=how, starts=(late, Start()), expected=LATE
        )
        several = {"allow_multiple_recordings": True}
        name = f"{status}, acts after {acts_at} s, several allowed"
        how = hows[(number + 1) % 2]
        yield make(kind, name, leaves(300), how=how, starts=(late, Start()), expected=LATE, arguments=several)
    for acts_at in (8, 40):
        late = Start(502, answers_at=1, acts_at=acts_at, checks="acts")
        name = f"502, acts after {acts_at} s, checks then"
        yield make(kind, name, leaves(300), starts=(late, Start()), expected=LATE)
        late = Start(504, answers_at=1, acts_at=acts_at)
        name = f"504, acts after {acts_at} s, 3.1"
        yield make(kind, name, leaves(300), starts=(late, Start()), expected=LATE, settings=OLD)
        name = f"504, acts after {acts_at} s, marked as failed"
        failed = replace(LATE, state="failed")
        yield make(kind, name, marks("failed"), how=TRIGGERER, starts=(late, Start()), expected=failed)
    for status in (503, 520, 522):
        late = Start(status, answers_at=1, acts_at=15)
        yield make(kind, f"{status}, acts after 15 s", leaves(300), starts=(late, Start()), expected=LATE)
    prefix = {"file_name_prefix": "standup"}
    late = Start(502, answers_at=1, acts_at=25)
    yield make(kind, "502, a prefix of the user", leaves(300), starts=(late, Start()), expected=LATE, arguments=prefix)
    lost = Start(502, answers_at=1, acts_at=None)
    yield make(kind, "502, never acts", leaves(300), starts=(lost, Start()))
    yield make(kind, "502, never acts, 3.1", leaves(300), how=TRIGGERER, starts=(lost, Start()), settings=OLD)
    layers = {"layers": {"default": {"file_name_prefix": "standup", "media_kind": "audio"}}}
    for acts_at in (8, 30):
        late = Start(502, answers_at=1, acts_at=acts_at)
        name = f"502, tracks, acts after {acts_at} s"
        starts = (late, Start())
        yield make(kind, name, leaves(300), tracks=True, starts=starts, expected=LATE, arguments=layers)


def acted() -> Iterator[Row]:
    """The start took effect and was answered badly; views show it at once, and a further start would take effect."""
    kind = "acted"
    several = {"allow_multiple_recordings": True}
    for number, answer in enumerate((500, 502, "reset", "false")):
        how = (WORKER, TRIGGERER)[number % 2]
        starts = (Start(answer, answers_at=1), Start(checks="never"))
        yield make(kind, f"{answer}, the meeting ends", leaves(200), how=how, starts=starts)
        yield make(kind, f"{answer}, marked as failed", marks("failed"), how=how, starts=starts, expected=FAILED)
        if answer != "false":
            yield make(kind, f"{answer}, several allowed", leaves(200), how=how, starts=starts, arguments=several)


def refused() -> Iterator[Row]:
    """The first start took effect without a clear answer; the second is refused, and no view shows the first yet."""
    kind = "refused"
    acted = Start(502, answers_at=1)
    for refusal in (409, 400, 422, "false"):
        for lag, how in ((8, WORKER), (20, TRIGGERER)):
            lags = {"list_lag": lag, "active_lag": lag, "starts": (acted, Start(refusal=refusal))}
            name = f"{refusal}, views are {lag} s late"
            yield make(kind, f"{name}, no retry", leaves(200), how=how, retries=0, **lags)
            yield make(kind, f"{name}, marked as failed", marks("failed"), how=how, expected=FAILED, **lags)
    lags = {"list_lag": 12, "active_lag": 12, "starts": (acted, Start())}
    yield make(kind, "409, 3.1", leaves(200), retries=0, settings=OLD, **lags)
    yield make(kind, "409, only the list is late", marks("failed"), expected=FAILED, **{**lags, "active_lag": 0})
    yield make(kind, "409, cleared", clears(), leaves(250), **lags)


def second_answered() -> Iterator[Row]:
    """The first start took effect without a clear answer, no view shows it yet, and the second takes effect too."""
    kind = "second start"
    grace = Expected(grace=45)
    starts = (Start(502, answers_at=1), Start(checks="never"))
    for lag in (8, 12, 20):
        for where, how in BOTH.items():
            lags = {"list_lag": lag, "active_lag": lag, "starts": starts}
            yield make(kind, f"{where}, views are {lag} s late", leaves(200), how=how, expected=grace, **lags)
    lags = {"list_lag": 15, "active_lag": 15, "starts": starts}
    for where, how in BOTH.items():
        failed = replace(grace, state="failed")
        yield make(kind, f"{where}, marked as failed", marks("failed"), how=how, expected=failed, **lags)


def others() -> Iterator[Row]:
    """Somebody else starts a recording while ours is in doubt, or theirs is the answer to our second start."""
    kind = "others"
    doubts = {
        "502": Start(502, answers_at=1, acts_at=None),
        "504": Start(504, answers_at=3, acts_at=None),
        "reset": Start("reset", answers_at=1, acts_at=None),
        "no answer": Start("ok", answers_at=70, acts_at=None, refusal=409),
        "false": Start("false", answers_at=1, acts_at=None),
    }
    theirs = Expected("success", result="others")
    others_start = Step("start 1 received", "others_start", after=2)
    ends = {
        "marked as failed": ((marks("failed"),), FAILED),
        "marked as successful": ((marks("success"),), SUCCESS),
        "cleared": ((clears(), leaves(250)), theirs),
        "the meeting ends": ((leaves(200),), theirs),
    }
    for number, (doubt, start) in enumerate(doubts.items()):
        for end, (steps, expected) in ends.items():
            if doubt == "502" or end != "the meeting ends":
                how = (WORKER, TRIGGERER)[number % 2]
                starts = (start, Start(refusal=(409, "theirs")[number % 2]))
                yield make(kind, f"{doubt}, {end}", others_start, *steps, how=how, starts=starts, expected=expected)
    for where, how in BOTH.items():
        # Theirs is not to be seen yet when the second start is answered with it.
        starts = (doubts["502"], Start(refusal="theirs"))
        lags = {"list_lag": 10, "active_lag": 10, "starts": starts}
        name = f"{where}, the second start is answered with theirs"
        yield make(kind, f"{name}, marked as failed", others_start, marks("failed"), how=how, expected=FAILED, **lags)
        yield make(
            kind, f"{name}, out of time", others_start, how=how, arguments={"timeout": 90}, expected=FAILED, **lags
        )
        starts = (doubts["502"], Start())
        name = f"{where}, no names, started with the meeting, marked as failed"
        rides = Step("start 1 received", "others_start", (MEETING, "RECORD_ON_START"), 2)
        yield make(kind, name, rides, marks("failed"), how=how, starts=starts, names="null", expected=FAILED)
        name = f"{where}, a worker dies in the start, marked as failed"
        died = (Step("start 1 received", "crash", ("a",), 0.3), others_start, marks("failed"))
        yield make(kind, name, *died, how=how, starts=(doubts["no answer"], Start()), expected=FAILED)
    name = "a worker dies in the start, cleared, 3.1"
    died = (Step("start 1 received", "crash", ("a",), 0.3), others_start, clears(), leaves(250))
    yield make(kind, name, *died, starts=(doubts["no answer"], Start()), expected=theirs, settings=OLD)


def clocks() -> Iterator[Row]:
    """The clocks of the origin, of the gateway and of the workers differ."""
    kind = "clocks"
    acted = Start(502, answers_at=1)
    starts = (acted, Start())
    hows = [WORKER, TRIGGERER]
    for number, behind in enumerate((2, 10, 30, 120)):
        how = hows[number % 2]
        late = {"behind": behind, "starts": starts, "how": how}
        name = f"the origin is {behind} s behind"
        yield make(kind, f"{name}, marked as failed", marks("failed"), expected=FAILED, **late)
        yield make(kind, f"{name}, out of time", arguments={"timeout": 60}, expected=FAILED, **late)
        yield make(kind, f"{name}, the meeting ends", leaves(200), **late)
    late = {"behind": 45, "starts": starts, "settings": OLD}
    yield make(kind, "the origin is 45 s behind, marked as failed, 3.1", marks("failed"), expected=FAILED, **late)
    for lag, how in ((4, WORKER), (12, TRIGGERER), (20, WORKER)):
        blind = {"has_invoked_time": False, "list_lag": lag, "active_lag": lag, "starts": starts, "how": how}
        yield make(kind, f"no invoked_time, views are {lag} s late", marks("failed"), expected=FAILED, **blind)
    died = Step("start 1 received", "crash", ("a",), 1)
    slow = (Start(answers_at=8), Start())
    for skew in (120, -120, 300, -300, 600, -600):
        how = hows[skew > 0]
        settings = Settings(skews=(0, skew), retry_delay=5)
        views = {"list_lag": 20, "active_lag": 20, "starts": slow, "settings": settings, "how": how}
        name = f"the second worker is {skew:+} s, the first died in the start"
        yield make(kind, name, died, marks("failed"), expected=FAILED, **views)
    for skew in (120, -120, 600, -600):
        settings = Settings(skews=(skew,))
        timeless = {"has_date": False, "starts": starts, "settings": settings, "how": hows[skew < 0]}
        name = f"the workers are {skew:+} s, no Date, marked as failed"
        yield make(kind, name, marks("failed"), expected=FAILED, **timeless)


def active_view() -> Iterator[Row]:
    """``active-recording`` shows a recording that has ended, or another meeting's."""
    kind = "active view"
    steps = (Step("begin", "others_start"), Step("begin", "others_stop", after=10))
    for where, how in {**BOTH, "at once": AT_ONCE}.items():
        expected = Expected(goes_on=where == "at once")
        run = Step("begin", "run", ("a",), 14)
        name = f"{where}, one that uploads"
        yield make(kind, name, *steps, run, leaves(1 if where == "at once" else 200), how=how,
                   active_shows="uploading", expected=expected)  # fmt: skip
        elsewhere = Step("begin", "others_start", ("meeting-2",))
        run = Step("begin", "run", ("a",), 5)
        for field in ("meeting", "meeting_id"):
            name = f"{where}, another meeting's, as {field} says"
            ends = () if where == "at once" else (leaves(200),)
            yield make(kind, name, elsewhere, run, *ends, how=how, active_shows=field, expected=expected)


def stop_without_effect() -> Iterator[Row]:
    """The first stop is answered with 200 and has no effect, or stops are answered badly."""
    kind = "stop"
    for where, how in BOTH.items():
        for answer in ("no effect", "lie"):
            faults = (Fault("stop", (1,), answer),)
            which = f"{where}, {answer}"
            yield make(kind, f"{which}, marked as failed", marks("failed"), how=how, faults=faults, expected=FAILED)
            yield make(kind, f"{which}, cleared", clears(after=60), leaves(250), how=how, faults=faults)
            name = f"{which}, out of time"
            yield make(kind, name, how=how, faults=faults, arguments={"timeout": 60}, expected=FAILED)
        for answer in (502, "reset", "html", "false", 409):
            faults = (Fault("stop", (1,), answer), Fault("get after stop", (1,), answer))
            name = f"{where}, {answer} twice in a row, marked as failed"
            yield make(kind, name, marks("failed"), how=how, faults=faults, expected=FAILED)
    faults = (Fault("stop", (1, 2, 3, 4), 502), Fault("get after stop", (1, 2, 3), 502))
    yield make(kind, "triggerer, 502 four times", marks("failed"), how=TRIGGERER, faults=faults, expected=FAILED)
    faults = (Fault("get after stop", (1, 2, 3), 502), Fault("stop", (1,), 502))
    yield make(kind, "triggerer, cannot be seen", marks("success"), how=TRIGGERER, faults=faults)


def killed_in_start() -> Iterator[Row]:
    """A person ends the task while its start takes 8 seconds."""
    kind = "killed in the start"
    # The process is killed for good before the answer comes.
    settings, old = Settings(heartbeat=1.5), Settings(version="3.1", heartbeat=1.5)
    for acts_at in (0.2, 2.5, 5):
        slow = (Start(answers_at=8, acts_at=acts_at), Start())
        killed = marks("failed", "start 1 received", 1)
        name = f"acts after {acts_at} s"
        yield make(kind, f"{name}, failed", killed, starts=slow, expected=FAILED, settings=settings)
        yield make(kind, f"{name}, failed, 3.1", killed, starts=slow, expected=FAILED, settings=old)
        cleared = clears("start 1 received", 1)
        yield make(kind, f"{name}, cleared", cleared, leaves(250), starts=slow, how=TRIGGERER, settings=settings)
    slow = (Start(answers_at=8, acts_at=7), Start())
    killed = marks("success", "start 1 received", 4)
    yield make(kind, "acts after 7 s, successful, killed late", killed, starts=slow)
    slow = (Start(answers_at=8), Start())
    late = {"list_lag": 3, "active_lag": 3, "settings": settings}
    killed = marks("failed", "start 1 received", 1)
    yield make(kind, "views are 3 s late", killed, starts=slow, expected=FAILED, **late)


def killed_in_doubt() -> Iterator[Row]:
    """A person ends the task while it is in doubt whether its start took effect; a further start must not be sent."""
    kind = "killed in doubt"
    # A further start that is sent all the same would take longer than its process lives.
    again = Start(answers_at=8)
    settings, old = Settings(heartbeat=1), Settings(version="3.1", heartbeat=1)
    for status in (502, 504, "reset"):
        lost = (Start(status, answers_at=1, acts_at=None), again)
        # Today's client, the one that waits for a request's timeout, and the one that waits for a minute.
        for after in (0.5, 2.5, 25, 55):
            killed = marks("failed", "start 1 answered", after)
            name = f"{status}, killed after {after} s"
            yield make(kind, name, killed, starts=lost, expected=FAILED, settings=settings)
    lost = (Start(502, answers_at=1, acts_at=None), again)
    killed = marks("success", "start 1 answered", 2.5)
    yield make(kind, "502, successful, 3.1", killed, starts=lost, settings=old)
    cleared = clears("start 1 answered", 2.5)
    yield make(kind, "502, cleared", cleared, leaves(250), starts=lost, how=TRIGGERER, settings=settings)
    acted = (Start(502, answers_at=1), Start())
    late = {"list_lag": 5, "active_lag": 5}
    killed = marks("failed", "start 1 answered", 0.5)
    yield make(kind, "502, acted, views are 5 s late", killed, starts=acted, expected=FAILED, **late)


def abandoned() -> Iterator[Row]:
    """The first try ran out of time in its start; a person ends the next one early on, or others have started since."""
    kind = "abandoned"
    lost = (Start(answers_at=90, acts_at=None), Start())
    limited = {"execution_timeout": 20}
    for where, how in BOTH.items():
        # Every answer takes 2 seconds, and a worker notices after 1: whatever the try looks at, it is looking.
        slow = {"how": how, "arguments": limited, "latency": 2.0, "starts": lost, "settings": Settings(heartbeat=1)}
        for after in (0.5, 2.5):
            name = f"{where}, marked as failed {after} s into the next try"
            yield make(kind, name, marks("failed", "a try 2", after), expected=FAILED, **slow)
        free = {"how": how, "starts": lost, "arguments": {"execution_timeout": 40}}
        began = Step("a up_for_retry", "others_start", after=1)
        name = f"{where}, others start, marked as failed"
        yield make(kind, name, began, marks("failed", "a try 2", 30), expected=FAILED, **free)
        name = f"{where}, others start, out of time"
        yield make(kind, name, began, expected=FAILED, **free)
    began = Step("a up_for_retry", "others_start", after=1)
    free = {"how": TRIGGERER, "starts": lost, "arguments": {"execution_timeout": 40}, "retries": 2}
    restarted = Step("a deferred", "restart_triggerer", ("a",), 10)
    name = "triggerer, others start, restarted, marked as failed"
    yield make(kind, name, began, restarted, marks("failed", "a try 2", 30), expected=FAILED, **free)
    acted = {"starts": (Start(answers_at=90, acts_at=2), Start()), "arguments": {"execution_timeout": 20}}
    yield make(kind, "acted, marked as failed in the next try", marks("failed", "a try 2", 4), expected=FAILED, **acted)


def rate_limited() -> Iterator[Row]:
    """A start is held back by 429 for minutes; when it is sent at last, its worker dies."""
    kind = "rate limited"
    for seconds, how, settings in ((100, WORKER, NEW), (200, TRIGGERER, NEW), (200, WORKER, OLD)):
        starts = (Start(429, answers_at=0.2, acts_at=None, retry_after=seconds), Start(answers_at=20), Start())
        died = Step("start 2 received", "crash", ("a",), 1)
        name = f"{seconds} s, {'triggerer' if how is TRIGGERER else 'worker'}, {settings.version}"
        more = {"starts": starts, "how": how, "settings": settings}
        killed = marks("failed", "start 2 received", 60)
        yield make(kind, f"{name}, marked as failed", died, killed, expected=FAILED, **more)
        yield make(kind, f"{name}, the meeting ends", died, leaves(350), lasts=500, **more)


def ended_late() -> Iterator[Row]:
    """A start that does not wait ended well; its process is ended afterwards."""
    kind = "ended late"
    for version in ("3.3", "3.1"):
        settings = Settings(version=version, lingers=60)
        for tracks in (False, True):
            name = f"{'tracks' if tracks else 'composite'}, {version}"
            late = Step("a success", "end_process", ("a",), 20)
            more = {"how": AT_ONCE, "settings": settings, "tracks": tracks, "arguments": {"stop_on_kill": True}}
            yield make(kind, name, late, expected=Expected(goes_on=True), **more)


def two_tasks() -> Iterator[Row]:
    """Two tasks start at once, the server lets both, and views are late."""
    kind = "two tasks"
    rounds = [
        # When the second task runs, how long the starts take, and how late the views are.
        (0.0, (0.5, 0.5), 0.0),
        (0.0, (1.0, 1.0), 2.0),
        (0.0, (4.0, 4.0), 4.0),
        (0.0, (4.0, 0.5), 0.0),
        (0.0, (0.5, 4.0), 4.0),
        (0.3, (2.0, 1.0), 1.0),
        (1.0, (3.0, 0.5), 2.0),
        (2.0, (4.0, 2.0), 3.0),
        (2.0, (0.5, 0.5), 4.0),
        (3.5, (4.0, 4.0), 4.0),
    ]
    for number, (after, seconds, lag) in enumerate(rounds):
        how = (WORKER, TRIGGERER)[number % 2]
        first, second = (Start(answers_at=took, acts_at=max(0.2, took - 0.3), checks="never") for took in seconds)
        behaviour = Behaviour(starts=(first, second), list_lag=lag, active_lag=lag)
        tasks = {name: TaskSpec({"meeting_id": MEETING, **how}) for name in ("a", "b")}
        name = f"{kind}: {number + 1}, {after} s apart, starts take {seconds[0]} and {seconds[1]} s, views {lag} s late"
        steps = (RUN, Step("begin", "run", ("b",), after), leaves(250))
        yield Row(name, kind, behaviour, NEW, tasks, steps, Expected(grace=45), 400)


def cleared() -> Iterator[Row]:
    """A clear that leaves the number of tries as it was; what it stopped is no success."""
    kind = "cleared"
    lost = Step("begin", "clear_and_lose", ("a",), 60)
    deployed = Step("begin", "deploy", ("a", 0), 30)
    yield make(kind, "lost its heartbeat", lost, leaves(250))
    yield make(kind, "lost its heartbeat, two retries", lost, leaves(250), retries=2)
    yield make(kind, "lost its heartbeat, no retry", lost, leaves(250), retries=0)
    yield make(kind, "lost its heartbeat, 3.1", lost, leaves(250), settings=OLD)
    for where, how in BOTH.items():
        yield make(kind, f"{where}, deployed with fewer retries", deployed, clears(after=60), leaves(250), how=how)
        died = Step("begin", "crash", ("a",), 20)
        if how is WORKER:
            steps = (died, Step("begin", "deploy", ("a", 0), 50), clears(after=80), leaves(250))
            yield make(kind, "deployed with fewer retries in the second try", *steps, retries=2)
    late = clears(after=60, schedules=8)
    yield make(kind, "triggerer, deployed with fewer retries, late", deployed, late, leaves(250), how=TRIGGERER)
    # The run's number of clears grows as well when another task of it is cleared.
    steps = (Step("begin", "crash", ("a",), 20), Step("begin", "clear_another", after=22), leaves(250))
    yield make(kind, "only another task, while the worker is dead", *steps)
    yield make(
        kind, "only another task, while deferred", Step("begin", "clear_another", after=20), leaves(250), how=TRIGGERER
    )


def no_triggerer() -> Iterator[Row]:
    """No triggerer runs any more; Airflow ends the wait by its own timeout."""
    kind = "no triggerer"
    lost = Step("a deferred", "lose_triggerer", ("a",), 20)
    for version in ("3.3", "3.1"):
        more = {"how": TRIGGERER, "settings": Settings(version=version), "arguments": {"timeout": 60}, "retries": 0}
        yield make(kind, version, lost, expected=FAILED, **more)


def names() -> Iterator[Row]:
    """The server shows no names of files, shows them late, or ignores their prefix."""
    kind = "names"
    acted = (Start(502, answers_at=1), Start())
    shown = {"null": {"names": "null"}, "plain": {"names": "plain"}, "10 s late": {"named_after": 10}}
    for number, (name, how_shown) in enumerate(shown.items()):
        how = (WORKER, TRIGGERER)[number % 2]
        yield make(kind, f"{name}, the meeting ends", leaves(200), how=how, starts=acted, **how_shown)
        # By a name without its prefix nobody can tell whose a recording is, and what is in doubt is not stopped.
        expected = replace(FAILED, may_be_left=name == "plain")
        yield make(
            kind, f"{name}, marked as failed", marks("failed"), how=how, starts=acted, expected=expected, **how_shown
        )
        died = Step("begin", "crash", ("a",), 30)
        yield make(kind, f"{name}, worker dies, marked as failed", died, marks("failed"), expected=FAILED, **how_shown)
        yield make(kind, f"{name}, cleared", clears(after=60), leaves(200), how=how, **how_shown)


KINDS = (
    undisturbed,
    gateway,
    acted,
    refused,
    second_answered,
    others,
    clocks,
    active_view,
    stop_without_effect,
    killed_in_start,
    killed_in_doubt,
    abandoned,
    rate_limited,
    ended_late,
    two_tasks,
    cleared,
    no_triggerer,
    names,
)
ROWS: list[Row] = [row for kind in KINDS for row in kind()]
