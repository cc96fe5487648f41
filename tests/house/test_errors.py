"""Errors cross process borders and are printed to the user: they pickle, and stand in one documented tree."""

import inspect
import pickle

import pytest

import spaces.errors
from spaces.errors import SpaceError, StudentSearchError

ERRORS = [
    value
    for _, value in inspect.getmembers(spaces.errors, inspect.isclass)
    if issubclass(value, StudentSearchError)
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_error_survives_pickling_with_its_message(error: type[StudentSearchError]):
    made = (
        error(["a.yaml:3, b: got 1", "a.yaml:4, c: got 2"])
        if error is SpaceError
        else error("a: got 1; allowed: 2.")
    )
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is error
    assert str(again) == str(made)
    assert str(made)
    assert vars(again) == vars(made)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_error_stands_in_the_tree_and_says_what_it_is(error: type[StudentSearchError]):
    assert error.__name__ in (spaces.errors.__doc__ or "")
    assert error.__doc__
