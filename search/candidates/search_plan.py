"""How far a search goes and from where, and what its searcher asks of whoever builds and admits candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from search.proposal import Admitted, Past, Proposal, Rejected, Waiting
from search.searchers.base import Values
from spaces.candidate import Candidate


class Admissions(Protocol):
    """What the searcher needs of the experiment."""

    def build(self, values: Values, index: int) -> Proposal:
        """Return the candidate at a point of the space, and the values that count; IllegalCandidate where its parts do not
        fit."""

    def admit(self, candidate: Candidate) -> Admitted | Rejected | Waiting:
        """Return whether the candidate meets the limits, with its costs; or that it waits, to be asked for again. At once."""

    def on_waiting(self, proposal: Proposal) -> None:
        """Keep a proposal that waits, for a resume."""

    def await_figure(self, seconds: float) -> bool:
        """Wait until more is known of one that waits, or so long; False where nothing is being measured."""

    def trial_config(self, proposal: Proposal, admitted: Admitted) -> dict[str, Any]:
        """Return the config of the Tune trial; it holds `candidate_id` and `role`."""

    def violation(self, costs: Mapping[str, float]) -> float:
        """Return how far costs lie beyond the limits, see `Outcome.violation`; infinite without costs."""

    def on_rejected(self, proposal: Proposal, rejected: Rejected) -> None:
        """Record a candidate that will not be trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A candidate to hand out before any proposal.

    Attributes:
        proposal: the unfinished candidate of a resumed run, the blind student, or the default.
        admitted: its costs where they are known already; None to have it admitted like any other.
    """

    proposal: Proposal
    admitted: Admitted | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """How far to search, and from where.

    Attributes:
        trials: admitted candidates of the whole run, earlier sessions and the queue included, the blind one
            not.
        queue: handed out first, in this order.
        past: candidates of earlier sessions in the order in which they ended, except those in the queue.
        start_index: number of the next proposal.
        earlier: trained candidates of other runs in the order in which they ended, all with index -1. The
            proposer learns from them; they do not count as trials, and may be proposed and trained here.
        proposes: whether anything comes after the queue; nothing does in an ablation.
    """

    trials: int
    queue: Sequence[Queued] = ()
    past: Sequence[Past] = ()
    start_index: int = 0
    earlier: Sequence[Past] = ()
    proposes: bool = True
