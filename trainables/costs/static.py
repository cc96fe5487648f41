"""The costs that follow from a model's sizes alone, known before the model exists."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trainables.costs.flops import flops_by_mode
from trainables.costs.params import params
from trainables.costs.size import size_mib
from trainables.costs.subject import Subject


@dataclass(frozen=True, kw_only=True)
class StaticCosts:
    """Costs of one architecture.

    Attributes:
        params: raw number of parameters.
        flops: 2 x MAC of all that serves one example.
        flops_by_mode: the same by mode.
        size_mib: float32 weights and tokenizer.
    """

    params: int
    flops: int
    flops_by_mode: Mapping[str, int]
    size_mib: float

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "StaticCosts":
        """Return the costs that `to_dict` wrote.

        Raises:
            TypeError: a field is missing or unknown.
        """
        return cls(**fields)


def joined(parts: Mapping[str, StaticCosts]) -> StaticCosts:
    """Return the costs of models that are deployed together.

    Args:
        parts: by what the modes of each are told with, see `Subject.parts`.
    """
    ones = parts.values()
    return StaticCosts(
        params=sum(each.params for each in ones),
        flops=sum(each.flops for each in ones),
        flops_by_mode={
            f"{owner}{mode}": count
            for owner, each in parts.items()
            for mode, count in each.flops_by_mode.items()
        },
        size_mib=sum(each.size_mib for each in ones),
    )


def measure_static(subject: Subject) -> StaticCosts:
    """Return params, flops and size of a model that is built on the meta device only."""
    by_mode = flops_by_mode(subject)
    return StaticCosts(
        params=params(subject), flops=sum(by_mode.values()), flops_by_mode=by_mode, size_mib=size_mib(subject)
    )
