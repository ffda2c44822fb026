from tests.support.tasks import *  # noqa: F403  # until every import names tests.support.tasks
