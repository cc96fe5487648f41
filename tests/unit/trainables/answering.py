"""What stands in for a model where tests only ask it something."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from trainables.families.base import Family, Offers, Resolved, Surroundings


class Answering(Family):
    """A model that only answers: never drafted, priced or resolved."""

    @classmethod
    def resolve(cls, options: Mapping[str, Any], sizes: Mapping[str, int]) -> Resolved:
        raise NotImplementedError

    @classmethod
    def draft(cls, config: Any, around: Surroundings) -> Any:
        raise NotImplementedError

    @classmethod
    def sizes(cls, architecture: Any) -> dict[str, int]:
        raise NotImplementedError

    @classmethod
    def offers(cls, architecture: Any) -> Offers:
        raise NotImplementedError

    def pass_inputs(self, mode: str, tokens: int) -> dict[str, Tensor]:
        raise NotImplementedError

    def run_pass(self, mode: str, inputs: Mapping[str, Tensor]) -> object:
        raise NotImplementedError
