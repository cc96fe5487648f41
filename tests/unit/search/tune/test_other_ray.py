"""Another version of Ray, whose Tune lacks what is mended in it: that is told in a line, and it is left as it is."""

from collections.abc import Iterator

import pytest
from ray.tune.execution.tune_controller import TuneController

from search.tune import tuner
from search.tune.tuner import mend_tune
from tests.house.tree import ROOT

METHODS = ("_trial_task_failure", "_update_trial_queue")


@pytest.fixture(autouse=True)
def unmended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin, and end, with a Tune that nobody has mended."""
    for name in METHODS:
        method = getattr(TuneController, name)
        monkeypatch.setattr(TuneController, name, getattr(method, "__wrapped__", method))
    mend_tune.cache_clear()
    yield
    mend_tune.cache_clear()


def theirs() -> list[object]:
    return [getattr(TuneController, name) for name in METHODS]


def test_the_version_that_is_known_is_mended_once() -> None:
    before = theirs()
    assert mend_tune() == ""
    after = theirs()
    assert all(one is not other for one, other in zip(before, after, strict=True))
    assert mend_tune() == ""
    assert theirs() == after


@pytest.mark.parametrize("name", ["_trial_task_failure", "_cleanup_cached_actors"])
def test_a_controller_without_a_method_is_told_and_left(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(TuneController, name)
    (other,) = [one for one in METHODS if one != name][:1]
    before = getattr(TuneController, other)
    told = mend_tune()
    assert f"(no {name})" in told
    assert f"pip install 'ray=={tuner.KNOWN_RAY}'" in told
    assert "\n" not in told
    assert getattr(TuneController, other) is before


def test_a_controller_that_keeps_its_processes_elsewhere_is_told_and_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def init(self: TuneController) -> None:
        self._resetting_trials = set()

    monkeypatch.setattr(TuneController, "__init__", init)
    before = theirs()
    assert "(no _actor_cache)" in mend_tune()
    assert theirs() == before


def test_the_version_that_is_named_is_the_one_that_is_tested() -> None:
    assert f"ray=={tuner.KNOWN_RAY}" in (ROOT / "constraints.txt").read_text().splitlines()
