"""Tree-structured Parzen estimator, by hyperopt; several objectives by random scalarisation."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from search.searchers.base import Outcome, Proposer, Values
from search.searchers.fidelity import FullFidelity
from search.searchers.observations import Observations, Sample
from search.searchers.variation import changed
from spaces.domains import ON, FlatSpec, Scalar, identity
from spaces.errors import PluginError
from spaces.rules import Number

RHO = 0.05  # weight of the sum beside the maximum, as in ParEGO
MAX_CHANGES = (
    20  # of one suggestion that is known already; beyond that the Ray searcher's rejection takes over
)
DRAWS = {"rule": Number(whole=True, low=1, high=10_000, why="every proposal draws and weighs so many")}
STEP = 0.2  # standard deviation of such a change, in parts of the range


@final
class TreeParzen(Proposer):
    """Draw near what did well under fresh random weights of the objectives, away from what did not.

    TPE (Bergstra et al. 2011, section 4) over a flat space of dotted paths. Several objectives become one as in ParEGO
    (Knowles 2006, doi 10.1109/TEVC.2005.851274): each proposal draws new weights and scalarises the whole history anew,
    so that in turn every part of the front is sought. Candidates in training stand with the worst loss so far (a constant
    lie), which keeps the next proposals away from them; failed and refused ones stand behind all others, without a value;
    stopped ones are brought to full fidelity. hyperopt is called directly, with the seed of each proposal made from
    (seed, index): Ray's wrapper keeps hidden state, loops for ever on nested start points and takes NaN as a value.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        """Options of the estimator.

        The defaults of startup and gamma (hyperopt's own are 20 and 0.25) are those that did best in the mean of
        three tables of architectures; gamma 0.25 to 1 does nearly as well.

        Attributes:
            startup: random proposals until so many candidates are measured.
            gamma: share of the good ones, of the square root of all.
            draws: points drawn from the good ones for each proposal, of which the most promising is taken.
            history: candidates that a proposal is fitted to; its cost grows with them.
        """

        startup: int = 20
        gamma: float = 0.5
        draws: int = field(default=24, metadata=DRAWS)
        history: int = 400

        def __post_init__(self) -> None:
            if min(self.startup, self.draws) < 1 or not 0 < self.gamma <= 1 or self.history < 20:
                raise PluginError(
                    f"options: got startup {self.startup}, gamma {self.gamma}, draws {self.draws}, history "
                    f"{self.history}; allowed: startup and draws from 1, gamma above 0 up to 1, history from 20."
                )

    def prepare(self) -> None:
        """Translate the space for hyperopt."""
        import hyperopt  # 2 seconds, most of them scipy, which a look at the options need not wait for

        self._specs: dict[str, FlatSpec] = {}
        for path, domain in self.domains.items():
            self._specs.update(domain.flat(path))
        expressions = {label: _expression(label, spec) for label, spec in self._specs.items()}
        # hyperopt refuses a space without labels; one where nothing is searched is legal here
        self._space = hyperopt.Domain(lambda point: point, expressions or {"nothing": 0})
        self._blank = hyperopt.Trials()
        self._observations = Observations(FullFidelity(self.objectives))

    def propose(self, index: int, *, explore: bool = False) -> dict[str, Scalar]:
        """Return a random point at first and on request, then what the estimator suggests."""
        import hyperopt
        from hyperopt import tpe

        if explore or not self.domains or self._observations.num_measured < self.config.startup:
            return self.draw(index)
        rng = random.Random(f"{self.seed}/{index}")
        sample = self._observations.sample(self.config.history, rng)
        documents = self._documents(sample, chebyshev(sample.points, simplex(len(self.objectives), rng)))
        good = math.ceil(self.config.gamma * math.sqrt(len(sample.measured)))
        found = tpe.suggest(
            [len(documents)],
            self._space,
            # validating would copy every document, 80 ms at 1,000 of them
            hyperopt.trials_from_docs(documents, validate=False),
            rng.randrange(2**31),
            n_startup_jobs=0,
            n_EI_candidates=self.config.draws,
            # hyperopt takes the root of all documents; only measured candidates are to have a say in how many are good
            gamma=(good - 0.5) / math.sqrt(len(documents)),
            verbose=False,
        )
        raw = {label: values[0] for label, values in found[0]["misc"]["vals"].items()}
        labels = {label: _value(self._specs[label], number) for label, number in raw.items()}
        values = {path: domain.unflatten(path, labels) for path, domain in self.domains.items()}
        return self._unknown(values, rng)

    def _unknown(self, values: dict[str, Scalar], rng: random.Random) -> dict[str, Scalar]:
        """Return the point, changed in single values until it is none of the known ones."""
        for _ in range(MAX_CHANGES):
            if self.key(values) not in self._observations:
                break
            path = rng.choice(list(self.active(values)))
            values = {**values, path: changed(self.domains[path], values[path], rng, step=STEP)}
        return values

    def observe(self, index: int, values: Values, outcome: Outcome) -> None:
        """Enter the point, or fill in what became of it; one that ended unmeasured is left out."""
        if self.covers(values):
            self._observations.add(index, self.key(values), self._labels(values), outcome)

    def _documents(self, sample: Sample, losses: NDArray[np.float64]) -> list[dict[str, Any]]:
        """Return hyperopt's records in the order of the proposals; one without a loss counts as infinitely bad there."""
        import hyperopt

        results = [{"status": hyperopt.STATUS_OK, "loss": float(loss)} for loss in losses]
        lie = {"status": hyperopt.STATUS_OK, "loss": float(losses.max())}
        entries = [
            *zip(sample.measured, results, strict=True),
            *((one, lie) for one in sample.pending),
            *((one, {"status": hyperopt.STATUS_FAIL}) for one in sample.void),
        ]
        entries.sort(key=lambda entry: (entry[0].index, entry[0].key))
        return [self._document(place, one.labels, result) for place, (one, result) in enumerate(entries)]

    def _document(self, tid: int, labels: Mapping[str, float], result: Mapping[str, Any]) -> dict[str, Any]:
        """Return hyperopt's record of a candidate; a label that is not there has no value to learn from."""
        import hyperopt

        misc = {
            "tid": tid,
            "cmd": self._space.cmd,
            "workdir": None,
            "idxs": {label: [tid] if label in labels else [] for label in self._specs},
            "vals": {label: [labels[label]] if label in labels else [] for label in self._specs},
        }
        (document,) = self._blank.new_trial_docs([tid], [None], [dict(result)], [misc])
        return {**document, "state": hyperopt.JOB_STATE_DONE}

    def _labels(self, values: Values) -> dict[str, float]:
        """Return hyperopt's numbers of a point, without those that change nothing: switched off, or the value of a zero."""
        numbers: dict[str, float] = {}
        for path, value in self.active(values).items():
            labels = self.domains[path].flatten(path, value)
            if labels.get(path + ON) is False:
                labels.pop(path)
            numbers.update({label: _number(self._specs[label], one) for label, one in labels.items()})
        return numbers


def simplex(count: int, rng: random.Random) -> NDArray[np.float64]:
    """Return weights that sum to 1, uniform over all such, (count,)."""
    gaps = np.asarray([rng.expovariate(1.0) for _ in range(count)])
    return np.asarray(gaps / gaps.sum())


def chebyshev(points: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the augmented Chebyshev norm of each point, objectives scaled to [0, 1] by their range, (N,).

    Knowles 2006, section III: the largest weighted objective, plus `RHO` times the weighted sum.
    """
    span = points.max(axis=0) - points.min(axis=0)
    weighted = weights * (points - points.min(axis=0)) / np.where(span > 0, span, 1.0)
    return np.asarray(weighted.max(axis=1) + RHO * weighted.sum(axis=1))


def _expression(label: str, spec: FlatSpec) -> Any:
    """Return hyperopt's expression of one label."""
    from hyperopt import hp

    kind, arguments = spec
    if kind == "choice":
        options = list(range(len(arguments["options"])))
        if "probabilities" in arguments:
            return hp.pchoice(label, list(zip(arguments["probabilities"], options, strict=True)))
        return hp.choice(label, options)
    low, high = arguments["low"], arguments["high"]
    if kind == "int":
        return hp.quniform(
            label, low - 0.5, high + 0.5, 1
        )  # half a step more: both ends as likely as the rest
    if kind == "float":
        return hp.uniform(label, low, high)
    return hp.loguniform(label, math.log(low), math.log(high))


def _number(spec: FlatSpec, value: Scalar) -> float:
    """Return hyperopt's number of a value: an option's position, else the value itself."""
    kind, arguments = spec
    if kind == "choice":
        return [identity(option) for option in arguments["options"]].index(identity(value))
    return float(value)


def _value(spec: FlatSpec, number: Any) -> Scalar:
    """Return the value of hyperopt's number."""
    kind, arguments = spec
    return arguments["options"][int(number)] if kind == "choice" else float(number)
