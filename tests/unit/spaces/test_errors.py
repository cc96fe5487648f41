"""The error tree: one root, one message, and safe passage between processes."""

import pickle

import pytest

from spaces import errors
from spaces.errors import IllegalCandidate, SpaceError, StudentSearchError

TREE = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StudentSearchError)
]


@pytest.mark.parametrize("kind", [kind for kind in TREE if kind is not SpaceError])
def test_an_error_is_its_message_after_pickling_too(kind: type[StudentSearchError]) -> None:
    again = pickle.loads(pickle.dumps(kind("where: got 1; allowed: 2. Do this.")))
    assert type(again) is kind
    assert str(again) == "where: got 1; allowed: 2. Do this."


def test_a_space_error_prints_one_problem_a_line_after_pickling_too() -> None:
    again = pickle.loads(pickle.dumps(SpaceError(["one", "two"])))
    assert again.problems == ["one", "two"]
    assert str(again) == "one\ntwo"


def test_an_illegal_candidate_keeps_its_paths_after_pickling_too() -> None:
    problems = [("image.heads", "got 3"), ("image.width", "got 4")]
    again = pickle.loads(pickle.dumps(IllegalCandidate("heads do not fit", problems)))
    assert str(again) == "heads do not fit"
    assert again.problems == tuple(problems)
    assert IllegalCandidate("no path").problems == ()
