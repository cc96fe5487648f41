"""Searchers of other tools, asked for one candidate at a time: their own classes, over the same space."""

import itertools
import logging
import warnings
from collections.abc import Callable
from typing import Any, Protocol, final

import numpy as np

from engines.problem import Problem, Values


class PeerSearcher(Protocol):
    """A searcher under one interface."""

    def ask(self) -> Values:
        """Return the next values, possibly ones that it has proposed before."""

    def tell(self, place: int) -> None:
        """Take the objectives of the candidate at a place of the table, the one asked for last."""


@final
class OptunaSampler:
    """A sampler of Optuna in a study of several objectives."""

    def __init__(self, problem: Problem, make: Callable[[Any], Any]) -> None:
        """Create the study; `make` gets the module `optuna.samplers`."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", module="optuna")
        self._problem = problem
        self._study = optuna.create_study(
            directions=["minimize"] * len(problem.goals), sampler=make(optuna.samplers)
        )

    def ask(self) -> Values:
        """Return what the sampler suggests."""
        self._trial = self._study.ask()
        return {
            path: self._trial.suggest_categorical(path, options)
            for path, options in self._problem.options.items()
        }

    def tell(self, place: int) -> None:
        """Tell the objectives as they are; Optuna scales them itself."""
        self._study.tell(self._trial, self._problem.finals[place].tolist())


@final
class ScalarisedHyperOpt:
    """Ray's HyperOptSearch on a weighted sum or maximum of the objectives, weights drawn anew at each step.

    It sees the objectives scaled by the whole table, which a user would not have. It does not reject what it has
    proposed before.
    """

    def __init__(self, problem: Problem, *, seed: int, maximum: bool, whole_history: bool) -> None:
        """Create the searcher.

        Args:
            problem: the table.
            seed: of the searcher and of the weights.
            maximum: the loss is the largest weighted objective (Chebyshev) instead of the weighted sum.
            whole_history: the losses of all earlier candidates are worked out again with the new weights before each
                proposal; otherwise each keeps the weights of its own step, all that the public interface allows.
        """
        from ray import tune
        from ray.tune.search.hyperopt import HyperOptSearch

        logging.getLogger("hyperopt").setLevel(logging.ERROR)
        space = {path: tune.choice(list(options)) for path, options in problem.options.items()}
        self._searcher = HyperOptSearch(random_state_seed=seed)
        self._searcher.set_search_properties("loss", "min", space)  # as Tune hands it over
        self._problem, self._maximum, self._whole_history = problem, maximum, whole_history
        self._weights = np.random.default_rng(seed)
        self._told: list[int] = []
        self._names = (str(number) for number in itertools.count())

    def ask(self) -> Values:
        """Return what the searcher suggests under fresh weights."""
        self._weight = self._weights.dirichlet(np.ones(len(self._problem.goals)))
        if self._whole_history:
            for document, place in zip(self._searcher._hpopt_trials._dynamic_trials, self._told, strict=True):
                document["result"]["loss"] = self._loss(place)
        self._name = next(self._names)
        found = self._searcher.suggest(self._name)
        assert isinstance(found, dict)
        return found

    def tell(self, place: int) -> None:
        """Tell the loss of the candidate."""
        self._told.append(place)
        self._searcher.on_trial_complete(self._name, {"loss": self._loss(place)})

    def _loss(self, place: int) -> float:
        """Return the loss of a candidate under the present weights."""
        weighted = self._weight * self._problem.scaled[place]
        return float(weighted.max() if self._maximum else weighted.sum())


def nsga2(problem: Problem, seed: int, *, population: int) -> PeerSearcher:
    """Return Optuna's NSGA-II."""
    return OptunaSampler(problem, lambda s: s.NSGAIISampler(population_size=population, seed=seed))


def multi_objective_tpe(problem: Problem, seed: int) -> PeerSearcher:
    """Return Optuna's TPE in a study of several objectives."""
    return OptunaSampler(problem, lambda s: s.TPESampler(seed=seed))


PEER_SEARCHERS: dict[str, Callable[[Problem, int], PeerSearcher]] = {
    "Optuna NSGA-II, population 20": lambda problem, seed: nsga2(problem, seed, population=20),
    "Optuna NSGA-II, population 50": lambda problem, seed: nsga2(problem, seed, population=50),
    "Optuna multi-objective TPE": multi_objective_tpe,
    "HyperOptSearch, Chebyshev": lambda problem, seed: ScalarisedHyperOpt(
        problem, seed=seed, maximum=True, whole_history=False
    ),
    "HyperOptSearch, linear": lambda problem, seed: ScalarisedHyperOpt(
        problem, seed=seed, maximum=False, whole_history=False
    ),
    "HyperOptSearch, Chebyshev, history too": lambda problem, seed: ScalarisedHyperOpt(
        problem, seed=seed, maximum=True, whole_history=True
    ),
}
