"""Random search."""

from dataclasses import dataclass
from typing import final

from search.searchers.base import Outcome, Proposer, Values
from spaces.domains import Scalar


@final
class RandomSearch(Proposer):
    """Draw every value independently from its domain.

    Bergstra and Bengio 2012. A proposal is a pure function of (seed, index), so the first candidates of a run
    are the same on every machine and after every resume.
    """

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        """Random search has no options."""

    def prepare(self) -> None:
        """Have no state."""

    def propose(self, index: int, *, explore: bool = False) -> dict[str, Scalar]:
        """Return the draw of this index."""
        return self.draw(index)

    def observe(self, index: int, values: Values, outcome: Outcome) -> None:
        """Learn nothing."""
