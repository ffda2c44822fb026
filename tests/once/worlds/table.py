from __future__ import annotations
from tests.once.worlds.airflow import Settings, TaskSpec
from tests.once.worlds.server import Behaviour, Start, Fault
from tests.once.worlds.world import Expected, Row, Step, MEETING
WAIT={"meeting_id": MEETING, "wait_for_completion": True, "poll_interval": 5, "deferrable": False, "timeout": 3600}
ROWS=[Row("plain worker","plain",Behaviour(),Settings(),{"a":TaskSpec(WAIT)},(Step("begin","run",("a",)),Step("begin","leave",after=200)),Expected()),
Row("plain triggerer","plain",Behaviour(),Settings(),{"a":TaskSpec({**WAIT,"deferrable":True})},(Step("begin","run",("a",)),Step("begin","leave",after=200)),Expected()),
Row("killed worker","plain",Behaviour(),Settings(),{"a":TaskSpec(WAIT)},(Step("begin","run",("a",)),Step("begin","mark",("a","failed"),after=20)),Expected("failed")),
Row("killed triggerer","plain",Behaviour(),Settings(),{"a":TaskSpec({**WAIT,"deferrable":True})},(Step("begin","run",("a",)),Step("begin","mark",("a","failed"),after=20)),Expected("failed")),
Row("cleared triggerer","plain",Behaviour(),Settings(),{"a":TaskSpec({**WAIT,"deferrable":True})},(Step("begin","run",("a",)),Step("begin","clear",("a",),after=20),Step("begin","leave",after=200)),Expected()),
Row("502","plain",Behaviour(starts=(Start(502),)),Settings(),{"a":TaskSpec(WAIT)},(Step("begin","run",("a",)),Step("begin","leave",after=200)),Expected()),
]
