"""Brackets of successive halving: how many of the first rungs a candidate passes unjudged."""

import itertools
import random
from typing import final


@final
class BracketDraw:
    """Assigns every candidate to a bracket; bracket b is not judged at the first b rungs.

    Metrics at the first rung can mislead, most of all where slow starters win; a share of the candidates that
    gets further before it is judged is the hedge (Li et al. 2018, Hyperband, JMLR 18(185); asynchronous in
    Li et al. 2020, arXiv 1810.05934, section 3). The shares are those of Hyperband's algorithm 1: of n_s
    candidates per round, n_s = (s_max + 1) eta^s / (s + 1) with s the number of halvings, here the rungs at
    which the bracket is judged: probability of b ~ eta^(R - b) / (R - b + 1) for R rungs.
    """

    def __init__(self, brackets: int, *, num_rungs: int, reduction_factor: int, seed: int) -> None:
        """Fix the shares.

        Args:
            brackets: how many; 1 judges every candidate at every rung.
            num_rungs: R above, at least `brackets` - 1.
            reduction_factor: eta above.
            seed: of the search.
        """
        halvings = [num_rungs - bracket for bracket in range(brackets)]
        weights = [reduction_factor**num / (num + 1) for num in halvings]
        self.probabilities = tuple(weight / sum(weights) for weight in weights)
        self._seed = seed

    def bracket(self, candidate_id: str) -> int:
        """Return the bracket of a candidate: drawn from seed and id alone, so the same in every session."""
        if len(self.probabilities) == 1:
            return 0
        drawn = random.Random(f"bracket {self._seed} {candidate_id}").random()
        sums = itertools.accumulate(self.probabilities[:-1])
        return sum(drawn >= bound for bound in sums)
