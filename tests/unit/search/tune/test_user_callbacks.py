"""A user's callbacks: each hook of Ray's reaches them, and what they raise is told once and costs nothing."""

import pickle
from typing import Any

import pytest
from ray.tune import Callback
from ray.tune.callback import CallbackList

from search.tune.tuner import HOOKS, Guarded

RAYS_OWN = [name for name in dir(Callback) if name == "setup" or name.startswith("on_")]


class Listener(Callback):
    """Keeps what it was called with."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in RAYS_OWN:
            return lambda **given: self.heard.append((name, given))
        return super().__getattribute__(name)


class Broken(Callback):
    """Raises another error for every other trial."""

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any
    ) -> None:
        raise ValueError(f"no {trial}")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        raise KeyboardInterrupt


def test_every_hook_reaches_the_users_callback() -> None:
    assert sorted(HOOKS) == sorted(RAYS_OWN)
    assert {"setup", "on_trial_result", "on_trial_complete", "on_experiment_end"} <= set(HOOKS)
    listener, said = Listener(), list[str]()
    through = CallbackList([Guarded(listener, said.append)])  # calls them as Tune does
    for hook in RAYS_OWN:
        getattr(through, hook)(trials=[], mark=hook)
    assert listener.heard == [(hook, {"trials": [], "mark": hook}) for hook in RAYS_OWN]
    assert said == []


def test_what_it_raises_is_told_once_each() -> None:
    said: list[str] = []
    guarded = Guarded(Broken(), said.append)
    for trial in ("a", "a", "b", "a"):
        guarded.on_trial_result(iteration=1, trials=[], trial=trial, result={})
    assert said == [
        "callback Broken.on_trial_result raised ValueError: no a; the search goes on",
        "callback Broken.on_trial_result raised ValueError: no b; the search goes on",
    ]


def test_ctrl_c_in_a_callback_is_no_mistake_of_its() -> None:
    with pytest.raises(KeyboardInterrupt):
        Guarded(Broken(), lambda line: None).on_trial_complete(iteration=1, trials=[], trial="a")


def test_ray_can_pickle_a_callback_that_cannot_be_pickled() -> None:
    listener = Listener()
    listener.cannot = lambda: None  # type: ignore[attr-defined]
    again = pickle.loads(pickle.dumps(Guarded(listener, print)))
    assert isinstance(again, Guarded)
