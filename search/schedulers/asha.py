"""Early stopping by the quality objective alone."""

from typing import final

from search.schedulers.base import RungScheduler
from search.schedulers.rung_config import RungConfig
from spaces.objectives import Objectives, quality_objective


@final
class Asha(RungScheduler):
    """Stop what is behind in quality, whatever it costs.

    ASHA (Li et al. 2020, arXiv 1810.05934) in its stopping form. Small students fall behind large ones early,
    so a front drawn afterwards has few of them: for one best student, not for a front.
    """

    name = "asha"
    Config = RungConfig

    def judged(self, objectives: Objectives) -> Objectives:
        """Return the quality objective only."""
        quality = quality_objective(objectives)
        return {quality: objectives[quality]}
