"""The one Ray Searcher: a queue, then a proposer's proposals, each admitted before a trial exists."""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final

from ray.tune.search import Searcher

from analysis.table import FAILED
from search.admission import Admitted, Past, Proposal, Rejected
from search.searchers.base import Proposer, Values
from search.searchers.refusals import Refusals
from spaces.candidate import Candidate
from spaces.errors import IllegalCandidate, LimitError, RunError

MAX_DUPLICATES = 500  # known proposals in a row after which the space counts as exhausted
MAX_REFUSED = (
    500  # refused proposals without a single admitted one after which the limits count as unmeetable
)
EXPLORE_AFTER = 8  # known proposals in a row after which the proposer must draw from the whole space
PATIENCE_S = 1.0  # while trials run, Tune goes on after so long without an admission


class Desk(Protocol):
    """What the searcher needs of the experiment."""

    def build(self, values: Values, index: int) -> Candidate:
        """Return the candidate at a point of the space; IllegalCandidate where its parts do not fit."""

    def admit(self, candidate: Candidate) -> Admitted | Rejected:
        """Return whether the candidate meets the limits, with its costs."""

    def trial_config(self, proposal: Proposal, admitted: Admitted) -> dict[str, Any]:
        """Return the config of the Tune trial; it holds `candidate_id` and `role`."""

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
        past: candidates of earlier sessions in the order of their proposals, except those in the queue.
        start_index: number of the next proposal.
    """

    trials: int
    queue: Sequence[Queued] = ()
    past: Sequence[Past] = ()
    start_index: int = 0


Ticket = tuple[Proposal, Admitted]


@final
class CandidateSearcher(Searcher):
    """Hand out each candidate once, the queue first; refuse what is known, illegal or too big.

    Needs no Ray cluster: `suggest` and `on_trial_complete` are plain calls. Give Tune num_samples=-1:
    this class alone counts. Its state is the run's own tables (`SearchPlan.past`); Ray never restores it.

    Attributes:
        ended_by: why there is nothing more to hand out: "trials", "exhausted" or "interrupted"; None before
            that.
        ended_reason: the same as a clause for the user.
        duplicates: proposals refused because their candidate was known.
    """

    def __init__(
        self,
        proposer: Proposer,
        desk: Desk,
        *,
        plan: SearchPlan,
        interrupted: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tell the proposer about the past and line up the queue.

        Args:
            proposer: the search algorithm.
            desk: builds, admits and records candidates.
            plan: how far to search, and from where.
            interrupted: asked before each proposal; true ends the search.
            clock: seconds, monotonic.
        """
        super().__init__()
        self.ended_by: str | None = None
        self.ended_reason = ""
        self.duplicates = 0
        self._proposer, self._desk, self._plan = proposer, desk, plan
        self._interrupted, self._clock = interrupted, clock
        self._queue = deque(plan.queue)
        self._primed: deque[Ticket] = deque()
        self._live: dict[str, Proposal] = {}
        self._index = plan.start_index
        self._duplicates_in_row = 0
        self._refusals = Refusals()
        self._seen = {past.proposal.candidate.candidate_id for past in plan.past}
        self._seen |= {queued.proposal.candidate.candidate_id for queued in plan.queue}
        # The unfinished of an earlier session count now; what still has to be admitted counts when it is.
        self._admitted = sum(past.admitted and not past.proposal.candidate.blind for past in plan.past)
        self._admitted += sum(q.admitted is not None and not q.proposal.candidate.blind for q in plan.queue)
        for past in plan.past:
            self._observe(past.proposal, past.row, failed=past.failed)
        for queued in plan.queue:
            self._observe(queued.proposal, None, failed=False)

    @property
    def admitted(self) -> int:
        """Candidates of the whole run that were admitted so far, without the blind one."""
        return self._admitted

    @property
    def trials(self) -> int:
        """Candidates that the whole run is to have."""
        return self._plan.trials

    def prime(self) -> None:
        """Work through the queue and, if it admits no candidate, find the first proposal that is admitted.

        To be called before Ray starts: limits that nothing meets are then told before anything runs.

        Raises:
            LimitError: the first 500 proposals were all refused.
        """
        while self._queue:
            self._primed.extend(self._from_queue())
        if not self._admitted and self._plan.trials > 0:
            ticket = self._from_proposer(patient=True)
            self._primed.extend([ticket] if ticket else [])

    # Ray up to 2.60 documents the FINISHED string, but leaves it out of the type
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the config of the next trial, `Searcher.FINISHED`, or None to be asked again later.

        Raises:
            LimitError: the first 500 proposals were all refused.
        """
        ticket = self._next()
        if ticket is None:
            return Searcher.FINISHED if self.ended_by else None
        proposal, admitted = ticket
        self._live[trial_id] = proposal
        return self._desk.trial_config(proposal, admitted)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the proposer how a trial ended: its last row, or that it failed."""
        proposal = self._live.pop(trial_id, None)
        if proposal is not None:
            row = result or {}
            self._observe(proposal, row, failed=error or row.get("status") in FAILED)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Accept whatever Tune has: directions come with the objectives, the space with the proposer."""
        return True

    def save(self, checkpoint_path: str) -> None:
        """Write what a reader of Ray's folder may want to know; nothing is ever restored from it."""
        state = {"admitted": self._admitted, "next_index": self._index, "duplicates": self.duplicates}
        Path(checkpoint_path).write_text(json.dumps(state), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: Ray would bring back the searcher but not the rungs.

        Raises:
            RunError: always.
        """
        raise RunError(
            f"{checkpoint_path}: got Tuner.restore; a run goes on from its own tables only. "
            "Use python search/run.py --resume RUN."
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return next to nothing: Ray pickles its Tuner to a file that is never read."""
        return {"ended_by": self.ended_by}

    def _next(self) -> Ticket | None:
        """Return the next trial; None when there is none (`ended_by` is set) or it takes longer."""
        if self._interrupted():
            self._end("interrupted", "interrupted")
            return None
        if self._primed:
            return self._primed.popleft()
        while self._queue:
            for ticket in self._from_queue():
                return ticket
        return self._from_proposer(patient=not self._live)

    def _from_queue(self) -> list[Ticket]:
        """Take one candidate off the queue; return it as a ticket if it is admitted."""
        queued = self._queue.popleft()
        if queued.admitted is not None:
            return [(queued.proposal, queued.admitted)]
        admitted = self._admit(queued.proposal)
        return [(queued.proposal, admitted)] if admitted else []

    def _from_proposer(self, *, patient: bool) -> Ticket | None:
        """Propose until a candidate is admitted, the search ends, or, if not `patient`, a second is over."""
        started = self._clock()
        while self._admitted < self._plan.trials:
            self._check_end()
            if self.ended_by:
                return None
            proposal = self._propose()
            admitted = self._admit(proposal) if proposal else None
            if proposal and admitted:
                return proposal, admitted
            if not patient and self._clock() - started > PATIENCE_S:
                return None
        self._end("trials", f"{self._admitted} of {self._plan.trials} candidates handed out")
        return None

    def _propose(self) -> Proposal | None:
        """Return the next new proposal that can be built; None for a known or an illegal one."""
        index, self._index = self._index, self._index + 1
        values = self._proposer.propose(index, explore=self._duplicates_in_row >= EXPLORE_AFTER)
        try:
            candidate = self._desk.build(values, index)
            illegal = None
        except IllegalCandidate as error:
            candidate, illegal = Refusals.placeholder(values, self._proposer.seed), str(error)
        if candidate.candidate_id in self._seen:
            self.duplicates += 1
            self._duplicates_in_row += 1
            return None
        self._duplicates_in_row = 0
        self._seen.add(candidate.candidate_id)
        proposal = Proposal(candidate=candidate, index=index, values=values)
        if illegal is None:
            self._observe(proposal, None, failed=False)
            return proposal
        self._refuse(proposal, Rejected(reason=illegal))
        return None

    def _admit(self, proposal: Proposal) -> Admitted | None:
        """Return the costs of an admitted candidate and count it, or record that it was rejected."""
        answer = self._desk.admit(proposal.candidate)
        if isinstance(answer, Rejected):
            self._refuse(proposal, answer)
            return None
        if not proposal.candidate.blind:
            self._admitted += 1
            self._refusals.restart()
        return answer

    def _refuse(self, proposal: Proposal, rejected: Rejected) -> None:
        """Record a rejected candidate and tell the proposer."""
        if not proposal.candidate.blind:
            self._refusals.add(proposal, rejected)
        self._observe(proposal, None, failed=True)
        self._desk.on_rejected(proposal, rejected)

    def _observe(self, proposal: Proposal, row: Mapping[str, Any] | None, *, failed: bool) -> None:
        """Tell the proposer about a candidate that has values; the blind student is none to learn from."""
        if proposal.values and not proposal.candidate.blind:
            self._proposer.observe(proposal.index, proposal.values, row, failed=failed)

    def _check_end(self) -> None:
        """End the search when interrupted or when nothing new comes; LimitError if nothing ever came."""
        if self._interrupted():
            self._end("interrupted", "interrupted")
        elif self._duplicates_in_row >= MAX_DUPLICATES:
            self._end("exhausted", f"the last {MAX_DUPLICATES} proposals were all known: nothing new is left")
        elif len(self._refusals) >= MAX_REFUSED:
            if not self._admitted:
                raise LimitError(self._refusals.message())
            self._end("exhausted", f"nothing but rejected candidates: {self._refusals.message()}")

    def _end(self, ended_by: str, reason: str) -> None:
        """Note why the search has no more candidates."""
        self.ended_by, self.ended_reason = ended_by, reason
