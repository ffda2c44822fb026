"""One world as a row of the table: the server's behaviour, the Airflow, the events, and the end that is expected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.once.worlds.airflow import Settings, TaskSpec
from tests.once.worlds.model import Behaviour

MEETING = "meeting-1"


@dataclass(frozen=True)
class Step:
    """Something that happens in a world.

    :param on: the event that it follows, as a world's log names them: ``begin``, ``start 1 received``, ``a try 2``
    :param does: a method of :class:`~.actions.Actions`, and its arguments
    :param after: seconds after the event; 0 is before anybody else does anything
    """

    on: str
    does: str
    arguments: tuple[Any, ...] = ()
    after: float = 0.0


@dataclass(frozen=True)
class Expected:
    """How a world must end.

    :param state: of each task in the end; ``None``: whatever it is
    :param result: whose recording a task that succeeded names: ``ours``, ``others`` or ``any``
    :param goes_on: whether a recording of ours goes on in the end
    :param grace: for how many seconds two of ours may run at a time
    :param may_be_left: whether a recording of ours may be left that nobody could know of
    """

    state: str | None = "success"
    result: str = "ours"
    goes_on: bool = False
    grace: float = 15.0
    may_be_left: bool = False


@dataclass(frozen=True)
class Row:
    """One world.

    :param name: its name, unique
    :param kind: the row of the table that it belongs to
    :param tasks: by name
    :param steps: what happens
    :param lasts: seconds
    """

    name: str
    kind: str
    behaviour: Behaviour
    settings: Settings
    tasks: dict[str, TaskSpec]
    steps: tuple[Step, ...]
    expected: Expected
    lasts: float = 600.0
