"""Tree-structured Parzen estimator, by hyperopt."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import hyperopt
from hyperopt import hp, tpe

from search.searchers.base import Proposer, Values
from spaces.domains import ON, FlatSpec, Scalar, identity
from spaces.errors import PluginError


@final
class TreeParzen(Proposer):
    """Draw near what did well in the quality objective, away from what did not.

    TPE (Bergstra et al. 2011, section 4) over a flat space of dotted paths. One objective only. A candidate
    that was stopped early counts with its last quality, which is lower than what it would have reached.
    Failed, rejected and still training ones stand among the bad ones without a value, so that the next
    proposals keep away from them. hyperopt is called directly, with the seed of each proposal made from
    (seed, index): Ray's wrapper keeps hidden state, loops for ever on nested start points and takes NaN as a
    value.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        """Options of the estimator.

        Attributes:
            startup: random proposals until so many candidates have a quality.
            gamma: share of the good ones, of the square root of all.
            draws: points drawn from the good ones for each proposal, of which the most promising is taken.
        """

        startup: int = 10
        gamma: float = 0.25
        draws: int = 24

        def __post_init__(self) -> None:
            if self.startup < 1 or self.draws < 1 or not 0 < self.gamma <= 1:
                raise PluginError(
                    f"options: got startup {self.startup}, gamma {self.gamma}, draws {self.draws}; allowed: "
                    "startup and draws from 1, gamma above 0 up to 1."
                )

    def prepare(self) -> None:
        """Translate the space for hyperopt."""
        self._specs: dict[str, FlatSpec] = {}
        for path, domain in self.domains.items():
            self._specs.update(domain.flat(path))
        expressions = {label: _expression(label, spec) for label, spec in self._specs.items()}
        # hyperopt refuses a space without labels; one where nothing is searched is legal here
        self._space = hyperopt.Domain(lambda point: point, expressions or {"nothing": 0})
        self._blank = hyperopt.Trials()
        self._documents: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._next_tid = 0

    def propose(self, index: int, *, explore: bool = False) -> dict[str, Scalar]:
        """Return a random point at first and on request, then what the estimator suggests."""
        measured = sum("loss" in document["result"] for document in self._documents.values())
        if explore or not self.domains or measured < self.config.startup:
            return self.draw(index)
        found = tpe.suggest(
            [self._next_tid],
            self._space,
            # validating would copy every document, 80 ms at 1,000 of them
            hyperopt.trials_from_docs(list(self._documents.values()), validate=False),
            _mix(self.seed, index),
            n_startup_jobs=0,
            n_EI_candidates=self.config.draws,
            gamma=self.config.gamma,
            verbose=False,
        )
        raw = {label: values[0] for label, values in found[0]["misc"]["vals"].items()}
        labels = {label: _value(self._specs[label], number) for label, number in raw.items()}
        return {path: domain.unflatten(path, labels) for path, domain in self.domains.items()}

    def observe(self, index: int, values: Values, row: Mapping[str, Any] | None, *, failed: bool) -> None:
        """Enter the point, or fill in what became of it; a row without the quality leaves the point out."""
        if values.keys() != self.domains.keys() or not all(
            self.domains[p].contains(v) for p, v in values.items()
        ):
            return  # of another space, as after --set on a resumed run: it says nothing about this one
        key = tuple(identity(values[path]) for path in self.domains)
        if key not in self._documents:
            self._documents[key] = self._document(values)
        document = self._documents[key]
        if "loss" in document["result"]:
            return  # an equal candidate has trained; failing to train it again would tell nothing new
        quality = None if failed or row is None else row.get(self.quality)
        if quality is not None and math.isfinite(quality):
            loss = -float(quality) if self.maximise else float(quality)
            document["result"] = {"status": hyperopt.STATUS_OK, "loss": loss}
        elif row is not None and not failed and quality is None:
            del self._documents[key]

    def _document(self, values: Values) -> dict[str, Any]:
        """Return hyperopt's record of a point; without a loss it counts as infinitely bad there."""
        labels, tid = self._labels(values), self._next_tid
        self._next_tid += 1
        misc = {
            "tid": tid,
            "cmd": self._space.cmd,
            "workdir": None,
            "idxs": {label: [tid] if label in labels else [] for label in self._specs},
            "vals": {label: [labels[label]] if label in labels else [] for label in self._specs},
        }
        result = {"status": hyperopt.STATUS_FAIL}
        (document,) = self._blank.new_trial_docs([tid], [None], [result], [misc])
        return {**document, "state": hyperopt.JOB_STATE_DONE}

    def _labels(self, values: Values) -> dict[str, float]:
        """Return hyperopt's numbers of a point; a domain at its zero has no value to learn from: left out."""
        numbers: dict[str, float] = {}
        for path, domain in self.domains.items():
            labels = domain.flatten(path, values[path])
            if labels.get(path + ON) is False:
                labels.pop(path)
            numbers.update({label: _number(self._specs[label], value) for label, value in labels.items()})
        return numbers


def _mix(seed: int, index: int) -> int:
    """Return a seed for one proposal, 0 .. 2**31 - 1."""
    return (seed * 1_000_003 + index * 7919 + 12345) % (2**31)


def _expression(label: str, spec: FlatSpec) -> Any:
    """Return hyperopt's expression of one label."""
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
