"""The one Ray Searcher: a queue, then a proposer's proposals, each admitted before a trial exists."""

import json
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

from ray.tune.search import Searcher

from analysis.table import FAILED
from search.candidates.outcomes import Outcomes
from search.candidates.refusals import Refusals
from search.candidates.search_plan import Admissions, SearchPlan
from search.candidates.waiting_line import Ticket, WaitingLine
from search.proposal import Admitted, Proposal, Rejected, Waiting
from search.searchers.base import Proposer
from search.searchers.points import PointSource
from search.stopping.stop_rules import Ending
from spaces.candidate import is_known
from spaces.commands import command_line
from spaces.errors import IllegalCandidate, LimitError, RunError
from spaces.files import write_text

WINDOW = 500  # new proposals of which, if the limits are to be met at all, at least one per cent is admitted
PATIENCE_S = 1.0  # while trials run, Tune goes on after so long without an admission


@final
class CandidateSearcher(Searcher):
    """Hand out each candidate once, the queue first; refuse what is known, illegal or too big.

    Candidates go in the order of their proposals; while the first one waits for its latency, nothing is proposed, so that a
    proposer knows as much as if it had been known at once (`WaitingLine` says how long that goes). `suggest` never waits
    while trials run. Needs no Ray cluster: `suggest` and `on_trial_complete` are plain calls. Give Tune num_samples=-1:
    this class alone counts. Its state is the run's own tables (`SearchPlan.past`); Ray never restores it.

    Attributes:
        ended: why there is nothing more to hand out: "trials", "exhausted", "limits", or what `ending` said; None
            before that.
        duplicates: proposals refused because their candidate was known.
    """

    def __init__(
        self,
        proposer: Proposer,
        admissions: Admissions,
        *,
        plan: SearchPlan,
        ending: Callable[[], Ending | None] = lambda: None,
        stopped: Callable[[str], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tell the proposer about the past and line up the queue.

        Args:
            proposer: the search algorithm.
            admissions: builds, admits and records candidates.
            plan: how far to search, and from where.
            ending: asked before each proposal; what it returns ends the search. Unless it cuts running trials off,
                the unfinished ones of an earlier session are still handed out.
            stopped: whether the scheduler has stopped a candidate. One that ends neither so nor with a last row of status
                `finished` has failed. None: whoever ends without an error is through.
            clock: seconds, monotonic.
        """
        super().__init__()
        self.ended: Ending | None = None
        self.duplicates = 0
        self._proposer, self._admissions, self._plan = proposer, admissions, plan
        self._ending, self._stopped, self._clock = ending, stopped, clock
        self._queue = deque(plan.queue)
        self._line = WaitingLine(admissions.admit, clock)
        self._live: dict[str, Proposal] = {}
        self._index = plan.start_index
        self._points = PointSource(proposer)
        self._refusals = Refusals(WINDOW)
        self._seen = {past.proposal.candidate.candidate_id for past in plan.past}
        self._seen |= {queued.proposal.candidate.candidate_id for queued in plan.queue}
        # The unfinished of an earlier session count now; what still has to be admitted counts when it is.
        self._admitted = sum(past.admitted and past.proposal.candidate.role == "search" for past in plan.past)
        self._admitted += sum(
            q.admitted is not None and q.proposal.candidate.role == "search" for q in plan.queue
        )
        self._outcomes = Outcomes(proposer, admissions.violation)
        for past in plan.earlier:
            self._outcomes.earlier(past)
        for past in plan.past:
            self._outcomes.past(past)
        self._unfinished = [(q.proposal, q.admitted) for q in plan.queue if q.admitted is not None]
        for ticket in self._unfinished:
            self._outcomes.pending(*ticket)

    @property
    def ended_by(self) -> str | None:
        """Why there is nothing more to hand out, in one word; None before that."""
        return self.ended.ended_by if self.ended else None

    @property
    def trials(self) -> int:
        """Candidates that the whole run is to have."""
        return self._plan.trials

    def prime(self) -> None:
        """Work through the queue and, if it admits no candidate, find the first proposal that is admitted.

        To be called before Ray starts: limits that nothing meets are then told before anything runs. A limit on latency is
        waited for where it can be measured by now; nothing else is.

        Raises:
            LimitError: the first 500 proposals were all refused, or all that there are.
        """
        while self._queue:
            self._from_queue()
        while self._plan.trials > 0 and not self._admitted and not self.ended:
            if self._line.undecided and not (
                self._line.limited and self._admissions.await_figure(PATIENCE_S)
            ):
                return
            self._settle()
            if not self._line.undecided and not self._admitted:
                self._grow()

    # Ray up to 2.60 documents the FINISHED string, but leaves it out of the type
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the config of the next trial, `Searcher.FINISHED`, or None to be asked again later.

        Raises:
            LimitError: the first 500 proposals were all refused, or all that there are.
        """
        ticket = self._next()
        if ticket is None:
            return Searcher.FINISHED if self.ended else None
        proposal, admitted = ticket
        self._live[trial_id] = proposal
        return self._admissions.trial_config(proposal, admitted)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep a row for the proposer."""
        if trial_id in self._live:
            self._outcomes.keep(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the proposer how a trial ended: the rows that it reached, or that it failed.

        Nothing is told of one that was cut off with the search: it is not through, `--resume` goes on with it.
        """
        failed = error or (result or {}).get("status") in FAILED
        if result and not failed:
            self.on_trial_result(trial_id, result)  # Tune does not tell the row at which a trial was stopped
        proposal, (rows, lacks) = self._live.pop(trial_id, None), self._outcomes.drop(trial_id)
        if proposal is not None and self._stopped is not None and (result or {}).get("status") != "finished":
            failed = failed or not self._stopped(
                proposal.candidate.candidate_id
            )  # it is `crashed` in the table
        ending = self._ending()
        if proposal is not None and not (ending and ending.cut):
            self._outcomes.ended(proposal, rows, failed=failed or lacks)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Accept whatever Tune has: directions come with the objectives, the space with the proposer."""
        return True

    def save(self, checkpoint_path: str) -> None:
        """Write what a reader of Ray's folder may want to know; nothing is ever restored from it."""
        state = {"admitted": self._admitted, "next_index": self._index, "duplicates": self.duplicates}
        write_text(Path(checkpoint_path), json.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: Ray would bring back the searcher but not the rungs.

        Raises:
            RunError: always.
        """
        raise RunError(
            f"{checkpoint_path}: got Tuner.restore; a run goes on from its own tables only. "
            f"Use {command_line('search/run.py', '--resume', 'RUN')}."
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return next to nothing: Ray pickles its Tuner to a file that is never read."""
        return {"ended": self.ended}

    def _next(self) -> Ticket | None:
        """Return the next trial; None when there is none (`ended` is set) or it takes longer."""
        ending = self._ending()
        if ending is not None:
            ticket = None if ending.cut else self._next_unfinished()
            if ticket is None:
                self.ended = ending
            return ticket
        started, patient, late = self._clock(), not self._live, False
        while not self.ended:
            self._settle()
            ticket = self._line.take()
            if ticket is not None or late:
                return ticket
            if self._line.has_room and self._queue:
                self._from_queue()
            elif self._line.has_room and self._grow():
                late = not patient and self._clock() - started > PATIENCE_S
            elif self._line.waiting:
                if patient:  # nobody is kept from anything
                    self._admissions.await_figure(PATIENCE_S)
                late = True
        return None

    def _settle(self) -> None:
        """Count or refuse those whose latency is known by now."""
        for proposal, answer in self._line.settled():
            self._take_note(proposal, answer)

    def _next_unfinished(self) -> Ticket | None:
        """Return the next candidate that an earlier session had begun with, and drop what lies before it in the queue."""
        while self._line or self._queue:
            proposal = next(self._line.leave()) if self._line else self._queue.popleft().proposal
            for ticket in self._unfinished:
                if ticket[0] == proposal:
                    return ticket
        return None

    def _from_queue(self) -> None:
        """Take one candidate off the queue, and put it into the line unless it is refused."""
        queued = self._queue.popleft()
        if queued.admitted is not None:
            self._line.add(queued.proposal, queued.admitted)
        elif self._open < self._plan.trials or queued.proposal.candidate.role != "search":
            self._enter(queued.proposal)
        # else: more start points than trials; the rest waits for --resume --trials

    @property
    def _open(self) -> int:
        """Candidates that are admitted, or will be unless a limit speaks against it."""
        return self._admitted + self._line.undecided

    def _grow(self) -> bool:
        """Put one more proposal before whoever admits; return False, with `ended` set unless somebody waits, for no more.

        Raises:
            LimitError: nothing is proposed, and all that was in the queue was refused.
        """
        if self._open >= self._plan.trials or not self._plan.proposes:
            if not self._open and self._refusals.all_refused:
                raise LimitError(self._refusals.message())
            if not self._line.waiting:
                self._end("trials", f"{self._admitted} of {self._plan.trials} candidates tried")
            return False
        self._check_end()
        if self.ended or (self._line.waiting and self._points.exhausted):
            return False
        proposal = self._propose()
        if proposal:
            self._enter(proposal)
        return True

    def _enter(self, proposal: Proposal) -> None:
        """Have a candidate admitted; it stands in the line then, or is recorded as rejected."""
        answer = self._admissions.admit(proposal.candidate)
        if isinstance(answer, Waiting):
            self._outcomes.pending(proposal, Admitted(costs=answer.costs))
            self._admissions.on_waiting(proposal)
        else:
            self._take_note(proposal, answer)
        if not isinstance(answer, Rejected):
            self._line.add(proposal, answer)

    def _take_note(self, proposal: Proposal, answer: Admitted | Rejected) -> None:
        """Count an admitted candidate, or record that it was rejected."""
        if isinstance(answer, Rejected):
            self._refuse(proposal, answer)
            return
        if proposal.candidate.role == "search":
            self._admitted += 1
            self._refusals.add(proposal, None)
        self._outcomes.pending(proposal, answer)

    def _propose(self) -> Proposal | None:
        """Return the next new proposal that can be built; None for a known or an illegal one."""
        index, self._index = self._index, self._index + 1
        values = self._points.take(index)
        try:
            proposal, illegal = self._admissions.build(values, index), None
        except IllegalCandidate as error:
            candidate, illegal = Refusals.placeholder(values, self._proposer.seed), str(error)
            proposal = Proposal(candidate=candidate, index=index, values=values)
        known = is_known(proposal.candidate.candidate_id, self._seen)
        self._points.note(known=known)
        if known:
            self.duplicates += 1
            return None
        self._seen.add(proposal.candidate.candidate_id)
        if illegal is None:
            return proposal
        self._refuse(proposal, Rejected(reason=illegal))
        return None

    def _refuse(self, proposal: Proposal, rejected: Rejected) -> None:
        """Record a rejected candidate and tell the proposer."""
        if proposal.candidate.role == "search":
            self._refusals.add(proposal, rejected)
        self._outcomes.refused(proposal, rejected.costs)
        self._admissions.on_rejected(proposal, rejected)

    def _check_end(self) -> None:
        """End the search when it is over or when nothing new comes; LimitError if nothing ever came."""
        ending, exhausted = self._ending(), self._points.exhausted
        if ending is not None:
            self.ended = ending
        elif self._line.waiting:
            return  # what they come to may decide
        elif (exhausted or self._refusals.binding) and self._refusals.all_refused and not self._admitted:
            raise LimitError(self._refusals.message())
        elif exhausted:
            self._end("exhausted", exhausted)
        elif self._refusals.binding:
            self._end("limits", self._refusals.message())

    def _end(self, ended_by: str, reason: str) -> None:
        """Note why the search has no more candidates."""
        self.ended = Ending(ended_by=ended_by, reason=reason)
