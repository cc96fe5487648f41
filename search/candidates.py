"""Which candidates come before the searcher's own: the unfinished of an earlier session, the blind one, the default."""

from search.admission import Proposal
from search.desk import ExperimentDesk
from search.preparation import Prepared
from search.recorder import Recorder
from search.searchers.candidate_searcher import Queued, SearchPlan
from spaces.candidate import Candidate
from spaces.errors import IllegalCandidate


def default_candidate(prepared: Prepared, desk: ExperimentDesk) -> Proposal | None:
    """Return the candidate of all defaults; None where a domain has none or they do not fit together."""
    values = prepared.space.default_values()
    if values is None:
        return None
    try:
        return Proposal(candidate=desk.build(values, -1), values=values)
    except IllegalCandidate as error:
        prepared.say(f"the defaults of the space are no candidate: {error}")
        return None


def blind_candidate(default: Candidate) -> Candidate:
    """Return the default student as the baseline that sees no image."""
    return default.blinded()


def plan_search(prepared: Prepared, recorder: Recorder, desk: ExperimentDesk) -> SearchPlan:
    """Return what is handed out first, what the searcher learns from, and where it goes on."""
    known = {row["candidate_id"] for row in recorder.rows}
    queue = [Queued(proposal=proposal, admitted=admitted) for proposal, admitted in recorder.unfinished()]
    default = default_candidate(prepared, desk)
    if default is not None:
        blind = Proposal(candidate=blind_candidate(default.candidate))
        queue += [Queued(proposal=one) for one in (blind, default) if one.candidate.candidate_id not in known]
    return SearchPlan(
        trials=prepared.space.search.trials,
        queue=queue,
        past=recorder.past(),
        start_index=recorder.next_index,
    )
