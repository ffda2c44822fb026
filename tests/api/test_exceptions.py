"""The tree of errors: base classes, and which errors fail a task without a retry."""

from __future__ import annotations

import inspect
import pickle

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_realtimekit import exceptions

CLASSES = {
    name: value
    for name, value in vars(exceptions).items()
    if inspect.isclass(value) and value.__module__ == exceptions.__name__
}
FAIL_AT_ONCE = {
    "RealtimeKitInputError",
    "RealtimeKitAuthError",
    "RecordingExpiredError",
    "RecordingFailedError",
    "RecordingTimeoutError",
    "StartOutcomeUnknownError",
}


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_has_one_base_and_is_in_the_tree_of_the_docstring(name: str) -> None:
    assert issubclass(CLASSES[name], exceptions.RealtimeKitError)
    assert name in (exceptions.__doc__ or "")


@pytest.mark.parametrize("name", CLASSES)
def test_only_errors_that_a_retry_cannot_solve_are_airflow_exceptions(name: str) -> None:
    assert issubclass(CLASSES[name], AirflowFailException) == (name in FAIL_AT_ONCE)
    assert issubclass(CLASSES[name], AirflowException) == (name in FAIL_AT_ONCE)


def test_a_wrong_argument_is_a_value_error() -> None:
    assert issubclass(exceptions.RealtimeKitInputError, ValueError)


@pytest.mark.parametrize("name", CLASSES)
def test_an_error_can_be_pickled(name: str) -> None:
    error = CLASSES[name]("said")
    for key in vars(error):
        setattr(error, key, 7)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), "said", vars(error))
