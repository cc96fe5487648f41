"""Early stopping under several objectives at once."""

from typing import final

from search.schedulers.base import RungScheduler
from search.schedulers.rung_config import RungConfig
from spaces.objectives import Objectives


@final
class MOAsha(RungScheduler):
    """Stop what is dominated or crowded among all objectives, costs included.

    MO-ASHA (Schmucker et al. 2021, arXiv 2106.12639) with the true non-dominated rank: a newcomer that
    dominates all recorded candidates is never stopped. The costs of a student do not change while it trains
    and take part in the rank, so that small students are judged among their like instead of being beaten by
    large ones.
    """

    name = "moasha"
    Config = RungConfig

    def judged(self, objectives: Objectives) -> Objectives:
        """Return all objectives."""
        return dict(objectives)
